//! How long a registry's mirror keeps what nobody pulls.

use std::path::PathBuf;

use plana_plan::{mirror::MirrorPolicy, window::Window};
use serde::{Deserialize, Serialize};

/// What a run does without a ledger that covers the whole window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutLedger {
    /// It refuses: it cannot know what was pulled.
    Refuse,
    /// The store's times decide alone: what was pushed long ago goes, however often it is pulled.
    LastModified,
}

/// How long a registry's mirror keeps what nobody pulls, and what `retention-pruner mirror` may delete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Whether anything may be deleted at all.
    pub enabled: bool,
    /// The stores that may be pruned so, each by its URL.
    pub stores: Vec<String>,
    /// What nobody has pulled or pushed for longer may go.
    pub window: Window,
    /// What no manifest refers to stays so long after its latest change.
    pub grace: Window,
    /// Pushes that nobody finished go when their latest change is older.
    pub debris_after: Window,
    /// Files of pulls, JSON lines; of a directory all its `*.jsonl`. Each entry is of a log of its own, and covers the window by itself.
    pub ledger: Vec<PathBuf>,
    /// The ledger may say nothing for so long within the window.
    pub ledger_gap: Window,
    /// What a run does without a ledger that covers the whole window.
    pub without_ledger: WithoutLedger,
    /// At most so many manifests go in one run, those first that were wanted longest ago.
    pub max_manifests: u32,
    /// At most so many blobs go in one run, the oldest first.
    pub max_blobs: u32,
    /// A listing that holds so many per cent fewer manifests than the last run left stops the run.
    pub max_shrink_percent: u32,
}

impl Mirror {
    /// The same, as plans use it.
    pub fn policy(&self) -> MirrorPolicy {
        MirrorPolicy {
            window: self.window,
            grace: self.grace,
            debris_after: self.debris_after,
            max_manifests: self.max_manifests as usize,
            max_blobs: self.max_blobs as usize,
        }
    }
}
