//! What every store does, whatever it is made of.

use std::{
    fmt::{self, Debug},
    ops::Range,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use plana_plan::{inventory::ObjectMeta, parts::Limits};

use crate::error::StoreError;

/// A store that tasks share.
pub type DynStore = Arc<dyn Store>;

/// A place for objects under keys.
///
/// Keys are relative to the store's URL, `/` separates their segments. A key that is written is 1 to 1,024 bytes
/// long with the store's prefix, and none of its segments is empty, `.` or `..` or holds a control character.
/// An object appears whole or not at all: neither [`Store::put`] nor [`Upload::complete`] shows part of one.
/// Every method can be repeated; retries of what may pass by itself are the store's own business.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// The store for people: `s3://bucket/prefix`, `file:///directory`. Never a secret.
    fn url(&self) -> &str;

    /// How large parts and objects may be.
    fn limits(&self) -> Limits;

    /// Stores one small object in one request.
    ///
    /// With [`PutMode::IfAbsent`] an existing object is left alone where the store knows how (directories, memory,
    /// most S3 stores); a store that does not would replace it, so keys are never reused all the same.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] for a key in use; else what kept the object from being stored.
    async fn put(&self, key: &str, body: Bytes, mode: PutMode) -> Result<Stored, StoreError>;

    /// Begins an upload in parts of `part_bytes`; the last may be shorter. Nothing is visible before it completes.
    ///
    /// # Errors
    /// What kept it from beginning.
    async fn begin(&self, key: &str, part_bytes: u64) -> Result<Box<dyn Upload>, StoreError>;

    /// Lists the objects whose keys begin with `prefix`, in the byte order of their keys, a page at a time.
    /// [`crate::listing`] goes through all pages.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`] when the bucket or directory is not there; an unknown prefix is merely empty.
    async fn list(&self, prefix: &str, page: Option<&ListCursor>) -> Result<ListPage, StoreError>;

    /// Lists what follows `prefix` up to the next `/`, as a directory listing would.
    ///
    /// # Errors
    /// As [`Store::list`].
    async fn list_names(&self, prefix: &str, page: Option<&ListCursor>) -> Result<NamePage, StoreError>;

    /// One object as a fresh listing gives it (list right only); none when it is not there.
    ///
    /// # Errors
    /// As [`Store::list`].
    async fn find(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        // A key sorts before all others that begin with it.
        let page = self.list(key, None).await?;
        Ok(page.objects.into_iter().next().filter(|object| object.key == key))
    }

    /// Reads an object, or the bytes of it in `range` (its end may lie behind the object's; its start may not).
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the object or that version of it is not there.
    async fn get(&self, key: &str, range: Option<Range<u64>>, version: Option<&str>) -> Result<GetBody, StoreError>;

    /// Deletes objects, any number of them, and tells what became of each, in the order asked for. One that is not
    /// there counts as deleted.
    ///
    /// # Errors
    /// When not even the first could be tried; else the outcomes tell.
    async fn delete(&self, keys: &[String]) -> Result<Vec<DeleteOutcome>, StoreError>;

    /// Lists uploads that were begun and neither completed nor aborted, a page at a time.
    ///
    /// # Errors
    /// [`StoreError::AccessDenied`] for most keys that may only put and list.
    async fn list_uploads(&self, prefix: &str, page: Option<&ListCursor>) -> Result<UploadPage, StoreError>;

    /// Aborts such an upload and frees its parts; one that is not there counts as aborted. Parts that were on their
    /// way may stay: list again, and abort again, until none is left.
    ///
    /// # Errors
    /// [`StoreError::AccessDenied`] for most keys that may only put and list.
    async fn abort_upload(&self, key: &str, upload_id: &str) -> Result<(), StoreError>;

    /// The store's own clock, from the answer to a listing; none where it has no clock but ours.
    ///
    /// # Errors
    /// As [`Store::list`].
    async fn server_time(&self) -> Result<Option<DateTime<Utc>>, StoreError>;

    /// What the key may do, told by harmless requests on random keys that do not exist. Nothing is written but, for
    /// [`Right::Put`], what `probe_put` allows: one small object under `probe/`, which the pruner sweeps.
    ///
    /// # Errors
    /// When the store cannot be spoken to at all (no connection, bad credentials, no such bucket).
    async fn rights(&self, probe_put: bool) -> Result<Rights, StoreError>;

    /// Whether an overwritten object could be had back.
    ///
    /// # Errors
    /// When the store cannot be spoken to; a refusal gives [`Switch::Unknown`].
    async fn safety(&self) -> Result<BucketSafety, StoreError>;

    /// Finds out what the store's ETags are worth, by a small object under `probe/` whose MD5 is known, and whether it
    /// refuses a body that does not match its Content-MD5. [`crate::verify`] asks once, and only when an ETag was not
    /// the expected one.
    ///
    /// # Errors
    /// What kept the probe from being made.
    async fn canary(&self, shape: Shape) -> Result<Canary, StoreError>;
}

/// An upload in parts. Dropping it leaves what was sent invisible, for [`Store::abort_upload`].
#[async_trait]
pub trait Upload: Send + Sync + Debug {
    /// The store's name for it.
    fn id(&self) -> &str;

    /// Sends a part; `number` counts from 1. Parts may be sent at the same time and in any order, and again.
    ///
    /// # Errors
    /// What kept the part from being stored.
    async fn put_part(&self, number: u32, body: Bytes) -> Result<PartReceipt, StoreError>;

    /// Makes one object of the parts, which are given in order and without a gap.
    ///
    /// # Errors
    /// What kept the object from being made; it may be there all the same when the answer was lost.
    async fn complete(&self, parts: &[PartReceipt]) -> Result<Stored, StoreError>;

    /// Frees what was sent.
    ///
    /// # Errors
    /// [`StoreError::AccessDenied`] for most keys that may only put and list: tolerate it, the pruner sweeps.
    async fn abort(&self) -> Result<(), StoreError>;
}

/// What a put does when the key is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMode {
    /// It replaces the object.
    Overwrite,
    /// It fails, where the store knows how.
    IfAbsent,
}

/// What the store answered to a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartReceipt {
    /// Its number, from 1.
    pub number: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// The ETag that the store answered, where it has any.
    pub etag: Option<String>,
    /// The MD5 of the body that was sent, where the store is told it.
    pub md5: Option<[u8; 16]>,
}

/// What was stored, as far as the sender knows: [`crate::verify`] compares it with the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The bytes that were sent.
    pub bytes: u64,
    /// How many parts they were sent in; 1 for a plain put.
    pub parts: u32,
    /// The ETag that the store answered; Ceph answers none to a Complete.
    pub etag: Option<String>,
    /// The version that a versioned bucket gave it.
    pub version: Option<String>,
    /// The ETag that a store of MD5 ETags must list; none where the store proves itself otherwise (fsync).
    pub expected: Option<ETag>,
}

/// An ETag computed from what was sent: the MD5 of the body, or of the parts' MD5s with their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ETag {
    /// The digest.
    pub md5: [u8; 16],
    /// The number of parts of a multipart upload.
    pub parts: Option<u32>,
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.md5))?;
        self.parts.map_or(Ok(()), |parts| write!(f, "-{parts}"))
    }
}

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListCursor {
    /// The store's marker.
    pub marker: String,
    /// The second marker, of a listing of uploads.
    pub upload_id: Option<String>,
}

/// A page of objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The objects, in the byte order of their keys.
    pub objects: Vec<ObjectMeta>,
    /// Where the next page begins; none on the last.
    pub next: Option<ListCursor>,
}

/// A page of a listing up to the next `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamePage {
    /// Common prefixes, whole and with the final `/`: `pg/acme/`.
    pub prefixes: Vec<String>,
    /// The objects on this level.
    pub objects: Vec<ObjectMeta>,
    /// Where the next page begins; none on the last.
    pub next: Option<ListCursor>,
}

/// An upload that was neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadMeta {
    /// The key that it was begun for.
    pub key: String,
    /// The store's name for it.
    pub upload_id: String,
    /// When it was begun; for a directory, when it was last written.
    pub initiated: DateTime<Utc>,
}

/// A page of unfinished uploads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadPage {
    /// The uploads, by key.
    pub uploads: Vec<UploadMeta>,
    /// Where the next page begins; none on the last.
    pub next: Option<ListCursor>,
}

/// An object that is being read.
pub struct GetBody {
    /// The whole object's size, time and ETag; `key` is the one asked for.
    pub meta: ObjectMeta,
    /// The version that is being read, on a versioned bucket.
    pub version: Option<String>,
    /// The bytes of the object that follow.
    pub range: Range<u64>,
    /// The bytes; it ends early only with an error.
    pub stream: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl Debug for GetBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetBody")
            .field("meta", &self.meta)
            .field("version", &self.version)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// What became of one key of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// The key.
    pub key: String,
    /// Whether it is gone, and why not.
    pub result: Result<(), StoreError>,
}

/// Something that a store's key may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Writing objects, also in parts.
    Put,
    /// Listing objects.
    List,
    /// Reading objects.
    Read,
    /// Deleting objects.
    Delete,
    /// Listing unfinished uploads.
    ListUploads,
    /// Aborting unfinished uploads.
    Abort,
    /// Listing versions of objects.
    ListVersions,
    /// Reading how the bucket is set up.
    Inspect,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Right::Put => "put objects (s3:PutObject; SOS: put-object)",
            Right::List => "list the bucket (s3:ListBucket; SOS: list-objects)",
            Right::Read => "read objects (s3:GetObject; SOS: get-object)",
            Right::Delete => "delete objects (s3:DeleteObject; SOS: delete-object)",
            Right::ListUploads => "list unfinished uploads (s3:ListBucketMultipartUploads; SOS: list-multipart-uploads)",
            Right::Abort => "abort uploads (s3:AbortMultipartUpload; SOS: abort-multipart-upload)",
            Right::ListVersions => "list versions (s3:ListBucketVersions; SOS: list-object-versions)",
            Right::Inspect => "read the bucket's versioning (s3:GetBucketVersioning; SOS: get-bucket-versioning)",
        })
    }
}

/// What a key may do; none where it could not be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    /// [`Right::Put`].
    pub put: Option<bool>,
    /// [`Right::List`].
    pub list: Option<bool>,
    /// [`Right::Read`].
    pub read: Option<bool>,
    /// [`Right::Delete`].
    pub delete: Option<bool>,
    /// [`Right::ListUploads`].
    pub list_uploads: Option<bool>,
    /// [`Right::Abort`].
    pub abort: Option<bool>,
    /// [`Right::ListVersions`].
    pub list_versions: Option<bool>,
}

/// Whether something is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
    /// The key may not ask, or the store does not say.
    Unknown,
}

/// Whether an overwritten or deleted object could be had back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketSafety {
    /// Older versions are kept.
    pub versioning: Switch,
    /// Versions cannot be deleted before their time.
    pub object_lock: Switch,
}

/// How an object was sent: ETags of the two are made differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// In one request.
    Plain,
    /// In parts.
    Multipart,
}

/// What a store did with a small object whose MD5 is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The ETag that a store of MD5 ETags must list.
    pub expected: ETag,
    /// The ETag that the listing gave.
    pub listed: Option<String>,
    /// Whether the store refused a body that did not match its Content-MD5.
    pub refuses_wrong_md5: bool,
}
