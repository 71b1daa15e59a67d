//! `check`: sets read back to their ends.

use std::{path::PathBuf, time::Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use plana_drill::{Refusal, Source, failure};
use plana_harness::{Context, Failure, ItemReport, Outcome};
use plana_plan::{Area, SetKey, name::printable};
use plana_restore::{OpenSet, ReadMeter, RestoreError, Wanted, check_set, groups, open_set};

use crate::{
    args::{CheckArgs, KeyArgs},
    keys,
};

/// Reads each set back and compares everything with its manifest.
///
/// # Errors
/// What ended the whole run; a set that is not whole is an item of the report instead.
pub async fn check(context: Context, args: CheckArgs, identity: Option<PathBuf>) -> Result<(), Failure> {
    let source = Source::open(&context, identity).await?;
    let mut sets = args.sets.clone();
    sets.extend(latest(&context, &source, &args).await?);
    context.progress().expect("sets", sets.len() as u64);
    stream::iter(&sets).for_each_concurrent(args.jobs as usize, |set| item(&context, &source, &args.keys, set)).await;
    Ok(())
}

/// The newest committed set of each name.
async fn latest(context: &Context, source: &Source, args: &CheckArgs) -> Result<Vec<SetKey>, Failure> {
    let areas = if args.area.is_empty() { vec![Area::Pg, Area::Globals] } else { args.area.clone() };
    let mut sets = Vec::new();
    for pattern in &args.latest {
        let wanted = Wanted { areas: areas.clone(), name: Some(pattern.clone()) };
        let found: Vec<_> = groups(&source.store, &wanted).try_collect().await.map_err(Refusal::from).map_err(failure)?;
        let before = sets.len();
        sets.extend(found.iter().filter_map(|group| group.inventory.newest_committed(context.now())).map(|set| set.key.clone()));
        if sets.len() == before {
            let error = format!("find a backup of what --latest {} means: there is none; look at `list`", printable(pattern.as_str()));
            context.report().item(ItemReport::failed(areas[0], pattern.as_str(), error));
        }
    }
    sets.sort();
    sets.dedup();
    Ok(sets)
}

async fn item(context: &Context, source: &Source, keys: &KeyArgs, key: &SetKey) {
    let name = key.plain_name().unwrap_or_else(|_| key.encoded_name.clone());
    let began = Instant::now();
    let report = match with_keys(context, source, keys, key, &name).await {
        Ok(report) => report,
        Err(RestoreError::Cancelled) => ItemReport::new(key.area, &name, Outcome::Cancelled),
        Err(error) => ItemReport::failed(key.area, &name, error),
    };
    context.report().item(report.key(key.to_string()).took(began.elapsed()));
}

/// The same with the keys that it needs, as far as they are at hand.
async fn with_keys(context: &Context, source: &Source, keys: &KeyArgs, key: &SetKey, name: &str) -> Result<ItemReport, RestoreError> {
    let set = open_set(&source.store, key).await?;
    let warnings = keys::compare(context, keys, &set).await?;
    Ok(warnings.into_iter().fold(read_back(context, source, set, name).await?, ItemReport::warning))
}

/// Reads a set back and compares everything with its manifest; on a dry run it says what would be read.
pub async fn checked(context: &Context, source: &Source, key: &SetKey, name: &str) -> Result<ItemReport, RestoreError> {
    if context.cancel().is_cancelled() {
        return Err(RestoreError::Cancelled);
    }
    read_back(context, source, open_set(&source.store, key).await?, name).await
}

async fn read_back(context: &Context, source: &Source, set: OpenSet, name: &str) -> Result<ItemReport, RestoreError> {
    let (key, payload) = (&set.key, &set.manifest.payload);
    if context.dry_run() {
        return Ok(ItemReport::new(key.area, name, Outcome::Planned).sizes(payload.stored_bytes, payload.content_bytes));
    }
    let meter = ReadMeter::default();
    let _bar = context.progress().watch(name, Some(payload.stored_bytes), meter.stored_bytes.clone());
    let checked = check_set(source.reading(context, &set, &meter)).await?;
    let report = ItemReport::new(key.area, name, Outcome::Done)
        .field("set", format!("{}.{}.{}", key.stamp, key.label, key.id))
        .field("rows", checked.rows)
        .field("files", checked.files)
        .field("proven", checked.proven)
        .sizes(checked.stored_bytes, checked.content_bytes);
    Ok(set.warnings.into_iter().chain(checked.warnings).fold(report, ItemReport::warning))
}
