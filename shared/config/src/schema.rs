//! Every key that the configuration file may hold, for all jobs.
//!
//! Defaults stand in `defaults.toml`, the first layer, which is also what people read; here a field
//! is either there or an `Option`. Unknown keys are errors. No `flatten` and no `untagged`: they
//! would lose the key and the file in errors.

mod dump;
mod escrow;
mod filestore;
pub(crate) mod keys;
mod mirror;
mod observe;
mod partitions;
mod postgres;
mod retention;
mod store;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use dump::{Dump, Encryption, Restore, RolePasswords, Rule, SqlLookup, Tiers};
pub use escrow::{Escrow, EscrowKey, OnMissing};
pub use filestore::{Filestore, FilestoreSource, TarballCompression};
pub use mirror::{Mirror, WithoutLedger};
pub use observe::{EventDetail, Events, Metrics, Ping};
pub use partitions::{DeploymentRetention, PartitionedTables, Partitions, Retired};
pub use postgres::Postgres;
pub use retention::{KeepPeriods, Legacy, Retention, StorePrice};
pub use store::{ChecksumMode, S3Client, Store, StoreName, Stores, Upload};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where jobs remember what they like to remember.
    pub state_dir: PathBuf,
    /// Where backups go.
    pub store: Stores,
    /// How every S3 client behaves.
    pub s3: S3Client,
    /// How uploads use memory and bandwidth.
    pub upload: Upload,
    /// The PostgreSQL server.
    pub postgres: Postgres,
    /// How databases are dumped.
    pub dump: Dump,
    /// Which file stores are taken, and how.
    pub filestore: Filestore,
    /// Which tables' partitions are made and retired, and how.
    pub partitions: Partitions,
    /// How databases are restored.
    pub restore: Restore,
    /// What databases are: named rules, tried by `order`.
    pub rules: BTreeMap<String, Rule>,
    /// Where a tenant's tier is found.
    pub tiers: Tiers,
    /// How long sets are kept.
    pub retention: Retention,
    /// How long a registry's mirror keeps what nobody pulls.
    pub mirror: Mirror,
    /// To whom payloads are encrypted.
    pub encryption: Encryption,
    /// Which keys dumps need, and to whom copies of them are encrypted.
    pub escrow: Escrow,
    /// The event stream.
    pub events: Events,
    /// Prometheus.
    pub metrics: Metrics,
    /// Ping URLs, by job (`pg_dump_to_sos`, …).
    pub ping: BTreeMap<String, Ping>,
}
