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

/// Counts and hashes what is written through it.
#[derive(Debug)]
pub struct HashingWriter<W> {
    inner: W,
    hasher: StreamHasher,
}

impl<W: Write> HashingWriter<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> Self {
        HashingWriter { inner, hasher: StreamHasher::default() }
    }

    /// The inner writer and the digest of all that reached it.
    pub fn finish(self) -> (W, StreamDigest) {
        (self.inner, self.hasher.finish())
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(piece)?;
        self.hasher.update(&piece[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
