//! SHA-256 and a byte count of whatever passes.

use std::{
    io::{self, Write},
    mem,
    panic::resume_unwind,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

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

/// How much the other thread is given at once.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that may wait for it.
const WAITING_BATCHES: usize = 4;

/// A [`StreamHasher`] on a thread of its own: hashing takes longer than decompressing does.
///
/// It holds at most 1.5 MiB. Dropped unfinished, its thread ends by itself.
#[derive(Debug)]
pub struct BackgroundHasher {
    batch: Vec<u8>,
    bytes: u64,
    full: SyncSender<Vec<u8>>,
    emptied: Receiver<Vec<u8>>,
    thread: JoinHandle<StreamHasher>,
}

impl BackgroundHasher {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no room for another one.
    pub fn start() -> io::Result<Self> {
        let (full, batches) = sync_channel::<Vec<u8>>(WAITING_BATCHES);
        let (empty, emptied) = sync_channel(WAITING_BATCHES);
        let thread = thread::Builder::new().name("hash".to_owned()).spawn(move || {
            let mut hasher = StreamHasher::default();
            for mut batch in batches {
                hasher.update(&batch);
                batch.clear();
                // Nobody waits for it: without room or a reader it is freed.
                drop(empty.try_send(batch));
            }
            hasher
        })?;
        Ok(BackgroundHasher { batch: Vec::with_capacity(BATCH_BYTES), bytes: 0, full, emptied, thread })
    }

    /// Takes the next piece, and waits while too much is still to be hashed.
    pub fn update(&mut self, mut piece: &[u8]) {
        self.bytes += piece.len() as u64;
        while !piece.is_empty() {
            let (now, later) = piece.split_at(piece.len().min(BATCH_BYTES - self.batch.len()));
            self.batch.extend_from_slice(now);
            piece = later;
            if self.batch.len() == BATCH_BYTES {
                let next = self.emptied.try_recv().unwrap_or_else(|_none| Vec::with_capacity(BATCH_BYTES));
                self.hand_over(next);
            }
        }
    }

    /// Only a panic ends the thread before its input ends, and [`BackgroundHasher::finish`] passes that on.
    fn hand_over(&mut self, next: Vec<u8>) {
        drop(self.full.send(mem::replace(&mut self.batch, next)));
    }

    /// Bytes taken so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of all pieces.
    pub fn finish(mut self) -> StreamDigest {
        self.hand_over(Vec::new());
        let BackgroundHasher { full, thread, .. } = self;
        drop(full);
        thread.join().unwrap_or_else(|panic| resume_unwind(panic)).finish()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashing_on_another_thread_gives_the_same_digest() {
        let content: Vec<u8> = (0..3 * BATCH_BYTES as u32 + 17).map(|at| (at * 31 % 251) as u8).collect();
        for length in [0, 1, BATCH_BYTES - 1, BATCH_BYTES, BATCH_BYTES + 1, content.len()] {
            for piece_bytes in [1_000, BATCH_BYTES, content.len()] {
                let (mut here, mut elsewhere) = (StreamHasher::default(), BackgroundHasher::start().unwrap());
                for piece in content[..length].chunks(piece_bytes) {
                    here.update(piece);
                    elsewhere.update(piece);
                }
                assert_eq!(elsewhere.bytes(), length as u64);
                assert_eq!(elsewhere.finish(), here.finish(), "{length} bytes in pieces of {piece_bytes}");
            }
        }
    }
}
