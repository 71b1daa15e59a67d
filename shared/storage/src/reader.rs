//! Reads the volumes of a stream in order: fast, and in bounded memory.

mod fetch;
mod plan;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use plana_plan::manifest::Volume;

use self::{fetch::Fetch, plan::Plan};
use crate::{
    budget::{MemoryBudget, PartSource},
    contract::DynStore,
    error::{Failure, Operation, StoreError},
    source::{ChunkFeed, VolumeSource, chunk_channel},
};

/// One object of a stream, as whoever stored it knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadVolume {
    /// Its key within the store.
    pub key: String,
    /// The version to read; none reads the latest.
    pub version: Option<String>,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its ETag; none takes any, for a copy that another program made: the ETag of an upload in parts tells their sizes.
    pub etag: Option<String>,
}

/// As a manifest names it. A store that knows no versions ignores the version.
impl From<&Volume> for ReadVolume {
    fn from(volume: &Volume) -> Self {
        let Volume { key, version, bytes, etag, .. } = volume.clone();
        ReadVolume { key, version, bytes, etag }
    }
}

/// How volumes are read.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// How many bytes a request asks for; never more than the budget has.
    pub chunk_bytes: u64,
    /// How many requests are under way at the same time. At most this and one more chunk are held in memory.
    pub in_flight: usize,
    /// The memory that all transfers of the run share.
    pub budget: MemoryBudget,
    /// Grows by the bytes that have arrived, for progress and for whoever watches for stalls.
    pub read: Arc<AtomicU64>,
}

impl ReaderOptions {
    /// 8 MiB a request: enough that the time until its first byte does not count, and few enough bytes to ask for again.
    pub const CHUNK_BYTES: u64 = 8 << 20;
    /// Four requests at a time.
    pub const IN_FLIGHT: usize = 4;

    /// The usual way within this budget.
    pub fn new(budget: MemoryBudget, read: Arc<AtomicU64>) -> Self {
        ReaderOptions { chunk_bytes: Self::CHUNK_BYTES, in_flight: Self::IN_FLIGHT, budget, read }
    }
}

/// What became of a download that the store has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// Every byte was read and handed over.
    Whole,
    /// The source was dropped before its last byte: whoever read from it has failed, or needs no more.
    Dropped,
}

/// Reads volumes in order, several chunks of them at once.
///
/// Each answer must be of the very object that was expected: its size and its ETag, and nothing that came in its place
/// meanwhile. What the bytes are worth, a digest over all of them must tell.
pub struct VolumeReader {
    chunks: BoxStream<'static, Result<Bytes, StoreError>>,
    bytes: u64,
    failed: Option<StoreError>,
}

impl VolumeReader {
    /// A reader of these volumes from byte `from` of all of them on. Nothing is asked for yet, and nothing at all of
    /// volumes that end before.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when there are fewer bytes than `from`.
    pub fn new(store: DynStore, volumes: Vec<ReadVolume>, from: u64, options: ReaderOptions) -> Result<Self, StoreError> {
        let unusable = |cause: String| StoreError::Unusable(Failure::new(Operation::Get, store.url(), cause));
        let all = volumes.iter().try_fold(0u64, |all, volume| all.checked_add(volume.bytes));
        let all = all.ok_or_else(|| unusable("no payload has that many bytes".to_owned()))?;
        let bytes =
            all.checked_sub(from).ok_or_else(|| unusable(format!("byte {from} was asked for, and all volumes have {all} bytes")))?;
        let chunk_bytes = options.chunk_bytes.clamp(1, options.budget.total_bytes());
        let ReaderOptions { in_flight, budget, read, .. } = options;
        let memory = PartSource::new(budget, chunk_bytes, in_flight.max(1) + 1);
        // In their order: the chunk that is waited for has its memory before those behind it.
        let paid = stream::iter(Plan::new(volumes, from, chunk_bytes)).then(move |chunk| {
            let memory = memory.clone();
            async move {
                let part = memory.part_of(chunk.bytes()).await;
                (chunk, part)
            }
        });
        let fetched = paid.map(move |(chunk, part)| Fetch::launch(Arc::clone(&store), chunk, part, Arc::clone(&read)));
        Ok(VolumeReader { chunks: fetched.buffered(in_flight.max(1)).boxed(), bytes, failed: None })
    }

    /// How many bytes there are from the first to the last.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next bytes; none after the last. Their memory returns to the budget with their last clone. May be cancelled:
    /// what is under way goes on until the reader is dropped.
    ///
    /// # Errors
    /// The first error of any chunk before; the reader has then failed for good.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        loop {
            match self.chunks.next().await {
                // An empty volume is there as it should be.
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => return Ok(Some(chunk)),
                None => return Ok(None),
                Some(Err(error)) => {
                    // The others would only waste the line.
                    self.chunks = stream::empty().boxed();
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
    }

    /// A source for a blocking thread, and what [`VolumeReader::read_all_into`] feeds it by.
    pub fn channel(&self) -> (ChunkFeed, VolumeSource) {
        chunk_channel()
    }

    /// Reads everything into the source at the other end, and returns as soon as a chunk has failed or the source is
    /// dropped. Whoever drops this call, because of a stall or a cancellation, fails the source too.
    ///
    /// # Errors
    /// The first error of any chunk; the source gives it too.
    pub async fn read_all_into(mut self, feed: ChunkFeed) -> Result<Delivery, StoreError> {
        loop {
            let chunk = tokio::select! {
                // First: a source that has all bytes may be gone already.
                biased;
                chunk = self.next() => chunk,
                () = feed.closed() => return Ok(Delivery::Dropped),
            };
            match chunk {
                Ok(Some(chunk)) => {
                    if !feed.send(chunk).await {
                        return Ok(Delivery::Dropped);
                    }
                }
                Ok(None) => {
                    feed.end();
                    return Ok(Delivery::Whole);
                }
                Err(error) => {
                    feed.fail(error.clone());
                    return Err(error);
                }
            }
        }
    }
}

impl fmt::Debug for VolumeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolumeReader").field("bytes", &self.bytes).field("failed", &self.failed).finish_non_exhaustive()
    }
}
