//! One chunk of a volume, fetched whole into memory.

use std::{
    ops::Range,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use plana_plan::inventory::ObjectMeta;
use tokio::task::JoinHandle;

use super::ReadVolume;
use crate::{
    budget::PartBuffer,
    contract::{DynStore, GetBody, Store},
    error::{Failure, Operation, StoreError},
    verify::object_url,
};

/// A volume that is being read, and what tells it from another one under its key.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) volume: ReadVolume,
    /// As the first answer had it.
    seen: OnceLock<Identity>,
}

/// Tells one object from another under its key: its ETag or, where the store has none, its time.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    ETag(String),
    Time(DateTime<Utc>),
}

impl Identity {
    fn of(meta: &ObjectMeta) -> Self {
        meta.etag.as_ref().map_or(Identity::Time(meta.last_modified), |etag| Identity::ETag(etag.to_ascii_lowercase()))
    }
}

impl Open {
    pub(super) fn new(volume: ReadVolume) -> Arc<Self> {
        Arc::new(Open { volume, seen: OnceLock::new() })
    }

    fn failure(&self, store: &dyn Store, cause: String) -> Failure {
        Failure::new(Operation::Get, object_url(store, &self.volume.key), cause)
    }

    /// Compares an answer with what the caller expects and with the answers before it.
    fn check(&self, store: &dyn Store, meta: &ObjectMeta) -> Result<(), StoreError> {
        let wrong = |cause: String| Err(StoreError::Corrupt(self.failure(store, cause)));
        let ReadVolume { bytes, etag: expected, .. } = &self.volume;
        if meta.size != *bytes {
            return wrong(format!("it has {} bytes, and {bytes} were stored", meta.size));
        }
        // A copy of the store in a directory has no ETags, and is as good: its digest is compared in the end.
        if let (Some(expected), Some(etag)) = (expected, &meta.etag)
            && !same_etag(expected, etag)
        {
            // Both come out of a store, and a manifest's text may hold anything.
            let (etag, expected) = (etag.escape_debug(), expected.escape_debug());
            return wrong(format!("its ETag is {etag}, and was {expected} when it was stored: it was changed or overwritten"));
        }
        if *self.seen.get_or_init(|| Identity::of(meta)) != Identity::of(meta) {
            return wrong("it was replaced while it was read".to_owned());
        }
        Ok(())
    }
}

fn same_etag(one: &str, other: &str) -> bool {
    one.trim_matches('"').eq_ignore_ascii_case(other.trim_matches('"'))
}

/// Bytes of a volume, none of them for one that is empty.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) open: Arc<Open>,
    pub(super) range: Range<u64>,
}

impl Chunk {
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX)
    }
}

/// A chunk on its way, on a task of its own: it arrives in memory also while nobody asks for it, so that no connection
/// waits for a slow reader. The task ends when this is dropped.
#[derive(Debug)]
pub(super) struct Fetch {
    task: JoinHandle<Result<Bytes, StoreError>>,
    url: String,
}

impl Fetch {
    pub(super) fn launch(store: DynStore, chunk: Chunk, memory: PartBuffer, read: Arc<AtomicU64>) -> Self {
        let url = object_url(&*store, &chunk.open.volume.key);
        Fetch { task: tokio::spawn(async move { fetch(&*store, &chunk, memory, &read).await }), url }
    }
}

impl Future for Fetch {
    type Output = Result<Bytes, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(Pin::new(&mut self.task).poll(context));
        let early = |error| StoreError::Other(Failure::new(Operation::Get, &self.url, format!("a chunk's task ended early: {error}")));
        Poll::Ready(ended.map_err(early).flatten())
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn fetch(store: &dyn Store, chunk: &Chunk, mut memory: PartBuffer, read: &AtomicU64) -> Result<Bytes, StoreError> {
    let body = open(store, chunk).await?;
    let mut stream = body.stream;
    let wrong = |cause: &str| StoreError::Corrupt(chunk.open.failure(store, cause.to_owned()));
    while let Some(bytes) = stream.try_next().await? {
        if memory.fill(&bytes) < bytes.len() {
            return Err(wrong("the store sent more bytes than were asked for"));
        }
        read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
    if !memory.is_full() {
        return Err(wrong("the store sent fewer bytes than were asked for"));
    }
    Ok(memory.freeze())
}

async fn open(store: &dyn Store, chunk: &Chunk) -> Result<GetBody, StoreError> {
    let ReadVolume { key, version, .. } = &chunk.open.volume;
    // No range is empty: an empty volume is asked for as a whole.
    let range = Some(chunk.range.clone()).filter(|range| !range.is_empty());
    let body = match store.get(key, range.clone(), version.as_deref()).await {
        // The object may end before the range begins; what it is instead says more than that.
        Err(error @ StoreError::Unusable(_)) if range.is_some() => {
            let whole = store.get(key, None, version.as_deref()).await.map_err(|_| error.clone())?;
            chunk.open.check(store, &whole.meta)?;
            return Err(error);
        }
        answer => answer?,
    };
    chunk.open.check(store, &body.meta)?;
    if body.range != chunk.range {
        let cause = format!("the store sends bytes {:?} where {:?} were asked for", body.range, chunk.range);
        return Err(StoreError::Corrupt(chunk.open.failure(store, cause)));
    }
    Ok(body)
}
