//! Why a stream is not a whole archive.

use super::ArchiveVersion;

/// Why a stream is not a whole archive. Each message completes "failed to read the archive: …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The first bytes are not those of a custom-format archive.
    #[error("it is not a pg_dump archive in the custom format")]
    NotAnArchive,
    /// Another of pg_dump's formats.
    #[error("it is in pg_dump's {0} format: only the custom format (-Fc) can be read")]
    OtherFormat(&'static str),
    /// A version of the format that nobody has taught this reader.
    #[error("its format version is {0}, and 1.14, 1.15 and 1.16 can be read: use a pg_dump of PostgreSQL 15 to 18")]
    UnknownVersion(ArchiveVersion),
    /// The data is compressed.
    #[error("its data is compressed ({0}): dump with -Z0")]
    Compressed(String),
    /// It was written on a machine with other sizes.
    #[error("it was written with {int_bytes}-byte integers and {offset_bytes}-byte offsets, which no known pg_dump does")]
    OddSizes {
        /// Bytes of an integer.
        int_bytes: u8,
        /// Bytes of a file offset.
        offset_bytes: u8,
    },
    /// A number or a string is outside what pg_dump writes.
    #[error("it is damaged at byte {at}: {what}")]
    Damaged {
        /// Where in the stream.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// More than the limits allow.
    #[error("it holds more than this reader takes: {0}")]
    TooLarge(String),
    /// The stream ended in the middle.
    #[error("it ends in the middle of {inside}, after {bytes} bytes: it was cut")]
    Cut {
        /// What was being read.
        inside: String,
        /// How many bytes there were.
        bytes: u64,
    },
    /// The stream ended between two blocks, before the last one.
    #[error("it ends before the data of {next}, {missing} of {promised} blocks are missing: it was cut")]
    MissingBlocks {
        /// The first entry without its block.
        next: String,
        /// How many blocks are missing.
        missing: usize,
        /// How many the table of contents promises.
        promised: usize,
    },
    /// A block that the table of contents does not promise here.
    #[error("it is damaged at byte {at}: a block of dump id {found} stands where that of {expected} belongs")]
    UnexpectedBlock {
        /// Where in the stream.
        at: u64,
        /// The dump id that was found.
        found: i64,
        /// What the table of contents promises next.
        expected: String,
    },
    /// A table's data does not end as COPY data does.
    #[error("the data of {0} does not end with the terminator of COPY")]
    Unterminated(String),
    /// Data whose rows cannot be counted.
    #[error("the data of {0} is not COPY data: dump without --inserts")]
    NotCopy(String),
    /// An entry has data of a kind that this reader does not know.
    #[error("the entry {0} has data of an unknown kind")]
    UnknownData(String),
    /// The reader was fed after it had failed.
    #[error("an earlier part of it could not be read")]
    AlreadyFailed,
}
