//! The preflight of a mirror: a line per check, with what to do. Changes nothing.

use plana_backup::{
    preflight::{check_clock, needed_right, needless_rights, problem},
    setup,
};
use plana_config::StoreName;
use plana_harness::{CheckLine, Context, Failure};
use plana_plan::retention::guard::Pruned;
use plana_storage::{DynStore, Rights};

use super::ledger::Ledger;
use crate::check::{look, permission, versions, would_be_refused};

/// Tests everything that a run needs, and goes on after what is wrong, so that one call tells all of it.
///
/// # Errors
/// Never in practice: what is wrong is a line.
pub async fn check(context: Context) -> Result<Vec<CheckLine>, Failure> {
    let mut lines = Vec::new();
    match setup::open_named_store(context.config(), context.env(), StoreName::Mirror, false).await {
        Err(error) => lines.push(problem("store", error)),
        Ok(store) => {
            let mirror = &context.config().mirror;
            lines.extend(permission(Pruned::Mirror, mirror.enabled, &mirror.stores, store.url()));
            lines.extend(rights(&store).await);
            lines.extend(check_clock(&store, "activity is taken by it").await);
        }
    }
    lines.push(ledger(&context));
    Ok(lines)
}

async fn rights(store: &DynStore) -> Vec<CheckLine> {
    let (rights, safety, mode) = match look(store).await {
        Ok(told) => told,
        Err(line) => return vec![line],
    };
    let Rights { put, list, read, delete, list_uploads, abort, .. } = rights;
    let mut lines = vec![
        needed_right(list, "list the bucket", "allow s3:ListBucket", "run --dry-run and see"),
        needed_right(read, "read objects", "allow s3:GetObject: manifests say what they need", "run --dry-run and see"),
        needed_right(delete, "delete objects", "allow s3:DeleteObject", "a run tells"),
    ];
    if store.url().starts_with("file:") {
        return lines;
    }
    lines.extend(needless_rights([(put, "put")], "give this job a key that may list, read and delete only"));
    if [list_uploads, abort].contains(&Some(false)) {
        let advice = "allow s3:ListBucketMultipartUploads and s3:AbortMultipartUpload, or let the registry clean up after itself";
        lines.push(CheckLine::warning("store rights", "uploads that nobody finished are not swept with this key", advice));
    }
    lines.extend(versions(safety.versioning, mode));
    lines
}

fn ledger(context: &Context) -> CheckLine {
    let (mirror, now) = (&context.config().mirror, context.now());
    let ledger = match Ledger::read(mirror, now) {
        Ok(ledger) => ledger,
        Err(error) => return CheckLine::problem("ledger", format!("failed to {error}"), "mend this first: a run would end here"),
    };
    match ledger.require_cover(mirror) {
        Ok(None) => CheckLine::ok("ledger", format!("{} lines cover {} and the present", ledger.lines, mirror.window)),
        Ok(Some(without)) => CheckLine::warning("ledger", without, "feed the ledger: `retention-pruner ledger < access.log`"),
        Err(refusal) => would_be_refused("ledger", &refusal),
    }
}
