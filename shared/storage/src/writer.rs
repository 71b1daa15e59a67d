//! Cuts a stream of unknown length into parts, objects and volumes.

use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Buf as _, Bytes};
use plana_plan::{manifest::Volume, parts::PartPlan};
use sha2::{Digest as _, Sha256};

use crate::{
    budget::{MemoryBudget, PartBuffer, PartSource},
    contract::{DynStore, PutMode},
    error::{Failure, Operation, StoreError},
    flight::Flight,
    pace::Pace,
    sink::{PartSink, PartStream, StreamPart, part_channel},
    verify::{self, object_url},
};

/// How a stream is uploaded.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// How it is cut.
    pub plan: PartPlan,
    /// How many parts are sent at the same time. At most this and one more are held in memory.
    pub parts_in_flight: usize,
    /// The memory that all uploads of the run share.
    pub budget: MemoryBudget,
    /// The cap on bytes per second that all uploads of the run share.
    pub pace: Pace,
    /// Grows by the bytes that the store has accepted, for progress.
    pub sent: Arc<AtomicU64>,
}

/// What an upload made: every object is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The objects, in order; at least one.
    pub volumes: Vec<Volume>,
    /// SHA-256 of all bytes in order, in hex.
    pub sha256: String,
    /// All bytes.
    pub bytes: u64,
}

/// Uploads a stream of unknown length: in one put when it fits a part, else in equal parts of which several are under
/// way at once, and in volumes where one object cannot hold it.
///
/// No object is completed by being dropped: the last one appears in [`ObjectWriter::finish`] alone, an earlier one
/// when the first byte of the next is there.
pub struct ObjectWriter {
    store: DynStore,
    key_of: Box<dyn Fn(u32) -> String + Send + Sync>,
    options: WriterOptions,
    source: PartSource,
    /// What [`ObjectWriter::write`] collects.
    filling: Option<PartBuffer>,
    /// The stream's last part, when it is the only one of its volume.
    single: Option<Bytes>,
    flight: Option<Flight>,
    volumes: Vec<Volume>,
    whole: Sha256,
    /// Of the running volume; from the second on, since the first one's is `whole`.
    part_of_whole: Option<Sha256>,
    bytes: u64,
    ended: bool,
    failed: Option<StoreError>,
}

impl ObjectWriter {
    /// An upload of volumes under the keys that `key_of` gives, from volume 0 on. Nothing is sent yet.
    pub fn new(store: DynStore, key_of: impl Fn(u32) -> String + Send + Sync + 'static, options: WriterOptions) -> Self {
        let source = PartSource::new(options.budget.clone(), options.plan.part_bytes, options.parts_in_flight.max(1) + 1);
        ObjectWriter {
            store,
            key_of: Box::new(key_of),
            options,
            source,
            filling: None,
            single: None,
            flight: None,
            volumes: Vec::new(),
            whole: Sha256::new(),
            part_of_whole: None,
            bytes: 0,
            ended: false,
            failed: None,
        }
    }

    /// A sink for a blocking thread, and what it sends to [`ObjectWriter::write_all_from`]. Call it within a tokio
    /// runtime, and do not mix it with [`ObjectWriter::write`].
    pub fn channel(&self) -> (PartSink, PartStream) {
        part_channel(self.source.clone())
    }

    /// Takes parts until the sink is finished and all of them have arrived, and fails as soon as one of them does. The
    /// sink then fails too. What [`ObjectWriter::finish`] has left to do takes no line speed, so whoever watches this
    /// call for stalls sees the last parts too.
    ///
    /// # Errors
    /// The part's error, or that the sink was dropped unfinished.
    pub async fn write_all_from(&mut self, mut parts: PartStream) -> Result<(), StoreError> {
        loop {
            self.check()?;
            let part = match &mut self.flight {
                Some(flight) => tokio::select! {
                    part = parts.0.recv() => part,
                    result = flight.land_one(), if flight.is_aloft() => {
                        result.map_err(|error| self.fail(error))?;
                        continue;
                    }
                },
                None => parts.0.recv().await,
            };
            match part {
                Some(StreamPart::Full(part)) => self.send(part, false).await?,
                Some(StreamPart::Last(part)) => {
                    self.send(part, true).await?;
                    return self.land_all().await;
                }
                None => return Err(self.fail(self.error("its source ended before it was finished"))),
            }
        }
    }

    async fn land_all(&mut self) -> Result<(), StoreError> {
        let Some(flight) = &mut self.flight else { return Ok(()) };
        while flight.is_aloft() {
            let landed = flight.land_one().await;
            if let Err(error) = landed {
                return Err(self.fail(error));
            }
        }
        Ok(())
    }

    /// Takes bytes, any number of them; waits for memory and for earlier parts where it must.
    ///
    /// # Errors
    /// The first error of any part; the upload has then failed for good.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        self.check()?;
        while bytes.has_remaining() {
            // A full part goes before memory for the next is asked for: nobody waits for memory with a part in hand.
            if self.filling.as_ref().is_some_and(PartBuffer::is_full)
                && let Some(full) = self.filling.take()
            {
                self.send(full.freeze(), false).await?;
            }
            if self.filling.is_none() {
                self.filling = Some(self.source.part().await);
            }
            if let Some(part) = &mut self.filling {
                let taken = part.fill(&bytes);
                bytes.advance(taken);
            }
        }
        if let Some(flight) = &mut self.flight {
            let landed = flight.land_ready();
            landed.map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    /// Sends what is left, completes the last object and verifies it.
    ///
    /// # Errors
    /// What kept it from being stored and proven; an unfinished upload is then aborted, where that is allowed.
    pub async fn finish(mut self) -> Result<Finished, StoreError> {
        match self.finish_all().await {
            Ok(()) => {
                let sha256 = hex::encode(mem::take(&mut self.whole).finalize());
                Ok(Finished { volumes: mem::take(&mut self.volumes), sha256, bytes: self.bytes })
            }
            Err(error) => {
                if let Some(refusal) = self.abort().await {
                    tracing::warn!(error = %refusal, "an unfinished upload stays until the pruner sweeps it");
                }
                Err(error)
            }
        }
    }

    /// Gives up: stops what is being sent and aborts the unfinished upload. Volumes that were completed before stay, as
    /// debris for the pruner: this key may not delete. A refusal is returned as a note and is no failure.
    pub async fn abort(mut self) -> Option<StoreError> {
        let flight = self.flight.take()?;
        flight.abort().await.err()
    }

    async fn finish_all(&mut self) -> Result<(), StoreError> {
        self.check()?;
        if !self.ended {
            let last = self.filling.take().map_or_else(Bytes::new, PartBuffer::freeze);
            self.send(last, true).await?;
        }
        if let Some(body) = self.single.take() {
            return self.put_volume(body).await;
        }
        self.complete_volume().await
    }

    fn check(&self) -> Result<(), StoreError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: StoreError) -> StoreError {
        self.failed = Some(error.clone());
        error
    }

    fn key(&self) -> String {
        (self.key_of)(u32::try_from(self.volumes.len()).unwrap_or(u32::MAX))
    }

    fn error(&self, cause: &str) -> StoreError {
        StoreError::Other(Failure::new(Operation::Put, object_url(&*self.store, &self.key()), cause))
    }

    /// Sends a part on its way; a volume that it fills is completed when more is to come.
    async fn send(&mut self, part: Bytes, last: bool) -> Result<(), StoreError> {
        let sent = self.send_part(part, last).await;
        sent.map_err(|error| self.fail(error))
    }

    async fn send_part(&mut self, part: Bytes, last: bool) -> Result<(), StoreError> {
        self.ended = last;
        self.bytes += part.len() as u64;
        if self.flight.is_none() && (last || self.options.plan.parts_per_volume == 1) {
            self.hash(part.clone()).await?;
            if last {
                self.single = Some(part);
                return Ok(());
            }
            return self.put_volume(part).await;
        }
        if self.flight.is_none() {
            let key = self.key();
            let upload = self.store.begin(&key, self.options.plan.part_bytes).await?;
            self.flight = Some(Flight::new(key, upload, &self.options));
        }
        let Some(flight) = &mut self.flight else { return Ok(()) };
        flight.launch(part.clone()).await?;
        let full = flight.parts() == self.options.plan.parts_per_volume;
        // While the part is on its way.
        self.hash(part).await?;
        if full && !last {
            self.complete_volume().await?;
        }
        Ok(())
    }

    async fn hash(&mut self, part: Bytes) -> Result<(), StoreError> {
        let (mut whole, mut volume) = (mem::take(&mut self.whole), self.part_of_whole.take());
        let hashing = tokio::task::spawn_blocking(move || {
            whole.update(&part);
            if let Some(volume) = &mut volume {
                volume.update(&part);
            }
            (whole, volume)
        });
        (self.whole, self.part_of_whole) = hashing.await.map_err(|error| self.error(&error.to_string()))?;
        Ok(())
    }

    fn volume_sha256(&mut self) -> String {
        let digest = self.part_of_whole.take().unwrap_or_else(|| self.whole.clone()).finalize();
        self.part_of_whole = Some(Sha256::new());
        hex::encode(digest)
    }

    async fn put_volume(&mut self, body: Bytes) -> Result<(), StoreError> {
        let key = self.key();
        let bytes = body.len() as u64;
        self.options.pace.wait(bytes).await;
        let stored = self.store.put(&key, body, PutMode::IfAbsent).await?;
        self.options.sent.fetch_add(bytes, Ordering::Relaxed);
        self.verify(&key, stored).await
    }

    async fn complete_volume(&mut self) -> Result<(), StoreError> {
        let Some(flight) = &mut self.flight else { return Ok(()) };
        let (key, stored) = flight.complete().await?;
        self.flight = None;
        self.verify(&key, stored).await
    }

    async fn verify(&mut self, key: &str, stored: crate::contract::Stored) -> Result<(), StoreError> {
        let (listed, verified) = verify::verify(&*self.store, key, &stored).await?;
        let sha256 = self.volume_sha256();
        self.volumes.push(verify::volume(listed, stored, sha256, self.options.plan.part_bytes, verified));
        Ok(())
    }
}

impl fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectWriter")
            .field("store", &self.store.url())
            .field("options", &self.options)
            .field("bytes", &self.bytes)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
