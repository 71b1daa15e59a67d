//! S3-compatible stores, Exoscale SOS first.
//!
//! What compatible stores do not all understand is not used: no tags, no trailing checksums, no encoded listings, no
//! reliance on conditional writes. Every body is in memory, so that it can be sent again, and carries its Content-MD5,
//! which also the oldest of them check.

mod client;
mod delete;
mod errors;
mod list;
mod probe;
mod read;
mod request;
mod upload;

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use aws_sdk_s3::{Client, primitives::DateTimeFormat};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use plana_config::{Secret, schema::S3Client};
use plana_plan::{inventory::ObjectMeta, parts::Limits};
use tokio::sync::OnceCell;

use self::{request::Attempts, upload::S3Upload};
use crate::{
    contract::{
        BucketSafety, Canary, DeleteOutcome, GetBody, ListCursor, ListPage, NamePage, ObjectVersion, PutMode, Rights, Shape, Store, Stored,
        Upload, UploadPage, VersionPage,
    },
    error::{Failure, Operation, StoreError},
    key,
    verify::etag_matches,
};

/// Where an S3 store is, who enters it, and how it is spoken to. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with, without a slash at either end; may be empty.
    pub prefix: String,
    /// Such as `https://sos-bg-sof-1.exo.io`; none means AWS itself. `http://` is allowed.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The access key.
    pub access_key_id: Secret,
    /// The secret key.
    pub secret_access_key: Secret,
    /// The session token of temporary keys.
    pub session_token: Option<Secret>,
    /// Timeouts, retries, checksums.
    pub client: S3Client,
    /// How large parts and objects may be.
    pub limits: Limits,
}

/// A bucket, or a place in it, as a store. Clones share connections and what was found out about the store.
#[derive(Clone)]
pub struct S3Store(Arc<Place>);

struct Place {
    client: Client,
    settings: S3Client,
    /// Over TLS nobody can change a body on its way, so it is hashed once less.
    unsigned_payload: bool,
    bucket: String,
    /// Empty, or with a final slash.
    prefix: String,
    url: String,
    limits: Limits,
    /// The store does not know If-None-Match.
    unconditional: AtomicBool,
    /// The store refuses this key deletions in batches.
    one_by_one: AtomicBool,
    canaries: [OnceCell<Canary>; 2],
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("url", &self.0.url).field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

impl S3Store {
    /// A client for the bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// When the endpoint is not a URL.
    pub fn new(options: S3Options) -> Result<Self, StoreError> {
        let url = [&options.bucket, &*options.prefix]
            .iter()
            .filter(|part| !part.is_empty())
            .fold("s3:/".to_owned(), |url, part| url + "/" + part);
        let client = client::build(&options).map_err(|cause| StoreError::Unusable(Failure::new(Operation::Open, &url, cause)))?;
        Ok(S3Store(Arc::new(Place {
            client,
            unsigned_payload: options.endpoint.as_deref().is_none_or(|endpoint| endpoint.starts_with("https:")),
            settings: options.client,
            bucket: options.bucket,
            prefix: if options.prefix.is_empty() { String::new() } else { options.prefix + "/" },
            url,
            limits: options.limits,
            unconditional: AtomicBool::new(false),
            one_by_one: AtomicBool::new(false),
            canaries: [OnceCell::new(), OnceCell::new()],
        })))
    }

    fn check(&self, operation: Operation, key: &str) -> Result<(), StoreError> {
        key::check(operation, &self.0.url, key, self.0.prefix.len())
    }
}

impl Place {
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn object(&self, key: &str) -> String {
        if key.is_empty() { self.url.clone() } else { format!("{}/{key}", self.url) }
    }

    fn own(&self, operation: Operation, full: Option<String>) -> Result<String, StoreError> {
        let own = full.as_deref().and_then(|full| full.strip_prefix(&self.prefix)).map(str::to_owned);
        own.ok_or_else(|| self.strange(operation, full.as_deref().unwrap_or_default(), "the store lists a key that was not asked for"))
    }

    fn strange(&self, operation: Operation, key: &str, cause: &str) -> StoreError {
        StoreError::Other(Failure::new(operation, self.object(key), cause))
    }
}

fn instant(time: &aws_sdk_s3::primitives::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

/// The time in a `Date` header.
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    aws_sdk_s3::primitives::DateTime::from_str(text, DateTimeFormat::HttpDate).ok().as_ref().and_then(instant)
}

#[async_trait]
impl Store for S3Store {
    fn url(&self) -> &str {
        &self.0.url
    }

    fn limits(&self) -> Limits {
        self.0.limits
    }

    async fn put(&self, key: &str, body: Bytes, mode: PutMode) -> Result<Stored, StoreError> {
        self.check(Operation::Put, key)?;
        let bytes = body.len() as u64;
        let expected = request::etag_of(body.clone()).await;
        let conditional = mode == PutMode::IfAbsent && !self.0.unconditional.load(Ordering::Relaxed);
        let attempts = Attempts::default();
        let put = self.0.client.put_object().bucket(&self.0.bucket).key(self.0.full(key));
        let put = put.body(body.clone().into()).content_md5(request::content_md5(expected.md5));
        let put = put.set_if_none_match(conditional.then(|| "*".to_owned()));
        let put = put.customize().config_override(self.0.sending(bytes)).interceptor(attempts.clone());
        let put = if self.0.unsigned_payload { put.disable_payload_signing() } else { put };
        let stored = |etag, version| Stored { bytes, parts: 1, etag, version, expected: Some(expected) };
        match put.send().await.map_err(|error| self.0.name(Operation::Put, key, error)) {
            Ok(answer) => Ok(stored(request::answered_etag(answer.e_tag), answer.version_id)),
            Err(StoreError::Unsupported(_)) if conditional => {
                tracing::debug!(store = self.0.url, "the store does not know conditional puts");
                self.0.unconditional.store(true, Ordering::Relaxed);
                self.put(key, body, mode).await
            }
            // The answer to our own first attempt was lost: what is there may be ours.
            Err(error @ StoreError::AlreadyExists(_)) if attempts.count() > 1 => match self.find(key).await? {
                Some(listed) if listed.size == bytes && etag_matches(&expected, listed.etag.as_deref()) => Ok(stored(listed.etag, None)),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn begin(&self, key: &str, _part_bytes: u64) -> Result<Box<dyn Upload>, StoreError> {
        self.check(Operation::Begin, key)?;
        let begin = self.0.client.create_multipart_upload().bucket(&self.0.bucket).key(self.0.full(key)).send();
        let begun = begin.await.map_err(|error| self.0.name(Operation::Begin, key, error))?;
        match begun.upload_id.filter(|id| !id.is_empty()) {
            Some(id) => Ok(Box::new(S3Upload::new(self.clone(), key, id))),
            None => Err(self.0.strange(Operation::Begin, key, "the store gave the upload no id")),
        }
    }

    async fn list(&self, prefix: &str, page: Option<&ListCursor>) -> Result<ListPage, StoreError> {
        let NamePage { objects, next, .. } = list::objects(self, prefix, page, None, None).await?;
        Ok(ListPage { objects, next })
    }

    async fn list_names(&self, prefix: &str, page: Option<&ListCursor>) -> Result<NamePage, StoreError> {
        list::objects(self, prefix, page, Some("/"), None).await
    }

    async fn find(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        // A key sorts before all others that begin with it.
        let page = list::objects(self, key, None, None, Some(1)).await?;
        Ok(page.objects.into_iter().next().filter(|object| object.key == key))
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>, version: Option<&str>) -> Result<GetBody, StoreError> {
        read::open(self, key, range, version).await
    }

    async fn list_versions(&self, prefix: &str, page: Option<&ListCursor>) -> Result<VersionPage, StoreError> {
        list::versions(self, prefix, page).await
    }

    async fn delete(&self, keys: &[String]) -> Result<Vec<DeleteOutcome>, StoreError> {
        let doomed: Vec<_> = keys.iter().map(|key| ObjectVersion { key: key.clone(), version: None }).collect();
        delete::delete(self, &doomed).await
    }

    async fn delete_versions(&self, versions: &[ObjectVersion]) -> Result<Vec<DeleteOutcome>, StoreError> {
        delete::delete(self, versions).await
    }

    async fn list_uploads(&self, prefix: &str, page: Option<&ListCursor>) -> Result<UploadPage, StoreError> {
        list::uploads(self, prefix, page).await
    }

    async fn abort_upload(&self, key: &str, upload_id: &str) -> Result<(), StoreError> {
        let abort = self.0.client.abort_multipart_upload().bucket(&self.0.bucket).key(self.0.full(key)).upload_id(upload_id);
        match abort.send().await.map_err(|error| self.0.name(Operation::Abort, key, error)) {
            Ok(_) | Err(StoreError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn server_time(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        probe::server_time(self).await
    }

    async fn rights(&self, probe_put: bool) -> Result<Rights, StoreError> {
        probe::rights(self, probe_put).await
    }

    async fn safety(&self) -> Result<BucketSafety, StoreError> {
        probe::safety(self).await
    }

    async fn canary(&self, shape: Shape) -> Result<Canary, StoreError> {
        let cell = &self.0.canaries[usize::from(shape == Shape::Multipart)];
        cell.get_or_try_init(|| probe::canary(self, shape)).await.cloned()
    }
}
