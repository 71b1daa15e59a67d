//! Roles, tablespaces and settings of the whole server, from pg_dumpall to a committed set.

use std::io::Read;

use chrono::Utc;
use plana_pg::{client::Installed, dump::start_globals};
use plana_plan::{
    Area, Label, SetLabel, Stamp,
    manifest::{GlobalsFacts, Manifest},
};
use tokio_util::sync::CancellationToken;

use crate::{
    child::stream_child,
    commit::{Committed, commit},
    dumper::Dumper,
    error::BackupError,
    payload::{Content, Meter, PayloadKind, PayloadStream},
    target::{Origin, Target, begin_set},
};

/// What is dumped, and how.
pub struct GlobalsDump<'a> {
    /// The server, and how its dumps are run.
    pub dumper: &'a Dumper,
    /// The chosen pg_dumpall.
    pub pg_dumpall: &'a Installed,
    /// The name under which the set is kept.
    pub cluster_name: &'a str,
    /// Why the roles' passwords are left out; `None` puts them in.
    pub passwords_omitted_because: Option<String>,
    /// The set's label.
    pub label: Label,
}

/// pg_dumpall's last line. Unlike an archive, its output says itself where it ends.
const END: &[u8] = b"-- PostgreSQL database cluster dump complete";

/// Dumps the globals into one committed set, or leaves nothing that counts.
///
/// # Errors
/// Whatever failed first; nothing is committed then.
pub async fn dump_globals(
    target: &Target,
    origin: &Origin,
    dump: &GlobalsDump<'_>,
    meter: &Meter,
    cancel: &CancellationToken,
) -> Result<Committed, BackupError> {
    let started_at = Utc::now();
    let set = begin_set(Area::Globals, dump.cluster_name, SetLabel::from(dump.label.clone()), Stamp::new(started_at))?;
    let role_passwords = dump.passwords_omitted_because.is_none();
    let Dumper { server, options, .. } = dump.dumper;
    let child = start_globals(dump.pg_dumpall, server.facts().version, server.settings(), role_passwords, options).await?;

    let kind = PayloadKind { suffix: ".sql", format: "sql", compression: target.dump_compression };
    let stream = PayloadStream { target, set: &set, kind, hint_bytes: 0, meter, cancel };
    let (pending, (), warnings) = stream_child(child, stream, |output, content| copy_to_end(output, content)).await?;
    let payload = pending.complete().await?;

    let globals = GlobalsFacts {
        server_version: server.facts().version.to_string(),
        pg_dumpall_version: dump.pg_dumpall.version.to_string(),
        role_passwords,
        role_passwords_omitted_because: dump.passwords_omitted_because.clone(),
    };
    let manifest = Manifest {
        globals: Some(globals),
        encryption: target.encryption(),
        ..Manifest::new(&set, dump.cluster_name, origin.made_by(started_at, Utc::now()), payload)
    };
    commit(&target.store, set, manifest, warnings).await
}

/// Copies pg_dumpall's output, and wants its last line at the end.
fn copy_to_end(mut output: impl Read, content: Content<'_>) -> Result<(), BackupError> {
    let what = || "pg_dumpall's output".to_owned();
    let mut tail: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = output.read(&mut buffer).map_err(|source| BackupError::Read { what: what(), source })?;
        if read == 0 {
            break;
        }
        content.write_all(&buffer[..read]).map_err(BackupError::Encode)?;
        tail.extend_from_slice(&buffer[..read]);
        tail.drain(..tail.len().saturating_sub(256));
    }
    if tail.windows(END.len()).any(|window| window == END) {
        return Ok(());
    }
    let source = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "it ends before its last line");
    Err(BackupError::Read { what: what(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_without_its_last_line_is_not_whole() {
        let whole = format!("CREATE ROLE a;\n--\n{}\n--\n\n\\unrestrict x\n", String::from_utf8_lossy(END));
        assert!(copy_to_end(whole.as_bytes(), &mut Vec::new()).is_ok());
        let cut = &whole.as_bytes()[..whole.len() - 60];
        assert!(matches!(copy_to_end(cut, &mut Vec::new()), Err(BackupError::Read { .. })));
    }
}
