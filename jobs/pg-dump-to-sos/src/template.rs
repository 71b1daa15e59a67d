//! Templates as seeds: a run of its own over the databases of the class template.

use std::time::Instant;

use futures::{StreamExt, stream};
use plana_backup::{
    BackupError, Begun, Meter, Published, SeedDump, SetupError,
    item::{described, done, settled},
    preflight, publish_seed, seed_content,
};
use plana_config::StoreName;
use plana_harness::{Context, Failure, ItemReport, Outcome};
use plana_pg::server::DatabaseInfo;
use plana_plan::{
    Area, SetKey, Stamp,
    classify::{Class, Tiers, classify},
    dumps::{Candidate, DumpPlan, DumpPolicy, PlannedDump, plan_dumps},
    name::printable,
    seed::ContentSha,
};

use crate::{
    Args,
    item::was_dropped,
    run::{self, Run},
};

/// Publishes each template whose content the store lacks.
///
/// # Errors
/// What ended the whole run; a template that failed is an item of the report instead.
pub async fn execute_templates(context: Context, args: Args) -> Result<(), Failure> {
    require_rule(&context)?;
    publish_all(&context, &args).await.map_err(preflight::failure)
}

/// Refuses a configuration by which nothing can ever be a template.
pub fn require_rule(context: &Context) -> Result<(), Failure> {
    if context.config().classification_rules().iter().any(|rule| rule.class == Class::Template) {
        return Ok(());
    }
    Err(Failure::bad_config(
        "tell which databases are templates: no rule gives the class template; add one, with class = \"template\" and the databases' names",
    ))
}

/// The databases that are templates.
pub fn templates(context: &Context, databases: &[DatabaseInfo]) -> Vec<Candidate> {
    let rules = context.config().classification_rules();
    let is_template = |database: &&DatabaseInfo| classify(&database.name, &database.owner, &rules) == Class::Template;
    databases.iter().filter(is_template).map(run::candidate).collect()
}

async fn publish_all(context: &Context, args: &Args) -> Result<(), SetupError> {
    let prepare = async {
        let run = Run::open(context, args, StoreName::Templates).await?;
        let databases = run.dumper.server.databases().await?;
        Ok::<_, SetupError>((run, databases))
    };
    let Some(prepared) = context.cancel().run_until_cancelled(prepare).await else { return Ok(()) };
    let (run, databases) = prepared?;
    let plan = plan(context, args, &databases);
    context.progress().expect("templates", plan.dumps.len() as u64);
    let run = run.for_items(plan.dumps.len());
    let at_once = context.config().dump.jobs as usize;
    stream::iter(&plan.dumps).for_each_concurrent(at_once, |planned| item(&run, planned, &databases)).await;
    Ok(())
}

fn plan(context: &Context, args: &Args, databases: &[DatabaseInfo]) -> DumpPlan {
    let selection = args.backup.selection();
    let config = context.config();
    let policy = DumpPolicy {
        selection: &selection,
        exclude: &config.dump.exclude,
        scratch_prefix: &config.dump.scratch_prefix,
        rules: &config.classification_rules(),
        tiers: &Tiers::new(),
        labels: &config.retention.labels(),
    };
    let templates = templates(context, databases);
    if templates.is_empty() {
        context.report().warn("no database of this server is of the class template: look at the rules".to_owned());
    }
    let plan = plan_dumps(templates, &policy);
    context.report().saw_all(&selection);
    let advice = "the server has no such template; look at --only, and at the rules that give the class template";
    preflight::report_unmatched(context, &selection, Area::Seed, &plan.unmatched, advice);
    tracing::info!(templates = plan.dumps.len(), left_out = plan.left_out.len(), "planned");
    plan
}

/// Publishes one template and reports what became of it. Never fails the run.
async fn item(run: &Run<'_>, planned: &PlannedDump, databases: &[DatabaseInfo]) {
    let name = &planned.database.name;
    let began = Instant::now();
    let report = match databases.iter().find(|database| database.name == *name) {
        Some(database) => match attempt(run, planned, database).await {
            Err(error) if was_dropped(run, name, &error).await => ItemReport::new(Area::Seed, name, Outcome::Gone).took(began.elapsed()),
            result => settled(Area::Seed, name, began, result),
        },
        None => ItemReport::new(Area::Seed, name, Outcome::Gone),
    };
    run.items.context.report().item(described(report, &planned.classified, ("database bytes", planned.database.size_bytes)));
}

async fn attempt(run: &Run<'_>, planned: &PlannedDump, database: &DatabaseInfo) -> Result<ItemReport, BackupError> {
    let (items, context) = (&run.items, run.items.context);
    if context.cancel().is_cancelled() {
        return Err(BackupError::Cancelled);
    }
    if let Some(obstacle) = database.obstacle(run.dumper.server.facts()) {
        let error = format!("dump {}: {obstacle}", printable(&database.name));
        return Ok(ItemReport::failed(Area::Seed, &database.name, error));
    }
    let stamp = Stamp::new(context.now());
    let dump = SeedDump { dumper: &run.dumper, database, classified: &planned.classified, stamp };
    if context.dry_run() {
        // Nothing but the content tells whether it is known: it is read, and goes nowhere.
        let (meter, cancel) = (Meter::default(), context.cancel().child_token());
        let _bar = context.progress().watch(&database.name, database.size_bytes, meter.content_bytes.clone());
        let (content, known) = seed_content(&items.target, &dump, &meter, &cancel).await?;
        let report = known.map_or_else(
            || ItemReport::new(Area::Seed, &database.name, Outcome::Planned).field("content", short(content)),
            |set| known_already(&database.name, &set),
        );
        return Ok(report);
    }
    let work = match items.take(Area::Seed, &database.name, database.size_bytes).await? {
        Begun::Settled(report) => return Ok(report),
        Begun::Work(work) => work,
    };
    let published = work.watch(publish_seed(&items.target, &items.origin, &dump, &work.meter, &work.cancel)).await?;
    Ok(match published {
        Published::New(committed) => {
            let content = committed.set.content().map(short);
            done(*committed).field("content", content)
        }
        // What the store holds is the template of now, whenever it was published.
        Published::Known(set) => known_already(&database.name, &set).newest(stamp),
    })
}

fn known_already(name: &str, set: &SetKey) -> ItemReport {
    ItemReport::new(Area::Seed, name, Outcome::Fresh).key(set.to_string()).field("content", set.content().map(short))
}

/// Enough of a SHA to tell it from the others.
fn short(content: ContentSha) -> String {
    content.to_string().chars().take(12).collect()
}
