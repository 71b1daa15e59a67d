//! `drill`: backups restored for nothing but the proof.

use std::{collections::BTreeMap, path::PathBuf, sync::Mutex, time::Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use plana_backup::setup;
use plana_harness::{Context, Event, Failure, ItemReport, Outcome};
use plana_pg::{
    client::{Installed, Program},
    restore::RestoreOptions,
    scratch::Admin,
};
use plana_plan::{
    Area, SetKey,
    drill::{Proven, least_recently_proven},
    inventory::StoredSet,
};
use plana_restore::{DatabaseRestore, Purpose, ReadMeter, RestoreError, Restored, Wanted, groups, open_set, restore_database};
use serde_json::json;

use crate::{
    JOB,
    args::DrillArgs,
    error::{Refusal, failure},
    restore::refuse_superuser,
    source::Source,
};

/// The state's document: when each name was last proven.
const PROVEN: &str = "proven";

/// Where drills restore, and what they remember.
struct Drill<'a> {
    context: &'a Context,
    source: Source,
    admin: Admin,
    pg_restore: Installed,
    proven: Mutex<Proven>,
}

/// Restores the newest set of each name that is chosen, compares it, and drops it again.
///
/// # Errors
/// What ended the whole run; a backup that does not restore is an item of the report instead.
pub async fn drill(context: Context, args: DrillArgs, identity: Option<PathBuf>) -> Result<(), Failure> {
    let drill = open(&context, &args, identity).await?;
    let newest = newest(&drill, &args).await.map_err(failure)?;
    let proven = drill.proven.lock().map(|proven| proven.clone()).unwrap_or_default();
    let chosen = least_recently_proven(newest.keys().map(String::as_str), &proven, args.sample);
    context.progress().expect("databases", chosen.len() as u64);
    let sets = chosen.iter().filter_map(|name| Some((*name, newest.get(*name)?)));
    stream::iter(sets).for_each_concurrent(args.jobs as usize, |(name, set)| item(&drill, name, &set.key)).await;
    Ok(())
}

async fn open<'a>(context: &'a Context, args: &DrillArgs, identity: Option<PathBuf>) -> Result<Drill<'a>, Failure> {
    let (config, env) = (context.config(), context.env());
    let source = Source::open(context, identity).await?;
    let dsn = match &args.scratch_dsn {
        Some(dsn) => Some(setup::shown_dsn(dsn).map_err(Refusal::from).map_err(failure)?),
        None => config.scratch_dsn(env)?,
    };
    let Some(dsn) = dsn else {
        return Err(Failure::bad_config(
            "find a server to restore on: set restore.scratch_dsn or give --scratch-dsn; let it be another than the one that is backed up",
        ));
    };
    let opened = async {
        let settings = setup::connection(config, env, JOB, Some(&dsn))?;
        let server = setup::connect(config, &settings).await?;
        refuse_superuser(&server, args.as_superuser)?;
        let pg_restore = setup::find_client(config, env, Program::PgRestore, &server).await?.client;
        Ok::<_, Refusal>((Admin::new(server), pg_restore))
    };
    let (admin, pg_restore) = opened.await.map_err(failure)?;
    let proven = Mutex::new(context.state().read(PROVEN).unwrap_or_default());
    Ok(Drill { context, source, admin, pg_restore, proven })
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

async fn item(drill: &Drill<'_>, name: &str, key: &SetKey) {
    let began = Instant::now();
    let report = match restored(drill, name, key).await {
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

async fn restored(drill: &Drill<'_>, name: &str, key: &SetKey) -> Result<ItemReport, RestoreError> {
    let Drill { context, source, admin, pg_restore, .. } = drill;
    if context.cancel().is_cancelled() {
        return Err(RestoreError::Cancelled);
    }
    let config = context.config();
    let set = open_set(&source.store, key).await?;
    let payload = &set.manifest.payload;
    let report = |outcome| {
        ItemReport::new(key.area, name, outcome)
            .field("set", format!("{}.{}.{}", key.stamp, key.label, key.id))
            .sizes(payload.stored_bytes, payload.content_bytes)
    };
    if context.dry_run() {
        return Ok(report(Outcome::Planned));
    }
    let meter = ReadMeter::default();
    let _bar = context.progress().watch(name, Some(payload.stored_bytes), meter.stored_bytes.clone());
    // The scratch server knows none of the owners: what is proven is the data and that it restores.
    let options = RestoreOptions { jobs: config.restore.jobs, no_owner: true, no_privileges: true, ..RestoreOptions::default() };
    let keys: Vec<String> = set.manifest.requires_key.iter().map(|key| key.name.clone()).collect();
    let began = Instant::now();
    let Restored { rows, tables, warnings, .. } = restore_database(&DatabaseRestore {
        reading: source.reading(context, &set, &meter),
        admin,
        pg_restore,
        options,
        scratch_prefix: &config.dump.scratch_prefix,
        spool: config.restore.spool_dir.as_deref(),
        hook: None,
        keep_failed: false,
        keys_at_hand: &keys,
        purpose: Purpose::Drill,
    })
    .await?;
    let now = context.now();
    remember(drill, name, now);
    let data = json!({ "set": key.to_string(), "rows": rows, "tables": tables, "seconds": began.elapsed().as_secs_f64() });
    context.events().send(Event::about("drill.passed", format!("{}/{name}", key.area), data));
    let report = report(Outcome::Done).field("rows", rows).field("tables", tables).proven(now);
    Ok(set.warnings.iter().cloned().chain(warnings).fold(report, ItemReport::warning))
}

/// At once: a run that is cut later keeps what it has proven.
fn remember(drill: &Drill<'_>, name: &str, at: chrono::DateTime<chrono::Utc>) {
    if let Ok(mut proven) = drill.proven.lock() {
        proven.insert(name.to_owned(), at);
        drill.context.state().write(PROVEN, &*proven);
    }
}
