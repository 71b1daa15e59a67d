//! What requests have in common.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use aws_sdk_s3::config::{
    ConfigBag, Intercept, RuntimeComponents,
    interceptors::{BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef},
};
use aws_smithy_runtime_api::box_error::BoxError;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;

use crate::{contract::ETag, verify::etag_of_body};

/// Below this, a hash takes less time than handing it to another thread.
const SMALL_BYTES: usize = 64 << 10;

/// The ETag of a plain put of this body, computed where it may take its time.
pub(super) async fn etag_of(body: Bytes) -> ETag {
    if body.len() > SMALL_BYTES {
        let body = body.clone();
        if let Ok(etag) = tokio::task::spawn_blocking(move || etag_of_body(&body)).await {
            return etag;
        }
    }
    etag_of_body(&body)
}

/// The header's value.
pub(super) fn content_md5(md5: [u8; 16]) -> String {
    BASE64_STANDARD.encode(md5)
}

/// An ETag without its quotes; Ceph answers an empty one to a Complete.
pub(super) fn answered_etag(etag: Option<String>) -> Option<String> {
    etag.map(|etag| etag.trim_matches('"').to_owned()).filter(|etag| !etag.is_empty())
}

/// Counts the attempts at a request: a refusal of the second may be the doing of the first.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts(Arc<AtomicU32>);

impl Attempts {
    pub(super) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Keeps the `Date` of the last answer.
#[derive(Debug, Clone, Default)]
pub(super) struct AnswerDate(Arc<Mutex<Option<String>>>);

impl AnswerDate {
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Intercept for AnswerDate {
    fn name(&self) -> &'static str {
        "AnswerDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = context.response().headers().get("date").map(str::to_owned);
        Ok(())
    }
}
