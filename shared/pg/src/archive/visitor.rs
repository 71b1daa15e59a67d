//! What else may be read from an archive in passing.

use super::{ArchiveHeader, TocEntry};

/// Is shown everything in the archive as it passes, in its order. Nothing shown is proven until the
/// reader's `finish` has said that the archive is whole.
pub trait ArchiveVisitor {
    /// The header.
    fn header(&mut self, _header: &ArchiveHeader) {}

    /// An entry of the table of contents; all come before any data.
    fn entry(&mut self, _entry: &TocEntry) {}

    /// A piece of a table's COPY data, its terminator included. Pieces may end anywhere in a row.
    fn rows(&mut self, _entry: &TocEntry, _piece: &[u8]) {}

    /// A large object begins.
    fn large_object(&mut self, _entry: &TocEntry, _oid: u32) {}

    /// A piece of the large object that began last.
    fn large_object_data(&mut self, _entry: &TocEntry, _oid: u32, _piece: &[u8]) {}

    /// The entry's data is over; `rows` is 0 for large objects.
    fn end(&mut self, _entry: &TocEntry, _rows: u64) {}
}

/// Nobody looks.
impl ArchiveVisitor for () {}
