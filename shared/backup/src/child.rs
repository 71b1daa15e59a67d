//! The output of a dumping program on its way into the store.

use std::{fs::File, time::Duration};

use plana_pg::dump::{DumpChild, DumpError};
use plana_storage::watchdog::stalled;
use tokio_util::sync::CancellationToken;

use crate::{
    error::BackupError,
    payload::{Content, Meter, PayloadStream, PendingPayload, stream_payload},
    target::Patience,
};

/// How long a child may take to say why its output ended.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Streams a child's output as [`stream_payload`] does, and waits for its proper end: what is given is complete, what was learnt
/// on the way, and what the child complained of although it succeeded.
///
/// # Errors
/// Whatever failed first, in the child's own words where it has some. What was stored by then is abandoned.
pub(crate) async fn stream_child<T, P>(
    mut child: DumpChild,
    stream: PayloadStream<'_>,
    produce: P,
) -> Result<(PendingPayload, T, Vec<String>), BackupError>
where
    T: Send + 'static,
    P: FnOnce(File, Content<'_>) -> Result<T, BackupError> + Send + 'static,
{
    let process = child.process();
    let output = child.take_stdout().ok_or_else(|| BackupError::Internal("the dumping program has no output".to_owned()))?;
    let streamed = stream_payload(stream, move || process.terminate(), move |content: Content<'_>| produce(output, content)).await;
    let (pending, learnt) = match streamed {
        Ok(streamed) => streamed,
        Err(error) => return Err(explain(error, child).await),
    };
    // The pipe closed cleanly; only status 0 says that the child thinks so too.
    match child.wait().await {
        Ok(finished) => Ok((pending, learnt, finished.warnings)),
        Err(error) => {
            pending.abandon().await;
            Err(error.into())
        }
    }
}

/// Reads a child's output to its end with `consume`, on a blocking thread, and waits for its proper end. `meter` shows whether
/// anything moves.
///
/// # Errors
/// Whatever failed first, in the child's own words where it has some.
pub(crate) async fn read_child<T, P>(
    mut child: DumpChild,
    patience: Patience,
    meter: &Meter,
    cancel: &CancellationToken,
    consume: P,
) -> Result<T, BackupError>
where
    T: Send + 'static,
    P: FnOnce(File) -> Result<T, BackupError> + Send + 'static,
{
    let output = child.take_stdout().ok_or_else(|| BackupError::Internal("the dumping program has no output".to_owned()))?;
    let reading = tokio::task::spawn_blocking(move || consume(output));
    // The reader ends with the child, which `explain` ends where it has not ended itself.
    let read = tokio::select! {
        read = reading => read.unwrap_or_else(|error| Err(BackupError::Internal(error.to_string()))),
        () = stalled(|| meter.position(), patience.after) => Err(BackupError::Stalled(patience)),
        () = cancel.cancelled() => Err(BackupError::Cancelled),
    };
    match read {
        Ok(learnt) => child.wait().await.map(|_| learnt).map_err(BackupError::from),
        Err(error) => Err(explain(error, child).await),
    }
}

/// Why the stream failed: output that is cut short is the child's failure, and the child knows why.
async fn explain(error: BackupError, mut child: DumpChild) -> BackupError {
    if !matches!(error, BackupError::Archive(_) | BackupError::Read { .. }) {
        child.terminate().await;
        return error;
    }
    let last_words: Result<Result<_, DumpError>, _> = tokio::time::timeout(LAST_WORDS, child.wait()).await;
    match last_words {
        Ok(Err(reason)) => reason.into(),
        Ok(Ok(_)) => error,
        Err(_elapsed) => {
            child.terminate().await;
            error
        }
    }
}
