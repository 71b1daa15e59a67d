//! Counts the rows of one table's COPY data.

/// What pg_dump writes after a table's last row.
const TERMINATOR: &[u8; 5] = b"\\.\n\n\n";
/// The terminator's newlines.
const TERMINATOR_LINES: u64 = 3;

/// Counts lines and remembers how the data ends. Newlines within values are escaped, so each one ends a row.
pub(super) struct RowCounter {
    newlines: u64,
    bytes: u64,
    tail: [u8; 6],
}

impl RowCounter {
    pub(super) fn new() -> Self {
        // As if a row had ended before: an empty table's terminator stands at the beginning of a line too.
        RowCounter { newlines: 0, bytes: 0, tail: [b'\n'; 6] }
    }

    pub(super) fn take(&mut self, piece: &[u8]) {
        self.newlines += memchr::memchr_iter(b'\n', piece).count() as u64;
        self.bytes += piece.len() as u64;
        if let Some(last) = piece.last_chunk() {
            self.tail = *last;
        } else {
            self.tail.rotate_left(piece.len());
            let kept = self.tail.len() - piece.len();
            self.tail[kept..].copy_from_slice(piece);
        }
    }

    /// Rows and bytes of data that ended with its terminator, on a line of its own; `None` otherwise.
    pub(super) fn finish(&self) -> Option<(u64, u64)> {
        let terminated = self.tail.starts_with(b"\n") && self.tail.ends_with(TERMINATOR) && self.bytes >= TERMINATOR.len() as u64;
        let rows = self.newlines.checked_sub(TERMINATOR_LINES).filter(|_| terminated)?;
        Some((rows, self.bytes))
    }
}
