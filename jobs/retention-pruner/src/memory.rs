//! What the job remembers, for backups and for a mirror apart: the last inventory of each store, and names that were retired. Losing it costs a guard, or freezes a
//! name again; never a backup.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use plana_harness::State;
use plana_plan::retention::Retirement;
use serde::{Deserialize, Serialize};

use crate::error::RunError;

/// What the last run left in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Committed sets; of a mirror manifests.
    pub committed: u64,
    /// When they were counted.
    pub at: DateTime<Utc>,
}

/// What is remembered of a store by the job of that name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What the last run left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    /// The names that are no longer backed up.
    #[serde(default)]
    pub retired: BTreeMap<String, Retirement>,
}

fn document(job: &str, url: &str) -> String {
    format!("{job}.{url}")
}

impl Memory {
    /// What is remembered of the store.
    pub fn read(state: &State, job: &str, url: &str) -> Self {
        state.read(&document(job, url)).unwrap_or_default()
    }

    /// Remembers what this run left. Names that were retired meanwhile stay so.
    pub fn keep_inventory(state: &State, job: &str, url: &str, committed: u64, at: DateTime<Utc>) {
        let before = Memory::read(state, job, url);
        state.write(&document(job, url), &Memory { inventory: Some(Inventory { committed, at }), ..before });
    }

    /// Remembers what an operator has said of a name; it must be there afterwards.
    pub fn keep_retirement(state: &State, (job, url): (&str, &str), name: &str, retirement: Option<Retirement>) -> Result<(), RunError> {
        let mut memory = Memory::read(state, job, url);
        match retirement {
            Some(retirement) => memory.retired.insert(name.to_owned(), retirement),
            None => memory.retired.remove(name),
        };
        state.write(&document(job, url), &memory);
        if Memory::read(state, job, url) == memory {
            Ok(())
        } else {
            Err(RunError::NotRemembered { dir: state.dir().display().to_string() })
        }
    }
}
