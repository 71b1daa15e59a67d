//! A logical dump of every database on the server, streamed to the store and proven before it counts.

mod args;
mod check;
mod escrow;
mod globals;
mod item;
mod run;
mod template;

pub use args::{Args, Command, JOB, TEMPLATES_JOB};
pub use check::{check, check_templates};
pub use escrow::escrow;
pub use template::execute_templates;

use futures::{StreamExt, stream};
use plana_backup::{Escrow, SetupError, preflight, tiers};
use plana_config::StoreName;
use plana_harness::{Context, Failure};
use plana_pg::server::DatabaseInfo;
use plana_plan::{
    Area,
    dumps::{DumpPlan, DumpPolicy, plan_dumps},
};

use crate::run::Run;

/// Does the job's work once: looks at the server, plans, dumps the largest first, reports each item.
///
/// # Errors
/// What ended the whole run; a failed database is an item of the report instead.
pub async fn execute(context: Context, args: Args) -> Result<(), Failure> {
    dump_all(&context, &args).await.map_err(preflight::failure)
}

async fn dump_all(context: &Context, args: &Args) -> Result<(), SetupError> {
    // Until something is begun there is nothing to clean up: a signal need not wait for a server or a store.
    let Some(prepared) = context.cancel().run_until_cancelled(prepare(context, args)).await else { return Ok(()) };
    let (run, databases, plan) = prepared?;
    let globals = globals::wanted(context, args);
    context.progress().expect("databases", plan.dumps.len() as u64 + u64::from(globals));

    let run = run.for_items(plan.dumps.len());
    if globals {
        globals::dump(&run).await;
    }
    let at_once = context.config().dump.jobs as usize;
    stream::iter(&plan.dumps).for_each_concurrent(at_once, |planned| item::dump(&run, planned, &databases)).await;
    Ok(())
}

async fn prepare<'a>(context: &'a Context, args: &Args) -> Result<(Run<'a>, Vec<DatabaseInfo>, DumpPlan), SetupError> {
    let mut run = Run::open(context, args, StoreName::Backups).await?;
    let databases = run.dumper.server.databases().await?;
    let plan = plan(context, args, &run, &databases).await;
    let names: Vec<&str> = plan.dumps.iter().map(|planned| planned.database.name.as_str()).collect();
    run.escrow = Escrow::prepare(context, &names, &[]).await?;
    Ok((run, databases, plan))
}

async fn plan(context: &Context, args: &Args, run: &Run<'_>, databases: &[DatabaseInfo]) -> DumpPlan {
    let selection = args.backup.selection();
    let tiers = tiers::find(context, Some(run.dumper.server.settings())).await;
    let policy = DumpPolicy {
        selection: &selection,
        exclude: &context.config().dump.exclude,
        scratch_prefix: &context.config().dump.scratch_prefix,
        rules: &context.config().classification_rules(),
        tiers: &tiers,
        labels: &context.config().retention.labels(),
    };
    let plan = plan_dumps(databases.iter().map(run::candidate).collect(), &policy);
    context.report().saw_all(&selection);
    let advice = "the server has no such database; look at --only, or at the server's list with --dry-run";
    preflight::report_unmatched(context, &selection, Area::Pg, &plan.unmatched, advice);
    tracing::info!(databases = plan.dumps.len(), left_out = plan.left_out.len(), "planned");
    plan
}
