//! Drills of file stores: read to their ends, every file compared with its name. Nothing touches the disk.

use std::{collections::BTreeMap, path::PathBuf, sync::Mutex, time::Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use plana_drill::{Refusal, Source, failure};
use plana_harness::{Context, Event, Failure, ItemReport, Outcome};
use plana_plan::{
    Area, SetKey,
    drill::{Proven, least_recently_proven},
};
use plana_restore::{RestoreError, Wanted, groups};
use serde_json::json;

use crate::{args::DrillArgs, check::checked};

struct Drill<'a> {
    context: &'a Context,
    source: Source,
    /// The state's document: when each name was last proven.
    document: String,
    proven: Mutex<Proven>,
}

/// Proves the newest file store of each name that is chosen, the least recently proven first.
///
/// # Errors
/// What ended the whole run; a file store that is not whole is an item of the report instead.
pub async fn drill_files(context: Context, args: DrillArgs, identity: Option<PathBuf>) -> Result<(), Failure> {
    if !matches!(args.area, Area::Filestore | Area::InsuranceFilestore) {
        let what =
            format!("drill the area {}: only databases (pg) and file stores (filestore, insurance-filestore) are drilled", args.area);
        return Err(failure(RestoreError::Refused(what).into()));
    }
    let source = Source::open(&context, identity).await?;
    let wanted = Wanted { areas: vec![args.area], name: args.only.clone() };
    let found: Vec<_> = groups(&source.store, &wanted).try_collect().await.map_err(Refusal::from).map_err(failure)?;
    let newest = found.into_iter().filter_map(|group| Some((group.name, group.inventory.newest_committed(context.now())?.key.clone())));
    let newest: BTreeMap<String, SetKey> = newest.collect();
    if newest.is_empty() {
        // A drill that proves nothing must not look like one that did.
        let error = "find a file store to prove: there is none; look at `list --area filestore`, and at the store's URL";
        context.report().item(ItemReport::failed(args.area, args.only.as_ref().map_or("*", |only| only.as_str()), error));
    }
    let document = format!("proven-{}", args.area);
    let proven: Proven = context.state().read(&document).unwrap_or_default();
    let chosen = least_recently_proven(newest.keys().map(String::as_str), &proven, args.sample);
    context.progress().expect("file stores", chosen.len() as u64);
    let drill = Drill { context: &context, source, document, proven: Mutex::new(proven) };
    let sets = chosen.iter().filter_map(|name| Some((*name, newest.get(*name)?)));
    stream::iter(sets).for_each_concurrent(args.jobs as usize, |(name, set)| item(&drill, name, set)).await;
    Ok(())
}

async fn item(drill: &Drill<'_>, name: &str, key: &SetKey) {
    let (context, began) = (drill.context, Instant::now());
    let about = format!("{}/{name}", key.area);
    let report = match checked(context, &drill.source, key, name).await {
        Ok(report) if report.outcome == Outcome::Done => {
            let now = context.now();
            if let Ok(mut proven) = drill.proven.lock() {
                proven.insert(name.to_owned(), now);
                context.state().write(&drill.document, &*proven);
            }
            let data = json!({ "set": key.to_string(), "seconds": began.elapsed().as_secs_f64() });
            context.events().send(Event::about("drill.passed", about, data));
            report.proven(now)
        }
        Ok(report) => report,
        Err(RestoreError::Cancelled) => ItemReport::new(key.area, name, Outcome::Cancelled),
        Err(error) => {
            let data = json!({ "set": key.to_string(), "error": error.to_string() });
            context.events().send(Event::about("drill.failed", about, data));
            ItemReport::failed(key.area, name, error)
        }
    };
    context.report().item(report.key(key.to_string()).took(began.elapsed()));
}
