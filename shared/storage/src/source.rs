//! From a download to a blocking thread: the mirror image of [`crate::sink`].

use std::{
    io,
    sync::{Arc, OnceLock},
};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

use crate::error::StoreError;

/// The reading end, for a blocking thread: gives the bytes of a download, and blocks until they are there.
///
/// It comes to an end only when the download has. A download that failed gives the store's own error, which
/// [`StoreError::within`] finds; one that was given up gives [`io::ErrorKind::BrokenPipe`]. Dropping it ends the download.
#[derive(Debug)]
pub struct VolumeSource {
    /// What is left of the last chunk. Its memory returns to the budget with its last byte.
    chunk: Bytes,
    chunks: mpsc::Receiver<Bytes>,
    end: Arc<OnceLock<End>>,
}

/// The writing end, for [`crate::VolumeReader::read_all_into`]. Dropped before that has come to its end, it fails the
/// source.
#[derive(Debug)]
pub struct ChunkFeed {
    chunks: mpsc::Sender<Bytes>,
    end: Arc<OnceLock<End>>,
}

/// Why no more chunks come. Beside the channel, so that the feed need not wait until there is room for it.
#[derive(Debug)]
enum End {
    Whole,
    Failed(StoreError),
}

/// Both ends of a stream of chunks.
pub(crate) fn chunk_channel() -> (ChunkFeed, VolumeSource) {
    let (sender, receiver) = mpsc::channel(1);
    let end = Arc::new(OnceLock::new());
    (ChunkFeed { chunks: sender, end: Arc::clone(&end) }, VolumeSource { chunk: Bytes::new(), chunks: receiver, end })
}

impl ChunkFeed {
    /// Hands a chunk over, once there is room; whether anybody is there to take it.
    pub(crate) async fn send(&self, chunk: Bytes) -> bool {
        self.chunks.send(chunk).await.is_ok()
    }

    /// Lets the source know that the last chunk was the last.
    pub(crate) fn end(self) {
        self.end.get_or_init(|| End::Whole);
    }

    /// Lets the source know why there is no more.
    pub(crate) fn fail(self, error: StoreError) {
        self.end.get_or_init(|| End::Failed(error));
    }

    /// Returns once the source is gone.
    pub(crate) async fn closed(&self) {
        self.chunks.closed().await;
    }
}

impl io::Read for VolumeSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.chunk.is_empty() {
            let Some(chunk) = self.chunks.blocking_recv() else {
                return match self.end.get() {
                    Some(End::Whole) => Ok(0),
                    Some(End::Failed(error)) => Err(io::Error::other(error.clone())),
                    None => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the download was given up")),
                };
            };
            self.chunk = chunk;
        }
        let given = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..given]);
        if self.chunk.is_empty() {
            // What is empty would still hold its memory, and the next chunk may be waiting for it.
            self.chunk = Bytes::new();
        }
        Ok(given)
    }
}
