//! What of a run matters after it: its receipt, and whether something has to be set going again.

use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use plana_plan::receipt::Receipt;

use crate::{Args, shell};

/// What of a run matters after it.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    receipt: Mutex<Option<Receipt>>,
    quiesced: AtomicBool,
}

impl Journal {
    /// The command that quiesces is about to begin: whatever it does, the other one has to follow.
    pub fn quiesced(&self) {
        self.0.quiesced.store(true, Ordering::SeqCst);
    }

    /// Every snapshot stands.
    pub fn keep(&self, receipt: Receipt) {
        *self.0.receipt.lock().unwrap_or_else(PoisonError::into_inner) = Some(receipt);
    }

    /// The receipt, where every snapshot stands.
    pub fn receipt(&self) -> Option<Receipt> {
        self.0.receipt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets going again what was quiesced. Where that fails, so does a run that was a success.
    pub fn resume(&self, args: &Args, exit: ExitCode) -> ExitCode {
        let Some(command) = args.resume.as_deref().filter(|_| self.0.quiesced.load(Ordering::SeqCst)) else { return exit };
        match shell::run_to_its_end(command) {
            Ok(()) => exit,
            Err(reason) => {
                tracing::error!("failed to resume by `{command}`: {reason}; what was quiesced may still stand: look at it now");
                if exit == ExitCode::SUCCESS { ExitCode::FAILURE } else { exit }
            }
        }
    }
}
