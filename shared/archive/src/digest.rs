//! SHA-256 and a byte count of whatever passes.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

/// The SHA-256 and length of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDigest {
    /// SHA-256 in lower-case hex.
    pub sha256: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// Counts and hashes a stream that is handed to it in pieces.
#[derive(Debug, Default)]
pub struct StreamHasher {
    sha256: Sha256,
    bytes: u64,
}

impl StreamHasher {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.sha256.update(piece);
        self.bytes += piece.len() as u64;
    }

    /// Bytes taken so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of all pieces.
    pub fn finish(self) -> StreamDigest {
        StreamDigest { sha256: hex::encode(self.sha256.finalize()), bytes: self.bytes }
    }
}

/// Writing to it is another way to hand it the next piece.
impl Write for StreamHasher {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.update(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts what is written through it.
#[derive(Debug)]
pub struct CountingWriter<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> CountingWriter<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> Self {
        CountingWriter { inner, bytes: 0 }
    }

    /// The inner writer, and how many bytes reached it.
    pub fn finish(self) -> (W, u64) {
        (self.inner, self.bytes)
    }
}

impl<W: Write> Write for CountingWriter<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(piece)?;
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
