//! What ends a whole run, and the exit code that says so.

use plana_backup::{SetupError, tiers::TiersError};
use plana_harness::{Exit, Failure};
use plana_plan::{SetKey, name::printable, retention::guard::Refusal};
use plana_storage::StoreError;

/// What ends a whole run. Completes the sentence "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Something could not be opened.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A guard rail held.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The listing broke off: what it does not show cannot be told from what is not there.
    #[error("list all that is stored, and nothing is deleted by half a listing: failed to {0}; run it again")]
    HalfListed(#[source] StoreError),
    /// Not all manifests could be read: what they refer to is not known.
    #[error("read all manifests and tags, and nothing is deleted without what they refer to: failed to {0}; run it again")]
    HalfRead(#[source] StoreError),
    /// A file of the ledger cannot be read.
    #[error("read the ledger of pulls {path} (mirror.ledger), and nothing is deleted without it: {source}")]
    Ledger {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Something went wrong that is nobody's fault but ours.
    #[error("go on because of a defect in this program, please report it: {0}")]
    Defect(String),
    /// Nothing of that name is listed in a mirror.
    #[error("find {}: nothing of it is listed; give name:tag, name@digest, a blob's digest, or a key", printable(.0))]
    NotInMirror(String),
    /// The tiers of today could not be looked up.
    #[error(
        "look up today's tiers (tiers.sql), and nothing is deleted without them: {0}; mend that, or set retention.tiers to false: then \
         only the labels in the keys decide"
    )]
    Tiers(#[source] TiersError),
    /// There is no server to look the tiers up.
    #[error(
        "look up today's tiers (tiers.sql), and nothing is deleted without them: no server is configured; set postgres.dsn, or set \
         retention.tiers to false: then only the labels in the keys decide"
    )]
    NoServer,
    /// The file of tiers cannot be read.
    #[error("read tiers.file {path}, and nothing is deleted without it: {source}")]
    TiersFile {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Another run prunes this store.
    #[error("lock {url}: another run prunes it; nothing is left to do here unless that run fails")]
    Locked {
        /// The store.
        url: String,
    },
    /// The lock cannot be told.
    #[error("lock the store: {0}; set state_dir to a directory that this user may write")]
    Lock(#[source] std::io::Error),
    /// Nothing of that key is listed.
    #[error("find {}: nothing of that key is listed; `retention-pruner --dry-run --output json` names every set", printable(.0))]
    NotListed(String),
    /// The set is not there.
    #[error("find the set {0}: nothing of it is listed; `restore-from-sos list` names what there is")]
    NoSuchSet(SetKey),
    /// The name is not there.
    #[error("retire {}: no backup has that name; give it as it was backed up (`restore-from-sos list`)", printable(.0))]
    NoSuchName(String),
    /// What an operator has said could not be kept.
    #[error("remember in {dir} what was said: it could not be read back; set state_dir to a directory that this user may write")]
    NotRemembered {
        /// The state directory.
        dir: String,
    },
    /// Probes or uploads could not be swept.
    #[error("sweep all that was left behind: {count} of it could not be deleted, the first: failed to {first}; run it again")]
    NotSwept {
        /// How many.
        count: usize,
        /// The first error.
        first: String,
    },
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        RunError::Setup(error.into())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let exit = match &error {
            RunError::Setup(error) if error.is_configuration() => Exit::BadConfig,
            RunError::HalfRead(
                StoreError::AccessDenied(_) | StoreError::BadCredentials(_) | StoreError::NoSuchBucket(_) | StoreError::Unusable(_),
            ) => Exit::BadConfig,
            RunError::TiersFile { .. } | RunError::Lock(_) => Exit::BadConfig,
            RunError::Refused(_)
            | RunError::HalfListed(_)
            | RunError::HalfRead(_)
            | RunError::Ledger { .. }
            | RunError::Tiers(_)
            | RunError::NoServer => Exit::Refused,
            RunError::Locked { .. } => Exit::LeftToOther,
            RunError::NotSwept { .. } => Exit::Partial,
            RunError::Setup(_)
            | RunError::NotListed(_)
            | RunError::NotInMirror(_)
            | RunError::Defect(_)
            | RunError::NoSuchSet(_)
            | RunError::NoSuchName(_)
            | RunError::NotRemembered { .. } => Exit::Failed,
        };
        Failure::of(exit, &error)
    }
}
