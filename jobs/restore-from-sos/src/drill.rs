//! `drill`: backups restored for nothing but the proof.

mod files;

use std::{collections::BTreeMap, path::PathBuf, sync::Mutex, time::Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use plana_drill::{Means, Place, Refusal, Source, failure, prove_database};
use plana_harness::{Context, Event, Failure, ItemReport, Outcome};
use plana_plan::{
    Area, SetKey,
    drill::{Proven, least_recently_proven},
    inventory::StoredSet,
    pgclient::PgVersion,
};
use plana_restore::{OpenSet, RestoreError, Restored, Wanted, groups, open_set};
use serde_json::json;

use crate::args::DrillArgs;
pub use files::drill_files;

/// Manifests that are read at the same time.
const AT_ONCE: usize = 16;

/// The state's document: when each name was last proven.
const PROVEN: &str = "proven";

/// What all drills of a run share.
struct Drill<'a> {
    context: &'a Context,
    source: Source,
    proven: Mutex<Proven>,
}

/// Restores the newest set of each name that is chosen, compares it, and drops it again.
///
/// # Errors
/// What ended the whole run; a backup that does not restore is an item of the report instead.
pub async fn drill(context: Context, args: DrillArgs, identity: Option<PathBuf>) -> Result<(), Failure> {
    let means = Means::find(&context, args.scratch_dsn.as_deref()).await?;
    let source = Source::open(&context, identity).await?;
    let proven = Mutex::new(context.state().read(PROVEN).unwrap_or_default());
    let drill = Drill { context: &context, source, proven };
    let newest = newest(&drill, &args).await.map_err(failure)?;
    let proven = drill.proven.lock().map(|proven| proven.clone()).unwrap_or_default();
    let chosen = least_recently_proven(newest.keys().map(String::as_str), &proven, args.sample);
    let sets: Vec<(&str, &SetKey)> = chosen.iter().filter_map(|name| Some((*name, &newest.get(*name)?.key))).collect();
    context.progress().expect("databases", sets.len() as u64);
    if context.dry_run() {
        stream::iter(sets).for_each_concurrent(AT_ONCE, |(name, set)| planned(&drill, name, set)).await;
        return Ok(());
    }
    if sets.is_empty() {
        return Ok(());
    }
    let newest_server = if matches!(means, Means::Own(_)) { newest_server(&drill, &sets).await } else { None };
    let place = Place::open(&context, means, args.as_superuser, newest_server).await.map_err(failure)?;
    stream::iter(sets).for_each_concurrent(args.jobs as usize, |(name, set)| item(&drill, &place, name, set)).await;
    place.close(&context).await;
    Ok(())
}

/// The newest version of the servers that the sets were dumped from. What cannot be read says so when its turn comes.
async fn newest_server(drill: &Drill<'_>, sets: &[(&str, &SetKey)]) -> Option<PgVersion> {
    let versions: Vec<_> = sets.iter().map(|(_, key)| server_of(drill, key)).collect();
    stream::iter(versions).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.into_iter().flatten().max()
}

async fn server_of(drill: &Drill<'_>, key: &SetKey) -> Option<PgVersion> {
    let set = open_set(&drill.source.store, key).await.ok()?;
    set.manifest.database?.server_version.parse().ok()
}

/// The newest committed set of each name that is wanted.
async fn newest(drill: &Drill<'_>, args: &DrillArgs) -> Result<BTreeMap<String, StoredSet>, Refusal> {
    let wanted = Wanted { areas: vec![Area::Pg], name: args.only.clone() };
    let found: Vec<_> = groups(&drill.source.store, &wanted).try_collect().await?;
    let now = drill.context.now();
    let newest = found.into_iter().filter_map(|group| Some((group.name, group.inventory.newest_committed(now)?.clone())));
    let newest: BTreeMap<_, _> = newest.collect();
    if newest.is_empty() {
        // A drill that proves nothing must not look like one that did.
        let what = args.only.as_ref().map_or_else(|| "any database".to_owned(), |only| format!("what --only {only} means"));
        let error = format!("find a backup of {what}: there is none; look at `list`, and at the store's URL");
        drill.context.report().item(ItemReport::failed(Area::Pg, args.only.as_ref().map_or("*", |only| only.as_str()), error));
    }
    Ok(newest)
}

/// What would be done.
async fn planned(drill: &Drill<'_>, name: &str, key: &SetKey) {
    let report = match open_set(&drill.source.store, key).await {
        Ok(set) => report_of(&set, name, Outcome::Planned),
        Err(error) => ItemReport::failed(key.area, name, error),
    };
    drill.context.report().item(report.key(key.to_string()));
}

fn report_of(set: &OpenSet, name: &str, outcome: Outcome) -> ItemReport {
    let (key, payload) = (&set.key, &set.manifest.payload);
    ItemReport::new(key.area, name, outcome)
        .field("set", format!("{}.{}.{}", key.stamp, key.label, key.id))
        .sizes(payload.stored_bytes, payload.content_bytes)
}

async fn item(drill: &Drill<'_>, place: &Place, name: &str, key: &SetKey) {
    let began = Instant::now();
    let report = match restored(drill, place, name, key).await {
        Ok(report) => report,
        Err(RestoreError::Cancelled) => ItemReport::new(key.area, name, Outcome::Cancelled),
        Err(error) => {
            let data = json!({ "set": key.to_string(), "error": error.to_string() });
            drill.context.events().send(Event::about("drill.failed", format!("{}/{name}", key.area), data));
            ItemReport::failed(key.area, name, error)
        }
    };
    drill.context.report().item(report.key(key.to_string()).took(began.elapsed()));
}

async fn restored(drill: &Drill<'_>, place: &Place, name: &str, key: &SetKey) -> Result<ItemReport, RestoreError> {
    let Drill { context, source, .. } = drill;
    if context.cancel().is_cancelled() {
        return Err(RestoreError::Cancelled);
    }
    let set = open_set(&source.store, key).await?;
    let began = Instant::now();
    let Restored { rows, tables, warnings, .. } = prove_database(context, source, place, &set).await?;
    let now = context.now();
    remember(drill, name, now);
    let data = json!({ "set": key.to_string(), "rows": rows, "tables": tables, "seconds": began.elapsed().as_secs_f64() });
    context.events().send(Event::about("drill.passed", format!("{}/{name}", key.area), data));
    let report = report_of(&set, name, Outcome::Done).field("rows", rows).field("tables", tables).proven(now);
    Ok(set.warnings.iter().cloned().chain(warnings).fold(report, ItemReport::warning))
}

/// At once: a run that is cut later keeps what it has proven.
fn remember(drill: &Drill<'_>, name: &str, at: chrono::DateTime<chrono::Utc>) {
    if let Ok(mut proven) = drill.proven.lock() {
        proven.insert(name.to_owned(), at);
        drill.context.state().write(PROVEN, &*proven);
    }
}
