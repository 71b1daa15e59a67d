//! What the store's key may do and what the store is worth, found out without harm.

use aws_sdk_s3::types::{BucketVersioningStatus, ObjectLockEnabled};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{S3Store, http_date, list, request};
use crate::{
    contract::{BucketSafety, Canary, PartReceipt, PutMode, Rights, Shape, Store as _, Switch},
    error::{Failure, Operation, StoreError},
    verify::{etag_of_body, etag_of_parts},
};

/// The well-formed id of no version and no upload.
const NO_SUCH_ID: &str = "2~AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The store's clock, from the answer to a listing.
pub(super) async fn server_time(store: &S3Store) -> Result<Option<DateTime<Utc>>, StoreError> {
    let place = &store.0;
    let date = request::AnswerDate::default();
    let list = place.client.list_objects_v2().bucket(&place.bucket).prefix(place.full("probe/")).max_keys(1);
    let answer = list.customize().interceptor(date.clone()).send().await;
    match answer.map_err(|error| place.name(Operation::List, "", error)) {
        Ok(_) | Err(StoreError::AccessDenied(_)) => Ok(date.take().as_deref().and_then(http_date)),
        Err(error) => Err(error),
    }
}

/// Whether a request was allowed: `absent` says that its object is not there, which only who may ask is told.
fn allowed<T>(answer: Result<T, StoreError>) -> Result<Option<bool>, StoreError> {
    match answer {
        Ok(_) | Err(StoreError::NotFound(_)) => Ok(Some(true)),
        Err(StoreError::AccessDenied(_)) => Ok(Some(false)),
        Err(StoreError::Unsupported(_) | StoreError::Other(_) | StoreError::Unusable(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn rights(store: &S3Store, probe_put: bool) -> Result<Rights, StoreError> {
    let place = &store.0;
    let key = random_key(store, Operation::Open)?;
    let full = place.full(&key);
    let listed = list::objects(store, "", None, None, Some(1)).await;
    let mut rights = Rights { list: allowed(listed.as_ref().map_err(Clone::clone))?, ..Rights::default() };
    // A part of an upload that does not exist: nothing can come of it.
    let part = place.client.upload_part().bucket(&place.bucket).key(&full).upload_id(NO_SUCH_ID).part_number(1);
    let part = part.body(Bytes::from_static(b"probe").into()).send().await;
    rights.put = allowed(part.map_err(|error| place.name(Operation::PutPart(1), &key, error)))?;
    let mut versioning = versioning(store).await?;
    let mut example = listed.ok().and_then(|page| page.objects.into_iter().next()).map(|object| object.key);
    if probe_put {
        match store.put(&key, Bytes::from_static(b"plana-jobs was here to learn its rights\n"), PutMode::IfAbsent).await {
            Ok(stored) => {
                rights.put = Some(true);
                if versioning == Switch::Unknown {
                    versioning = if stored.version.is_some_and(|version| version != "null") { Switch::On } else { Switch::Off };
                }
                example.get_or_insert_with(|| key.clone());
            }
            Err(error) => rights.put = allowed::<()>(Err(error))?,
        }
    }
    rights.read = may_read(store, &random_key(store, Operation::Open)?, example.as_deref()).await?;
    rights.delete = may_delete(store, &random_key(store, Operation::Open)?, versioning).await?;
    let uploads = place.client.list_multipart_uploads().bucket(&place.bucket).max_uploads(1).send().await;
    rights.list_uploads = allowed(uploads.map_err(|error| place.name(Operation::ListUploads, "", error)))?;
    let abort = place.client.abort_multipart_upload().bucket(&place.bucket).key(&full).upload_id(NO_SUCH_ID).send().await;
    rights.abort = allowed(abort.map_err(|error| place.name(Operation::Abort, &key, error)))?;
    let versions = place.client.list_object_versions().bucket(&place.bucket).max_keys(1).send().await;
    rights.list_versions = allowed(versions.map_err(|error| place.name(Operation::ListVersions, "", error)))?;
    Ok(rights)
}

/// AWS refuses the read of an absent key to whoever may not read; Ceph says that it is absent to whoever may list. So
/// a refusal is certain, and its lack is proven on one byte of an object that is there.
async fn may_read(store: &S3Store, absent: &str, example: Option<&str>) -> Result<Option<bool>, StoreError> {
    let read = |key: String| async move { store.get(&key, None, None).await };
    if let Some(false) = allowed(read(absent.to_owned()).await)? {
        return Ok(Some(false));
    }
    let Some(example) = example else { return Ok(None) };
    match store.get(example, Some(0..1), None).await {
        // An empty object has no first byte: the refusal of the range is an answer to a reader.
        Err(StoreError::Unusable(_)) => Ok(Some(true)),
        answer => allowed(answer),
    }
}

/// Only where no deletion can leave a trace: in a bucket that is known to be unversioned by an absent key, in any other
/// by an absent version of it. There a refusal says nothing about the right to delete without naming a version.
async fn may_delete(store: &S3Store, absent: &str, versioning: Switch) -> Result<Option<bool>, StoreError> {
    let place = &store.0;
    let delete = place.client.delete_object().bucket(&place.bucket).key(place.full(absent));
    let certain = versioning == Switch::Off;
    let delete = if certain { delete } else { delete.version_id(NO_SUCH_ID) };
    let answer = allowed(delete.send().await.map_err(|error| place.name(Operation::Delete, absent, error)))?;
    Ok(answer.filter(|allowed| certain || *allowed))
}

pub(super) async fn safety(store: &S3Store) -> Result<BucketSafety, StoreError> {
    let place = &store.0;
    let versioning = versioning(store).await?;
    let lock = place.client.get_object_lock_configuration().bucket(&place.bucket).send().await;
    let object_lock = match lock.map_err(|error| place.name(Operation::Inspect, "", error)) {
        Ok(answer) => {
            let enabled = answer.object_lock_configuration.and_then(|lock| lock.object_lock_enabled);
            if enabled == Some(ObjectLockEnabled::Enabled) { Switch::On } else { Switch::Off }
        }
        // ObjectLockConfigurationNotFoundError.
        Err(StoreError::NotFound(_)) => Switch::Off,
        Err(error) => unknown(error)?,
    };
    Ok(BucketSafety { versioning, object_lock })
}

async fn versioning(store: &S3Store) -> Result<Switch, StoreError> {
    let place = &store.0;
    let answer = place.client.get_bucket_versioning().bucket(&place.bucket).send().await;
    match answer.map_err(|error| place.name(Operation::Inspect, "", error)) {
        Ok(answer) if answer.status == Some(BucketVersioningStatus::Enabled) => Ok(Switch::On),
        Ok(_) => Ok(Switch::Off),
        Err(error) => unknown(error),
    }
}

/// A refusal leaves it unknown; that the store cannot be spoken to is an error.
fn unknown(error: StoreError) -> Result<Switch, StoreError> {
    match error {
        StoreError::AccessDenied(_) | StoreError::Unsupported(_) | StoreError::Other(_) | StoreError::NotFound(_) => Ok(Switch::Unknown),
        error => Err(error),
    }
}

pub(super) async fn canary(store: &S3Store, shape: Shape) -> Result<Canary, StoreError> {
    let key = random_key(store, Operation::Inspect)?;
    let body = Bytes::from(format!("plana-jobs was here to learn what an ETag is: {key}\n"));
    let (expected, refuses_wrong_md5) = match shape {
        Shape::Plain => {
            let refuses = refuses_wrong_put(store, &random_key(store, Operation::Inspect)?, &body).await?;
            store.put(&key, body.clone(), PutMode::IfAbsent).await?;
            (etag_of_body(&body), refuses)
        }
        Shape::Multipart => {
            let upload = store.begin(&key, store.limits().min_part_bytes).await?;
            let refuses = refuses_wrong_part(store, &key, upload.id(), &body).await?;
            let receipt = upload.put_part(1, body.clone()).await?;
            upload.complete(std::slice::from_ref(&receipt)).await?;
            (multipart_etag(store, &receipt)?, refuses)
        }
    };
    let listed = store.find(&key).await?.and_then(|object| object.etag);
    tracing::info!(store = store.0.url, %expected, listed, refuses_wrong_md5, "asked the store what its ETags are worth");
    Ok(Canary { expected, listed, refuses_wrong_md5 })
}

fn multipart_etag(store: &S3Store, receipt: &PartReceipt) -> Result<crate::contract::ETag, StoreError> {
    etag_of_parts(std::slice::from_ref(receipt)).ok_or_else(|| store.0.strange(Operation::Inspect, "", "a part came back without its MD5"))
}

async fn refuses_wrong_put(store: &S3Store, key: &str, body: &Bytes) -> Result<bool, StoreError> {
    let place = &store.0;
    let put = place.client.put_object().bucket(&place.bucket).key(place.full(key)).body(body.clone().into());
    let put = put.content_md5(request::content_md5(etag_of_body(b"something else").md5));
    match put.customize().config_override(place.tried(1)).send().await {
        Ok(_) => Ok(false),
        Err(error) => match place.name(Operation::Inspect, key, error) {
            StoreError::Corrupt(_) => Ok(true),
            error => Err(error),
        },
    }
}

async fn refuses_wrong_part(store: &S3Store, key: &str, upload: &str, body: &Bytes) -> Result<bool, StoreError> {
    let place = &store.0;
    let part = place.client.upload_part().bucket(&place.bucket).key(place.full(key)).upload_id(upload).part_number(1);
    let part = part.body(body.clone().into()).content_md5(request::content_md5(etag_of_body(b"something else").md5));
    match part.customize().config_override(place.tried(1)).send().await {
        Ok(_) => Ok(false),
        Err(error) => match place.name(Operation::Inspect, key, error) {
            StoreError::Corrupt(_) => Ok(true),
            error => Err(error),
        },
    }
}

fn random_key(store: &S3Store, operation: Operation) -> Result<String, StoreError> {
    let number =
        getrandom::u64().map_err(|error| StoreError::Other(Failure::new(operation, &store.0.url, format!("no random number: {error}"))))?;
    Ok(format!("probe/{number:016x}"))
}
