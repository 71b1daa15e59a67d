//! Why a set could not be found, checked, fetched or restored.

use std::{io, path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use plana_archive::{DecodeError, IdentitiesError, UnknownCompression};
use plana_pg::{
    archive::ArchiveError, globals::GlobalsError, partitions::PartitionError, restore::RestoreError as PgRestoreError, scratch::AdminError,
    server::ServerError,
};
use plana_plan::{
    Area, Stamp,
    manifest::ManifestError,
    name::printable,
    seed::{ContentSha, SeedName},
};
use plana_storage::StoreError;
use plana_tree::extract::ExtractError;

/// Why a set could not be found, checked, fetched or restored. Completes the sentence "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// There is no committed set of that name at that time.
    #[error("find a backup of {area}/{}{}: {}", printable(.name), moment(.at), instead(.oldest, .incomplete))]
    NoSet {
        /// The area.
        area: Area,
        /// The name.
        name: String,
        /// The moment asked for.
        at: Option<DateTime<Utc>>,
        /// The oldest committed set.
        oldest: Option<Stamp>,
        /// How many sets are incomplete.
        incomplete: usize,
    },
    /// There is no such seed.
    #[error("find the seed {0}: there is none in the templates' store; look at `seed list`, and at its URL")]
    NoSeed(SeedName),
    /// The beginning of a SHA means more than one.
    #[error("tell which seed {name} means: {}; give more of its SHA", .fitting.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    ManySeeds {
        /// What was asked for.
        name: SeedName,
        /// What that begins.
        fitting: Vec<ContentSha>,
    },
    /// The set is not a backup.
    #[error("use {set}: it is no backup, its {} not there; `list --all` shows what is incomplete", lacks(.manifest, .payload))]
    NotCommitted {
        /// The set.
        set: String,
        /// Whether the manifest is listed.
        manifest: bool,
        /// Whether payload is listed.
        payload: bool,
    },
    /// The manifest cannot be believed.
    #[error("believe the manifest of {set}: {reason}; use another set")]
    Manifest {
        /// The set.
        set: String,
        /// What is wrong.
        reason: Box<ManifestError>,
    },
    /// The manifest is larger than any that this suite writes.
    #[error("read {key}: {bytes} bytes are more than any manifest has; use another set")]
    LargeManifest {
        /// The object.
        key: String,
        /// Its size.
        bytes: u64,
    },
    /// An object is not what the manifest says, and no version of it is.
    #[error(
        "read {set}: {key} {what}, and no version that the manifest means is kept; use another set, and find out who has a key to this bucket"
    )]
    Overwritten {
        /// The set.
        set: String,
        /// The object.
        key: String,
        /// What became of it.
        what: &'static str,
    },
    /// The payload is compressed in a way that this version does not know.
    #[error("{0}")]
    Compression(#[from] UnknownCompression),
    /// The payload is encrypted, and there is no key.
    #[error("open {set}: it is encrypted to {}; give the private key of one of them with --identity", .recipients.join(", "))]
    NoIdentity {
        /// The set.
        set: String,
        /// The public keys.
        recipients: Vec<String>,
    },
    /// The file of private keys cannot be used.
    #[error("read the private keys of {}: {reason}", .path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The stored bytes cannot be decoded.
    #[error("read {set}: {reason}; it is damaged or was tampered with: use another set, and keep this one for a look")]
    Decode {
        /// The set.
        set: String,
        /// What is wrong.
        reason: DecodeError,
    },
    /// The content is no whole archive.
    #[error("read {set}: {reason}; use another set, and keep this one for a look")]
    Archive {
        /// The set.
        set: String,
        /// What is wrong.
        reason: ArchiveError,
    },
    /// The content is no archive of a file store, or not the one that the manifest names.
    #[error("read {set}: {reason}; use another set, and keep this one for a look")]
    Tree {
        /// The set.
        set: String,
        /// What is wrong.
        reason: ExtractError,
    },
    /// A file store could not be unpacked where it should be.
    #[error("{0}")]
    Unpack(ExtractError),
    /// What was read is not what the manifest says.
    #[error("prove {set}: {what}; use another set, and keep this one for a look")]
    Mismatch {
        /// The set.
        set: String,
        /// What differs.
        what: String,
    },
    /// Nothing moved for too long.
    #[error("finish in time: nothing moved for {}s (dump.stall_timeout); look at the connection to the store, and for locks on the server", .0.as_secs())]
    Stalled(Duration),
    /// The run was cancelled.
    #[error("finish: the run was cancelled")]
    Cancelled,
    /// The session that holds our locks is gone.
    #[error("finish: the connection that holds the lock on the unfinished database was lost; look at the server's log, and run it again")]
    LockLost,
    /// A file could not be written.
    #[error("write {}: {source}{}", .path.display(), full(.source))]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file that is there is not what it should be.
    #[error("write {}: {what}", .path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
        /// What is in the way, and what to do.
        what: String,
    },
    /// The server failed.
    #[error("{0}")]
    Server(#[from] ServerError),
    /// Roles or tablespaces could not be made.
    #[error("{0}")]
    Globals(#[from] GlobalsError),
    /// pg_restore failed.
    #[error("{0}")]
    PgRestore(#[from] PgRestoreError),
    /// What happens around pg_restore failed.
    #[error("{0}")]
    Admin(#[from] AdminError),
    /// A partition could not be brought back.
    #[error("{0}")]
    Partition(#[from] PartitionError),
    /// The restored database is not what the manifest says.
    #[error("prove the restored database: {0}; nothing was put in place")]
    Different(String),
    /// Something that the restore needs is not there.
    #[error("restore {set}: {}", .missing.join("; "))]
    Unready {
        /// The set.
        set: String,
        /// What is missing, each with what to do.
        missing: Vec<String>,
    },
    /// A guard rail held.
    #[error("{0}")]
    Refused(String),
    /// The hook failed.
    #[error("run the hook `{command}`: {reason}; the restored database was not put in place")]
    Hook {
        /// The command.
        command: String,
        /// How it ended.
        reason: String,
    },
    /// A part of the job itself died.
    #[error("finish: an internal error stopped it ({0}); please report it")]
    Internal(String),
}

impl RestoreError {
    /// Whether a guard rail held: refused as unsafe, with the way past it in the message.
    pub fn is_guard_rail(&self) -> bool {
        matches!(self, RestoreError::Refused(_))
    }

    /// Whether it is this set that cannot be used, and another copy of the same content could be.
    pub fn is_of_the_set(&self) -> bool {
        matches!(
            self,
            RestoreError::NotCommitted { .. }
                | RestoreError::Manifest { .. }
                | RestoreError::LargeManifest { .. }
                | RestoreError::Overwritten { .. }
                | RestoreError::Compression(_)
                | RestoreError::Decode { .. }
                | RestoreError::Archive { .. }
                | RestoreError::Mismatch { .. }
        )
    }

    /// The file of private keys cannot be used.
    pub fn identity(path: PathBuf, error: &IdentitiesError) -> Self {
        RestoreError::Identity { path, reason: error.to_string() }
    }
}

fn full(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::StorageFull { "; free some space, or use another directory" } else { "" }
}

fn moment(at: &Option<DateTime<Utc>>) -> String {
    at.map_or_else(String::new, |at| format!(" at {}", at.format("%Y-%m-%d %H:%M:%S UTC")))
}

fn instead(oldest: &Option<Stamp>, incomplete: &usize) -> String {
    match (oldest, incomplete) {
        (Some(oldest), _) => format!("the oldest is of {oldest}; ask for a later time"),
        (None, 0) => "there is none; look at `list`, and at the store's URL".to_owned(),
        (None, incomplete) => format!("there is none, only {incomplete} incomplete; look at `list --all`"),
    }
}

fn lacks(manifest: &bool, payload: &bool) -> &'static str {
    match (manifest, payload) {
        (false, true) => "manifest is",
        (true, false) => "payload is",
        _ => "manifest and payload are",
    }
}
