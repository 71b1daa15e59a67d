//! What else may be read from an archive in passing.

use super::{ArchiveHeader, TocEntry};

/// Is shown everything in the archive as it passes, in its order. Nothing shown is proven until the
/// reader's `finish` has said that the archive is whole.
pub trait ArchiveVisitor {
    /// The header.
    fn header(&mut self, _header: &ArchiveHeader) {}

    /// An entry of the table of contents; all come before any data.
    fn entry(&mut self, _entry: &TocEntry) {}

    /// Bytes as they stand that are neither rows, nor the length of a piece of rows, nor the content of a large object. Those of
    /// a value come after whatever else is shown of it.
    fn outside(&mut self, _bytes: &[u8]) {}

    /// The block of the entry's data begins; the byte that says its kind has passed.
    fn begin(&mut self, _entry: &TocEntry) {}

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

/// Somebody or nobody looks.
impl<V: ArchiveVisitor> ArchiveVisitor for Option<V> {
    fn header(&mut self, header: &ArchiveHeader) {
        self.iter_mut().for_each(|visitor| visitor.header(header));
    }

    fn entry(&mut self, entry: &TocEntry) {
        self.iter_mut().for_each(|visitor| visitor.entry(entry));
    }

    fn outside(&mut self, bytes: &[u8]) {
        self.iter_mut().for_each(|visitor| visitor.outside(bytes));
    }

    fn begin(&mut self, entry: &TocEntry) {
        self.iter_mut().for_each(|visitor| visitor.begin(entry));
    }

    fn rows(&mut self, entry: &TocEntry, piece: &[u8]) {
        self.iter_mut().for_each(|visitor| visitor.rows(entry, piece));
    }

    fn large_object(&mut self, entry: &TocEntry, oid: u32) {
        self.iter_mut().for_each(|visitor| visitor.large_object(entry, oid));
    }

    fn large_object_data(&mut self, entry: &TocEntry, oid: u32, piece: &[u8]) {
        self.iter_mut().for_each(|visitor| visitor.large_object_data(entry, oid, piece));
    }

    fn end(&mut self, entry: &TocEntry, rows: u64) {
        self.iter_mut().for_each(|visitor| visitor.end(entry, rows));
    }
}

/// One after the other looks.
impl<A: ArchiveVisitor, B: ArchiveVisitor> ArchiveVisitor for (A, B) {
    fn header(&mut self, header: &ArchiveHeader) {
        self.0.header(header);
        self.1.header(header);
    }

    fn entry(&mut self, entry: &TocEntry) {
        self.0.entry(entry);
        self.1.entry(entry);
    }

    fn outside(&mut self, bytes: &[u8]) {
        self.0.outside(bytes);
        self.1.outside(bytes);
    }

    fn begin(&mut self, entry: &TocEntry) {
        self.0.begin(entry);
        self.1.begin(entry);
    }

    fn rows(&mut self, entry: &TocEntry, piece: &[u8]) {
        self.0.rows(entry, piece);
        self.1.rows(entry, piece);
    }

    fn large_object(&mut self, entry: &TocEntry, oid: u32) {
        self.0.large_object(entry, oid);
        self.1.large_object(entry, oid);
    }

    fn large_object_data(&mut self, entry: &TocEntry, oid: u32, piece: &[u8]) {
        self.0.large_object_data(entry, oid, piece);
        self.1.large_object_data(entry, oid, piece);
    }

    fn end(&mut self, entry: &TocEntry, rows: u64) {
        self.0.end(entry, rows);
        self.1.end(entry, rows);
    }
}
