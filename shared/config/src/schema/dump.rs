//! How databases are dumped, and what they are.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use plana_plan::{classify::Class, select::NamePattern};
use serde::{Deserialize, Serialize};

use crate::{HumanDuration, secret::Secret};

/// How databases are dumped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dump {
    /// Databases dumped at the same time.
    pub jobs: u32,
    /// Databases never dumped.
    pub exclude: Vec<NamePattern>,
    /// The prefix of databases that restores and drills make; never dumped.
    pub scratch_prefix: String,
    /// zstd's level.
    pub compression_level: i32,
    /// How long a dump waits for a table's lock.
    pub lock_wait_timeout: HumanDuration,
    /// How long a dump may stand still before it is given up.
    pub stall_timeout: HumanDuration,
    /// The niceness of pg_dump, 0 to 19.
    pub nice: u8,
    /// Whether roles, tablespaces and settings are dumped too.
    pub globals: bool,
    /// The name under which the globals are kept; by default `cluster`.
    pub cluster_name: String,
    /// Whether the globals hold the roles' password verifiers.
    pub role_passwords: RolePasswords,
}

/// Whether the globals hold the roles' password verifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolePasswords {
    /// When encryption is on and the role may read them.
    WhenEncrypted,
    /// Never.
    Never,
}

/// One rule: names, and optionally owners, that make a database be of a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Rules are tried by this number, then by name; the first match wins.
    pub order: u32,
    /// The class that the rule gives.
    pub class: Class,
    /// Names and globs of databases.
    pub databases: Vec<NamePattern>,
    /// Names and globs of owners; absent means any.
    #[serde(default)]
    pub owners: Vec<NamePattern>,
}

/// Where a tenant's tier is found: the static map wins over the file, the file over the query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiers {
    /// Database → tier.
    #[serde(default, rename = "static")]
    pub fixed: BTreeMap<String, String>,
    /// A file with a line `database tier` per tenant; `#` begins a comment.
    pub file: Option<PathBuf>,
    /// A query.
    pub sql: Option<SqlLookup>,
    /// How long the query's last good answer, which lies in `state_dir`, may stand in for one that could not be had; no time
    /// at all means never.
    pub cache_for: HumanDuration,
}

/// A query that answers (database, tier) rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlLookup {
    /// The database to ask, on the same server.
    pub database: String,
    /// The query: two text columns, the tenant's database and its tier.
    pub query: String,
    /// How long it may take; by default 10 seconds.
    #[serde(default = "ten_seconds")]
    pub timeout: HumanDuration,
}

/// A default that cannot stand in `defaults.toml`: there it would make the lookup be there.
fn ten_seconds() -> HumanDuration {
    HumanDuration(Duration::from_secs(10))
}

/// To whom payloads are encrypted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    /// age public keys (`age1…`); none means that payloads are not encrypted.
    pub recipients: Vec<String>,
    /// A file of age public keys, one a line.
    pub recipients_file: Option<PathBuf>,
}

/// How databases are restored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// Jobs of pg_restore.
    pub jobs: u32,
    /// Where an archive is unpacked for a parallel restore; none means that it is streamed.
    pub spool_dir: Option<PathBuf>,
    /// The file with the age private keys.
    pub identity_file: Option<PathBuf>,
    /// A command that is run before a restored database takes its name.
    pub hook: Option<String>,
    /// The server on which drills restore: a connection string; else the credential `restore.scratch_dsn`.
    pub scratch_dsn: Option<Secret>,
    /// A file that holds it.
    pub scratch_dsn_file: Option<PathBuf>,
    /// Where drills make a throwaway cluster, when there is no scratch server.
    pub scratch_dir: PathBuf,
    /// As which user of this host its server runs when the drill is root.
    pub scratch_user: String,
}
