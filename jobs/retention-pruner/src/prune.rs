//! A run: guards, a plan, and what becomes of it.

use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use plana_harness::{Context, Event, Failure, ItemReport, Outcome, Retained, human};
use plana_plan::{
    retention::{GroupPlan, Plan, Standing, Stock},
    select::Selection,
};
use plana_storage::StoreError;
use serde_json::json;

use crate::{
    JOB, PlanArgs, alarms,
    apply::{Applied, Pruner, delete_listed},
    error::RunError,
    listing::below,
    memory::Memory,
    setup::{self, Opened, Planned},
    uploads,
};

/// Names that are worked on at the same time.
const AT_ONCE: usize = 8;

/// Deletes what may go.
///
/// # Errors
/// What ended the whole run, or kept it from sweeping; what could not be deleted of a name is an item of the report instead.
pub async fn prune(context: Context, args: PlanArgs) -> Result<(), Failure> {
    Ok(run(&context, &args).await?)
}

async fn run(context: &Context, args: &PlanArgs) -> Result<(), RunError> {
    // Nothing is changed until there is a plan: a signal need not wait for a store.
    let Some(prepared) = context.cancel().run_until_cancelled(prepare(context, args)).await else { return Ok(()) };
    let (opened, planned, _lock) = prepared?;
    let Planned { plan, is_versioned, .. } = &planned;
    alarms::warnings(plan).into_iter().for_each(|warning| context.report().warn(warning));
    if !plan.alarms.is_empty() {
        context.events().send(Event::new("retention.alarm", json!({ "store": opened.store.url(), "alarms": alarms::data(plan) })));
    }
    context.progress().expect("names", plan.groups.len() as u64);
    let go = plan.doomed().filter(|(_, set)| set.facts.is_committed()).count() as u64;
    keep_inventory(context, &opened, plan.committed().saturating_sub(go));
    let pruner = Pruner { store: opened.store.clone(), mode: opened.mode, is_versioned: *is_versioned, keys: opened.keys.clone() };
    let works: Vec<_> = plan.groups.iter().map(|group| apply(context, &pruner, group)).collect();
    let deleted: u64 = stream::iter(works).buffer_unordered(AT_ONCE).collect::<Vec<u64>>().await.into_iter().sum();
    context.report().saw_all(&Selection::default());
    keep_inventory(context, &opened, plan.committed().saturating_sub(deleted));
    if context.cancel().is_cancelled() { Ok(()) } else { sweep(&opened, &pruner, plan).await }
}

/// Remembers how many backups are left, before any goes as planned, so that what a run deletes that is killed is not what the next
/// one misses.
fn keep_inventory(context: &Context, opened: &Opened, committed: u64) {
    Memory::keep_inventory(context.state(), JOB, opened.store.url(), committed, context.started_at());
}

async fn prepare(context: &Context, args: &PlanArgs) -> Result<(Opened, Planned, std::fs::File), RunError> {
    let opened = Opened::new(context).await?;
    setup::require_permission(context, &opened)?;
    setup::require_same_clock(context, &opened.store).await?;
    let lock = setup::lock(context, opened.store.url())?;
    let planned = opened.plan(context, args).await?;
    if !args.accept_shrink {
        setup::require_no_shrink(context, &opened, &planned)?;
    }
    Ok((opened, planned, lock))
}

/// Deletes what may go of a name, and gives how many backups went.
async fn apply(context: &Context, pruner: &Pruner, group: &GroupPlan) -> u64 {
    let began = Instant::now();
    let applied = pruner.apply(group, context.cancel()).await;
    let mut item = item(group, &applied);
    if applied != Applied::default() {
        item = item.took(began.elapsed());
    }
    context.report().item(item);
    applied.deleted + applied.gone
}

fn item(group: &GroupPlan, applied: &Applied) -> ItemReport {
    let outcome = match (applied.failed > 0, applied.objects > 0) {
        (true, true) => Outcome::Partial,
        (true, false) => Outcome::Failed,
        (false, _) if applied.cancelled => Outcome::Cancelled,
        (false, _) => Outcome::Done,
    };
    let kept_bytes = group.sets.iter().map(|set| set.facts.bytes).sum::<u64>().saturating_sub(applied.freed_bytes);
    let frozen = matches!(group.standing, Standing::Frozen { .. });
    let committed = group.sets.iter().filter(|set| set.facts.is_committed()).count() as u64;
    let retained =
        Retained { oldest: oldest_left(group, applied), newest: group.newest, frozen, kept_bytes, freed_bytes: applied.freed_bytes };
    let mut item = ItemReport::new(group.key.area, group.key.plain_name(), outcome)
        .field("kept", committed.saturating_sub(applied.deleted + applied.gone))
        .field("deleted", applied.deleted)
        .field("swept", applied.swept)
        .field("freed bytes", applied.freed_bytes)
        .field("standing", standing(group))
        .retained(retained);
    item.error = applied.error();
    if applied.locked > 0 {
        item = item.warning(format!(
            "{} locked by the store: their sets go in a run after their locks have run out",
            human::count(applied.locked as usize, "object")
        ));
    }
    let changed = applied.changed.iter();
    changed.fold(item, |item, set| item.warning(format!("{set} is not as it was planned, and is left to the next run")))
}

/// The oldest backup that is left, where all went as planned; else the oldest that there was.
fn oldest_left(group: &GroupPlan, applied: &Applied) -> Option<plana_plan::Stamp> {
    if applied.failed > 0 || applied.cancelled || !applied.changed.is_empty() {
        return group.oldest;
    }
    group.sets.iter().find(|set| set.facts.is_committed() && !set.verdict.is_delete()).map(|set| set.id.stamp)
}

/// What guards a name, in one word; nothing where nothing is special.
pub fn standing(group: &GroupPlan) -> &'static str {
    match group.standing {
        Standing::Guarded | Standing::Unguarded => "",
        Standing::Frozen { .. } => "frozen",
        Standing::Retired(_) => "retired",
    }
}

/// Probes and uploads that were left behind.
async fn sweep(opened: &Opened, pruner: &Pruner, plan: &Plan) -> Result<(), RunError> {
    let doomed = plan.uploads.iter().filter(|upload| upload.verdict.is_delete()).map(|planned| &planned.upload);
    let (aborted, mut errors) = uploads::sweep(&opened.store, doomed).await;
    let doomed: Vec<_> = plan.probes.iter().filter(|probe| probe.verdict.is_delete()).collect();
    let mut swept = 0;
    if !doomed.is_empty() {
        let listed: Vec<_> = below(&*opened.store, opened.mode, "probe/").try_collect().await?;
        let mut now = Stock::new(opened.keys.clone(), 0);
        listed.iter().for_each(|one| now.add(one.entry()));
        let same = |key: &str| {
            doomed
                .iter()
                .any(|probe| probe.key == key && now.probes.get(key).is_some_and(|now| now.latest_change == probe.loose.latest_change))
        };
        let batch: Vec<_> = listed.into_iter().filter(|one| same(&one.key)).collect();
        let outcomes = delete_listed(&pruner.store, pruner.is_versioned, &batch).await?;
        swept = outcomes.iter().filter(|result| result.is_ok()).count();
        errors.extend(outcomes.into_iter().filter_map(Result::err));
    }
    tracing::info!(aborted, swept, "unfinished uploads and probes that were left behind are gone");
    let count = errors.len();
    match errors.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(RunError::NotSwept { count, first: StoreError::to_string(&first) }),
    }
}
