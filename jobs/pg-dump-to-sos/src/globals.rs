//! The globals, as one more item of the run.

use std::time::Instant;

use plana_backup::{
    BackupError, Begun, GlobalsDump, dump_globals,
    item::{done, settled},
};
use plana_config::schema::RolePasswords;
use plana_harness::{Context, ItemReport};
use plana_plan::{Area, Label};

use crate::{Args, run::Run};

/// Whether this run dumps the globals: they belong to no shard but the first, and to no selection of databases.
pub fn wanted(context: &Context, args: &Args) -> bool {
    let selection = args.backup.selection();
    context.config().dump.globals && selection.only.is_empty() && selection.shard.is_none_or(|shard| shard.index == 0)
}

/// Dumps the globals and reports what became of them. Never fails the run.
pub async fn dump(run: &Run<'_>) {
    let name = &run.items.context.config().dump.cluster_name;
    let began = Instant::now();
    let result = attempt(run, name).await;
    run.items.context.report().item(settled(Area::Globals, name, began, result));
}

async fn attempt(run: &Run<'_>, name: &str) -> Result<ItemReport, BackupError> {
    let work = match run.items.begin(Area::Globals, name, None, None).await? {
        Begun::Settled(report) => return Ok(report),
        Begun::Work(work) => work,
    };
    let globals = GlobalsDump {
        dumper: &run.dumper,
        pg_dumpall: &run.pg_dumpall,
        cluster_name: name,
        passwords_omitted_because: passwords_omitted_because(run),
        label: "globals".parse().unwrap_or_else(|_| Label::unclassified()),
    };
    let dumping = dump_globals(&run.items.target, &run.items.origin, &globals, &work.meter, &work.cancel);
    Ok(done(work.watch(dumping).await?))
}

/// Why the roles' passwords are left out, if they are.
pub fn passwords_omitted_because(run: &Run<'_>) -> Option<String> {
    let why = if run.items.context.config().dump.role_passwords == RolePasswords::Never {
        "the configuration or --no-role-passwords says so"
    } else if run.items.target.recipients.is_empty() {
        "the payload is not encrypted (encryption.recipients is empty)"
    } else if !run.dumper.server.facts().can_read_role_passwords {
        "the role may not read pg_authid"
    } else {
        return None;
    };
    Some(why.to_owned())
}
