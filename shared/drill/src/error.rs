//! What ends a whole run, and the exit code that says so.

use plana_backup::SetupError;
use plana_harness::{Exit, Failure};
use plana_pg::throwaway::ThrowawayError;
use plana_restore::RestoreError;
use plana_storage::StoreError;

/// What ends a whole run.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Something could not be opened.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// There is no throwaway cluster.
    #[error("make a throwaway cluster: failed to {0}")]
    Throwaway(#[from] ThrowawayError),
    /// A set could not be used.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Refusal::Setup(error.into())
    }
}

/// Whether nothing was begun: then the whole run ends, with the exit code that says why.
pub fn is_early(error: &Refusal) -> bool {
    match error {
        Refusal::Setup(_) | Refusal::Throwaway(_) => true,
        Refusal::Restore(error) => error.is_guard_rail(),
    }
}

/// What ended the run, as the harness tells it.
pub fn failure(error: Refusal) -> Failure {
    let exit = match &error {
        Refusal::Setup(error) if error.is_configuration() => Exit::BadConfig,
        Refusal::Throwaway(error) if error.is_configuration() => Exit::BadConfig,
        Refusal::Restore(error) if error.is_guard_rail() => Exit::Refused,
        Refusal::Setup(_) | Refusal::Throwaway(_) | Refusal::Restore(_) => Exit::Failed,
    };
    Failure::of(exit, &error)
}
