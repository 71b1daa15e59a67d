//! The mark on a partition that was retired: a comment, set before it is detached, so that no crash leaves a table that nobody
//! knows of.

use serde::{Deserialize, Serialize};

use super::{Bounds, KeyType, Table};
use crate::Stamp;

const PREFIX: &str = "Retired by plana-jobs partition-roller: ";

/// Where a retired partition comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its parent's schema.
    pub schema: String,
    /// Its parent.
    pub table: String,
    /// Its own name, as long as it was attached.
    pub partition: String,
    /// Its bounds as the catalog wrote them.
    pub bounds: String,
    /// Since when it is retired.
    pub since: Stamp,
}

impl Mark {
    /// The comment.
    pub fn comment(&self) -> String {
        // Texts and a stamp always become JSON.
        format!("{PREFIX}{}", serde_json::to_string(self).unwrap_or_default())
    }

    /// Reads a comment; `None` where it is none of ours.
    pub fn read(comment: &str) -> Option<Self> {
        serde_json::from_str(comment.strip_prefix(PREFIX)?).ok()
    }

    /// The pattern (LIKE) of comments that may be marks.
    pub fn pattern() -> String {
        format!("{PREFIX}%")
    }

    /// Whether it speaks of that table, and its bounds are still a range of that type.
    pub fn is_of(&self, table: &Table) -> bool {
        let bounds = Bounds::parse(&self.bounds, table.key);
        self.schema == table.schema && self.table == table.name && bounds.finite().is_some()
    }

    /// The bounds' range; `None` where they are none of that type.
    pub fn range(&self, key: KeyType) -> Option<(chrono::NaiveDateTime, chrono::NaiveDateTime)> {
        Bounds::parse(&self.bounds, key).finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_and_other_comments_are_none() {
        let mark = Mark {
            schema: "public".to_owned(),
            table: "we\"ird".to_owned(),
            partition: "p'1".to_owned(),
            bounds: "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')".to_owned(),
            since: "20261125T000000Z".parse().expect("a stamp"),
        };
        assert_eq!(Mark::read(&mark.comment()), Some(mark));
        for comment in ["", "retired", PREFIX, "Retired by plana-jobs partition-roller: {}"] {
            assert_eq!(Mark::read(comment), None, "{comment}");
        }
    }
}
