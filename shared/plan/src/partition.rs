//! Partitions ahead of time, and expired ones found.
//!
//! Everything is told by the catalog's bounds and the server's clock, never by a name or by rows: one row of the far future
//! makes no partition, and a partition with a strange name or a strange length is taken as it is.

pub mod bounds;
pub mod calendar;
mod coverage;
mod create;
pub mod ddl;
pub mod deployments;
pub mod detached;
pub mod naming;
mod retire;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::window::Window;
pub use bounds::{Bounds, Edge};
pub use calendar::{Grid, KeyType, Period, Zone};
pub use coverage::{Drift, Runway, drift, gaps, runway};
pub use create::{Creation, NewPartition, plan_creation};
pub use naming::NameTemplate;
pub use retire::{Kept, Retirement, is_expired, plan_retirement};

/// What a table's partitions shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long a partition is.
    pub period: Period,
    /// Where midnight is; for naive columns also what their wall clock means.
    pub zone: Zone,
    /// How many partitions there shall be beyond the one of now.
    pub premake: u32,
    /// What new ones are called.
    pub name: NameTemplate,
    /// How long they are kept; `None` means for ever.
    pub retention: Option<Window>,
    /// So many partitions are never retired, however old they are.
    pub keep_at_least: u32,
    /// At most so many are made in one run.
    pub max_made: u32,
    /// At most so many are retired in one run.
    pub max_retired: u32,
}

impl Policy {
    /// The calendar of a table with that type of column.
    pub fn grid(&self, key: KeyType) -> Grid {
        Grid { period: self.period, key, zone: self.zone }
    }
}

/// A table that is partitioned by a range of one column of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its id in the catalog.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The column.
    pub column: String,
    /// The column's type.
    pub key: KeyType,
    /// Its partitions, in no order.
    pub partitions: Vec<Partition>,
}

impl Table {
    /// `schema.table`, for people.
    pub fn full_name(&self) -> String {
        crate::name::printable(&format!("{}.{}", self.schema, self.name))
    }

    /// The partition for whatever no other holds.
    pub fn default_partition(&self) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.bounds == Bounds::Default)
    }
}

/// What a partition is besides its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionKind {
    /// A plain table.
    Leaf,
    /// A table that is itself partitioned.
    Partitioned,
    /// A foreign table, or whatever else holds its rows elsewhere.
    Elsewhere,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its id in the catalog.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it holds.
    pub bounds: Bounds,
    /// Its bounds as the catalog writes them: what must still be the same before it is touched.
    pub bounds_text: String,
    /// Whether an earlier DETACH CONCURRENTLY was cut short: its rows are hidden, and inserts into its range fail.
    pub pending: bool,
    /// What it is.
    pub kind: PartitionKind,
}

impl Partition {
    /// `schema.table`, for people.
    pub fn full_name(&self) -> String {
        crate::name::printable(&format!("{}.{}", self.schema, self.name))
    }
}

/// What else has a name that a partition might get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occupant {
    /// A plain table that belongs to no parent.
    LooseTable,
    /// A partition of the table of that id.
    PartitionOf(u32),
    /// A view, an index, a sequence or a type.
    Other,
}

/// The names that are taken in one schema.
pub type Names = BTreeMap<String, Occupant>;

/// Something that a person must mend, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// The SQL that would mend it, or what to look at.
    pub mend: String,
}

/// The point before which everything is past its retention; `None` where it is kept for ever.
fn cutoff(policy: &Policy, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    policy.retention.and_then(|window| now.checked_sub_signed(window.span()))
}

/// Whether a range that ends there is past its retention.
fn is_past(grid: &Grid, to: NaiveDateTime, policy: &Policy, now: DateTime<Utc>) -> bool {
    cutoff(policy, now).is_some_and(|cutoff| grid.instant(to) <= cutoff)
}
