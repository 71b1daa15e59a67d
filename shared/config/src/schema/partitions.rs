//! Which tables' partitions are made and retired, and how.

use std::{collections::BTreeMap, time::Duration};

use plana_plan::{
    partition::{NameTemplate, Period, Policy, Zone},
    select::NamePattern,
    window::Window,
};
use serde::{Deserialize, Serialize};

use crate::HumanDuration;

/// How partitions are made and retired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partitions {
    /// The database that holds the tables; by default the one that the connection string names.
    pub database: Option<String>,
    /// How long a statement waits for a lock, and so the longest that others queue behind it.
    pub lock_timeout: HumanDuration,
    /// How often a statement that did not get its lock is tried.
    pub lock_attempts: u32,
    /// At most so many rows are moved out of DEFAULT in one transaction.
    pub move_at_most: u64,
    /// The tables, in groups by names of the operator's choice.
    pub tables: BTreeMap<String, PartitionedTables>,
}

/// What is done with a partition that was retired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retired {
    /// It stays, detached.
    #[default]
    Keep,
    /// It is dropped.
    Drop,
}

/// One table, or all partitioned tables of a schema, and what their partitions shall be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionedTables {
    /// The table, as `schema.table`.
    pub table: Option<String>,
    /// The schema whose partitioned tables these are, but for those that another group names.
    pub schema: Option<String>,
    /// Tables of the schema that are left alone.
    #[serde(default)]
    pub exclude: Vec<NamePattern>,
    /// How long a partition is.
    #[serde(default = "monthly")]
    pub period: Period,
    /// Where midnight is; for columns without a zone also what their wall clock means.
    #[serde(default = "utc")]
    pub zone: Zone,
    /// How many partitions there shall be beyond the one of now.
    #[serde(default = "three")]
    pub premake: u32,
    /// What new ones are called; by default `{table}_{year}_{month}` and the like.
    pub name: Option<NameTemplate>,
    /// How long they are kept; without it for ever, or as long as `deployments` says.
    pub retention: Option<Window>,
    /// Retention that differs from deployment to deployment.
    pub deployments: Option<DeploymentRetention>,
    /// So many partitions are never retired, however old they are.
    #[serde(default = "three")]
    pub keep_at_least: u32,
    /// At most so many are made in one run, for each table.
    #[serde(default = "fifty")]
    pub max_made: u32,
    /// At most so many are retired in one run, of each table.
    #[serde(default = "twelve")]
    pub max_retired: u32,
    /// What is done with what was retired.
    #[serde(default)]
    pub retired: Retired,
    /// How long it lies detached before it is dropped.
    pub grace: Option<Window>,
    /// The schema to which what is kept is moved.
    pub move_to: Option<String>,
    /// What is put behind the name of what is kept.
    pub suffix: Option<String>,
    /// Whether it is archived before it is dropped.
    #[serde(default)]
    pub archive: bool,
}

impl PartitionedTables {
    /// What the partitions shall be, where no deployment has a word in it.
    pub fn policy(&self) -> Policy {
        Policy {
            period: self.period,
            zone: self.zone,
            premake: self.premake,
            name: self.name.clone().unwrap_or_else(|| NameTemplate::usual(self.period)),
            retention: self.retention,
            keep_at_least: self.keep_at_least,
            max_made: self.max_made,
            max_retired: self.max_retired,
        }
    }
}

/// Retention that differs from deployment to deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentRetention {
    /// The query: two columns, the deployment as text and its days as a whole number.
    pub query: String,
    /// The tables' column that names the deployment.
    pub column: String,
    /// How long the query may take; by default 30 seconds.
    #[serde(default = "thirty_seconds")]
    pub timeout: HumanDuration,
    /// Pages of a table that are looked through for each commit; by default 256, 2 MiB.
    #[serde(default = "batch")]
    pub batch_pages: u32,
    /// At most so many rows are deleted in a second, on average.
    #[serde(default = "rate")]
    pub rows_per_second: u32,
}

// Defaults of a group cannot stand in `defaults.toml`: there they would make a group be there.

fn monthly() -> Period {
    Period::Monthly
}

fn utc() -> Zone {
    Zone::UTC
}

fn three() -> u32 {
    3
}

fn twelve() -> u32 {
    12
}

fn fifty() -> u32 {
    50
}

fn batch() -> u32 {
    256
}

fn rate() -> u32 {
    10_000
}

fn thirty_seconds() -> HumanDuration {
    HumanDuration(Duration::from_secs(30))
}
