//! pg_restore, fed from the store, and the count afterwards.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    path::{Path, PathBuf},
};

use chrono::Utc;
use plana_archive::BackgroundWriter;
use plana_pg::{
    client::Installed,
    dsn::ConnectionSettings,
    restore::{ArchiveSource, RestoreChild, RestoreOptions, start_restore},
    scratch::{CountError, NewDatabase},
    server::Server,
};
use plana_plan::{
    compare::{differences, summary},
    manifest::{DatabaseFacts, TableFacts},
};

use super::DatabaseRestore;
use crate::{
    check::Proof,
    error::RestoreError,
    read::{Reading, read_payload},
    space::free_bytes,
};

/// Tables that are counted at the same time.
const COUNTED_AT_ONCE: usize = 4;

pub(super) fn new_database(facts: &DatabaseFacts) -> NewDatabase {
    NewDatabase {
        encoding: facts.encoding.clone(),
        collate: facts.collate.clone(),
        ctype: facts.ctype.clone(),
        locale: facts.locale.clone(),
        owner: None,
        made_at: Utc::now(),
    }
}

/// Fills the database, and gives what pg_restore complained of.
pub(super) async fn load(restore: &DatabaseRestore<'_>, options: &RestoreOptions, scratch: &str) -> Result<Vec<String>, RestoreError> {
    let spool = restore.spool.filter(|_| options.jobs > 1);
    match spool {
        Some(directory) if has_room(directory, restore.reading.set.manifest.payload.content_bytes) => {
            spooled(restore, options, scratch, directory).await
        }
        Some(directory) => {
            tracing::warn!(directory = %directory.display(), "there is no room to unpack the archive: it is streamed, with one job");
            streamed(restore, options, scratch).await
        }
        None => streamed(restore, options, scratch).await,
    }
}

fn has_room(directory: &Path, bytes: u64) -> bool {
    // Some for whoever else writes there.
    free_bytes(directory).is_none_or(|free| free > bytes + bytes / 20)
}

/// The archive is unpacked, proven, and only then restored, by several jobs.
async fn spooled(
    restore: &DatabaseRestore<'_>,
    options: &RestoreOptions,
    scratch: &str,
    directory: &Path,
) -> Result<Vec<String>, RestoreError> {
    let failed = |source: io::Error| RestoreError::File { path: directory.to_path_buf(), source };
    // Without a name: whatever becomes of us, nothing is left.
    let spool = tempfile::tempfile_in(directory).map_err(failed)?;
    // Beside decoding, which takes about as long.
    let mut out = BackgroundWriter::start("spool", spool.try_clone().map_err(failed)?).map_err(failed)?;
    let proof = Proof::of(restore.reading.set);
    let path = directory.to_path_buf();
    read_payload(restore.reading, move |content| {
        let failed = |source: io::Error| RestoreError::File { path: path.clone(), source };
        let repacker = proof.repack(content, |piece| out.write_all(piece).map_err(failed))?;
        let spool = out.finish().map_err(failed)?;
        repacker.notes().try_for_each(|(at, note)| spool.write_all_at(&note, at)).map_err(failed)
    })
    .await?;
    // The way to a file without a name, for as long as we hold it.
    let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), spool.as_raw_fd()));
    Ok(start(restore, scratch, ArchiveSource::File(&path), options).await?.wait().await?.warnings)
}

/// The archive goes into pg_restore as it comes out of the store, and is proven on the way: what was restored counts only
/// when the proof stands.
async fn streamed(restore: &DatabaseRestore<'_>, options: &RestoreOptions, scratch: &str) -> Result<Vec<String>, RestoreError> {
    let server = restore.admin.server();
    let options = RestoreOptions { jobs: 1, ..options.clone() };
    stream(restore.reading, restore.pg_restore, server, &server.settings().with_database(scratch), &options).await
}

/// The same into the database of those settings.
pub(crate) async fn stream(
    reading: Reading<'_>,
    pg_restore: &Installed,
    server: &Server,
    settings: &ConnectionSettings,
    options: &RestoreOptions,
) -> Result<Vec<String>, RestoreError> {
    let mut child = start_restore(pg_restore, server.facts().version, settings, ArchiveSource::Stream, options).await?;
    let stdin = child.take_stdin().ok_or_else(|| RestoreError::Internal("pg_restore has no input".to_owned()))?;
    let proof = Proof::of(reading.set);
    let fed = read_payload(reading, move |content| {
        let mut pipe = Some(stdin);
        proof.repack(content, |piece| feed(&mut pipe, piece))
    })
    .await;
    if let Err(error) = fed {
        child.terminate().await;
        return Err(error);
    }
    Ok(child.wait().await?.warnings)
}

async fn start(
    restore: &DatabaseRestore<'_>,
    scratch: &str,
    source: ArchiveSource<'_>,
    options: &RestoreOptions,
) -> Result<RestoreChild, RestoreError> {
    let server = restore.admin.server();
    let settings = server.settings().with_database(scratch);
    Ok(start_restore(restore.pg_restore, server.facts().version, &settings, source, options).await?)
}

/// pg_restore may end before its input does: it knows why, and the archive is proven to its end all the same.
fn feed(pipe: &mut Option<File>, piece: &[u8]) -> Result<(), RestoreError> {
    let Some(open) = pipe else { return Ok(()) };
    match open.write_all(piece) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => *pipe = None,
        Err(source) => return Err(RestoreError::File { path: "pg_restore's input".into(), source }),
        Ok(()) => {}
    }
    Ok(())
}

/// Counts every restored table again; gives rows and tables.
pub(super) async fn prove(restore: &DatabaseRestore<'_>, facts: &DatabaseFacts, scratch: &str) -> Result<(u64, usize), RestoreError> {
    let chosen = &restore.options.tables;
    let wanted =
        |table: &&TableFacts| chosen.is_empty() || chosen.iter().any(|(schema, name)| *schema == table.schema && *name == table.table);
    let expected: Vec<TableFacts> = facts.tables.iter().filter(wanted).cloned().collect();
    let mut found = Vec::with_capacity(expected.len());
    for (table, counted) in expected.iter().zip(restore.admin.count_rows(scratch, &expected, COUNTED_AT_ONCE).await?) {
        match counted {
            Ok(rows) => found.push((&*table.schema, &*table.table, rows)),
            Err(CountError::Missing { .. }) => {}
            Err(error) => return Err(RestoreError::Different(format!("failed to {error}"))),
        }
    }
    let differ = differences(&expected, found);
    if !differ.is_empty() {
        return Err(RestoreError::Different(summary(&differ)));
    }
    if chosen.is_empty() {
        let (expected, found) = (facts.large_objects.as_ref().map_or(0, |large| large.count), restore.admin.large_objects(scratch).await?);
        if expected != found {
            return Err(RestoreError::Different(format!("it has {found} large objects instead of {expected}")));
        }
    }
    Ok((expected.iter().map(|table| table.rows).sum(), expected.len()))
}
