//! One item of a backup run: its lock, whether it is needed, how it is watched, its line in the report.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use futures::TryStreamExt as _;
use plana_harness::{BackupArgs, Context, FileCounts, ItemProgress, ItemReport, Outcome, VERSION};
use plana_plan::{Area, SetKey, Stamp, classify::Classified, inventory::Inventory, manifest::FileStoreFacts};
use plana_storage::{StoreError, listing};
use tokio_util::sync::CancellationToken;

use crate::{
    commit::Committed,
    error::BackupError,
    filestore::summary,
    lock::{ItemGuard, ItemLocks},
    payload::Meter,
    target::{Origin, Target},
};

/// What all items of a backup run share.
pub struct Items<'a> {
    /// The run.
    pub context: &'a Context,
    /// Where their payloads go.
    pub target: Target,
    /// Who makes them.
    pub origin: Origin,
    locks: Box<dyn ItemLocks>,
    missing_within: Option<TimeDelta>,
}

impl<'a> Items<'a> {
    /// The items of this run.
    pub fn new(context: &'a Context, args: &BackupArgs, target: Target, locks: Box<dyn ItemLocks>) -> Self {
        let origin = Origin {
            job: context.job().to_owned(),
            version: VERSION.to_owned(),
            host: context.host().to_owned(),
            run_id: context.run_id().to_owned(),
        };
        let missing_within = args.missing_within.and_then(|within| TimeDelta::from_std(within.0).ok());
        Items { context, target, origin, locks, missing_within }
    }

    /// Begins an item: takes its lock, and looks whether it is needed. A dry run goes no further than that. A newest set of the
    /// stamp `unwanted` is none that would make it needless.
    ///
    /// # Errors
    /// When the lock or the store cannot be asked, or the run was cancelled.
    pub async fn begin(&self, area: Area, name: &str, size_hint: Option<u64>, unwanted: Option<Stamp>) -> Result<Begun, BackupError> {
        if self.context.cancel().is_cancelled() {
            return Err(BackupError::Cancelled);
        }
        if self.context.dry_run() {
            let newest = self.newest(area, name).await?;
            let outcome = if self.is_fresh(newest, unwanted) { Outcome::Fresh } else { Outcome::Planned };
            return Ok(Begun::Settled(ItemReport::new(area, name, outcome).newest(newest)));
        }
        let work = match self.take(area, name, size_hint).await? {
            Begun::Settled(report) => return Ok(Begun::Settled(report)),
            Begun::Work(work) => work,
        };
        // Under the lock: another run may just have made the backup that this one would have missed.
        if self.missing_within.is_some() {
            let newest = self.newest(area, name).await?;
            if self.is_fresh(newest, unwanted) {
                return Ok(Begun::Settled(ItemReport::new(area, name, Outcome::Fresh).newest(newest)));
            }
        }
        Ok(Begun::Work(work))
    }

    /// Takes an item's lock, where only its content can tell whether it is needed.
    ///
    /// # Errors
    /// When the lock cannot be asked for.
    pub async fn take(&self, area: Area, name: &str, size_hint: Option<u64>) -> Result<Begun, BackupError> {
        let Some(lock) = self.locks.try_lock(area, name).await? else {
            return Ok(Begun::Settled(ItemReport::new(area, name, Outcome::Locked)));
        };
        let meter = Meter::default();
        let bar = self.context.progress().watch(name, size_hint, meter.content_bytes.clone());
        Ok(Begun::Work(Work { meter, cancel: self.context.cancel().child_token(), lock, _bar: bar }))
    }

    /// The newest committed set of a name, by the listing alone.
    async fn newest(&self, area: Area, name: &str) -> Result<Option<Stamp>, BackupError> {
        let prefix = SetKey::group_prefix(area, name);
        let listing = listing::objects(&*self.target.store, &prefix).try_collect::<Vec<_>>();
        let listed = match self.context.cancel().run_until_cancelled(listing).await.ok_or(BackupError::Cancelled)? {
            // A directory that the first real run will make.
            Err(StoreError::NoSuchBucket(_)) if self.context.dry_run() && self.target.store.url().starts_with("file:") => Vec::new(),
            listed => listed?,
        };
        Ok(Inventory::read(listed).newest_committed(Utc::now()).map(|set| set.key.stamp))
    }

    /// Whether a rerun may leave it out.
    fn is_fresh(&self, newest: Option<Stamp>, unwanted: Option<Stamp>) -> bool {
        newest != unwanted
            && matches!((self.missing_within, newest), (Some(within), Some(newest)) if Utc::now() - newest.instant() < within)
    }
}

/// An item that was begun.
pub enum Begun {
    /// It needs no work, or gets none now.
    Settled(ItemReport),
    /// It is ours to make.
    Work(Work),
}

/// An item whose lock is held.
pub struct Work {
    /// How far it is.
    pub meter: Meter,
    /// Ends it early.
    pub cancel: CancellationToken,
    lock: ItemGuard,
    _bar: ItemProgress,
}

/// How long an item may clean up after it was cancelled. A store that says nothing must not keep a run that was told to stop:
/// what stays behind then is invisible, and the pruner sweeps it.
const CLEAN_UP: Duration = Duration::from_secs(5);

impl Work {
    /// Carries the work out; when the run is cancelled or the lock is lost, lets it clean up after itself for a while.
    ///
    /// # Errors
    /// Those of the work, or why it was ended.
    pub async fn watch<T>(&self, work: impl Future<Output = Result<T, BackupError>>) -> Result<T, BackupError> {
        tokio::pin!(work);
        let why = tokio::select! {
            result = &mut work => return result,
            () = self.lock.lost.cancelled() => BackupError::LockLost,
            () = self.cancel.cancelled() => BackupError::Cancelled,
        };
        self.cancel.cancel();
        match tokio::time::timeout(CLEAN_UP, work).await {
            Ok(Err(BackupError::Cancelled)) => Err(why),
            Ok(ended) => ended,
            Err(_elapsed) => {
                tracing::warn!(
                    "gave up cleaning up after {} s: an unfinished upload may stay until the pruner sweeps it",
                    CLEAN_UP.as_secs()
                );
                Err(why)
            }
        }
    }
}

/// The line of an item, whatever became of it.
pub fn settled(area: Area, name: &str, began: Instant, result: Result<ItemReport, BackupError>) -> ItemReport {
    let report = match result {
        Ok(report) => report,
        Err(BackupError::Cancelled) => ItemReport::new(area, name, Outcome::Cancelled),
        Err(error) if error.is_gone() => ItemReport::new(area, name, Outcome::Gone),
        Err(error) => ItemReport::failed(area, name, error),
    };
    report.took(began.elapsed())
}

/// The item's own columns, whatever became of it: what it is before what was found.
pub fn described(mut report: ItemReport, classified: &Classified, size: (&'static str, Option<u64>)) -> ItemReport {
    let found = std::mem::take(&mut report.fields);
    let mut report = report.field("class", classified.class.as_str()).field("label", classified.label.as_str()).field(size.0, size.1);
    report.fields.extend(found);
    match &classified.complaint {
        Some(complaint) => report.warning(format!("it is kept as unclassified, under the longest window: {complaint}")),
        None => report,
    }
}

/// The line of a committed set.
pub fn done(committed: Committed) -> ItemReport {
    let Committed { set, manifest, warnings } = committed;
    let verified = manifest.payload.volumes.last().map_or("", |volume| volume.verified.as_str());
    let report = ItemReport::new(manifest.area, &manifest.name, Outcome::Done)
        .key(set.to_string())
        .sizes(manifest.payload.stored_bytes, manifest.payload.content_bytes)
        .newest(set.stamp);
    let report = match manifest.database {
        Some(database) => report.field("rows", database.rows),
        None => report,
    };
    let report = match &manifest.filestore {
        Some(facts) => file_store(report, facts),
        None => report,
    };
    warnings.into_iter().fold(report.field("verified", verified), ItemReport::warning)
}

fn file_store(report: ItemReport, facts: &FileStoreFacts) -> ItemReport {
    let (damaged, missing, not_whole) = (facts.damaged.total, facts.missing.total, facts.not_whole.total);
    let some = |count: u64| (count > 0).then_some(count);
    let mut report = report
        .field("files", facts.files)
        .field("proven", facts.proven)
        .field("damaged", some(damaged))
        .field("missing", some(missing))
        .field("not whole", some(not_whole))
        .files(FileCounts { files: facts.files, damaged, missing, not_whole });
    if !facts.is_whole() {
        report.outcome = Outcome::Partial;
        let what = summary(&facts.not_whole, "not archived as they were");
        report.error = Some(format!("take all of it as it was: {what}; the manifest lists them; run the job again"));
    }
    report
}
