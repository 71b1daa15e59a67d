//! What every store does, whatever it is made of.

mod objects;
mod rights;

use std::{fmt::Debug, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use plana_plan::{inventory::ObjectMeta, parts::Limits};

pub use self::{
    objects::{
        DeleteOutcome, ETag, GetBody, ListCursor, ListPage, NamePage, ObjectVersion, PartReceipt, PutMode, Stored, UploadMeta, UploadPage,
        VersionMeta, VersionPage,
    },
    rights::{BucketSafety, Canary, Right, Rights, Shape, Switch},
};
use crate::error::{Failure, Operation, StoreError};

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

    /// Lists every version of every object whose key begins with `prefix`, delete markers too, a page at a time: by key
    /// and, as far as the store's times tell, from the newest to the oldest. A bucket that was never versioned lists
    /// its objects as versions called `null`.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] from a store that knows no versions; [`StoreError::AccessDenied`] for a key without
    /// [`Right::ListVersions`]; else as [`Store::list`].
    async fn list_versions(&self, _prefix: &str, _page: Option<&ListCursor>) -> Result<VersionPage, StoreError> {
        Err(StoreError::Unsupported(Failure::new(Operation::ListVersions, self.url(), "there are no versions in it")))
    }

    /// Deletes objects, any number of them, and tells what became of each, in the order asked for. One that is not
    /// there counts as deleted.
    ///
    /// # Errors
    /// When not even the first could be tried; else the outcomes tell.
    async fn delete(&self, keys: &[String]) -> Result<Vec<DeleteOutcome>, StoreError>;

    /// The same for single versions of objects, delete markers too: nothing is left of them, and nothing is put in their
    /// place. A version that is not there counts as deleted.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] from a store that knows no versions; else as [`Store::delete`].
    async fn delete_versions(&self, _versions: &[ObjectVersion]) -> Result<Vec<DeleteOutcome>, StoreError> {
        Err(StoreError::Unsupported(Failure::new(Operation::Delete, self.url(), "there are no versions in it")))
    }

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
