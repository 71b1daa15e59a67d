//! A payload's way into the store: produced on a blocking thread, sent by async tasks, and completed
//! only after whoever produced it has said that it is whole.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use plana_archive::{Compression, PayloadDigests, PayloadEncoder};
use plana_plan::{SetKey, manifest::Payload};
use plana_storage::{Finished, ObjectWriter, PartSink, WriterOptions, watchdog::stalled};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{error::BackupError, target::Target};

/// How far an item is: readable from any thread, for progress bars and the stall watchdog.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    /// Bytes of content read.
    pub content_bytes: Arc<AtomicU64>,
    /// Bytes that the store has accepted.
    pub sent_bytes: Arc<AtomicU64>,
}

impl Meter {
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.content_bytes.load(Ordering::Relaxed), self.sent_bytes.load(Ordering::Relaxed))
    }
}

/// What a payload is.
#[derive(Debug, Clone, Copy)]
pub struct PayloadKind {
    /// What the file name says: `.dump`, `.sql`.
    pub suffix: &'static str,
    /// What the manifest says: `postgresql-custom`, `sql`.
    pub format: &'static str,
    /// How it is compressed, which file name and manifest say too.
    pub compression: Compression,
}

/// Writes the content, on a blocking thread, into the encoder; gives what it learnt on the way.
pub type Content<'a> = &'a mut dyn Write;

/// How long a producer may take to notice that it was stopped.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// A payload whose content is complete, and whose last object is not: nothing of it counts yet.
///
/// Dropped, it is never completed.
pub struct PendingPayload {
    writer: ObjectWriter,
    digests: PayloadDigests,
    kind: PayloadKind,
}

impl PendingPayload {
    /// Completes the objects and verifies each by the store's listing.
    ///
    /// # Errors
    /// When the store fails, or lists something else than what was sent.
    pub async fn complete(self) -> Result<Payload, BackupError> {
        let finished = self.writer.finish().await?;
        if finished.bytes != self.digests.stored_bytes {
            let counts = format!("{} bytes were encoded and {} were sent", self.digests.stored_bytes, finished.bytes);
            return Err(BackupError::Internal(counts));
        }
        Ok(payload(self.kind, self.digests, finished))
    }

    /// Gives it up. What the key may not abort stays invisible until the pruner sweeps it.
    pub async fn abandon(self) {
        abandon(self.writer).await;
    }
}

fn payload(kind: PayloadKind, digests: PayloadDigests, finished: Finished) -> Payload {
    Payload {
        format: kind.format.to_owned(),
        compression: kind.compression.format().to_string(),
        content_sha256: digests.content.sha256,
        content_bytes: digests.content.bytes,
        stored_sha256: finished.sha256,
        stored_bytes: finished.bytes,
        volumes: finished.volumes,
    }
}

async fn abandon(writer: ObjectWriter) {
    if let Some(refusal) = writer.abort().await {
        warn!("an unfinished upload stays, invisible, until the pruner sweeps it: failed to {refusal}");
    }
}

/// One payload on its way.
pub struct PayloadStream<'a> {
    /// Where it goes.
    pub target: &'a Target,
    /// The set that it belongs to.
    pub set: &'a SetKey,
    /// What it is.
    pub kind: PayloadKind,
    /// About how many bytes will be stored.
    pub hint_bytes: u64,
    /// How far it is.
    pub meter: &'a Meter,
    /// Ends it early.
    pub cancel: &'a CancellationToken,
}

/// Streams content into the store, up to but not including the completion of the last object.
///
/// `produce` runs on a blocking thread and writes the content; `stop` must make it return soon, and
/// is called when the upload fails, nothing moves for too long, or the run is cancelled.
///
/// # Errors
/// Whatever failed first. What was stored by then is abandoned.
pub async fn stream_payload<T, P>(stream: PayloadStream<'_>, stop: impl Fn(), produce: P) -> Result<(PendingPayload, T), BackupError>
where
    T: Send + 'static,
    P: FnOnce(Content<'_>) -> Result<T, BackupError> + Send + 'static,
{
    let PayloadStream { target, set, kind, hint_bytes, meter, cancel } = stream;
    let plan = target.part_plan(hint_bytes);
    let (key, suffix) = (set.clone(), target.suffix(kind.suffix, kind.compression.format()));
    let options = WriterOptions {
        plan,
        parts_in_flight: target.parts_in_flight as usize,
        budget: target.budget.clone(),
        pace: target.pace.clone(),
        sent: meter.sent_bytes.clone(),
    };
    let mut writer = ObjectWriter::new(target.store.clone(), move |volume| key.object(&key.file_name(&suffix, volume)), options);
    let (sink, parts) = writer.channel();
    let producer = spawn_producer(target, kind.compression, sink, meter, produce);

    let sending = async {
        tokio::select! {
            sent = writer.write_all_from(parts) => sent.map_err(BackupError::Store),
            () = stalled(|| meter.position(), target.patience.after) => Err(BackupError::Stalled(target.patience)),
            () = cancel.cancelled() => Err(BackupError::Cancelled),
        }
    };
    let sent = sending.await;
    // Each side's failure ends the other, so what counts is who failed first.
    let producer_failed = producer.failed.load(Ordering::Acquire);
    if sent.is_err() {
        stop();
    }
    let outcome = match (sent, producer.join().await) {
        (Ok(()), produced) => produced,
        (Err(_), Err(reason)) if producer_failed && !is_broken_pipe(&reason) => Err(reason),
        (Err(error), _) => Err(error),
    };
    match outcome {
        Ok((digests, learnt)) => Ok((PendingPayload { writer, digests, kind }, learnt)),
        Err(error) => {
            abandon(writer).await;
            Err(error)
        }
    }
}

type Produced<T> = Result<(PayloadDigests, T), BackupError>;

struct Producer<T> {
    thread: JoinHandle<Produced<T>>,
    /// Set before the sink is dropped, and so before the upload can notice.
    failed: Arc<AtomicBool>,
}

fn spawn_producer<T, P>(target: &Target, compression: Compression, sink: PartSink, meter: &Meter, produce: P) -> Producer<T>
where
    T: Send + 'static,
    P: FnOnce(Content<'_>) -> Result<T, BackupError> + Send + 'static,
{
    let (recipients, read) = (target.recipients.clone(), meter.content_bytes.clone());
    let failed = Arc::new(AtomicBool::new(false));
    let mark = failed.clone();
    let thread = tokio::task::spawn_blocking(move || {
        let encoder = PayloadEncoder::new(sink, compression, &recipients).map_err(BackupError::Encode)?;
        let mut content = Counted { encoder, read };
        let learnt = produce(&mut content).inspect_err(|_| mark.store(true, Ordering::Release))?;
        let (sink, digests) = content.encoder.finish().map_err(BackupError::Encode)?;
        sink.finish().map_err(BackupError::Encode)?;
        Ok((digests, learnt))
    });
    Producer { thread, failed }
}

impl<T> Producer<T> {
    async fn join(self) -> Produced<T> {
        match tokio::time::timeout(STOP_GRACE, self.thread).await {
            Ok(Ok(produced)) => produced,
            Ok(Err(error)) => Err(BackupError::Internal(error.to_string())),
            // A read that never returns, such as on a dead NFS mount: the thread stays behind, the run goes on.
            Err(_elapsed) => Err(BackupError::Internal("its reader does not return".to_owned())),
        }
    }
}

/// The producer's way of noticing that the upload has failed.
fn is_broken_pipe(error: &BackupError) -> bool {
    matches!(error, BackupError::Encode(error) if error.kind() == io::ErrorKind::BrokenPipe)
}

struct Counted<W: Write> {
    encoder: PayloadEncoder<W>,
    read: Arc<AtomicU64>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let taken = self.encoder.write(piece)?;
        self.read.fetch_add(taken as u64, Ordering::Relaxed);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}
