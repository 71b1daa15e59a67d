//! Why a store could not do what was asked.

use std::{fmt, io};

use crate::contract::Right;

/// What was being done, as the words that follow "failed to".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opening a store, or asking about the whole of it.
    Open,
    /// A plain put.
    Put,
    /// Beginning a multipart upload.
    Begin,
    /// Sending the part of this number.
    PutPart(u32),
    /// Completing a multipart upload.
    Complete,
    /// Aborting a multipart upload.
    Abort,
    /// Listing objects.
    List,
    /// Listing versions of objects.
    ListVersions,
    /// Listing multipart uploads.
    ListUploads,
    /// Reading an object.
    Get,
    /// Deleting an object.
    Delete,
    /// Comparing what is stored with what was sent.
    Verify,
    /// Asking how the bucket is set up.
    Inspect,
}

impl Operation {
    /// The right that it needs.
    pub const fn right(self) -> Right {
        match self {
            Operation::Put | Operation::Begin | Operation::PutPart(_) | Operation::Complete => Right::Put,
            Operation::Abort => Right::Abort,
            Operation::Open | Operation::List | Operation::Verify => Right::List,
            Operation::ListVersions => Right::ListVersions,
            Operation::ListUploads => Right::ListUploads,
            Operation::Get => Right::Read,
            Operation::Delete => Right::Delete,
            Operation::Inspect => Right::Inspect,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Open => f.write_str("open"),
            Operation::Put => f.write_str("put"),
            Operation::Begin => f.write_str("begin the upload of"),
            Operation::PutPart(number) => write!(f, "send part {number} of"),
            Operation::Complete => f.write_str("complete the upload of"),
            Operation::Abort => f.write_str("abort the upload of"),
            Operation::List => f.write_str("list"),
            Operation::ListVersions => f.write_str("list the versions of"),
            Operation::ListUploads => f.write_str("list the unfinished uploads of"),
            Operation::Get => f.write_str("read"),
            Operation::Delete => f.write_str("delete"),
            Operation::Verify => f.write_str("verify"),
            Operation::Inspect => f.write_str("ask for the settings of"),
        }
    }
}

/// What failed, on which object, and what the store or the system said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was being done.
    pub operation: Operation,
    /// The object's or store's URL, printable.
    pub object: String,
    /// The cause in the store's or the system's own words.
    pub cause: String,
}

impl Failure {
    /// Puts the three together; control characters in the object's name are escaped.
    pub fn new(operation: Operation, object: impl AsRef<str>, cause: impl Into<String>) -> Self {
        Failure { operation, object: object.as_ref().escape_debug().to_string(), cause: cause.into() }
    }
}

impl Failure {
    /// What to do about a refusal.
    fn advice(&self) -> String {
        if self.object.starts_with("file:") {
            return "let the user of this job read and write there".to_owned();
        }
        format!("give the store's key the right to {}, or use the key meant for this job", self.operation.right())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.object)?;
        if self.cause.is_empty() { Ok(()) } else { write!(f, ": {}", self.cause) }
    }
}

/// Why a store could not do what was asked; each completes the sentence "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The key may not do this.
    #[error("{0}: access denied; {advice}", advice = .0.advice())]
    AccessDenied(Failure),
    /// The object is locked against deletion until its time.
    #[error("{0}: the store keeps it locked; it can be deleted when its lock has run out")]
    Locked(Failure),
    /// The store does not know the key, or its signature is wrong.
    #[error("{0}: the store refused the credentials; check access_key_id, secret_access_key and the region")]
    BadCredentials(Failure),
    /// Our clock and the store's are too far apart for a signature.
    #[error("{0}: this machine's clock differs too much from the store's; set it (timedatectl, chrony)")]
    ClockSkew(Failure),
    /// The bucket, or the directory, is not there.
    #[error("{0}: there is no such bucket or directory; check the store's URL, or create it")]
    NoSuchBucket(Failure),
    /// The object, its version, or the multipart upload is not there.
    #[error("{0}: it is not there")]
    NotFound(Failure),
    /// Another object has this key already, and the put was not to replace it.
    #[error("{0}: an object of this name is there already and is not replaced")]
    AlreadyExists(Failure),
    /// The store answered with errors or asked for fewer requests until the attempts were used up.
    #[error("{0}: the store was unavailable or asked to slow down, through all retries; try again later, or with fewer jobs at once")]
    Unavailable(Failure),
    /// No answer in time, through all retries.
    #[error("{0}: no answer in time, through all retries; check the network, or raise the timeouts under [s3]")]
    Timeout(Failure),
    /// No connection, through all retries.
    #[error("{0}: no connection, through all retries; check the endpoint, the network and the certificates")]
    Connection(Failure),
    /// The disk of a directory store is full, or a quota is used up.
    #[error("{0}: no space is left; free some, or use a larger disk")]
    NoSpace(Failure),
    /// The system refused a file operation for another reason.
    #[error("{0}")]
    Io(Failure),
    /// What is stored is not what was sent: it must not count.
    #[error("{0}; do not trust this object")]
    Corrupt(Failure),
    /// The key, URL or option cannot be used with this store.
    #[error("{0}")]
    Unusable(Failure),
    /// Cannot be told whether what is stored is what was sent.
    #[error("{0}; it does not count as stored")]
    Unverifiable(Failure),
    /// The store cannot do this at all.
    #[error("{0}: this store does not support it")]
    Unsupported(Failure),
    /// Anything else; the store's own words are in it.
    #[error("{0}")]
    Other(Failure),
}

impl StoreError {
    /// What failed, on which object, and why.
    pub fn failure(&self) -> &Failure {
        match self {
            StoreError::AccessDenied(failure)
            | StoreError::Locked(failure)
            | StoreError::BadCredentials(failure)
            | StoreError::ClockSkew(failure)
            | StoreError::NoSuchBucket(failure)
            | StoreError::NotFound(failure)
            | StoreError::AlreadyExists(failure)
            | StoreError::Unavailable(failure)
            | StoreError::Timeout(failure)
            | StoreError::Connection(failure)
            | StoreError::NoSpace(failure)
            | StoreError::Io(failure)
            | StoreError::Corrupt(failure)
            | StoreError::Unusable(failure)
            | StoreError::Unverifiable(failure)
            | StoreError::Unsupported(failure)
            | StoreError::Other(failure) => failure,
        }
    }

    /// The store's error within one of a [`crate::VolumeSource`], or of what reads from it.
    pub fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Whether the whole store is at fault, so that the next item would fail in the same way.
    pub fn concerns_whole_store(&self) -> bool {
        matches!(self, StoreError::BadCredentials(_) | StoreError::ClockSkew(_) | StoreError::NoSuchBucket(_) | StoreError::NoSpace(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_who_must_be_given_what() {
        let refused = |object: &str| StoreError::AccessDenied(Failure::new(Operation::PutPart(3), object, "AccessDenied")).to_string();
        assert_eq!(
            refused("s3://b/k\u{1b}[2J"),
            "send part 3 of s3://b/k\\u{1b}[2J: AccessDenied: access denied; give the store's key the right to put objects \
             (s3:PutObject; SOS: put-object), or use the key meant for this job"
        );
        assert!(refused("file:///srv/k").ends_with("let the user of this job read and write there"));
    }
}
