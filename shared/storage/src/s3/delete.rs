//! Deleting many objects, with every key's own outcome.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::stream::{self, StreamExt as _};

use super::{S3Store, request};
use crate::{
    contract::{DeleteOutcome, ObjectVersion},
    error::{Operation, StoreError},
    verify::etag_of_body,
};

/// What one request may name.
const BATCH: usize = 1000;
/// Single deletions on their way at once.
const AT_ONCE: usize = 8;

pub(super) async fn delete(store: &S3Store, doomed: &[ObjectVersion]) -> Result<Vec<DeleteOutcome>, StoreError> {
    let mut outcomes = Vec::with_capacity(doomed.len());
    for batch in doomed.chunks(BATCH) {
        outcomes.extend(delete_batch(store, batch).await);
    }
    Ok(outcomes)
}

async fn delete_batch(store: &S3Store, doomed: &[ObjectVersion]) -> Vec<DeleteOutcome> {
    if doomed.len() == 1 || store.0.one_by_one.load(Ordering::Relaxed) {
        return delete_singly(store, doomed).await;
    }
    match send_batch(store, doomed).await {
        Ok(outcomes) => retry_refused(store, doomed, outcomes).await,
        // A key may have the right to delete objects and not the one to delete many; some stores know no batches.
        Err(error) => {
            let refused =
                matches!(error, StoreError::AccessDenied(_) | StoreError::Unsupported(_) | StoreError::Other(_) | StoreError::Corrupt(_));
            if refused {
                tracing::debug!(store = store.0.url, %error, "the store refuses deletions in batches");
                store.0.one_by_one.store(true, Ordering::Relaxed);
                return delete_singly(store, doomed).await;
            }
            doomed.iter().map(|one| DeleteOutcome { key: one.key.clone(), result: Err(error.clone()) }).collect()
        }
    }
}

/// Some stores answer a batch that they refuse with a refusal of each key.
async fn retry_refused(store: &S3Store, doomed: &[ObjectVersion], outcomes: Vec<DeleteOutcome>) -> Vec<DeleteOutcome> {
    if !outcomes.iter().all(|outcome| matches!(outcome.result, Err(StoreError::AccessDenied(_)))) {
        return outcomes;
    }
    let singly = delete_singly(store, doomed).await;
    if singly.iter().any(|outcome| outcome.result.is_ok()) {
        store.0.one_by_one.store(true, Ordering::Relaxed);
    }
    singly
}

async fn send_batch(store: &S3Store, doomed: &[ObjectVersion]) -> Result<Vec<DeleteOutcome>, StoreError> {
    let place = &store.0;
    let named =
        |one: &ObjectVersion| ObjectIdentifier::builder().key(place.full(&one.key)).set_version_id(one.version.clone()).build().ok();
    let named: Vec<_> = doomed.iter().filter_map(named).collect();
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
    // Of several versions of a key each is told by itself; of an object without a version some stores tell one all the same.
    let mut results: BTreeMap<(String, Option<String>), Result<(), StoreError>> = BTreeMap::new();
    let version = |version: Option<String>| version.filter(|version| !version.is_empty());
    let mut note = |key: String, version: Option<String>, result: Result<(), StoreError>| {
        results.insert((key.clone(), None), result.clone());
        results.insert((key, version), result);
    };
    for deleted in answer.deleted.unwrap_or_default() {
        note(place.own(Operation::Delete, deleted.key)?, version(deleted.version_id), Ok(()));
    }
    for error in answer.errors.unwrap_or_default() {
        let key = place.own(Operation::Delete, error.key.clone())?;
        let named = place.name_in_batch(Operation::Delete, &key, &error);
        let result = if matches!(named, StoreError::NotFound(_)) { Ok(()) } else { Err(named) };
        note(key, version(error.version_id), result);
    }
    let unsaid = |key: &str| Err(place.strange(Operation::Delete, key, "the store does not tell what became of it"));
    let told = |one: &ObjectVersion| results.get(&(one.key.clone(), one.version.clone())).cloned();
    Ok(doomed.iter().map(|one| DeleteOutcome { key: one.key.clone(), result: told(one).unwrap_or_else(|| unsaid(&one.key)) }).collect())
}

async fn delete_singly(store: &S3Store, doomed: &[ObjectVersion]) -> Vec<DeleteOutcome> {
    stream::iter(doomed.to_vec()).map(|one| delete_one(store.clone(), one)).buffered(AT_ONCE).collect().await
}

async fn delete_one(store: S3Store, ObjectVersion { key, version }: ObjectVersion) -> DeleteOutcome {
    let place = &store.0;
    let delete = place.client.delete_object().bucket(&place.bucket).key(place.full(&key)).set_version_id(version);
    let sent = delete.send().await;
    let result = match sent.map_err(|error| place.name(Operation::Delete, &key, error)) {
        Ok(_) | Err(StoreError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    };
    DeleteOutcome { key, result }
}
