//! What becomes of a set, a probe or an upload, with the reason.

use chrono::{DateTime, SecondsFormat, Utc};

use super::periods::Period;
use crate::{Label, Stamp, expiry::WindowSource, window::Window};

/// Why something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// An object `hold` is in the set.
    Held,
    /// Nothing in it was written by this suite.
    Unknown,
    /// Its stamp is later than now.
    FromTheFuture,
    /// Its window is not over.
    InWindow {
        /// Its window.
        window: Window,
        /// Where that comes from.
        source: WindowSource,
        /// When it is over.
        until: DateTime<Utc>,
    },
    /// No window is configured for it.
    ForEver,
    /// Insurance, before its time.
    Insured {
        /// Its time.
        until: DateTime<Utc>,
    },
    /// One of the newest of its group.
    Floor {
        /// Which, from 1.
        rank: u32,
        /// How many are kept.
        floor: u32,
    },
    /// Its group has no fresh backup.
    Frozen {
        /// The newest that there is.
        newest: Stamp,
    },
    /// The newest of a period.
    Period(Period),
    /// Incomplete, and perhaps still at work.
    InProgress {
        /// When it counts as left behind.
        until: DateTime<Utc>,
    },
    /// It may go, and is not among the oldest that one run takes.
    LaterRun,
}

/// Why something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delete {
    /// Its window is over.
    Expired {
        /// Its window.
        window: Window,
        /// Where that comes from.
        source: WindowSource,
        /// Since when it is over.
        since: DateTime<Utc>,
    },
    /// Insurance whose time is over.
    NoLongerInsured {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// Its name was retired with a date by which it is gone.
    Erased {
        /// The date.
        by: DateTime<Utc>,
    },
    /// It never became a backup, and nothing has changed in it for long.
    LeftBehind {
        /// Its latest change.
        latest_change: DateTime<Utc>,
    },
}

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep(Keep),
    /// It goes.
    Delete(Delete),
}

fn day(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true).replace('T', " ").replace('Z', " UTC")
}

/// Where a window comes from, in words: `label pro`, or whose label it is.
fn source_in_words(source: WindowSource, own: &Label) -> String {
    match source {
        WindowSource::Own => format!("label {own}"),
        WindowSource::Newest => "the label of its name's newest set".to_owned(),
        WindowSource::Tier => "its name's tier today".to_owned(),
        WindowSource::Partitions => "partition archives".to_owned(),
    }
}

impl Verdict {
    /// Whether it goes.
    pub const fn is_delete(&self) -> bool {
        matches!(self, Verdict::Delete(_))
    }

    /// One word for scripts: `in-window`, `expired`, …
    pub const fn rule(&self) -> &'static str {
        match self {
            Verdict::Keep(keep) => match keep {
                Keep::Held => "held",
                Keep::Unknown => "unknown",
                Keep::FromTheFuture => "from-the-future",
                Keep::InWindow { .. } => "in-window",
                Keep::ForEver => "for-ever",
                Keep::Insured { .. } => "insured",
                Keep::Floor { .. } => "floor",
                Keep::Frozen { .. } => "frozen",
                Keep::Period(_) => "period",
                Keep::InProgress { .. } => "in-progress",
                Keep::LaterRun => "later-run",
            },
            Verdict::Delete(delete) => match delete {
                Delete::Expired { .. } => "expired",
                Delete::NoLongerInsured { .. } => "no-longer-insured",
                Delete::Erased { .. } => "erased",
                Delete::LeftBehind { .. } => "left-behind",
            },
        }
    }

    /// The reason, for people; `own` is the set's own label.
    pub fn reason(&self, own: &Label) -> String {
        match self {
            Verdict::Keep(keep) => match keep {
                Keep::Held => "an object `hold` is in it".to_owned(),
                Keep::Unknown => "nothing in it was written by this suite".to_owned(),
                Keep::FromTheFuture => "its stamp is in the future".to_owned(),
                Keep::InWindow { window, source, until } => {
                    format!("within {window} ({}), until {}", source_in_words(*source, own), day(*until))
                }
                Keep::ForEver => "no window is configured for it".to_owned(),
                Keep::Insured { until } => format!("insurance until {}", day(*until)),
                Keep::Floor { rank, floor } => format!("number {rank} of the {floor} newest, which stay whatever their age"),
                Keep::Frozen { newest } => {
                    format!("frozen: the newest backup of its name is of {}", day(newest.instant()))
                }
                Keep::Period(period) => period.to_string(),
                Keep::InProgress { until } => format!("no backup yet, perhaps at work; left behind after {}", day(*until)),
                Keep::LaterRun => "it may go, after older ones: one run takes no more (retention.max_sets)".to_owned(),
            },
            Verdict::Delete(delete) => match delete {
                Delete::Expired { window, source, since } => {
                    format!("past {window} ({}) since {}", source_in_words(*source, own), day(*since))
                }
                Delete::NoLongerInsured { since } => format!("insurance was over on {}", day(*since)),
                Delete::Erased { by } => format!("its name was retired, to be gone by {}", day(*by)),
                Delete::LeftBehind { latest_change } => {
                    format!("left behind: no backup, and unchanged since {}", day(*latest_change))
                }
            },
        }
    }
}
