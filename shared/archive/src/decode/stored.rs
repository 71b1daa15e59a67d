//! The stored bytes as they are read: hashed, counted, and their own errors told from those of what decodes them.

use std::{
    io::{self, Read},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::digest::{StreamDigest, StreamHasher};

/// The stored bytes. Clones share one input: age keeps what it reads from for itself, and the digest is asked for
/// when it is done.
pub(super) struct Stored<R>(Arc<Mutex<State<R>>>);

struct State<R> {
    input: R,
    hasher: StreamHasher,
    failed: bool,
}

impl<R> Clone for Stored<R> {
    fn clone(&self) -> Self {
        Stored(Arc::clone(&self.0))
    }
}

impl<R> Stored<R> {
    pub(super) fn new(input: R) -> Self {
        Stored(Arc::new(Mutex::new(State { input, hasher: StreamHasher::default(), failed: false })))
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last error was the input's own.
    pub(super) fn has_failed(&self) -> bool {
        self.lock().failed
    }

    /// The digest of what was read.
    pub(super) fn take_digest(&self) -> StreamDigest {
        mem::take(&mut self.lock().hasher).finish()
    }
}

impl<R: Read> Read for Stored<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.lock();
        match state.input.read(buffer) {
            Ok(read) => {
                state.hasher.update(&buffer[..read]);
                Ok(read)
            }
            Err(error) => {
                state.failed |= error.kind() != io::ErrorKind::Interrupted;
                Err(error)
            }
        }
    }
}
