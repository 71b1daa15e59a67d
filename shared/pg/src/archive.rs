//! Reads the uncompressed custom format of pg_dump (`-Fc -Z0`) as it streams by.
//!
//! The format has no end marker and pg_restore accepts archives that are cut between two blocks.
//! [`ArchiveReader`] holds an archive to every promise that it makes: a table of contents, a block
//! for each entry that has data, in the same order, each table's COPY terminated, and the end at a
//! block boundary. It counts rows on the way: each COPY line ends in a newline, and newlines in
//! values are escaped, so rows are newlines less the three of the terminator.
//!
//! The layout is the one of PostgreSQL's `pg_backup_archiver.c` and `pg_backup_custom.c`, versions
//! 1.14 (PostgreSQL 12 to 15), 1.15 (16) and 1.16 (17 and 18). No I/O happens here, memory is
//! bounded by [`Limits`], and no input makes it panic.

mod attachments;
mod error;
mod header;
pub mod identity;
mod reader;
mod repack;
mod roles;
mod rows;
mod toc;
mod visitor;
mod wire;

pub use attachments::DumpedAttachments;
pub use error::ArchiveError;
pub use header::{ArchiveHeader, ArchiveVersion};
pub use identity::{ContentIdentity, IdentityError};
pub use reader::{ArchiveReader, ArchiveSummary};
pub use repack::Repacker;
pub use roles::roles_named;
pub use toc::{DataKind, TocEntry};
pub use visitor::ArchiveVisitor;

/// How much an archive may claim before it is refused as damaged or hostile.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one entry in the table of contents, a function's definition for example included.
    pub entry_bytes: usize,
    /// Entries in the table of contents.
    pub entries: u64,
    /// Dependencies of one entry.
    pub dependencies: usize,
    /// Bytes that the entries with data may take in memory together.
    pub kept_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { entry_bytes: 64 << 20, entries: 50_000_000, dependencies: 1_000_000, kept_bytes: 256 << 20 }
    }
}

#[cfg(test)]
mod tests;
