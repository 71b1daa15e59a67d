//! Where an item's payload goes, and how.

use std::time::Duration;

use chrono::{DateTime, Utc};
use plana_archive::{Compression, CompressionFormat, Recipients, Zstandard};
use plana_config::schema;
use plana_plan::{
    Area, SetKey, SetLabel, SetNonce, Stamp,
    manifest::{Encryption, MadeBy},
    parts::PartPlan,
};
use plana_storage::{DynStore, MemoryBudget, Pace};

use crate::error::BackupError;

/// Where payloads go, and how. One for all items of a run: the memory and the bandwidth are shared.
#[derive(Clone)]
pub struct Target {
    /// The store.
    pub store: DynStore,
    /// The memory for parts, of all items together.
    pub budget: MemoryBudget,
    /// The same in bytes.
    pub budget_bytes: u64,
    /// The bandwidth, of all items together.
    pub pace: Pace,
    /// Parts of one object that are sent at the same time.
    pub parts_in_flight: u32,
    /// To whom payloads are encrypted.
    pub recipients: Recipients,
    /// How dumps are compressed.
    pub dump_compression: Compression,
    /// How long an item may stand still before it is given up.
    pub patience: Patience,
}

/// How long an item may stand still, and what to say then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// So long.
    pub after: Duration,
    /// The key that says so.
    pub key: &'static str,
    /// Where to look: completes "look …".
    pub look: &'static str,
}

impl Target {
    /// The target that the configuration describes, for `jobs` items at the same time.
    pub fn new(store: DynStore, recipients: Recipients, upload: &schema::Upload, dump: &schema::Dump, jobs: u32) -> Self {
        Target {
            store,
            budget: MemoryBudget::new(upload.memory.0),
            budget_bytes: upload.memory.0,
            pace: upload.bandwidth.map_or_else(Pace::default, |cap| Pace::capped(cap.0)),
            parts_in_flight: upload.parts_in_flight,
            recipients,
            dump_compression: Compression::Zstd(Zstandard { level: dump.compression_level, workers: compression_workers(cpus(), jobs) }),
            patience: Patience {
                after: dump.stall_timeout.0,
                key: "dump.stall_timeout",
                look: "for locks on the server (pg_stat_activity) and at the connection to the store",
            },
        }
    }

    /// How a stream of about this many stored bytes is cut.
    pub fn part_plan(&self, hint_bytes: u64) -> PartPlan {
        PartPlan::new(hint_bytes, self.budget_bytes, self.parts_in_flight + 1, self.store.limits())
    }

    /// What the payload's file name ends in, after what the content says, such as `.dump`.
    pub fn suffix(&self, content: &str, compression: CompressionFormat) -> String {
        format!("{content}{}{}", compression.suffix(), if self.recipients.is_empty() { "" } else { ".age" })
    }

    /// What the manifest says about encryption.
    pub fn encryption(&self) -> Option<Encryption> {
        let recipients = self.recipients.to_strings();
        (!recipients.is_empty()).then(|| Encryption { method: "age".to_owned(), recipients })
    }
}

/// How many processors there are for us.
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// Compression threads for each of `jobs` dumps on `cpus` processors.
///
/// Four keep up with any pg_dump (measured: one compresses at 320 MB/s, pg_dump gives 265–343), and
/// each costs about 8 MB: with many dumps at once there are few for each, down to none of its own.
pub fn compression_workers(cpus: u32, jobs: u32) -> u32 {
    let jobs = jobs.max(1);
    (cpus / jobs).min((6 / jobs).max(1)).min(4)
}

/// Which run of which job makes a set.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The job's name.
    pub job: String,
    /// The suite's version.
    pub version: String,
    /// The host.
    pub host: String,
    /// The run's id.
    pub run_id: String,
}

impl Origin {
    /// What the manifest of a set says of who made it.
    pub fn made_by(&self, started_at: DateTime<Utc>, finished_at: DateTime<Utc>) -> MadeBy {
        MadeBy {
            job: self.job.clone(),
            version: self.version.clone(),
            host: self.host.clone(),
            run_id: self.run_id.clone(),
            started_at,
            finished_at,
        }
    }
}

/// A new set of this stamp, under keys that nobody has used.
///
/// # Errors
/// When the system gives no random number.
pub fn begin_set(area: Area, name: &str, label: impl Into<SetLabel>, stamp: Stamp) -> Result<SetKey, BackupError> {
    Ok(SetKey::new(area, name, stamp, label, nonce()?))
}

/// The random part of a set's key.
///
/// # Errors
/// When the system gives no random number.
pub fn nonce() -> Result<SetNonce, BackupError> {
    getrandom::u32().map(SetNonce).map_err(|error| BackupError::Random(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::compression_workers;

    #[test]
    fn threads_are_shared_among_the_dumps_of_a_run() {
        for (cpus, jobs, workers) in [(2, 1, 2), (2, 2, 1), (2, 8, 0), (16, 1, 4), (16, 2, 3), (16, 8, 1), (1, 1, 1), (1, 2, 0), (4, 0, 4)]
        {
            assert_eq!(compression_workers(cpus, jobs), workers, "{cpus} cpus, {jobs} jobs");
        }
    }
}
