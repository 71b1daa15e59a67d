//! Uploads that nobody finished: invisible, and billed.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use plana_plan::retention::Unfinished;
use plana_storage::{DynStore, StoreError, listing};

/// Aborts at the same time.
const AT_ONCE: usize = 8;
/// Parts that were on their way may outlive an abort: it is said again until none is left.
const ROUNDS: usize = 4;

/// Aborts these. Gives how many are gone, and what could not be aborted.
pub async fn sweep(store: &DynStore, doomed: impl Iterator<Item = &Unfinished>) -> (usize, Vec<StoreError>) {
    let doomed: BTreeSet<(String, String)> = doomed.map(|upload| (upload.key.clone(), upload.upload_id.clone())).collect();
    let (mut left, mut errors) = (doomed.clone(), Vec::new());
    for _ in 0..ROUNDS {
        if left.is_empty() {
            break;
        }
        let aborts: Vec<_> = left.iter().map(|(key, id)| store.abort_upload(key, id)).collect();
        let aborting = stream::iter(aborts).buffer_unordered(AT_ONCE);
        errors = aborting.filter_map(|result| std::future::ready(result.err())).collect().await;
        match listing::uploads(&**store, "").map_ok(|upload| (upload.key, upload.upload_id)).try_collect::<BTreeSet<_>>().await {
            Ok(listed) => left = left.intersection(&listed).cloned().collect(),
            Err(error) => {
                errors.push(error);
                break;
            }
        }
    }
    if left.is_empty() {
        errors.clear();
    }
    (doomed.len() - left.len(), errors)
}
