//! One template's content, in the templates' store under its own SHA.
//!
//! Two dumps of one snapshot: the first tells what the content is, and only where the store does not list it yet a second one
//! is stored. A publisher of the same content elsewhere writes beside this one, under other keys.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::Utc;
use futures::TryStreamExt as _;
use plana_pg::{
    archive::{ArchiveSummary, ContentIdentity, identity::ALGORITHM},
    dump::{DumpChild, start_dump},
    server::DatabaseInfo,
    snapshot::Snapshot,
};
use plana_plan::{
    SetKey, Stamp,
    classify::Classified,
    inventory::Inventory,
    manifest::{DatabaseFacts, Manifest, SeedFacts},
    seed::{self, ContentSha},
};
use plana_storage::{DynStore, StoreError, listing};
use tokio_util::sync::CancellationToken;

use crate::{
    child::{read_child, stream_child},
    commit::{Committed, commit},
    database::{STORED_SHARE, read_archive},
    dumper::Dumper,
    error::BackupError,
    payload::{Content, Meter, PayloadKind, PayloadStream, PendingPayload},
    target::{Origin, Target, nonce},
};

/// Which template is published, and how.
pub struct SeedDump<'a> {
    /// What dumps it.
    pub dumper: &'a Dumper,
    /// The template.
    pub database: &'a DatabaseInfo,
    /// What it is.
    pub classified: &'a Classified,
    /// When that began.
    pub stamp: Stamp,
}

/// What became of a template's content.
#[derive(Debug)]
pub enum Published {
    /// The store has it already: this is its oldest copy.
    Known(SetKey),
    /// It was stored.
    New(Box<Committed>),
}

/// Publishes a template's content where it is not in the store yet, or leaves nothing that counts.
///
/// # Errors
/// Whatever failed first; nothing is committed then.
pub async fn publish_seed(
    target: &Target,
    origin: &Origin,
    dump: &SeedDump<'_>,
    meter: &Meter,
    cancel: &CancellationToken,
) -> Result<Published, BackupError> {
    let seed = Snapped::take(dump).await?;
    let published = async {
        let content = seed.content(target, meter, cancel).await?;
        match known(&target.store, &dump.database.name, content).await? {
            Some(set) => Ok(Published::Known(set)),
            None => Ok(Published::New(Box::new(seed.store(target, origin, content, meter, cancel).await?))),
        }
    };
    let published = published.await;
    seed.snapshot.release().await;
    published
}

/// What a template's content is, and its oldest copy in the store. Changes nothing.
///
/// # Errors
/// Whatever failed first.
pub async fn seed_content(
    target: &Target,
    dump: &SeedDump<'_>,
    meter: &Meter,
    cancel: &CancellationToken,
) -> Result<(ContentSha, Option<SetKey>), BackupError> {
    let seed = Snapped::take(dump).await?;
    let content = seed.content(target, meter, cancel).await;
    seed.snapshot.release().await;
    let content = content?;
    let known = match known(&target.store, &dump.database.name, content).await {
        // A directory that the first real run will make.
        Err(BackupError::Store(StoreError::NoSuchBucket(_))) if target.store.url().starts_with("file:") => None,
        known => known?,
    };
    Ok((content, known))
}

/// The oldest committed copy of a content, by the listing alone.
async fn known(store: &DynStore, template: &str, content: ContentSha) -> Result<Option<SetKey>, BackupError> {
    let prefix = format!("{}{content}/", SetKey::group_prefix(plana_plan::Area::Seed, template));
    let inventory = Inventory::read_seeds(listing::objects(&**store, &prefix).try_collect::<Vec<_>>().await?);
    let copies = seed::copies(&inventory);
    Ok(copies.get(&content).and_then(|copies| copies.first()).map(|set| set.key.clone()))
}

/// A template, as of a snapshot that is held.
struct Snapped<'a> {
    dump: &'a SeedDump<'a>,
    snapshot: Snapshot,
}

impl<'a> Snapped<'a> {
    async fn take(dump: &'a SeedDump<'a>) -> Result<Self, BackupError> {
        let server = &dump.dumper.server;
        let settings = server.settings().with_database(&dump.database.name);
        let snapshot = Snapshot::take(&settings, server.facts().version, server.timeout()).await?;
        Ok(Snapped { dump, snapshot })
    }

    async fn start(&self) -> Result<DumpChild, BackupError> {
        let Dumper { server, pg_dump, options } = self.dump.dumper;
        let settings = server.settings().with_database(&self.dump.database.name);
        let options = options.of_content(self.snapshot.id(), pg_dump.version);
        Ok(start_dump(pg_dump, server.facts().version, &settings, &options).await?)
    }

    /// What a dump holds.
    fn tell(&self, summary: ArchiveSummary, identity: ContentIdentity) -> Result<(ContentSha, SeedFacts, DatabaseFacts), BackupError> {
        let Dumper { server, pg_dump, .. } = self.dump.dumper;
        let facts = self.dump.database.facts(server.facts(), pg_dump.version, self.snapshot.extensions().clone(), summary);
        let pg_dump_major = identity.pg_dump_major()?;
        let sha256 = identity.finish(&facts)?;
        Ok((sha256, SeedFacts { sha256, identity: ALGORITHM, pg_dump_major }, facts))
    }

    /// The first dump, which goes nowhere.
    async fn content(&self, target: &Target, meter: &Meter, cancel: &CancellationToken) -> Result<ContentSha, BackupError> {
        let mut nowhere = Nowhere(meter.content_bytes.clone());
        let read = move |archive| read_archive(archive, &mut nowhere, ContentIdentity::default());
        let (summary, identity) = read_child(self.start().await?, target.patience, meter, cancel, read).await?;
        Ok(self.tell(summary, identity)?.0)
    }

    /// The second dump, which is stored under what the first one held, and must hold the same.
    async fn store(
        &self,
        target: &Target,
        origin: &Origin,
        content: ContentSha,
        meter: &Meter,
        cancel: &CancellationToken,
    ) -> Result<Committed, BackupError> {
        let database = self.dump.database;
        let started_at = Utc::now();
        let set = SetKey::seed(&database.name, content, self.dump.stamp, nonce()?);
        let hint_bytes = database.size_bytes.unwrap_or(0) / STORED_SHARE;
        let kind = PayloadKind { suffix: ".dump", format: "postgresql-custom", compression: target.dump_compression };
        let stream = PayloadStream { target, set: &set, kind, hint_bytes, meter, cancel };
        let produce = |archive, content: Content<'_>| read_archive(archive, content, ContentIdentity::default());
        let (pending, (summary, identity), warnings) = stream_child(self.start().await?, stream, produce).await?;
        let (pending, (_, seed, facts)) = same(pending, content, self.tell(summary, identity)).await?;
        let payload = pending.complete().await?;
        let manifest = Manifest {
            class: Some(self.dump.classified.class.to_string()),
            database: Some(facts),
            encryption: target.encryption(),
            seed: Some(seed),
            ..Manifest::new(&set, &database.name, origin.made_by(started_at, Utc::now()), payload)
        };
        commit(&target.store, set, manifest, warnings).await
    }
}

type Told = (ContentSha, SeedFacts, DatabaseFacts);

/// Gives a payload up that is not what its key says.
async fn same(pending: PendingPayload, first: ContentSha, told: Result<Told, BackupError>) -> Result<(PendingPayload, Told), BackupError> {
    let error = match told {
        Ok(told) if told.0 == first => return Ok((pending, told)),
        Ok((second, ..)) => BackupError::Changed { first, second },
        Err(error) => error,
    };
    pending.abandon().await;
    Err(error)
}

/// Counts what passes.
struct Nowhere(Arc<AtomicU64>);

impl io::Write for Nowhere {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
