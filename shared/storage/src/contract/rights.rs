//! What a key may do, and what a store is worth.

use std::fmt;

use super::ETag;

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
