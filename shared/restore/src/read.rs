//! A payload on its way back: fetched by async tasks, decoded on a blocking thread, believed at its end.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use plana_archive::{DecodeError, Identities, PayloadDecoder};
use plana_plan::SetKey;
use plana_storage::{DynStore, MemoryBudget, ReaderOptions, StoreError, VolumeReader, VolumeSource, watchdog::stalled};
use tokio_util::sync::CancellationToken;

use crate::{error::RestoreError, open::OpenSet};

/// The memory that all reads of a run share.
#[derive(Debug, Clone)]
pub struct Memory {
    budget: MemoryBudget,
    in_flight: usize,
}

impl Memory {
    /// So many bytes for chunks, and so many requests under way for each set.
    pub fn new(bytes: u64, in_flight: u32) -> Self {
        Memory { budget: MemoryBudget::new(bytes), in_flight: in_flight.max(1) as usize }
    }

    pub(crate) fn options(&self, read: Arc<AtomicU64>) -> ReaderOptions {
        ReaderOptions { in_flight: self.in_flight, ..ReaderOptions::new(self.budget.clone(), read) }
    }
}

/// How far a read is: for progress bars and the stall watchdog.
#[derive(Debug, Clone, Default)]
pub struct ReadMeter {
    /// Bytes that have come out of the store.
    pub stored_bytes: Arc<AtomicU64>,
    /// Bytes of content that somebody has taken.
    pub content_bytes: Arc<AtomicU64>,
    /// Tables whose rows have been restored, of a database.
    pub tables: Arc<AtomicU64>,
}

impl ReadMeter {
    fn position(&self) -> (u64, u64) {
        (self.stored_bytes.load(Ordering::Relaxed), self.content_bytes.load(Ordering::Relaxed))
    }
}

/// A set that is read.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// Where it lies.
    pub store: &'a DynStore,
    /// The set.
    pub set: &'a OpenSet,
    /// The private keys at hand.
    pub identities: &'a Identities,
    /// The memory that all reads share.
    pub memory: &'a Memory,
    /// How far it is.
    pub meter: &'a ReadMeter,
    /// Ends it early.
    pub cancel: &'a CancellationToken,
    /// How long it may stand still before it is given up.
    pub stall_timeout: Duration,
}

/// How long a thread may take to notice that its input has ended.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// Reads a payload from its first to its last byte: `consume` takes the content on a blocking thread, up to its end. What it
/// gives is given on only when the bytes stored and the content have the sizes and hashes that the manifest names.
///
/// # Errors
/// Whatever failed first.
pub async fn read_payload<T, C>(reading: Reading<'_>, consume: C) -> Result<T, RestoreError>
where
    T: Send + 'static,
    C: FnOnce(&mut dyn Read) -> Result<T, RestoreError> + Send + 'static,
{
    let payload = reading.set.manifest.payload.clone();
    let key = reading.set.key.clone();
    let (learnt, digests) = streamed(reading, move |mut decoder| {
        let learnt = consume(&mut decoder)?;
        let digests = decoder.decoder.finish().map_err(|reason| of_decode(&key, reason))?;
        Ok((learnt, digests))
    })
    .await?;
    let mismatch = |what: &str| Err(RestoreError::Mismatch { set: reading.set.key.to_string(), what: what.to_owned() });
    if digests.stored.bytes != payload.stored_bytes || digests.stored.sha256 != payload.stored_sha256 {
        return mismatch("its stored bytes do not have the SHA-256 that its manifest names");
    }
    if digests.content.bytes != payload.content_bytes || digests.content.sha256 != payload.content_sha256 {
        return mismatch("its content does not have the SHA-256 that its manifest names");
    }
    Ok(learnt)
}

/// Reads only the beginning of a payload. Nothing of it is proven.
///
/// # Errors
/// Whatever failed first.
pub async fn peek_payload<T, C>(reading: Reading<'_>, consume: C) -> Result<T, RestoreError>
where
    T: Send + 'static,
    C: FnOnce(&mut dyn Read) -> Result<T, RestoreError> + Send + 'static,
{
    // It counts for nobody: the progress bar begins anew for the whole.
    let meter = ReadMeter::default();
    streamed(Reading { meter: &meter, ..reading }, move |mut decoder| consume(&mut decoder)).await
}

/// The content, counted as it is taken.
struct Content {
    decoder: PayloadDecoder<VolumeSource>,
    taken: Arc<AtomicU64>,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        self.taken.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

async fn streamed<T, C>(reading: Reading<'_>, consume: C) -> Result<T, RestoreError>
where
    T: Send + 'static,
    C: FnOnce(Content) -> Result<T, RestoreError> + Send + 'static,
{
    let Reading { store, set, identities, memory, meter, cancel, stall_timeout } = reading;
    let payload = &set.manifest.payload;
    let compression = payload.compression.parse()?;
    let encryption = match &set.manifest.encryption {
        Some(encryption) if identities.is_empty() => {
            return Err(RestoreError::NoIdentity { set: set.key.to_string(), recipients: encryption.recipients.clone() });
        }
        Some(_) => Some(identities.clone()),
        None => None,
    };
    let reader = VolumeReader::new(store.clone(), set.volumes.clone(), 0, memory.options(meter.stored_bytes.clone()))?;
    let (feed, source) = reader.channel();
    let (max_content, taken, key) = (payload.content_bytes, meter.content_bytes.clone(), set.key.clone());
    let consumer = tokio::task::spawn_blocking(move || {
        let decoder =
            PayloadDecoder::new(source, compression, encryption.as_ref(), max_content).map_err(|reason| of_decode(&key, reason))?;
        consume(Content { decoder, taken })
    });
    let fetched = tokio::select! {
        fetched = reader.read_all_into(feed) => fetched.map(|_delivery| ()).map_err(RestoreError::Store),
        () = stalled(|| meter.position(), stall_timeout) => Err(RestoreError::Stalled(stall_timeout)),
        () = cancel.cancelled() => Err(RestoreError::Cancelled),
    };
    // The last chunks are decoded after they have all been fetched, and that too may stand still or be cancelled.
    let decoded = async {
        match fetched {
            Ok(()) => tokio::select! {
                decoded = consumer => joined(decoded),
                () = stalled(|| meter.position(), stall_timeout) => Err(RestoreError::Stalled(stall_timeout)),
                () = cancel.cancelled() => Err(RestoreError::Cancelled),
            },
            Err(error) => {
                let _ended = tokio::time::timeout(STOP_GRACE, consumer).await;
                Err(error)
            }
        }
    };
    decoded.await
}

fn joined<T>(joined: Result<Result<T, RestoreError>, tokio::task::JoinError>) -> Result<T, RestoreError> {
    joined.unwrap_or_else(|error| Err(RestoreError::Internal(error.to_string())))
}

/// What a reader of content was told: the store's own error, or what the decoder found.
pub(crate) fn of_io(set: &SetKey, error: io::Error) -> RestoreError {
    match error.downcast::<DecodeError>() {
        Ok(reason) => of_decode(set, reason),
        Err(error) => of_input(error),
    }
}

fn of_decode(set: &SetKey, reason: DecodeError) -> RestoreError {
    match reason {
        DecodeError::Input(error) => of_input(error),
        reason => RestoreError::Decode { set: set.to_string(), reason },
    }
}

fn of_input(error: io::Error) -> RestoreError {
    match error.downcast::<StoreError>() {
        Ok(error) => RestoreError::Store(error),
        Err(error) => RestoreError::Internal(error.to_string()),
    }
}
