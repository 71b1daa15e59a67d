//! pg_restore, fed from the store.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::Utc;
use plana_archive::BackgroundWriter;
use plana_pg::{
    archive::{ArchiveVisitor, TocEntry},
    client::Installed,
    dsn::ConnectionSettings,
    restore::{ArchiveSource, RestoreOptions, start_restore},
    scratch::NewDatabase,
    server::Server,
};
use plana_plan::manifest::{DatabaseFacts, TableFacts};

use super::{
    DatabaseRestore,
    finished::Work,
    prove::{self, Early},
};
use crate::{
    check::Proof,
    error::RestoreError,
    read::{Reading, read_payload},
    space::free_bytes,
};

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

/// What a database is filled with.
pub(super) struct Load<'a> {
    pub(super) restore: &'a DatabaseRestore<'a>,
    /// How pg_restore is run.
    pub(super) options: &'a RestoreOptions,
    pub(super) work: &'a Work,
    /// The tables that it should have.
    pub(super) expected: &'a [TableFacts],
    /// The database.
    pub(super) scratch: &'a str,
}

/// What came of it.
pub(super) struct Loaded {
    /// What pg_restore complained of.
    pub(super) warnings: Vec<String>,
    /// What was seen of tables on the way.
    pub(super) early: Option<Early>,
}

/// Fills the database.
pub(super) async fn load(load: Load<'_>) -> Result<Loaded, RestoreError> {
    let Load { restore, options, scratch, .. } = load;
    let spool = restore.spool.filter(|_| options.jobs > 1);
    match spool {
        Some(directory) if has_room(directory, restore.reading.set.manifest.payload.content_bytes) => {
            return spooled(&load, directory).await;
        }
        Some(directory) => {
            tracing::warn!(directory = %directory.display(), "there is no room to unpack the archive: it is streamed, with one job");
        }
        None => {}
    }
    Ok(Loaded { warnings: streamed(restore, options, scratch).await?, early: None })
}

fn has_room(directory: &Path, bytes: u64) -> bool {
    // Some for whoever else writes there.
    free_bytes(directory).is_none_or(|free| free > bytes + bytes / 20)
}

/// The archive is unpacked, proven, and only then restored, by several jobs.
async fn spooled(load: &Load<'_>, directory: &Path) -> Result<Loaded, RestoreError> {
    let Load { restore, options, work, expected, scratch } = *load;
    let failed = |source: io::Error| RestoreError::File { path: directory.to_path_buf(), source };
    // Without a name: whatever becomes of us, nothing is left.
    let spool = tempfile::tempfile_in(directory).map_err(failed)?;
    // Beside decoding, which takes about as long.
    let mut out = BackgroundWriter::start("spool", spool.try_clone().map_err(failed)?).map_err(failed)?;
    let proof = Proof::of(restore.reading.set);
    let path = directory.to_path_buf();
    read_payload(restore.reading, move |content| {
        let failed = |source: io::Error| RestoreError::File { path: path.clone(), source };
        let repacker = proof.repack(content, (), |piece| out.write_all(piece).map_err(failed))?;
        let spool = out.finish().map_err(failed)?;
        repacker.notes().try_for_each(|(at, note)| spool.write_all_at(&note, at)).map_err(failed)
    })
    .await?;
    // The way to a file without a name, for as long as we hold it.
    let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), spool.as_raw_fd()));
    let server = restore.admin.server();
    let settings = server.settings().with_database(scratch);
    let mut child = start_restore(restore.pg_restore, server.facts().version, &settings, ArchiveSource::File(&path), options).await?;
    let Some(steps) = child.take_steps() else { return Ok(Loaded { warnings: child.wait().await?.warnings, early: None }) };
    // When it fails nobody wants to know more.
    let early = async { Ok(prove::early(restore, work, expected, scratch, steps).await) };
    let (ended, early) = futures::try_join!(child.wait(), early)?;
    Ok(Loaded { warnings: ended.warnings, early })
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
    let tables = FilledTables(reading.meter.tables.clone());
    let fed = read_payload(reading, move |content| {
        let mut pipe = Some(stdin);
        proof.repack(content, tables, |piece| feed(&mut pipe, piece))
    })
    .await;
    if let Err(error) = fed {
        child.terminate().await;
        return Err(error);
    }
    Ok(child.wait().await?.warnings)
}

/// Counts the tables whose rows have passed.
struct FilledTables(Arc<AtomicU64>);

impl ArchiveVisitor for FilledTables {
    fn end(&mut self, entry: &TocEntry, _rows: u64) {
        self.0.fetch_add(u64::from(entry.desc == "TABLE DATA"), Ordering::Relaxed);
    }
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
