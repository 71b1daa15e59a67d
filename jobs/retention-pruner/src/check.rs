//! The preflight: a line per check, with what to do. Changes nothing.

use plana_backup::{
    SetupError,
    preflight::{check_clock, check_tiers, needed_right, needless_rights, problem},
    setup,
};
use plana_harness::{CheckLine, Context, Failure};
use plana_plan::retention::guard::{self, Pruned, Refusal};
use plana_storage::{BucketSafety, DynStore, Rights, Switch};

use crate::{
    JOB,
    listing::{Mode, mode},
};

/// Tests everything that a run needs, and goes on after what is wrong, so that one call tells all of it.
///
/// # Errors
/// Never in practice: what is wrong is a line.
pub async fn check(context: Context) -> Result<Vec<CheckLine>, Failure> {
    let mut lines = Vec::new();
    match setup::open_store(context.config(), context.env(), false).await {
        Err(error) => lines.push(problem("store", error)),
        Ok(store) => {
            let retention = &context.config().retention;
            lines.extend(permission(Pruned::Backups, retention.enabled, &retention.stores, store.url()));
            lines.extend(rights(&store).await);
            lines.extend(check_clock(&store, "ages are taken by it").await);
        }
    }
    lines.extend(tiers(&context).await);
    Ok(lines)
}

/// What a run would be refused for, whatever is in the store.
pub fn permission(what: Pruned, enabled: bool, named: &[String], url: &str) -> Vec<CheckLine> {
    let line = |result: Result<(), Refusal>, good: String| match result {
        Ok(()) => CheckLine::ok("permission", good),
        Err(refusal) => would_be_refused("permission", &refusal),
    };
    let for_ever = guard::refuse_templates(what, url).and_then(|()| guard::refuse_escrow(what, url)).err();
    let for_ever = for_ever.map(|refusal| CheckLine::bad_config("store", format!("failed to {refusal}"), "name another store"));
    let section = what.section();
    let enabled = line(guard::require_enabled(what, enabled), format!("{section}.enabled is true"));
    let named = line(guard::require_named(what, url, named), format!("{url} is named in {section}.stores"));
    for_ever.into_iter().chain([enabled, named]).collect()
}

/// A run would end there, and a dry run would not.
pub fn would_be_refused(subject: &str, refusal: &Refusal) -> CheckLine {
    CheckLine::warning(subject, "a run would be refused", format!("failed to {refusal}"))
}

/// What the key may do, how the bucket is kept, and what a run would list.
pub async fn look(store: &DynStore) -> Result<(Rights, BucketSafety, Mode), CheckLine> {
    let told = tokio::try_join!(store.rights(false), store.safety(), mode(&**store));
    told.map_err(|error| problem("store", SetupError::from(error)))
}

async fn rights(store: &DynStore) -> Vec<CheckLine> {
    let (rights, safety, mode) = match look(store).await {
        Ok(told) => told,
        Err(line) => return vec![line],
    };
    let Rights { put, list, read, delete, list_uploads, abort, .. } = rights;
    let mut lines = vec![
        needed_right(list, "list the bucket", "allow s3:ListBucket", "run --dry-run and see"),
        needed_right(delete, "delete objects", "allow s3:DeleteObject", "a run tells"),
        needed_right(list_uploads, "list unfinished uploads", "allow s3:ListBucketMultipartUploads", "a run tells"),
        needed_right(abort, "abort uploads", "allow s3:AbortMultipartUpload", "a run tells"),
    ];
    if store.url().starts_with("file:") {
        return lines;
    }
    let advice = "give this job a key that may list, delete and abort only; the right to put is needed for `hold` alone";
    lines.extend(needless_rights([(read, "read"), (put, "put")], advice));
    lines.extend(versions(safety.versioning, mode));
    lines
}

/// On a bucket that keeps versions a deletion that names none frees nothing.
pub fn versions(versioning: Switch, mode: Mode) -> Option<CheckLine> {
    let advice = "if it does, allow s3:ListBucketVersions and s3:DeleteObjectVersion: without them a deletion frees nothing there";
    match (versioning, mode) {
        (_, Mode::Versions) => Some(CheckLine::ok("store versions", "the key may list versions, and deletes them by their ids")),
        (Switch::On, Mode::Objects) => {
            Some(CheckLine::problem("store versions", "the bucket keeps versions, and the key may not list them", advice))
        }
        (Switch::Unknown, Mode::Objects) => {
            Some(CheckLine::warning("store versions", "the key may not see whether the bucket keeps versions", advice))
        }
        (Switch::Off, Mode::Objects) => None,
    }
}

async fn tiers(context: &Context) -> Option<CheckLine> {
    let config = context.config();
    if !config.retention.tiers || config.tiers.sql.is_none() {
        return None;
    }
    let advice = "set postgres.dsn, or set retention.tiers to false: then only the labels in the keys decide";
    match setup::has_server(config, context.env()) {
        Ok(false) => Some(CheckLine::problem("tiers.sql", "no server is configured", advice)),
        Ok(true) => match setup::connection(config, context.env(), JOB, None) {
            Ok(server) => check_tiers(context, &server).await,
            Err(error) => Some(problem("tiers.sql", error)),
        },
        Err(error) => Some(problem("tiers.sql", error)),
    }
}
