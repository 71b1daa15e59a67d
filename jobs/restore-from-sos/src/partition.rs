//! `restore-partition`: an archived partition back in its place.

use std::{path::PathBuf, time::Instant};

use plana_backup::setup;
use plana_drill::{Refusal, Source, failure, refuse_superuser};
use plana_harness::{Context, Failure, ItemReport, Outcome};
use plana_pg::{
    client::Program,
    partitions::{Patience, Tables},
};
use plana_restore::{OpenSet, PartitionRestore, ReadMeter, RestoreError, open_set};

use crate::{JOB, args::PartitionArgs, keys, restore::settle};

/// Brings one partition back.
///
/// # Errors
/// Whatever kept it from coming back.
pub async fn restore_partition(context: Context, args: PartitionArgs, identity: Option<PathBuf>) -> Result<(), Failure> {
    let source = Source::open(&context, identity).await?;
    let set = open_set(&source.store, &args.set).await.map_err(Refusal::from).map_err(failure)?;
    let began = Instant::now();
    let attempted = attempt(&context, &source, &args, &set).await;
    settle(&context, &set, began, attempted)
}

async fn attempt(context: &Context, source: &Source, args: &PartitionArgs, set: &OpenSet) -> Result<ItemReport, Refusal> {
    let config = context.config();
    let Some(facts) = &set.manifest.partition else {
        return Err(RestoreError::Refused(format!("restore {}: it is no archive of a partition", set.key)).into());
    };
    let of_keys = keys::require(context, &args.keys, set).await?;
    let database = args.into.as_ref().unwrap_or(&facts.database);
    let dsn = args.dsn.as_deref().map(setup::shown_dsn).transpose()?;
    let settings = setup::connection(config, context.env(), JOB, dsn.as_ref())?.with_database(database);
    let server = setup::connect(config, &settings).await?;
    refuse_superuser(&server, args.as_superuser)?;
    let pg_restore = setup::find_client(config, context.env(), Program::PgRestore, &server).await?.client;
    let payload = &set.manifest.payload;
    let report = |outcome| {
        ItemReport::new(set.key.area, &set.manifest.name, outcome)
            .field("database", database.clone())
            .field("parent", if args.no_attach { String::new() } else { format!("{}.{}", facts.parent_schema, facts.parent) })
            .sizes(payload.stored_bytes, payload.content_bytes)
    };
    if context.dry_run() {
        return Ok(of_keys.into_iter().fold(report(Outcome::Planned), ItemReport::warning));
    }
    let patience = Patience { lock_timeout: config.partitions.lock_timeout.0, attempts: config.partitions.lock_attempts };
    let mut tables = Tables::open(&server, server.settings(), patience).await.map_err(RestoreError::from)?;
    let meter = ReadMeter::default();
    let restore = PartitionRestore {
        reading: source.reading(context, set, &meter),
        server: &server,
        settings: server.settings(),
        pg_restore: &pg_restore,
        attach: !args.no_attach,
    };
    let (rows, warnings) = plana_restore::restore_partition(&restore, &mut tables).await?;
    tables.close().await;
    let mut report = report(Outcome::Done).field("rows", rows);
    if !args.no_attach {
        report = report.warning("the next run of partition-roller retires it again, unless its retention is longer by then");
    }
    Ok(set.warnings.iter().cloned().chain(of_keys).chain(warnings).fold(report, ItemReport::warning))
}
