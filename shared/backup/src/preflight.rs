//! What every backup job asks before its items, and tells when it is asked by `check`.

mod server;
mod sources;

use plana_config::StoreName;
use plana_harness::{CheckLine, Context, Exit, Failure, ItemReport, Measured};
use plana_pg::{dsn::ConnectionSettings, tiers};
use plana_plan::{Area, name::printable, select::Selection};
use plana_storage::{DynStore, Switch};

pub use self::{
    server::{check_clients, check_role},
    sources::{check_failure, check_source},
};
use crate::setup::{self, SetupError};

/// What ended the run, as the harness tells it.
pub fn failure(error: SetupError) -> Failure {
    Failure::of(if error.is_configuration() { Exit::BadConfig } else { Exit::Failed }, &error)
}

/// Asks the store now, instead of failing for each of a thousand items later.
///
/// # Errors
/// When the store does not answer, or does not let itself be listed.
pub async fn try_store(context: &Context, store: &DynStore) -> Result<(), SetupError> {
    // A directory has neither clock nor keys of its own.
    let Some(apart) = setup::clock_difference(store).await? else { return Ok(()) };
    context.report().clock_apart(apart);
    if apart > setup::CLOCK_TOLERANCE {
        context.report().warn(format!(
            "this host's clock and the store's differ by {} s: backups are stamped by this host's; correct it (chronyc tracking)",
            apart.num_seconds()
        ));
    }
    // Nothing counts but what a listing shows: without that right every backup would be made in vain.
    store.find("probe/may-this-key-list").await?;
    Ok(())
}

/// A name that was asked for and is not there has no backup after this run, so the run has not done all of its work.
/// `advice` says where there is nothing of that name, and where to look.
pub fn report_unmatched(context: &Context, selection: &Selection, area: Area, unmatched: &[String], advice: &str) {
    // Every shard sees the same names: one of them says it.
    if selection.shard.is_some_and(|shard| shard.index > 0) {
        return;
    }
    for pattern in unmatched {
        let error = format!("find what --only {} means: {advice}", printable(pattern));
        context.report().item(ItemReport::failed(area, pattern, error));
    }
}

/// A line of what ended a step: bad configuration or a failure, as the run itself would say.
pub fn problem(subject: &str, error: SetupError) -> CheckLine {
    let failure = failure(error);
    let (found, advice) = (format!("failed to {}", failure.message), "mend this first: a run would end here");
    if failure.exit == Exit::BadConfig { CheckLine::bad_config(subject, found, advice) } else { CheckLine::problem(subject, found, advice) }
}

/// Whether payloads are encrypted, and `without`: what else that means where they are not.
pub fn check_encryption(context: &Context, without: &str) -> CheckLine {
    match setup::recipients(&context.config().encryption) {
        Ok(keys) if keys.is_empty() => CheckLine::warning(
            "encryption",
            format!("payloads are not encrypted{without}"),
            "set encryption.recipients to age public keys whose private keys are kept elsewhere (age-keygen makes a pair)",
        ),
        Ok(keys) if keys.to_strings().len() == 1 => CheckLine::warning(
            "encryption",
            "payloads are encrypted to one recipient: without its private key every backup is lost",
            "add a second recipient, whose private key is kept in another place",
        ),
        Ok(keys) => CheckLine::ok("encryption", format!("payloads are encrypted to {} recipients", keys.to_strings().len())),
        Err(error) => problem("encryption", error),
    }
}

/// Whether the query for tiers answers.
pub async fn check_tiers(context: &Context, server: &ConnectionSettings) -> Option<CheckLine> {
    let lookup = context.config().tiers.sql.as_ref()?;
    let settings = server.with_database(&lookup.database);
    Some(match tiers::look_up(&settings, &lookup.query, lookup.timeout.0).await {
        Ok(answer) if answer.rows.is_empty() => CheckLine::warning(
            "tiers.sql",
            "the query answers no row",
            "a run would take its last good answer, and without one keep every tenant as unclassified: look at tiers.sql.query",
        ),
        Ok(answer) if answer.complaints.is_empty() => CheckLine::ok("tiers.sql", format!("{} tenants have a tier", answer.rows.len())),
        Ok(answer) => CheckLine::warning("tiers.sql", answer.complaints.join("; "), "look at the rows of tiers.sql.query"),
        Err(error) => problem("tiers.sql", error.into()),
    })
}

/// What a backup job needs of the backups' store, and what it should not have.
pub async fn check_store(context: &Context) -> Vec<CheckLine> {
    check_store_named(StoreName::Backups, context).await
}

/// The same of one of the stores.
pub async fn check_store_named(which: StoreName, context: &Context) -> Vec<CheckLine> {
    match setup::open_named_store(context.config(), context.env(), which, !context.dry_run()).await {
        Ok(store) if store.url().starts_with("file:") => directory(&store).await,
        Ok(store) => storage(&store).await,
        Err(error) => vec![problem("store", error)],
    }
}

/// A directory knows no keys: whoever can write there can also delete.
async fn directory(store: &DynStore) -> Vec<CheckLine> {
    let advice = "let a key that this host does not have copy it elsewhere, or use an object store";
    match store.rights(true).await {
        Ok(rights) if rights.put == Some(true) => vec![
            CheckLine::ok("store", format!("{} can be written", store.url())),
            CheckLine::warning("store safety", "this host can also delete and overwrite its backups: it is a directory", advice),
        ],
        Ok(_) => vec![CheckLine::problem("store", format!("{} cannot be written", store.url()), "let this job's user write there")],
        Err(error) => vec![problem("store", error.into())],
    }
}

async fn storage(store: &DynStore) -> Vec<CheckLine> {
    let mut lines = Vec::new();
    match store.rights(true).await {
        Err(error) => return vec![problem("store", error.into())],
        Ok(rights) => {
            for (may, name) in [(rights.put, "put objects"), (rights.list, "list the bucket")] {
                lines.push(needed_right(may, name, "allow s3:PutObject and s3:ListBucket", "run a backup and see"));
            }
            let advice = "give this host a key that may put and list only: a stolen one is then no disaster";
            lines.extend(needless_rights([(rights.read, "read"), (rights.delete, "delete")], advice));
        }
    }
    lines.extend(safety(store).await);
    lines.extend(check_clock(store, "backups are stamped by it").await);
    lines
}

/// A right without which the job does not work.
pub fn needed_right(may: Option<bool>, name: &str, allow: &str, unsure: &str) -> CheckLine {
    let subject = "store rights";
    match may {
        Some(true) => CheckLine::ok(subject, format!("the key may {name}")),
        Some(false) => CheckLine::problem(subject, format!("the key may not {name}"), allow),
        None => CheckLine::warning(subject, format!("whether the key may {name} could not be told"), unsure),
    }
}

/// The rights that the job never uses: which of them the key has, or that it has none; nothing where that cannot be told.
pub fn needless_rights<const N: usize>(rights: [(Option<bool>, &str); N], advice: &str) -> Option<CheckLine> {
    let has: Vec<&str> = rights.iter().filter_map(|(may, name)| (*may == Some(true)).then_some(*name)).collect();
    if !has.is_empty() {
        let found = format!("the key may also {} objects, which this job never does", has.join(" and "));
        return Some(CheckLine::warning("store rights", found, advice).measured(Measured::NeedlessRights(has.len() as u64)));
    }
    // What could not be told is no all-clear.
    let names = rights.map(|(_, name)| name).join(" or ");
    let line = || CheckLine::ok("store rights", format!("the key may not {names} objects")).measured(Measured::NeedlessRights(0));
    rights.iter().all(|(may, _)| *may == Some(false)).then(line)
}

async fn safety(store: &DynStore) -> Option<CheckLine> {
    let advice = "turn on versioning (better, object lock) on the bucket: a stolen key could overwrite a backup, and only then is the old \
                  version still there";
    match store.safety().await {
        Ok(safety) => Some(match (safety.versioning, safety.object_lock) {
            (_, Switch::On) => CheckLine::ok("store safety", "versions are kept and locked"),
            (Switch::On, _) => CheckLine::ok("store safety", "older versions are kept"),
            (Switch::Off, _) => CheckLine::warning("store safety", "an overwritten backup would be lost: versioning is off", advice),
            (Switch::Unknown, _) => CheckLine::warning("store safety", "this key may not see whether versioning is on", advice),
        }),
        Err(error) => Some(problem("store safety", error.into())),
    }
}

/// This host's clock against the store's, where it has one; `since` says why a wrong one matters.
pub async fn check_clock(store: &DynStore, since: &str) -> Option<CheckLine> {
    match setup::clock_difference(store).await {
        Ok(None) => None,
        Ok(Some(apart)) => {
            let found = format!("{} s apart from the store's", apart.num_seconds());
            let line = if apart > setup::CLOCK_TOLERANCE {
                CheckLine::problem("clock", found, format!("correct this host's clock (chronyc tracking): {since}"))
            } else {
                CheckLine::ok("clock", found)
            };
            Some(line.measured(Measured::ClockSeconds(apart.num_seconds().unsigned_abs())))
        }
        Err(error) => Some(problem("clock", error)),
    }
}
