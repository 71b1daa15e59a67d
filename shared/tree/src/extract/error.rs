//! Why a tree could not be read back.

use std::{
    io,
    path::{Path, PathBuf},
};

use plana_plan::name::path_text;

/// Why a tree could not be read back; each completes the sentence "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The archive could not be read; the reason is the source's own error.
    #[error("read the archive: {0}")]
    Input(#[source] io::Error),
    /// It ends before its end.
    #[error("read the archive: it breaks off after {bytes} bytes, before the mark that ends it; do not trust this object")]
    Truncated {
        /// The bytes that came before.
        bytes: u64,
    },
    /// Something follows the mark that ends it.
    #[error("read the archive: bytes that do not belong to it follow its end; do not trust this object")]
    Trailing,
    /// A header makes no sense.
    #[error("read the archive: the header at byte {at} {what}; do not trust this object")]
    Header {
        /// Where it begins.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An entry is of a kind, or has a name, that no archive of a file store has.
    #[error("unpack `{}`: {what}; do not trust this object", path_text(.path))]
    Entry {
        /// Its path.
        path: Vec<u8>,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It does not hold what its manifest says.
    #[error("unpack the archive: {0}; do not trust this object")]
    Different(String),
    /// Something could not be written.
    #[error("write {}: {source}{}", .path.display(), hint(.source))]
    Disk {
        /// What.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something is in the way.
    #[error("restore into {}: {what}", .path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
}

impl ExtractError {
    pub(super) fn entry(path: &[u8], what: &'static str) -> Self {
        ExtractError::Entry { path: path.to_vec(), what }
    }

    pub(super) fn disk(path: &Path, source: impl Into<io::Error>) -> Self {
        ExtractError::Disk { path: path.to_path_buf(), source: source.into() }
    }

    pub(super) fn target(path: &Path, what: impl Into<String>) -> Self {
        ExtractError::Target { path: path.to_path_buf(), what: what.into() }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space, or use another disk",
        io::ErrorKind::PermissionDenied => "; use a directory that this user may write to, and an owner that it may give",
        io::ErrorKind::ResourceBusy => "; a file system is mounted there: restore into a directory below it",
        _ => "",
    }
}
