//! The globals, as one more item of the run.

use std::time::Instant;

use plana_backup::{BackupError, GlobalsDump, Meter, dump_globals};
use plana_config::schema::RolePasswords;
use plana_harness::{Context, ItemReport, Outcome};
use plana_plan::{Area, Label};

use crate::{
    Args,
    item::{done, is_fresh, newest, watched},
    run::Run,
};

/// Whether this run dumps the globals: they belong to no shard but the first, and to no selection of databases.
pub fn wanted(context: &Context, args: &Args) -> bool {
    let selection = args.backup.selection();
    context.config().dump.globals && selection.only.is_empty() && selection.shard.is_none_or(|shard| shard.index == 0)
}

/// Dumps the globals and reports what became of them. Never fails the run.
pub async fn dump(run: &Run<'_>) {
    let name = &run.context.config().dump.cluster_name;
    let began = Instant::now();
    let report = match attempt(run, name).await {
        Ok(report) => report,
        Err(BackupError::Cancelled) => ItemReport::new(Area::Globals, name, Outcome::Cancelled),
        Err(error) => ItemReport::failed(Area::Globals, name, error),
    };
    run.context.report().item(report.took(began.elapsed()));
}

async fn attempt(run: &Run<'_>, name: &str) -> Result<ItemReport, BackupError> {
    let area = Area::Globals;
    if run.context.dry_run() {
        let newest = newest(run, area, name).await?;
        let outcome = if is_fresh(run, newest) { Outcome::Fresh } else { Outcome::Planned };
        return Ok(ItemReport::new(area, name, outcome).newest(newest));
    }
    let Some(lock) = run.locks.try_lock(area, name).await? else { return Ok(ItemReport::new(area, name, Outcome::Locked)) };
    if run.missing_within.is_some() {
        let newest = newest(run, area, name).await?;
        if is_fresh(run, newest) {
            return Ok(ItemReport::new(area, name, Outcome::Fresh).newest(newest));
        }
    }
    let meter = Meter::default();
    let _bar = run.context.progress().watch(name, None, meter.content_bytes.clone());
    let globals = GlobalsDump {
        server: &run.server,
        pg_dumpall: &run.pg_dumpall,
        options: &run.options,
        cluster_name: name,
        passwords_omitted_because: passwords_omitted_because(run),
        label: "globals".parse().unwrap_or_else(|_| Label::unclassified()),
    };
    let cancel = run.context.cancel().child_token();
    let work = dump_globals(&run.target, &run.origin, &globals, &meter, &cancel);
    Ok(done(watched(work, &lock.lost, &cancel).await?))
}

/// Why the roles' passwords are left out, if they are.
pub fn passwords_omitted_because(run: &Run<'_>) -> Option<String> {
    let why = if run.context.config().dump.role_passwords == RolePasswords::Never {
        "the configuration or --no-role-passwords says so"
    } else if run.target.recipients.is_empty() {
        "the payload is not encrypted (encryption.recipients is empty)"
    } else if !run.server.facts().can_read_role_passwords {
        "the role may not read pg_authid"
    } else {
        return None;
    };
    Some(why.to_owned())
}
