//! What the operator has decided.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::periods::Periods;
use crate::{Label, expiry::Windows, window::Window};

/// A name that is no longer backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Retirement {
    /// When that was said.
    pub at: DateTime<Utc>,
    /// After this nothing of it is kept that is not held or insured.
    pub by: Option<DateTime<Utc>>,
}

/// Until when the plan looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The moment that ages are taken at.
    pub at: DateTime<Utc>,
    /// The moment that freshness is taken at: in a look ahead the present, as if backups went on.
    pub fresh_at: DateTime<Utc>,
}

impl Times {
    /// The present.
    pub const fn now(now: DateTime<Utc>) -> Self {
        Times { at: now, fresh_at: now }
    }

    /// Another moment, seen from the present. Names do not freeze in a look ahead: tomorrow's backups are not there yet.
    pub fn as_of(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Times { at, fresh_at: at.min(now) }
    }
}

/// What the operator has decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How long the labels are kept.
    pub windows: Windows,
    /// So many of the newest committed sets of a group stay, at least 1.
    pub floor: u32,
    /// A group whose newest committed set is older keeps everything.
    pub freeze_after: Window,
    /// What is incomplete goes when its latest change is older.
    pub debris_after: Window,
    /// At most so many committed sets go in one run.
    pub max_sets: usize,
    /// What stays besides.
    pub keep: Periods,
    /// The tiers that names have today, by plain name.
    pub tiers: BTreeMap<String, Label>,
    /// Names that are no longer backed up, by plain name.
    pub retired: BTreeMap<String, Retirement>,
    /// A lowered tier counts for the sets of the higher one too.
    pub lowered_tiers: bool,
}
