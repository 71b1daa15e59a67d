//! Why an item has no new backup.

use std::{io, time::Duration};

use plana_pg::{
    archive::{ArchiveError, IdentityError},
    dump::DumpError,
    server::ServerError,
};
use plana_plan::seed::ContentSha;
use plana_storage::StoreError;
use plana_tree::TreeError;

use crate::{lock::LockError, target::Patience};

/// Why an item has no new backup. Completes the sentence "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// pg_dump or pg_dumpall failed.
    #[error("{0}")]
    Dump(#[from] DumpError),
    /// The server could not be asked.
    #[error("{0}")]
    Server(#[from] ServerError),
    /// The child ended with status 0, and still its archive is not whole.
    #[error(
        "read the dump to its end: {0}; nothing was committed; run the job again, and if it repeats, check pg_dump's version and the server's log"
    )]
    Archive(#[from] ArchiveError),
    /// The dump holds what no identity stands for.
    #[error("tell the dump's content: {0}")]
    Identity(#[from] IdentityError),
    /// Two dumps of one snapshot hold different things.
    #[error(
        "dump the same content twice: the first dump of the snapshot holds {first}, the second {second}; something was altered or emptied \
         between them, which a snapshot does not hold back; nothing was committed: run the job again when nobody changes the template"
    )]
    Changed {
        /// What was read first.
        first: ContentSha,
        /// What was read when it was to be stored.
        second: ContentSha,
    },
    /// Reading the content failed.
    #[error("read {what}: {source}")]
    Read {
        /// What was being read.
        what: String,
        /// Why it could not be.
        #[source]
        source: io::Error,
    },
    /// Compression or encryption failed.
    #[error("compress or encrypt the payload: {0}")]
    Encode(#[source] io::Error),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The tree could not be read.
    #[error("{0}")]
    Tree(#[from] TreeError),
    /// Nothing moved for too long.
    #[error("finish in time: nothing moved for {}s ({}); look {}", .0.after.as_secs(), .0.key, .0.look)]
    Stalled(Patience),
    /// Files that the dump names were removed while the file store was taken.
    #[error(
        "take every file that the dump names: {0} since, and no row names them any more; nothing was committed of the files; run it again, \
         with the tenant stopped (--quiesce) if it repeats"
    )]
    FilesRemoved(String),
    /// Files were not archived as they were, and nothing less is accepted.
    #[error("take the file store whole: {0}; nothing of it was committed; run it again")]
    NotWhole(String),
    /// The file store was faulty before, and that is not accepted.
    #[error(
        "take a tenant whose files are whole: {missing} were missing and {damaged} damaged before (--strict): {lists}; nothing of them was \
         committed: mend the tenant, or leave --strict out"
    )]
    Faulty {
        /// Files that rows name and the store lacks.
        missing: u64,
        /// Files whose content is not what their names say.
        damaged: u64,
        /// Which, as far as a line tells them.
        lists: String,
    },
    /// The dump could not be compared with the files.
    #[error("compare the files with what the dump names: {0}; the dump is committed, and the files were not taken")]
    NotCompared(String),
    /// Its key is in no escrow, and must be.
    #[error("back it up with its key in escrow (escrow.on_missing = \"fail\"): {0}; nothing was committed")]
    NoEscrow(String),
    /// It took too long, although it moved.
    #[error("finish within {}s (filestore.timeout); raise it, or look why the file store is so slow", after.as_secs())]
    Deadline {
        /// The limit that was passed.
        after: Duration,
    },
    /// The listing does not show what was committed.
    #[error("confirm the backup after its manifest was written: {0}; it must not be relied on: run the job again")]
    Unconfirmed(String),
    /// The lock could not be asked for.
    #[error("{0}")]
    Lock(#[from] LockError),
    /// The lock's connection was lost, so another run may be at work on the item.
    #[error("keep the item's lock: its connection to the server was lost; run the job again")]
    LockLost,
    /// The run was cancelled.
    #[error("finish: the run was cancelled")]
    Cancelled,
    /// No random number could be had for the set's id.
    #[error("get a random number for the set's id: {0}")]
    Random(String),
    /// A part of the job itself died.
    #[error("finish: an internal error stopped the stream ({0}); please report it")]
    Internal(String),
}

impl BackupError {
    /// Whether the database was dropped or the directory removed meanwhile, which is nobody's failure.
    pub fn is_gone(&self) -> bool {
        match self {
            BackupError::Dump(error) => error.is_gone(),
            BackupError::Server(error) => error.is_gone(),
            BackupError::Tree(error) => matches!(error, TreeError::Gone { .. }),
            _ => false,
        }
    }
}
