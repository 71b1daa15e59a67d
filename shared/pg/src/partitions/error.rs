//! Why a partition is not what it should be.

use plana_plan::name::printable;

use super::{Blocker, MonthCount};
use crate::server::{ServerError, reason, sql_state};

/// Why a step was not taken. Each message completes "failed to …".
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PartitionError {
    /// The server could not be asked.
    #[error("{0}")]
    Server(#[from] ServerError),
    /// Somebody holds a lock for too long.
    #[error("{doing}: {}; end it, or wait for it: the next run tries again", held_by(.blockers))]
    Blocked {
        /// What was tried.
        doing: String,
        /// Who holds it, as far as that can be told.
        blockers: Vec<Blocker>,
    },
    /// Somebody else has changed it since it was looked at.
    #[error("{doing}: it has changed since it was planned: {what}; nothing was done, and the next run looks again")]
    Changed {
        /// What was tried.
        doing: String,
        /// What is different.
        what: String,
    },
    /// A right is missing.
    #[error("{doing}: {reason}; {mend}")]
    Denied {
        /// What was tried.
        doing: String,
        /// What the server said.
        reason: String,
        /// The SQL that would mend it.
        mend: String,
    },
    /// Rows of another table refer to it.
    #[error("{doing}: {reason}; delete or move the rows that refer to it first: nothing is ever deleted in cascade")]
    Referenced {
        /// What was tried.
        doing: String,
        /// What the server said.
        reason: String,
    },
    /// DEFAULT holds rows that would belong to it, and moving them is not safe.
    #[error("{doing}: DEFAULT holds rows that belong there ({}), and {why}", by_month(.months))]
    RowsInDefault {
        /// What was tried.
        doing: String,
        /// Why they are not moved, and what to do.
        why: String,
        /// How many there are in each month.
        months: Vec<MonthCount>,
    },
    /// The rows are not those that were archived.
    #[error("{doing}: the archive has {archived} rows and the table {found}; it stays, and so does the archive")]
    RowsDiffer {
        /// What was tried.
        doing: String,
        /// Rows in the archive.
        archived: u64,
        /// Rows in the table.
        found: u64,
    },
    /// Anything else that the server refused.
    #[error("{doing}: {reason}")]
    Refused {
        /// What was tried.
        doing: String,
        /// What the server said.
        reason: String,
    },
}

fn held_by(blockers: &[Blocker]) -> String {
    if blockers.is_empty() {
        return "its lock was not to be had in time, each time from somebody else".to_owned();
    }
    blockers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn by_month(months: &[MonthCount]) -> String {
    months.iter().map(|month| format!("{}: {}", month.month, month.rows)).collect::<Vec<_>>().join(", ")
}

/// What the server said to a statement.
pub(super) enum Answer {
    /// Its lock was not to be had in time.
    Locked,
    /// Somebody else has already made or dropped it.
    Changed(String),
    /// It can not be detached concurrently.
    NotConcurrently,
    /// Anything else.
    Final(PartitionError),
}

impl Answer {
    /// Reads an error of a statement.
    pub(super) fn of(error: sqlx::Error, doing: &str, session: &super::Tables) -> Self {
        let said = reason(&error);
        let doing = || doing.to_owned();
        match sql_state(&error).as_deref() {
            // lock_not_available, deadlock_detected
            Some("55P03" | "40P01") => Answer::Locked,
            // duplicate_table, overlapping bounds, undefined_table, undefined_object, wrong_object_type
            Some("42P07" | "42P17" | "42P01" | "42704" | "42809") => Answer::Changed(said),
            Some("55000") if said.contains("concurrently") => Answer::NotConcurrently,
            Some("42501") => Answer::Final(PartitionError::Denied { doing: doing(), mend: session.missing_right(&said), reason: said }),
            Some("23503") => Answer::Final(PartitionError::Referenced { doing: doing(), reason: said }),
            Some(_) => Answer::Final(PartitionError::Refused { doing: doing(), reason: said }),
            None => Answer::Final(ServerError::from_query(&doing(), session.settings(), error).into()),
        }
    }
}

impl PartitionError {
    /// Somebody else has changed it since it was looked at.
    pub(super) fn changed(doing: &str, what: impl AsRef<str>) -> Self {
        PartitionError::Changed { doing: doing.to_owned(), what: printable(what.as_ref()) }
    }
}
