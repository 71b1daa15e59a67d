//! A multipart upload.

use async_trait::async_trait;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::{S3Store, request};
use crate::{
    contract::{ETag, PartReceipt, Store as _, Stored, Upload},
    error::{Operation, StoreError},
    verify::{etag_matches, etag_of_parts},
};

/// An abort is a courtesy: what stays, the pruner sweeps.
const ABORT_ATTEMPTS: u32 = 3;

/// A multipart upload.
#[derive(Debug)]
pub(super) struct S3Upload {
    store: S3Store,
    key: String,
    id: String,
}

impl S3Upload {
    pub(super) fn new(store: S3Store, key: &str, id: String) -> Self {
        S3Upload { store, key: key.to_owned(), id }
    }

    /// Whether the very object that was to be made is listed: then an earlier attempt of ours has made it.
    async fn was_made(&self, bytes: u64, expected: Option<&ETag>) -> bool {
        let listed = self.store.find(&self.key).await;
        match (listed, expected) {
            (Ok(Some(listed)), Some(expected)) => listed.size == bytes && etag_matches(expected, listed.etag.as_deref()),
            _ => false,
        }
    }
}

#[async_trait]
impl Upload for S3Upload {
    fn id(&self) -> &str {
        &self.id
    }

    async fn put_part(&self, number: u32, body: Bytes) -> Result<PartReceipt, StoreError> {
        let place = &self.store.0;
        let bytes = body.len() as u64;
        let md5 = request::etag_of(body.clone()).await.md5;
        let part = place.client.upload_part().bucket(&place.bucket).key(place.full(&self.key)).upload_id(&self.id);
        let part = part.part_number(number.try_into().unwrap_or(i32::MAX)).body(body.into()).content_md5(request::content_md5(md5));
        let part = part.customize().config_override(place.sending(bytes));
        let part = if place.unsigned_payload { part.disable_payload_signing() } else { part };
        let answer = part.send().await.map_err(|error| place.name(Operation::PutPart(number), &self.key, error))?;
        Ok(PartReceipt { number, bytes, etag: request::answered_etag(answer.e_tag), md5: Some(md5) })
    }

    async fn complete(&self, parts: &[PartReceipt]) -> Result<Stored, StoreError> {
        let place = &self.store.0;
        let expected = etag_of_parts(parts);
        let bytes = parts.iter().map(|part| part.bytes).sum();
        let stored = |etag, version| Stored { bytes, parts: parts.len().try_into().unwrap_or(u32::MAX), etag, version, expected };
        let listed = parts.iter().map(|part| {
            let etag = part.etag.clone().or_else(|| part.md5.map(hex::encode)).unwrap_or_default();
            CompletedPart::builder().part_number(part.number.try_into().unwrap_or(i32::MAX)).e_tag(format!("\"{etag}\"")).build()
        });
        let listed = CompletedMultipartUpload::builder().set_parts(Some(listed.collect())).build();
        let complete = place.client.complete_multipart_upload().bucket(&place.bucket).key(place.full(&self.key)).upload_id(&self.id);
        let complete = complete.multipart_upload(listed).customize().config_override(place.completing());
        match complete.send().await.map_err(|error| place.name(Operation::Complete, &self.key, error)) {
            Ok(answer) => Ok(stored(request::answered_etag(answer.e_tag), answer.version_id)),
            // An attempt whose answer was lost may have made it; a repetition then finds no upload. Keys are never
            // reused, so an object of this ETag and size under this key is ours.
            Err(error) if self.was_made(bytes, expected.as_ref()).await => {
                tracing::debug!(key = self.key, %error, "the upload was completed all the same");
                Ok(stored(None, None))
            }
            Err(error) => Err(error),
        }
    }

    async fn abort(&self) -> Result<(), StoreError> {
        let place = &self.store.0;
        let abort = place.client.abort_multipart_upload().bucket(&place.bucket).key(place.full(&self.key)).upload_id(&self.id);
        let abort = abort.customize().config_override(place.tried(ABORT_ATTEMPTS));
        match abort.send().await.map_err(|error| place.name(Operation::Abort, &self.key, error)) {
            Ok(_) | Err(StoreError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
