//! One database, from pg_dump to a committed set.

use std::{io::Read, time::Duration};

use chrono::Utc;
use plana_pg::{
    archive::{ArchiveReader, ArchiveSummary, ArchiveVisitor},
    dump::start_dump,
    server::DatabaseInfo,
};
use plana_plan::{
    Area, SetKey, SetLabel, Stamp,
    classify::Classified,
    manifest::{Manifest, PartitionFacts},
};
use tokio_util::sync::CancellationToken;

use crate::{
    child::stream_child,
    commit::{Committed, commit},
    dumper::Dumper,
    error::BackupError,
    escrow::KeyNeeds,
    payload::{Content, Meter, PayloadKind, PayloadStream},
    target::{Origin, Target, begin_set},
};

/// What is dumped, and how.
pub struct DatabaseDump<'a> {
    /// What dumps it.
    pub dumper: &'a Dumper,
    /// The database.
    pub database: &'a DatabaseInfo,
    /// Where the set goes: `pg`, or `insurance-pg`.
    pub area: Area,
    /// What the database is and how long the set is kept.
    pub classified: &'a Classified,
    /// The set's label; for insurance with its until.
    pub label: SetLabel,
    /// The set's stamp: now, or when the operation was begun that it insures.
    pub stamp: Stamp,
    /// The keys that its content needs.
    pub keys: &'a KeyNeeds,
}

/// zstd at level 3 makes a fifth of an ERP's dump (measured), and a dump is smaller than the
/// database by its indexes: half of the size is a safe upper hint.
pub(crate) const STORED_SHARE: u64 = 2;

/// How much is read from the pipe at once: as large as the pipe itself is made.
const READ_BYTES: usize = 1 << 20;

/// pg_dump writes 4 KiB at a time, and a waiting reader is woken for each: 218,000 reads for 1 GB. After a read of less
/// than this the pipe is left to fill for a moment, much shorter than it takes to fill.
const WORTH_READING_BYTES: usize = 256 << 10;
const FILLING: Duration = Duration::from_millis(1);

/// Dumps one database into one committed set, or leaves nothing that counts. The visitor sees all of the dump as it passes.
///
/// # Errors
/// Whatever failed first; nothing is committed then.
pub async fn dump_database<V: ArchiveVisitor + Send + 'static>(
    target: &Target,
    origin: &Origin,
    dump: &DatabaseDump<'_>,
    visitor: V,
    meter: &Meter,
    cancel: &CancellationToken,
) -> Result<(Committed, V), BackupError> {
    let set = begin_set(dump.area, &dump.database.name, dump.label.clone(), dump.stamp)?;
    dump_into(target, origin, dump, (set, &dump.database.name, None), visitor, meter, cancel).await
}

/// The same into a set that was begun, of what the dump's options pick; under a name, and for a partition with where it comes from.
pub(crate) async fn dump_into<V: ArchiveVisitor + Send + 'static>(
    target: &Target,
    origin: &Origin,
    dump: &DatabaseDump<'_>,
    (set, name, partition): (SetKey, &str, Option<PartitionFacts>),
    visitor: V,
    meter: &Meter,
    cancel: &CancellationToken,
) -> Result<(Committed, V), BackupError> {
    let (database, Dumper { server, pg_dump, options }) = (dump.database, dump.dumper);
    dump.keys.require_escrow()?;
    let started_at = Utc::now();
    let extensions = server.extensions(&database.name).await?;
    let settings = server.settings().with_database(&database.name);
    let child = start_dump(pg_dump, server.facts().version, &settings, options).await?;
    let hint_bytes = database.size_bytes.unwrap_or(0) / STORED_SHARE;
    let kind = PayloadKind { suffix: ".dump", format: "postgresql-custom", compression: target.dump_compression };
    let stream = PayloadStream { target, set: &set, kind, hint_bytes, meter, cancel };
    // The archive is whole; only status 0 says that pg_dump thinks so too.
    let produce = |archive, content: Content<'_>| read_archive(archive, content, visitor);
    let (pending, (summary, visitor), mut warnings) = stream_child(child, stream, produce).await?;
    let payload = pending.complete().await?;
    warnings.extend(dump.keys.complaints.iter().cloned());

    let facts = database.facts(server.facts(), pg_dump.version, extensions, summary);
    let manifest = Manifest {
        class: Some(dump.classified.class.to_string()),
        tier: dump.classified.tier.clone(),
        database: Some(facts),
        encryption: target.encryption(),
        partition,
        requires_key: dump.keys.required.clone(),
        ..Manifest::new(&set, name, origin.made_by(started_at, Utc::now()), payload)
    };
    Ok((commit(&target.store, set, manifest, warnings).await?, visitor))
}

/// Reads the archive to its end while it passes into the payload.
pub(crate) fn read_archive<V: ArchiveVisitor>(
    mut archive: impl Read,
    content: Content<'_>,
    visitor: V,
) -> Result<(ArchiveSummary, V), BackupError> {
    let mut reader = ArchiveReader::with_visitor(visitor);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = match archive.read(&mut buffer) {
            Ok(0) => return Ok(reader.finish_with_visitor()?),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(BackupError::Read { what: "pg_dump's output".to_owned(), source }),
        };
        reader.feed(&buffer[..read])?;
        content.write_all(&buffer[..read]).map_err(BackupError::Encode)?;
        if read < WORTH_READING_BYTES {
            std::thread::sleep(FILLING);
        }
    }
}
