//! SIGINT and SIGTERM: the first cancels, the second ends at once.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Interrupt};

/// What the process was told by signals.
#[derive(Clone)]
pub(crate) struct Signals {
    cancel: CancellationToken,
    first: Arc<OnceLock<Interrupt>>,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        let signals = Signals { cancel: CancellationToken::new(), first: Arc::default() };
        let listener = signals.clone();
        tokio::spawn(async move {
            loop {
                let interrupt = tokio::select! {
                    Some(()) = int.recv() => Interrupt::Int,
                    Some(()) = term.recv() => Interrupt::Term,
                    else => return,
                };
                listener.take(interrupt);
            }
        });
        Ok(signals)
    }

    fn take(&self, interrupt: Interrupt) {
        if self.first.set(interrupt).is_err() {
            tracing::error!("{} again: ending at once, without clean-up", interrupt.signal_name());
            std::process::exit(Exit::Cancelled(interrupt).code().into());
        }
        tracing::warn!("{}: cancelling and cleaning up; once more ends at once", interrupt.signal_name());
        self.cancel.cancel();
    }

    /// Cancelled by the first signal.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The first signal.
    pub(crate) fn interrupt(&self) -> Option<Interrupt> {
        self.first.get().copied()
    }
}
