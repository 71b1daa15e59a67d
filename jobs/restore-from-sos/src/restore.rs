//! `restore`: a database back on a server.

use std::{path::PathBuf, time::Instant};

use plana_backup::setup;
use plana_drill::{Refusal, Source, failure, is_early, refuse_superuser, sweep};
use plana_harness::{Context, Failure, ItemReport, Outcome};
use plana_pg::{
    client::{Installed, Program},
    locks::AdvisoryLocks,
    restore::RestoreOptions,
    scratch::Admin,
};
use plana_plan::{Area, SetKey, moment::Moment, name::printable};
use plana_restore::{
    DatabaseRestore, OpenSet, Purpose, ReadMeter, Reading, RestoreError, Restored, could_restore, find_set, lacking, open_set,
    restore_database,
};

use crate::{JOB, args::RestoreArgs, keys};

/// Restores one database.
///
/// # Errors
/// Whatever kept it from being restored.
pub async fn restore(context: Context, args: RestoreArgs, identity: Option<PathBuf>) -> Result<(), Failure> {
    let source = Source::open(&context, identity).await?;
    let set = found(&context, &source, args.area, &args.what, args.at).await.map_err(failure)?;
    let began = Instant::now();
    let attempted = attempt(&context, &source, &args, &set).await;
    settle(&context, &set, began, attempted)
}

/// The line of what was restored from a set, or was not.
///
/// # Errors
/// When nothing was begun: the whole run ends with the guard rail's own code.
pub fn settle(context: &Context, set: &OpenSet, began: Instant, attempted: Result<ItemReport, Refusal>) -> Result<(), Failure> {
    let (area, name) = (set.key.area, &set.manifest.name);
    let report = match attempted {
        Ok(report) => report,
        Err(Refusal::Restore(RestoreError::Cancelled)) => ItemReport::new(area, name, Outcome::Cancelled),
        Err(error) if is_early(&error) => return Err(failure(error)),
        Err(error) => ItemReport::failed(area, name, plana_harness::chain(&error)),
    };
    context.report().item(report.key(set.key.to_string()).took(began.elapsed()));
    Ok(())
}

/// The set of that name, or the newest of a name at a moment.
pub async fn found(context: &Context, source: &Source, area: Area, what: &str, at: Option<Moment>) -> Result<OpenSet, Refusal> {
    let key = match what.parse::<SetKey>() {
        Ok(key) => key,
        Err(_) => find_set(&source.store, area, what, at.map(|at| at.instant()), context.now()).await?.key,
    };
    Ok(open_set(&source.store, &key).await?)
}

/// Where a database is restored, and by what.
struct Place {
    admin: Admin,
    pg_restore: Installed,
    locks: AdvisoryLocks,
}

async fn place(context: &Context, args: &RestoreArgs) -> Result<Place, Refusal> {
    let config = context.config();
    let dsn = args.dsn.as_deref().map(setup::shown_dsn).transpose()?;
    let settings = setup::connection(config, context.env(), JOB, dsn.as_ref())?;
    let server = setup::connect(config, &settings).await?;
    refuse_superuser(&server, args.as_superuser)?;
    let pg_restore = setup::find_client(config, context.env(), Program::PgRestore, &server).await?.client;
    let locks = setup::locks(config, &server).await?;
    Ok(Place { admin: Admin::new(server), pg_restore, locks })
}

impl Place {
    /// A restore of what is read, there, under that name.
    fn restore<'a>(
        &'a self,
        context: &'a Context,
        args: &'a RestoreArgs,
        reading: Reading<'a>,
        target: &'a str,
    ) -> Result<DatabaseRestore<'a>, RestoreError> {
        let config = context.config();
        let options = RestoreOptions {
            jobs: args.jobs.unwrap_or(config.restore.jobs),
            no_owner: args.no_owner,
            no_privileges: args.no_privileges,
            role: args.role.clone(),
            tables: tables(&args.table)?,
            session: self.admin.server().child_session(),
            ..RestoreOptions::default()
        };
        Ok(DatabaseRestore {
            reading,
            admin: &self.admin,
            locks: &self.locks,
            superuser: None,
            pg_restore: &self.pg_restore,
            options,
            scratch_prefix: &config.dump.scratch_prefix,
            spool: args.spool.as_deref().or(config.restore.spool_dir.as_deref()),
            hook: args.hook.as_deref().or(config.restore.hook.as_deref()),
            keep_failed: args.keep_failed,
            purpose: if args.replace { Purpose::Replace(target) } else { Purpose::Place(target) },
        })
    }
}

/// The name that the restored database takes.
pub fn target(args: &RestoreArgs, set: &OpenSet) -> String {
    args.into.clone().unwrap_or_else(|| set.manifest.name.clone())
}

/// Whether a restore could begin: what it asks itself before it makes anything, for whoever has much to do before.
pub async fn could_begin(context: &Context, source: &Source, args: &RestoreArgs, set: &OpenSet) -> Result<(), Refusal> {
    let place = place(context, args).await?;
    let (target, meter) = (target(args, set), ReadMeter::default());
    Ok(could_restore(&place.restore(context, args, source.reading(context, set, &meter), &target)?).await?)
}

/// Restores the database of a set, and says what became of it.
pub async fn attempt(context: &Context, source: &Source, args: &RestoreArgs, set: &OpenSet) -> Result<ItemReport, Refusal> {
    // Asked for before the server is: whoever has no key need not wait for anything else.
    let of_keys = keys::require(context, &args.keys, set).await?;
    let place = place(context, args).await?;
    let (target, meter) = (target(args, set), ReadMeter::default());
    let restore = place.restore(context, args, source.reading(context, set, &meter), &target)?;
    let payload = &set.manifest.payload;
    let report = |outcome| {
        ItemReport::new(set.key.area, &set.manifest.name, outcome)
            .field("set", format!("{}.{}.{}", set.key.stamp, set.key.label, set.key.id))
            .field("database", target.clone())
            .sizes(payload.stored_bytes, payload.content_bytes)
    };
    if let Some(facts) = set.manifest.database.as_ref().filter(|_| context.dry_run()) {
        let lacking = lacking(&restore).await?;
        return Ok(of_keys.into_iter().chain(lacking).fold(report(Outcome::Planned).field("rows", facts.rows), ItemReport::warning));
    }
    sweep(context, &place.admin, &place.locks).await?;
    let _bar = context.progress().watch(&target, Some(payload.stored_bytes), meter.stored_bytes.clone());
    let tables = set.manifest.database.as_ref().map_or(0, |facts| facts.tables.len());
    let tables = if args.table.is_empty() { tables } else { args.table.len() };
    let _parts = context.progress().parts(&format!("{target}: tables"), tables as u64, meter.tables.clone());
    let Restored { kept_as, rows, tables, warnings, .. } = restore_database(&restore).await?;
    let report = report(Outcome::Done).field("rows", rows).field("tables", tables).field("old one kept as", kept_as);
    Ok(set.warnings.iter().cloned().chain(of_keys).chain(warnings).fold(report, ItemReport::warning))
}

fn tables(texts: &[String]) -> Result<Vec<(String, String)>, RestoreError> {
    let split = |text: &String| {
        let (schema, table) = text.split_once('.').unwrap_or(("public", text));
        let whole = !schema.is_empty() && !table.is_empty();
        whole
            .then(|| (schema.to_owned(), table.to_owned()))
            .ok_or_else(|| RestoreError::Refused(format!("restore the table `{}`: write SCHEMA.TABLE", printable(text))))
    };
    texts.iter().map(split).collect()
}
