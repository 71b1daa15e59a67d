//! The exit code of what ends a whole run.

use plana_backup::SetupError;
use plana_harness::{Exit, Failure};

/// What ended the run, as the harness tells it.
pub fn failure(error: SetupError) -> Failure {
    Failure::of(if error.is_configuration() { Exit::BadConfig } else { Exit::Failed }, &error)
}
