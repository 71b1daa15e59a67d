//! Makes the coming partitions of time-partitioned tables, and retires the expired ones, while everybody else goes on.

mod archive;
mod args;
mod check;
mod managed;
mod roll;
mod run;
mod show;

pub use args::{Args, Command, JOB};
pub use check::check;
pub use show::show;

use std::collections::BTreeMap;

use plana_harness::{Context, Failure, ItemReport};
use plana_plan::{Area, partition::runway};
use tokio_util::sync::CancellationToken;

use crate::{managed::Managed, roll::Roll, run::Run};

/// Does the job's work once. First every table gets the partitions that it misses, and only then anything is retired: what
/// goes wrong with the old never keeps the new from being made. What is wrong with one table stops no other.
///
/// # Errors
/// What ended the whole run, or a guard rail that held for a table; other failures are items of the report.
pub async fn execute(context: Context, args: Args) -> Result<(), Failure> {
    // Until something is begun there is nothing to clean up: a signal need not wait for a server.
    let Some(opened) = context.cancel().run_until_cancelled(Run::open(&context, &args)).await else { return Ok(()) };
    let mut run = opened?;
    let (_locks, lock) = run.lock().await?;
    let stop = stop_when(context.cancel().child_token(), lock.lost());
    // Another run may have done all of it while we waited for the lock.
    run.look_again(&context, &args).await?;
    tell_of_selection(&context, &run);

    let mut rolls: BTreeMap<u32, Roll> = BTreeMap::new();
    context.progress().expect("tables", run.selected.tables.len() as u64);
    for managed in run.selected.tables.clone() {
        let roll = rolls.entry(managed.table.oid).or_default();
        if !stop.is_cancelled() {
            roll.make(&context, &mut run, &managed).await;
        }
    }
    for mut managed in run.selected.tables.clone() {
        let roll = rolls.entry(managed.table.oid).or_default();
        if !stop.is_cancelled() {
            roll.ask_deployments(&mut run, &mut managed).await;
            roll.retire(&context, &mut run, &managed, &stop).await;
            roll.expire_rows(&mut run, &managed, &stop).await;
        }
    }
    finish(&context, &args, &mut run, rolls, stop.is_cancelled()).await
}

/// Cancelled by either.
fn stop_when(cancel: CancellationToken, lost: CancellationToken) -> CancellationToken {
    let stop = cancel.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = lost.cancelled() => stop.cancel(),
            () = stop.cancelled() => {}
        }
    });
    cancel
}

fn tell_of_selection(context: &Context, run: &Run) {
    for (name, wrong) in &run.selected.wrong {
        context.report().item(ItemReport::failed(Area::Partition, name, wrong));
    }
    run.selected.left_alone.iter().for_each(|note| context.report().warn(note));
}

/// Looks once more at what there is now, and says what became of each table.
async fn finish(context: &Context, args: &Args, run: &mut Run, rolls: BTreeMap<u32, Roll>, cancelled: bool) -> Result<(), Failure> {
    run.look_again(context, args).await?;
    context.report().saw_all(&args.selection());
    let now = run.catalog.now;
    let mut refused = Vec::new();
    for (oid, roll) in rolls {
        refused.extend(roll.refused.clone());
        let managed: Option<&Managed> = run.selected.tables.iter().find(|managed| managed.table.oid == oid);
        if let Some(managed) = managed {
            let left = runway(&managed.table, &managed.grid(), now).left(now);
            context.report().item(roll.report(managed, left, now, cancelled));
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Failure::refused(refused.join("; "))) }
}
