//! `pg_service.conf`.

use std::path::{Path, PathBuf};

use super::{
    DsnError, Environment,
    keywords::known,
    parse::{Pairs, unknown},
};

/// The settings of a service, from the first file that has it: PGSERVICEFILE or `~/.pg_service.conf`, then the system's.
pub(super) fn load(service: &str, environment: &Environment) -> Result<Pairs, DsnError> {
    let files = candidates(environment);
    for file in &files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(DsnError::ServiceFile { file: file.clone(), reason: error.to_string() }),
        };
        if let Some(pairs) = find(&text, service, file)? {
            return Ok(pairs);
        }
    }
    Err(DsnError::NoSuchService { service: service.to_owned(), files })
}

fn candidates(environment: &Environment) -> Vec<PathBuf> {
    let mut files = Vec::new();
    match (environment.get("PGSERVICEFILE"), environment.get("HOME")) {
        (Some(file), _) => files.push(PathBuf::from(file)),
        (None, Some(home)) => files.push(Path::new(home).join(".pg_service.conf")),
        (None, None) => {}
    }
    // The system's directory is fixed when libpq is built: Debian's first, then what others use.
    let system = environment.get("PGSYSCONFDIR").map(|dir| vec![dir.as_str()]);
    let system = system.unwrap_or_else(|| vec!["/etc/postgresql-common", "/etc/sysconfig/pgsql", "/etc"]);
    files.extend(system.iter().map(|dir| Path::new(dir).join("pg_service.conf")));
    files
}

fn find(text: &str, service: &str, file: &Path) -> Result<Option<Pairs>, DsnError> {
    let wrong = |number: usize, reason: &str| {
        Err(DsnError::ServiceFile { file: file.to_owned(), reason: format!("line {}: {reason}", number + 1) })
    };
    let mut pairs: Option<Pairs> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if pairs.is_some() {
                break;
            }
            if name.strip_suffix(']') == Some(service) {
                pairs = Some(Pairs::new());
            }
            continue;
        }
        let Some(pairs) = &mut pairs else { continue };
        if line.starts_with("ldap") {
            return wrong(number, "services in LDAP are not supported");
        }
        let Some((name, value)) = line.split_once('=') else { return wrong(number, "there is no `=`") };
        match known(name.trim()) {
            Some("service") => return wrong(number, "a service cannot name another service"),
            Some(keyword) => pairs.push((keyword, value.trim().to_owned())),
            None => return Err(unknown(&format!("{} line {}", file.display(), number + 1), name.trim(), false)),
        }
    }
    Ok(pairs)
}
