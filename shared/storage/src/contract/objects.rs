//! Objects, parts, versions and uploads, as stores take and give them.

use std::{
    fmt::{self, Debug},
    ops::Range,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use plana_plan::inventory::ObjectMeta;

use crate::error::StoreError;

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
    /// The second marker, of listings in which a key may come several times: the upload's id, or the version's.
    pub minor: Option<String>,
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

/// One version of an object, or the mark of its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionMeta {
    /// The object's key.
    pub key: String,
    /// The version's id, `null` for what was stored while the bucket was not versioned.
    pub version: String,
    /// Whether it is what a reader gets who names no version.
    pub is_latest: bool,
    /// Whether it holds nothing and only says that the object was deleted.
    pub is_delete_marker: bool,
    /// Its size in bytes, 0 for a delete marker.
    pub size: u64,
    /// When the store wrote it.
    pub last_modified: DateTime<Utc>,
    /// Its ETag without quotes, where the store has any.
    pub etag: Option<String>,
}

/// A page of versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionPage {
    /// The versions, by key and from the newest to the oldest.
    pub versions: Vec<VersionMeta>,
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

/// An object, or one version of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectVersion {
    /// The object's key.
    pub key: String,
    /// The version's id; none means the object itself, as it is without any versions.
    pub version: Option<String>,
}

/// What became of one key of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// The key.
    pub key: String,
    /// Whether it is gone, and why not.
    pub result: Result<(), StoreError>,
}
