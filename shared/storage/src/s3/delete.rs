//! Deleting many objects, with every key's own outcome.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::stream::{self, StreamExt as _};

use super::{S3Store, request};
use crate::{
    contract::DeleteOutcome,
    error::{Operation, StoreError},
    verify::etag_of_body,
};

/// What one request may name.
const BATCH: usize = 1000;
/// Single deletions on their way at once.
const AT_ONCE: usize = 8;

pub(super) async fn delete(store: &S3Store, keys: &[String]) -> Result<Vec<DeleteOutcome>, StoreError> {
    let mut outcomes = Vec::with_capacity(keys.len());
    for batch in keys.chunks(BATCH) {
        outcomes.extend(delete_batch(store, batch).await);
    }
    Ok(outcomes)
}

async fn delete_batch(store: &S3Store, keys: &[String]) -> Vec<DeleteOutcome> {
    if keys.len() == 1 || store.0.one_by_one.load(Ordering::Relaxed) {
        return delete_singly(store, keys).await;
    }
    match send_batch(store, keys).await {
        Ok(outcomes) => retry_refused(store, outcomes).await,
        // A key may have the right to delete objects and not the one to delete many; some stores know no batches.
        Err(error) => {
            let refused =
                matches!(error, StoreError::AccessDenied(_) | StoreError::Unsupported(_) | StoreError::Other(_) | StoreError::Corrupt(_));
            if refused {
                tracing::debug!(store = store.0.url, %error, "the store refuses deletions in batches");
                store.0.one_by_one.store(true, Ordering::Relaxed);
                return delete_singly(store, keys).await;
            }
            keys.iter().map(|key| DeleteOutcome { key: key.clone(), result: Err(error.clone()) }).collect()
        }
    }
}

/// Some stores answer a batch that they refuse with a refusal of each key.
async fn retry_refused(store: &S3Store, outcomes: Vec<DeleteOutcome>) -> Vec<DeleteOutcome> {
    if !outcomes.iter().all(|outcome| matches!(outcome.result, Err(StoreError::AccessDenied(_)))) {
        return outcomes;
    }
    let keys: Vec<String> = outcomes.into_iter().map(|outcome| outcome.key).collect();
    let singly = delete_singly(store, &keys).await;
    if singly.iter().any(|outcome| outcome.result.is_ok()) {
        store.0.one_by_one.store(true, Ordering::Relaxed);
    }
    singly
}

async fn send_batch(store: &S3Store, keys: &[String]) -> Result<Vec<DeleteOutcome>, StoreError> {
    let place = &store.0;
    let named: Vec<_> = keys.iter().filter_map(|key| ObjectIdentifier::builder().key(place.full(key)).build().ok()).collect();
    let wrong = |error| place.strange(Operation::Delete, "", &format!("the request could not be made: {error}"));
    let delete = Delete::builder().set_objects(Some(named)).quiet(false).build().map_err(wrong)?;
    let request = place.client.delete_objects().bucket(&place.bucket).delete(delete);
    // The SDK sends a CRC here; what older stores demand is the MD5.
    let request = request.customize().mutate_request(|request| {
        if let Some(md5) = request.body().bytes().map(|body| etag_of_body(body).md5) {
            request.headers_mut().insert("content-md5", request::content_md5(md5));
        }
    });
    let answer = request.send().await.map_err(|error| place.name(Operation::Delete, "", error))?;
    let mut results: BTreeMap<String, Result<(), StoreError>> = BTreeMap::new();
    for deleted in answer.deleted.unwrap_or_default() {
        results.insert(place.own(Operation::Delete, deleted.key)?, Ok(()));
    }
    for error in answer.errors.unwrap_or_default() {
        let key = place.own(Operation::Delete, error.key.clone())?;
        let named = place.name_in_batch(Operation::Delete, &key, &error);
        let result = if matches!(named, StoreError::NotFound(_)) { Ok(()) } else { Err(named) };
        results.insert(key, result);
    }
    let unsaid = |key: &str| Err(place.strange(Operation::Delete, key, "the store does not tell what became of it"));
    Ok(keys
        .iter()
        .map(|key| DeleteOutcome { key: key.clone(), result: results.get(key).cloned().unwrap_or_else(|| unsaid(key)) })
        .collect())
}

async fn delete_singly(store: &S3Store, keys: &[String]) -> Vec<DeleteOutcome> {
    stream::iter(keys.to_vec()).map(|key| delete_one(store.clone(), key)).buffered(AT_ONCE).collect().await
}

async fn delete_one(store: S3Store, key: String) -> DeleteOutcome {
    let place = &store.0;
    let sent = place.client.delete_object().bucket(&place.bucket).key(place.full(&key)).send().await;
    let result = match sent.map_err(|error| place.name(Operation::Delete, &key, error)) {
        Ok(_) | Err(StoreError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    };
    DeleteOutcome { key, result }
}
