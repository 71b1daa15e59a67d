//! One database of a run: its lock, whether it is needed, its dump, its line in the report.

use std::time::{Duration, Instant};

use chrono::Utc;
use futures::TryStreamExt as _;
use plana_backup::{BackupError, Committed, DatabaseDump, Meter, dump_database};
use plana_harness::{ItemReport, Outcome};
use plana_pg::server::DatabaseInfo;
use plana_plan::{Area, SetKey, SetLabel, Stamp, dumps::PlannedDump, inventory::Inventory, name::printable};
use plana_storage::{StoreError, listing};
use tokio_util::sync::CancellationToken;

use crate::run::Run;

/// Dumps one database and reports what became of it. Never fails the run.
pub async fn dump(run: &Run<'_>, planned: &PlannedDump, databases: &[DatabaseInfo]) {
    let name = &planned.database.name;
    let report = match databases.iter().find(|database| database.name == *name) {
        Some(database) => item(run, planned, database).await,
        None => ItemReport::new(Area::Pg, name, Outcome::Gone),
    };
    run.context.report().item(described(report, planned));
}

/// The item's own columns, whatever became of it: what it is before what was found.
fn described(mut report: ItemReport, planned: &PlannedDump) -> ItemReport {
    let found = std::mem::take(&mut report.fields);
    let mut report = report
        .field("class", planned.classified.class.as_str())
        .field("label", planned.classified.label.as_str())
        .field("database bytes", planned.database.size_bytes);
    report.fields.extend(found);
    match &planned.classified.complaint {
        Some(complaint) => report.warning(format!("it is kept as unclassified, under the longest window: {complaint}")),
        None => report,
    }
}

async fn item(run: &Run<'_>, planned: &PlannedDump, database: &DatabaseInfo) -> ItemReport {
    let name = &database.name;
    if run.context.cancel().is_cancelled() {
        return ItemReport::new(Area::Pg, name, Outcome::Cancelled);
    }
    if let Some(obstacle) = database.obstacle(run.server.facts()) {
        return ItemReport::failed(Area::Pg, name, format!("dump {}: {obstacle}", printable(name)));
    }
    if run.context.dry_run() {
        return match newest(run, Area::Pg, name).await {
            Ok(newest) if is_fresh(run, newest) => ItemReport::new(Area::Pg, name, Outcome::Fresh).newest(newest),
            Ok(newest) => ItemReport::new(Area::Pg, name, Outcome::Planned).newest(newest),
            Err(error) => ItemReport::failed(Area::Pg, name, error),
        };
    }
    let began = Instant::now();
    let report = match backed_up(run, planned, database).await {
        Ok(Attempt::Committed(committed)) => done(*committed),
        Ok(Attempt::Locked) => ItemReport::new(Area::Pg, name, Outcome::Locked),
        Ok(Attempt::Fresh(newest)) => ItemReport::new(Area::Pg, name, Outcome::Fresh).newest(newest),
        Err(BackupError::Cancelled) => ItemReport::new(Area::Pg, name, Outcome::Cancelled),
        Err(error) if error.is_gone() || was_dropped(run, name, &error).await => ItemReport::new(Area::Pg, name, Outcome::Gone),
        Err(error) => ItemReport::failed(Area::Pg, name, error),
    };
    report.took(began.elapsed())
}

/// DROP DATABASE … WITH (FORCE) terminates the dump first, which then knows of a lost connection only.
///
/// Asked by connecting, since that waits for a DROP that is still at work, while the catalog still lists the database.
async fn was_dropped(run: &Run<'_>, name: &str, error: &BackupError) -> bool {
    let of_server = matches!(error, BackupError::Dump(_) | BackupError::Server(_));
    of_server && run.server.extensions(name).await.is_err_and(|error| error.is_gone())
}

enum Attempt {
    Committed(Box<Committed>),
    Locked,
    Fresh(Option<Stamp>),
}

async fn backed_up(run: &Run<'_>, planned: &PlannedDump, database: &DatabaseInfo) -> Result<Attempt, BackupError> {
    let name = &database.name;
    let Some(lock) = run.locks.try_lock(Area::Pg, name).await? else { return Ok(Attempt::Locked) };
    // Under the lock: another run may just have made the backup that this one would have missed.
    if run.missing_within.is_some() {
        let newest = newest(run, Area::Pg, name).await?;
        if is_fresh(run, newest) {
            return Ok(Attempt::Fresh(newest));
        }
    }
    let meter = Meter::default();
    let _bar = run.context.progress().watch(name, database.size_bytes, meter.content_bytes.clone());
    let dump = DatabaseDump {
        server: &run.server,
        pg_dump: &run.pg_dump,
        options: &run.options,
        database,
        area: Area::Pg,
        classified: &planned.classified,
        label: SetLabel::from(planned.classified.label.clone()),
    };
    let cancel = run.context.cancel().child_token();
    let work = dump_database(&run.target, &run.origin, &dump, &meter, &cancel);
    let committed = watched(work, &lock.lost, &cancel).await?;
    Ok(Attempt::Committed(Box::new(committed)))
}

/// How long an item may clean up after it was cancelled. A store that says nothing must not keep a run that was told to stop:
/// what stays behind then is invisible, and the pruner sweeps it.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// Carries the work out; when the run is cancelled or the lock is lost, lets it clean up after itself for a while.
pub async fn watched<T>(
    work: impl Future<Output = Result<T, BackupError>>,
    lost: &CancellationToken,
    cancel: &CancellationToken,
) -> Result<T, BackupError> {
    tokio::pin!(work);
    let why = tokio::select! {
        result = &mut work => return result,
        () = lost.cancelled() => BackupError::LockLost,
        () = cancel.cancelled() => BackupError::Cancelled,
    };
    cancel.cancel();
    match tokio::time::timeout(CLEAN_UP, work).await {
        Ok(Err(BackupError::Cancelled)) => Err(why),
        Ok(ended) => ended,
        Err(_elapsed) => {
            tracing::warn!("gave up cleaning up after {} s: an unfinished upload may stay until the pruner sweeps it", CLEAN_UP.as_secs());
            Err(why)
        }
    }
}

/// The newest committed set of a name, by the listing alone.
pub async fn newest(run: &Run<'_>, area: Area, name: &str) -> Result<Option<Stamp>, BackupError> {
    let prefix = SetKey::group_prefix(area, name);
    let listing = listing::objects(&*run.target.store, &prefix).try_collect::<Vec<_>>();
    let listed = match run.context.cancel().run_until_cancelled(listing).await.ok_or(BackupError::Cancelled)? {
        // A directory that the first real run will make.
        Err(StoreError::NoSuchBucket(_)) if run.context.dry_run() && run.target.store.url().starts_with("file:") => Vec::new(),
        listed => listed?,
    };
    Ok(Inventory::read(listed).newest_committed(Utc::now()).map(|set| set.key.stamp))
}

/// Whether a rerun may leave it out.
pub fn is_fresh(run: &Run<'_>, newest: Option<Stamp>) -> bool {
    matches!((run.missing_within, newest), (Some(within), Some(newest)) if Utc::now() - newest.instant() < within)
}

/// The line of a committed set.
pub fn done(committed: Committed) -> ItemReport {
    let Committed { set, manifest, warnings } = committed;
    let verified = manifest.payload.volumes.last().map_or("", |volume| volume.verified.as_str());
    let report = ItemReport::new(manifest.area, &manifest.name, Outcome::Done)
        .key(set.to_string())
        .sizes(manifest.payload.stored_bytes, manifest.payload.content_bytes)
        .newest(set.stamp);
    let report = warnings.into_iter().fold(report, ItemReport::warning);
    match manifest.database {
        Some(database) => report.field("rows", database.rows).field("verified", verified),
        None => report.field("verified", verified),
    }
}
