//! Extensions that only a superuser may make, on a server of our own: made first, and left out of what pg_restore does.

use std::{collections::BTreeSet, fs::File, io::Write as _, os::fd::AsRawFd as _};

use plana_pg::{restore::RestoreOptions, scratch::Wanted};
use plana_plan::name::printable;
use rustix::fs::{MemfdFlags, memfd_create};

use super::{DatabaseRestore, ready::Contents};
use crate::error::RestoreError;

/// How pg_restore is run.
pub(super) struct Prepared {
    pub(super) options: RestoreOptions,
    pub(super) warnings: Vec<String>,
    /// pg_restore reads it by its number.
    _list: Option<File>,
}

/// Makes the extensions where pg_restore's role may not, and gives what is left to pg_restore.
///
/// # Errors
/// When one cannot be made.
pub(super) async fn prepare(restore: &DatabaseRestore<'_>, contents: &Contents, scratch: &str) -> Result<Prepared, RestoreError> {
    let plain = Prepared { options: restore.options.clone(), warnings: Vec::new(), _list: None };
    let Some(superuser) = restore.superuser else { return Ok(plain) };
    let available = superuser.available_extensions().await?;
    let beyond = |name: &str| available.get(name).is_some_and(|extension| extension.needs_superuser);
    if !contents.extensions.iter().any(|(_, name, _)| beyond(name)) {
        return Ok(plain);
    }
    // All of them, in the archive's order: one may need another.
    let wanted: Vec<Wanted> =
        contents.extensions.iter().map(|(_, name, sql)| Wanted { name: name.clone(), schema: schema_of(sql) }).collect();
    let role = &restore.admin.server().facts().role;
    let schemas = superuser.make_extensions(scratch, &wanted, role).await?;
    let made: BTreeSet<i64> = contents
        .extensions
        .iter()
        .map(|(entry, ..)| *entry)
        .chain(contents.extension_comments.iter().copied())
        .chain(schemas.iter().filter_map(|schema| contents.schemas.get(schema).copied()))
        .collect();
    let list = list(contents.entries.iter().filter(|entry| !made.contains(entry)))
        .map_err(|source| RestoreError::File { path: "pg_restore's list of entries".into(), source })?;
    let mut options = restore.options.clone();
    options.extra_args.push(format!("--use-list=/proc/{}/fd/{}", std::process::id(), list.as_raw_fd()));
    let names: Vec<String> = wanted.iter().filter(|wanted| beyond(&wanted.name)).map(|wanted| printable(&wanted.name)).collect();
    let warning =
        format!("only a superuser may make the extension {}: a restore into another server needs --as-superuser", names.join(", "));
    Ok(Prepared { options, warnings: vec![warning], _list: Some(list) })
}

/// The schema in `CREATE EXTENSION … WITH SCHEMA name;`.
fn schema_of(sql: &str) -> Option<String> {
    let name = sql.split_once(" WITH SCHEMA ")?.1.trim_end().strip_suffix(';')?;
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => Some(quoted.replace("\"\"", "\"")),
        None => Some(name.to_owned()),
    }
}

/// What pg_restore reads as a list: an entry's number on each line. In memory alone.
fn list<'a>(entries: impl Iterator<Item = &'a i64>) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("entries", MemfdFlags::CLOEXEC)?);
    let text: String = entries.map(|entry| format!("{entry};\n")).collect();
    file.write_all(text.as_bytes())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_read_as_pg_dump_writes_it() {
        assert_eq!(schema_of("CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;\n"), Some("public".to_owned()));
        assert_eq!(schema_of("CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA \"My \"\"s\";\n"), Some("My \"s".to_owned()));
        assert_eq!(schema_of("CREATE EXTENSION IF NOT EXISTS x;"), None);
    }
}
