//! What becomes of something in a registry, with the reason.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{activity::Last, digest::Digest};
use crate::window::Window;

pub use super::activity::Activity;

/// Why something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Somebody has wanted it within the window.
    Active {
        /// When, and how.
        last: Last,
        /// Until when that counts.
        until: DateTime<Utc>,
    },
    /// Something that stays refers to it, or is a signature of it, or it of that.
    Needed {
        /// A manifest that stays.
        by: Digest,
    },
    /// Something in its repository cannot be understood, and may need it.
    Unclear,
    /// It is young, and what needs it may be on its way.
    Young {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// A link that stays names it.
    Linked,
    /// It may go, and is not among those that one run takes.
    LaterRun,
}

/// Why something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Nobody has wanted it for the window.
    Inactive {
        /// When, and how, it was wanted last.
        last: Last,
        /// The window.
        window: Window,
    },
    /// No manifest that stays refers to it.
    Unreferenced,
    /// A push that nobody finished.
    LeftBehind {
        /// Its latest change.
        latest_change: DateTime<Utc>,
    },
    /// It was deleted, and versions of it are left that nobody sees.
    Hidden,
}

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep(Kept),
    /// It goes.
    Delete(Gone),
}

fn at(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true).replace('T', " ").replace('Z', " UTC")
}

/// How something was wanted last, in words: `pulled at …`.
pub fn last_in_words((time, activity): Last) -> String {
    let how = match activity {
        Activity::Pushed => "pushed",
        Activity::Tagged => "tagged",
        Activity::Pulled => "pulled",
        Activity::PulledInPart => "pulled in part",
    };
    format!("{how} at {}", at(time))
}

impl Verdict {
    /// Whether it goes.
    pub const fn is_delete(&self) -> bool {
        matches!(self, Verdict::Delete(_))
    }

    /// One word for scripts: `active`, `inactive`, …
    pub const fn rule(&self) -> &'static str {
        match self {
            Verdict::Keep(kept) => match kept {
                Kept::Active { .. } => "active",
                Kept::Needed { .. } => "needed",
                Kept::Unclear => "unclear",
                Kept::Young { .. } => "young",
                Kept::Linked => "linked",
                Kept::LaterRun => "later-run",
            },
            Verdict::Delete(gone) => match gone {
                Gone::Inactive { .. } => "inactive",
                Gone::Unreferenced => "unreferenced",
                Gone::LeftBehind { .. } => "left-behind",
                Gone::Hidden => "hidden",
            },
        }
    }

    /// The reason, for people.
    pub fn reason(&self) -> String {
        match self {
            Verdict::Keep(kept) => match kept {
                Kept::Active { last, until } => format!("{}, which counts until {}", last_in_words(*last), at(*until)),
                Kept::Needed { by } => format!("{by} stays, and needs it or is about it"),
                Kept::Unclear => "something in its repository cannot be understood, and may need it".to_owned(),
                Kept::Young { until } => format!("young: what needs it may be on its way until {}", at(*until)),
                Kept::Linked => "a link that stays names it".to_owned(),
                Kept::LaterRun => "it may go, after others: one run takes no more (mirror.max_manifests, mirror.max_blobs)".to_owned(),
            },
            Verdict::Delete(gone) => match gone {
                Gone::Inactive { last, window } => format!("inactive for more than {window}: {}", last_in_words(*last)),
                Gone::Unreferenced => "no manifest that stays refers to it".to_owned(),
                Gone::LeftBehind { latest_change } => format!("a push that nobody finished, unchanged since {}", at(*latest_change)),
                Gone::Hidden => "it was deleted, and versions of it are left that nobody sees".to_owned(),
            },
        }
    }
}
