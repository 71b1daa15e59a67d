//! Where secrets are found.
//!
//! For a key such as `store.backups.secret_access_key`, in this order: the value in the configuration;
//! the file that `…_file` names; a file called `store.backups.secret_access_key` (or with underscores,
//! `store_backups_secret_access_key`) among systemd's credentials in `$CREDENTIALS_DIRECTORY`, where a whole
//! directory's (`LoadCredential=plana-jobs:DIRECTORY`) are called `plana-jobs_store.backups.…`; then in the
//! directory of mounted secrets, `$PLANA_JOBS_SECRETS_DIR` or `/run/secrets/plana-jobs`. What comes
//! after that, the AWS names or libpq's environment, is the asker's business.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{Config, Environment, Problem, Secret};

/// Where mounted secrets are looked for if `PLANA_JOBS_SECRETS_DIR` does not say.
const SECRETS_DIR: &str = "/run/secrets/plana-jobs";

/// What `LoadCredential=plana-jobs:DIRECTORY` puts before the names of the directory's files.
const SYSTEMD_PREFIX: &str = "plana-jobs_";

/// No secret of ours is longer; a file that is was named by mistake.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Finds the secret of a key.
pub(crate) fn find(key: &str, value: Option<&Secret>, file: Option<&Path>, env: &Environment) -> Result<Option<Secret>, Problem> {
    if let Some(secret) = value {
        return Ok(Some(secret.clone()));
    }
    if let Some(path) = file {
        let missing = || problem(path, key, "there is no such file", "name the right one");
        return read(path, key)?.map_or_else(|| Err(missing()), |secret| Ok(Some(secret)));
    }
    for path in candidates(key, env) {
        if let Some(secret) = read(&path, key)? {
            return Ok(Some(secret));
        }
    }
    Ok(None)
}

/// The places beyond the configuration where the key's secret may be, for errors.
pub(crate) fn places(key: &str, env: &Environment) -> String {
    let names: Vec<String> = directories(env).map(|directory| directory.join(key).display().to_string()).collect();
    names.join(" or ")
}

fn directories(env: &Environment) -> impl Iterator<Item = PathBuf> {
    let systemd = env.get("CREDENTIALS_DIRECTORY");
    systemd.into_iter().chain([env.get("PLANA_JOBS_SECRETS_DIR").unwrap_or(SECRETS_DIR)]).map(PathBuf::from)
}

/// Some systems forbid dots in the names of secrets, so underscores do as well; a credential of its own goes before one
/// of a directory's.
fn candidates(key: &str, env: &Environment) -> Vec<PathBuf> {
    let underscores = key.replace('.', "_");
    let prefixed = [format!("{SYSTEMD_PREFIX}{key}"), format!("{SYSTEMD_PREFIX}{underscores}")];
    let names: Vec<String> = [key.to_owned(), underscores].into_iter().chain(prefixed).collect();
    directories(env).flat_map(|directory| names.iter().map(|name| directory.join(name)).collect::<Vec<_>>()).collect()
}

/// The secret in a file, without the line break that editors and `echo` leave; `None` if there is no file.
fn read(path: &Path, key: &str) -> Result<Option<Secret>, Problem> {
    let mut bytes = Vec::new();
    let outcome = File::open(path).and_then(|file| file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes));
    match outcome {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(problem(path, key, "may not be read", "let the user that runs the job read it"));
        }
        Err(error) => return Err(problem(path, key, &format!("could not be read: {error}"), "")),
    }
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(problem(path, key, "is too large for a secret", "name the file that holds it and nothing else"));
    }
    let Ok(text) = String::from_utf8(bytes) else { return Err(problem(path, key, "is not UTF-8", "put the secret into it as text")) };
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.trim().is_empty() {
        return Err(problem(path, key, "is empty", "put the secret into it, or take the file away"));
    }
    Ok(Some(Secret::new(secret)))
}

fn problem(path: &Path, key: &str, what: &str, help: &str) -> Problem {
    Problem::new(path.display().to_string(), key, what, help)
}

/// Notes on files of secrets that everybody on the machine may read. The directory of mounted secrets is
/// left out: files there are 0444 or 0644 as Kubernetes and Docker make them, and only the container sees them.
pub(crate) fn exposed(config: &Config, env: &Environment) -> Vec<String> {
    let systemd = env.get("CREDENTIALS_DIRECTORY").and_then(|directory| std::fs::read_dir(directory).ok());
    let credentials = systemd.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let open = |path: &PathBuf| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o004 != 0);
    let note = |path: PathBuf| format!("{0} holds a secret and everybody may read it: chmod o-r {0}", path.display());
    config.secret_files().into_iter().map(Path::to_path_buf).chain(credentials).filter(open).map(note).collect()
}
