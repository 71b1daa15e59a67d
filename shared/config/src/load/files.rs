//! The file and its drop-ins.

use std::{
    ffi::OsStr,
    fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    ConfigSource, Problem,
    check::Fault,
    layer::Layer,
    probe::{self, Answer, Kind},
    problem::dotted,
};

/// Reads the file and then `conf.d/*.toml` beside it, by name; answers which files were read.
pub(super) fn read(source: &ConfigSource, layers: &mut Vec<Layer>, faults: &mut Vec<Fault>) -> Vec<PathBuf> {
    let named = source.file.clone().or_else(|| source.env.get("PLANA_JOBS_CONFIG").map(PathBuf::from));
    let must_exist = named.is_some();
    let Some(main) = named.or_else(|| source.default_file.clone()) else { return Vec::new() };
    let directory = main.parent().unwrap_or(Path::new("")).join("conf.d");
    let drop_ins = list(&directory).unwrap_or_else(|error| {
        faults.push(unreadable(&directory, &error).into());
        Vec::new()
    });
    let mut files = Vec::new();
    for (path, may_be_missing) in [(main, !must_exist)].into_iter().chain(drop_ins.into_iter().map(|path| (path, false))) {
        let content = match fs::read_to_string(&path) {
            Ok(content) => content,
            Err(error) if may_be_missing && error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                faults.push(unreadable(&path, &error).into());
                continue;
            }
        };
        match Layer::from_toml(&path.display().to_string(), &content) {
            Ok(layer) => layers.push(layer),
            Err(problem) => faults.push(problem.into()),
        }
        files.push(path);
    }
    files
}

/// The drop-ins by name. Hidden ones are left out: editors' leftovers, and what a mounted ConfigMap
/// keeps its links in.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension() == Some(OsStr::new("toml")) {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let (what, help) = match error.kind() {
        ErrorKind::NotFound => ("there is no such file", "name the right one, or leave --config and PLANA_JOBS_CONFIG out"),
        ErrorKind::PermissionDenied => ("may not be read", "let the user that runs the job read it"),
        ErrorKind::InvalidData => ("is not UTF-8", "save it as UTF-8"),
        _ => ("could not be read", ""),
    };
    let what = if help.is_empty() { format!("{what}: {error}") } else { what.to_owned() };
    Problem::new(path.display().to_string(), "", what, help)
}

/// Notes on files that hold a secret and that everybody on the machine may read.
pub(super) fn exposed(files: &[PathBuf], layers: &[Layer]) -> Vec<String> {
    let note = |path: &PathBuf| {
        let name = path.display().to_string();
        let layer = layers.iter().find(|layer| layer.name == name)?;
        let secret = layer.places.keys().find(|path| probe::ask(path) == Answer::Wants(Kind::Secret))?;
        let open = fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0);
        open.then(|| format!("{name} holds {} and everybody may read it: chmod o-r {name}", dotted(secret)))
    };
    files.iter().filter_map(note).collect()
}
