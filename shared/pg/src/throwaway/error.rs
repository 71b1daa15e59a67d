//! Why there is no server of our own.

use std::{io, path::PathBuf};

use plana_plan::name::printable;

use crate::server::ServerError;

/// Why a server of our own could not be made. Each message completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum ThrowawayError {
    /// We are root, and there is nobody else to run it as.
    #[error(
        "run PostgreSQL as `{}`: there is no such user on this host, and PostgreSQL refuses to run as root; set restore.scratch_user",
        printable(.user)
    )]
    NoAccount {
        /// The user.
        user: String,
    },
    /// The user is root.
    #[error("run PostgreSQL as `{}`: that is root, which PostgreSQL refuses; set restore.scratch_user to another user", printable(.user))]
    Root {
        /// The user.
        user: String,
    },
    /// The socket's path would be cut.
    #[error("make a server's socket {}: the path is longer than a socket's may be; set restore.scratch_dir to a shorter one", .path.display())]
    LongPath {
        /// The socket.
        path: PathBuf,
    },
    /// The directory cannot be used.
    #[error("use {}: {source}; restore.scratch_dir must be a directory that the server's user can reach and write", .path.display())]
    Directory {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program of the server failed.
    #[error("run {}: {reason}", .program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// What it said.
        reason: String,
    },
    /// It does not answer.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl ThrowawayError {
    /// Whether the configuration is wrong, which no rerun can mend.
    pub fn is_configuration(&self) -> bool {
        matches!(self, ThrowawayError::NoAccount { .. } | ThrowawayError::Root { .. } | ThrowawayError::LongPath { .. })
    }
}
