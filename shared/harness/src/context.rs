//! What a job is given.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use plana_config::{Config, Environment};
use plana_plan::Stamp;
use tokio_util::sync::CancellationToken;

use crate::{events::Events, progress::Progress, report::Reporter, state::State};

/// What a job is given: who it is, what it was told, and where it puts what it does. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

pub(crate) struct Inner {
    pub job: String,
    pub run_id: String,
    pub started_at: DateTime<Utc>,
    pub host: String,
    pub dry_run: bool,
    pub config: Config,
    pub env: Environment,
    pub cancel: CancellationToken,
    pub progress: Progress,
    pub report: Reporter,
    pub events: Events,
    pub state: State,
}

impl Context {
    pub(crate) fn new(inner: Inner) -> Self {
        Context(Arc::new(inner))
    }

    /// The job's name.
    pub fn job(&self) -> &str {
        &self.0.job
    }

    /// The run's id: unique, and sorted as text it is sorted by time.
    pub fn run_id(&self) -> &str {
        &self.0.run_id
    }

    /// When the run started.
    pub fn started_at(&self) -> DateTime<Utc> {
        self.0.started_at
    }

    /// The time now.
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    /// The machine's name.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Whether nothing is to be changed.
    pub fn dry_run(&self) -> bool {
        self.0.dry_run
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The environment's variables, for what the configuration finds there.
    pub fn env(&self) -> &Environment {
        &self.0.env
    }

    /// Cancelled by SIGINT and SIGTERM. The job then has 25 seconds to clean up and return.
    pub fn cancel(&self) -> &CancellationToken {
        &self.0.cancel
    }

    /// How far the run is.
    pub fn progress(&self) -> &Progress {
        &self.0.progress
    }

    /// Where the job puts what became of its items.
    pub fn report(&self) -> &Reporter {
        &self.0.report
    }

    /// Where the job puts events of its own.
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// What the job remembers.
    pub fn state(&self) -> &State {
        &self.0.state
    }
}

/// A run's id: the time to the second, so that it sorts, and enough chance that no two are alike.
pub(crate) fn new_run_id(now: DateTime<Utc>) -> String {
    let mut chance = [0u8; 3];
    if getrandom::fill(&mut chance).is_err() {
        // Without the kernel's chance the process's own number still tells two runs of one second apart.
        chance.copy_from_slice(&std::process::id().to_be_bytes()[1..]);
    }
    let chance: String = chance.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{chance}", Stamp::new(now))
}

/// The machine's name; in a pod the pod's.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_are_unique_and_sort_by_time() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        assert_ne!(new_run_id(at(1_800_000_000)), new_run_id(at(1_800_000_000)));
        assert!(new_run_id(at(1_800_000_000)) < new_run_id(at(1_800_000_001)));
        assert!(new_run_id(at(0)).starts_with("19700101T000000Z-"));
    }
}
