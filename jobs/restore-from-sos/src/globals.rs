//! `restore-globals`: roles and tablespaces on a server that does not have them.

use std::{path::PathBuf, time::Instant};

use plana_backup::setup;
use plana_drill::{Refusal, Source, failure};
use plana_harness::{Context, Failure, ItemReport, Outcome};
use plana_plan::{Area, globals::shown, name::printable};
use plana_restore::{OpenSet, ReadMeter, RestoreError, make_globals, read_globals};

use crate::{
    JOB,
    args::GlobalsArgs,
    restore::{found, settle},
};

/// Makes the roles and tablespaces of a set that a server does not have.
///
/// # Errors
/// Whatever kept them from being made.
pub async fn restore_globals(context: Context, args: GlobalsArgs, identity: Option<PathBuf>) -> Result<(), Failure> {
    let source = Source::open(&context, identity).await?;
    let what = args.what.as_ref().unwrap_or(&context.config().dump.cluster_name);
    let set = found(&context, &source, Area::Globals, what, args.at).await.map_err(failure)?;
    let began = Instant::now();
    let attempted = attempt(&context, &source, &args, &set).await;
    settle(&context, &set, began, attempted)
}

async fn attempt(context: &Context, source: &Source, args: &GlobalsArgs, set: &OpenSet) -> Result<ItemReport, Refusal> {
    let config = context.config();
    let dsn = args.dsn.as_deref().map(setup::shown_dsn).transpose()?;
    let server = setup::connect(config, &setup::connection(config, context.env(), JOB, dsn.as_ref())?).await?;
    let facts = server.facts();
    if !facts.is_superuser {
        let role = printable(&facts.role);
        let advice = "connect as one for this alone (--dsn or PGUSER), and look at --dry-run first";
        return Err(RestoreError::Refused(format!("make roles as role `{role}`: only a superuser may make all of them; {advice}")).into());
    }
    let meter = ReadMeter::default();
    let plan = read_globals(source.reading(context, set, &meter), &server).await?;
    let verb = if context.dry_run() { "would run" } else { "running" };
    for statement in plan.roles.iter().chain(&plan.tablespaces) {
        tracing::info!("{verb}: {}", shown(&statement.sql));
    }
    for unknown in &plan.unknown {
        tracing::warn!("left out, since it would change what is there, or is unknown: {unknown}");
    }
    if !context.dry_run() {
        make_globals(&server, &plan).await?;
    }
    let payload = &set.manifest.payload;
    let outcome = if context.dry_run() { Outcome::Planned } else { Outcome::Done };
    let report = ItemReport::new(set.key.area, &set.manifest.name, outcome)
        .field("set", format!("{}.{}.{}", set.key.stamp, set.key.label, set.key.id))
        .field("made", plan.made.len())
        .field("there already", plan.there.len())
        .field("left out", plan.unknown.len())
        .sizes(payload.stored_bytes, payload.content_bytes);
    let mut warnings = set.warnings.clone();
    if !plan.there.is_empty() {
        warnings.push(format!("there already, and left as they are: {}", printable(&plan.there.join(", "))));
    }
    if set.manifest.globals.as_ref().is_some_and(|globals| !globals.role_passwords)
        && plan.made.iter().any(|made| made.starts_with("role "))
    {
        warnings.push("no passwords are in it: set them anew (\\password) for the roles that log in with one".to_owned());
    }
    Ok(warnings.into_iter().fold(report, ItemReport::warning))
}
