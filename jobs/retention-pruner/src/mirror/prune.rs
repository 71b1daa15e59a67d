//! A run on a mirror: guards, a plan, and what becomes of it.

use std::time::Instant;

use futures::{StreamExt as _, stream};
use plana_harness::{Context, Event, Failure, ItemKind, ItemReport, Outcome, Retained, human};
use plana_plan::{
    mirror::{MirrorPlan, RepositoryPlan},
    name::printable,
    retention::Unfinished,
    select::Selection,
};
use serde_json::{Value, json};

use super::{
    MIRROR_JOB, MirrorArgs, MirrorPruner,
    apply::AppliedRepository,
    opened::{self, Opened, Planned},
};
use crate::{apply::Applied, error::RunError, memory::Memory, setup, uploads};

/// Repositories that are worked on at the same time.
const AT_ONCE: usize = 8;
/// How many unknown keys, and repositories that are not understood, are named.
const NAMED: usize = 5;

/// Deletes what may go.
///
/// # Errors
/// What ended the whole run; what could not be deleted of a repository is an item of the report instead.
pub async fn prune(context: Context, args: MirrorArgs) -> Result<(), Failure> {
    Ok(run(&context, &args).await?)
}

async fn run(context: &Context, args: &MirrorArgs) -> Result<(), RunError> {
    // Nothing is changed until there is a plan: a signal need not wait for a store.
    let Some(prepared) = context.cancel().run_until_cancelled(prepare(context, args)).await else { return Ok(()) };
    let (opened, planned, _lock) = prepared?;
    let Planned { plan, mut contents, is_versioned, .. } = planned;
    warnings(&plan).into_iter().for_each(|warning| context.report().warn(warning));
    let alarms = alarms(&plan);
    if !alarms.is_empty() {
        context.events().send(Event::new("retention.alarm", json!({ "store": opened.store.url(), "alarms": alarms })));
    }
    context.progress().expect("repositories", plan.repositories.len() as u64);
    keep_inventory(context, &opened, plan.manifests().saturating_sub(plan.doomed().count() as u64));
    let pruner = MirrorPruner { store: opened.store.clone(), mode: opened.mode, is_versioned };
    let works: Vec<_> = plan.repositories.iter().map(|repository| apply(context, &pruner, repository, &contents)).collect();
    let deleted: u64 = stream::iter(works).buffer_unordered(AT_ONCE).collect::<Vec<u64>>().await.into_iter().sum();
    keep_inventory(context, &opened, plan.manifests().saturating_sub(deleted));
    if context.cancel().is_cancelled() {
        return Ok(());
    }
    blobs(context, &pruner, &plan, &mut contents).await;
    context.report().saw_all(&Selection::default());
    if context.cancel().is_cancelled() { Ok(()) } else { sweep(&opened, &plan).await }
}

/// Remembers how many manifests are left, before any goes as planned, so that what a run deletes that is killed is not what the next
/// one misses.
fn keep_inventory(context: &Context, opened: &Opened, manifests: u64) {
    Memory::keep_inventory(context.state(), MIRROR_JOB, opened.store.url(), manifests, context.started_at());
}

async fn prepare(context: &Context, args: &MirrorArgs) -> Result<(Opened, Planned, std::fs::File), RunError> {
    let opened = Opened::new(context).await?;
    opened::require_permission(context, &opened)?;
    setup::require_same_clock(context, &opened.store).await?;
    let lock = setup::lock(context, opened.store.url())?;
    let planned = opened.plan(context, args).await?;
    if let Some(warning) = opened::require_ledger(context, &planned)? {
        context.report().warn(warning);
    }
    if !args.accept_shrink {
        opened::require_no_shrink(context, &opened, &planned)?;
    }
    Ok((opened, planned, lock))
}

/// Deletes what may go of a repository, and gives how many manifests went.
async fn apply(
    context: &Context,
    pruner: &MirrorPruner,
    plan: &RepositoryPlan,
    contents: &std::collections::BTreeMap<plana_plan::mirror::Digest, plana_plan::mirror::Content>,
) -> u64 {
    let began = Instant::now();
    let applied = pruner.apply(plan, contents, context.cancel()).await;
    let AppliedRepository { of, tags, layers } = &applied;
    let kept = (plan.revisions.len() as u64).saturating_sub(of.deleted + of.gone);
    let mut item = ItemReport::new(ItemKind::MirrorRepository, &plan.name, outcome(of))
        .field("kept", kept)
        .field("deleted", of.deleted)
        .field("tags", *tags)
        .field("links", *layers)
        .field("swept", of.swept)
        .field("standing", if plan.unclear.is_some() { "unclear" } else { "" });
    item.error = of.error();
    item = with_locked(item, of);
    for name in &of.changed {
        item = item.warning(format!("something was pushed into {name} or tagged there since the plan: it is left to the next run"));
    }
    if applied != AppliedRepository::default() {
        item = item.took(began.elapsed());
    }
    context.report().item(item);
    of.deleted + of.gone
}

fn outcome(applied: &Applied) -> Outcome {
    match (applied.failed > 0, applied.objects > 0) {
        (true, true) => Outcome::Partial,
        (true, false) => Outcome::Failed,
        (false, _) if applied.cancelled => Outcome::Cancelled,
        (false, _) => Outcome::Done,
    }
}

fn with_locked(item: ItemReport, applied: &Applied) -> ItemReport {
    if applied.locked == 0 {
        return item;
    }
    let locked = human::count(applied.locked as usize, "object");
    item.warning(format!("{locked} locked by the store: they go in a run after their locks have run out"))
}

async fn blobs(
    context: &Context,
    pruner: &MirrorPruner,
    plan: &MirrorPlan,
    contents: &mut std::collections::BTreeMap<plana_plan::mirror::Digest, plana_plan::mirror::Content>,
) {
    let began = Instant::now();
    let doomed: Vec<_> = plan.doomed_blobs().collect();
    let all_bytes: u64 = plan.blobs.iter().map(|blob| blob.facts.bytes).sum();
    let applied = pruner.delete_blobs(&doomed, contents, context.cancel()).await;
    let kept = (plan.blobs.len() as u64).saturating_sub(applied.deleted + applied.gone);
    let kept_bytes = all_bytes.saturating_sub(applied.freed_bytes);
    let mut item = ItemReport::new(ItemKind::MirrorBlobs, "blobs", outcome(&applied))
        .field("kept", kept)
        .field("deleted", applied.deleted)
        .field("freed bytes", applied.freed_bytes)
        .retained(Retained { kept_bytes, freed_bytes: applied.freed_bytes, ..Retained::default() });
    item.error = applied.error();
    item = with_locked(item, &applied);
    if !applied.changed.is_empty() {
        let count = human::count(applied.changed.len(), "blob");
        item = item.warning(format!("{count} needed again, or changed, since the plan: left alone"));
    }
    context.report().item(item.took(began.elapsed()));
}

/// Multipart uploads of a registry that nobody finished.
async fn sweep(opened: &Opened, plan: &MirrorPlan) -> Result<(), RunError> {
    let doomed = plan.multipart.iter().filter(|(_, goes)| *goes).map(|(upload, _): &(Unfinished, bool)| upload);
    let (aborted, errors) = uploads::sweep(&opened.store, doomed).await;
    tracing::info!(aborted, "unfinished uploads that were left behind are gone");
    match errors.first() {
        None => Ok(()),
        Some(first) => Err(RunError::NotSwept { count: errors.len(), first: first.to_string() }),
    }
}

/// Every warning that a plan brings.
pub fn warnings(plan: &MirrorPlan) -> Vec<String> {
    let mut warnings = Vec::new();
    let unclear: Vec<(&str, usize, &str)> = plan
        .repositories
        .iter()
        .filter_map(|one| one.unclear.as_ref().map(|(count, why)| (one.name.as_str(), *count, why.as_str())))
        .collect();
    for (name, count, why) in unclear.iter().take(NAMED) {
        let more = if *count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        warnings.push(format!("all of {name} is kept, since {why}{more}; delete what cannot be read from the registry, or leave it"));
    }
    if unclear.len() > NAMED {
        warnings
            .push(format!("all of {} more repositories is kept likewise (all of them: --dry-run --output json)", unclear.len() - NAMED));
    }
    if !plan.unknown.is_empty() {
        let named: Vec<String> = plan.unknown.iter().take(NAMED).map(|(key, _)| printable(key)).collect();
        let more = if plan.unknown.len() > NAMED { ", …" } else { "" };
        let count = human::count(plan.unknown.len(), "object");
        warnings.push(format!("{count} unknown, and kept: {}{more} (all of them: --dry-run --output json)", named.join(", ")));
    }
    for (remaining, what, key) in
        [(plan.remaining_manifests, "manifests", "mirror.max_manifests"), (plan.remaining_blobs, "blobs", "mirror.max_blobs")]
    {
        if remaining > 0 {
            warnings.push(format!("{remaining} more {what} may go, and are left to later runs ({key})"));
        }
    }
    warnings
}

/// The repositories that are not understood, as data.
pub fn alarms(plan: &MirrorPlan) -> Vec<Value> {
    let unclear = plan.repositories.iter().filter_map(|one| Some((one, one.unclear.as_ref()?)));
    unclear.map(|(one, (count, why))| json!({ "alarm": "unclear", "name": one.name, "count": count, "why": why })).collect()
}
