//! Every tenant's file store as a tarball, streamed to the store and proven file by file before it counts.

mod args;
mod check;
mod item;
mod run;

pub use args::{Args, Command, JOB};
pub use check::check;

use futures::{StreamExt, stream};
use plana_backup::{
    Escrow, preflight,
    sources::{self, Discovered, Source},
    tiers,
};
use plana_harness::{Context, Failure, ItemReport};
use plana_plan::{
    Area,
    filestore::{StorePlan, StorePolicy, plan_stores},
    name::printable,
};

use crate::run::Run;

/// Does the job's work once: looks at the sources, plans, takes the largest first, reports each item.
///
/// # Errors
/// What ended the whole run, or kept it from a whole source; a failed file store is an item of the report instead.
pub async fn execute(context: Context, args: Args) -> Result<(), Failure> {
    // Until something is begun there is nothing to clean up: a signal need not wait for a server, a store or a mount.
    let Some(prepared) = context.cancel().run_until_cancelled(prepare(&context, &args)).await else { return Ok(()) };
    let (run, discovered, plan) = prepared?;
    context.progress().expect("file stores", plan.stores.len() as u64);

    let run = run.for_items(plan.stores.len());
    let at_once = context.config().filestore.jobs as usize;
    stream::iter(&plan.stores).for_each_concurrent(at_once, |planned| item::take(&run, &discovered, planned)).await;
    run.memory.keep(context.state());
    discovered.failure.map_or(Ok(()), Err)
}

async fn prepare<'a>(context: &'a Context, args: &Args) -> Result<(Run<'a>, Discovered, StorePlan), Failure> {
    let sources = Source::all(context, &args.root, &args.directory)?;
    let mut run = Run::open(context, args).await.map_err(preflight::failure)?;
    let discovered = sources::discover(context, sources, &run.memory, args.accept_empty).await;
    let plan = plan(context, args, &run, &discovered).await;
    let names: Vec<&str> = plan.stores.iter().map(|planned| planned.store.name.as_str()).collect();
    run.escrow = Escrow::prepare(context, &[], &names).await.map_err(preflight::failure)?;
    Ok((run, discovered, plan))
}

async fn plan(context: &Context, args: &Args, run: &Run<'_>, discovered: &Discovered) -> StorePlan {
    let selection = args.backup.selection();
    let tiers = tiers::find(context, run.server.as_ref().map(plana_pg::server::Server::settings)).await;
    let policy = StorePolicy {
        selection: &selection,
        rules: &context.config().classification_rules(),
        tiers: &tiers,
        labels: &context.config().retention.labels(),
    };
    let plan = plan_stores(discovered.candidates(&run.memory), &policy);
    // A source that could not be listed may hold any name.
    if discovered.failure.is_none() {
        context.report().saw_all(&selection);
        let advice = "no source has such a directory; look at --only, or at the list with --dry-run";
        preflight::report_unmatched(context, &selection, Area::Filestore, &plan.unmatched, advice);
    }
    for conflict in &plan.conflicts {
        let error = format!(
            "tell which file store is that of {}: there are {}; remove one, or tell the sources apart by `suffix`",
            printable(&conflict.name),
            conflict.places.join(" and ")
        );
        context.report().item(ItemReport::failed(Area::Filestore, &conflict.name, error));
    }
    for unnamed in discovered.unnamed.iter().filter(|_| !selection.is_partial()) {
        let error = format!("take {unnamed}: its name is not UTF-8, and no backup can be called so; rename it, or leave it out by `names`");
        context.report().item(ItemReport::failed(Area::Filestore, unnamed, error));
    }
    tracing::info!(stores = plan.stores.len(), conflicts = plan.conflicts.len(), "planned");
    plan
}
