//! The one schema of the configuration file, its layers, and secrets.
//!
//! Knows no I/O but reading the file, its drop-ins, and the files that hold secrets. The environment
//! is handed in.
//!
//! - [`load`] reads all layers: built-in defaults, the file, `conf.d/*.toml` beside it by name, the
//!   environment `PLANA_JOBS__SECTION__KEY`, flags. Later wins, key by key; of a secret's several forms
//!   (`dsn`, `dsn_file`, `dsn_env`) the one of the later layer.
//! - Jobs ask [`Config`] for [`Config::store_credentials`], [`Config::postgres_dsn`] and the like, and do not
//!   know where secrets come from.

mod access;
mod check;
mod credentials;
mod layer;
mod load;
mod nearest;
mod probe;
mod problem;
pub mod schema;
pub mod secret;
mod source;
mod store_url;
pub mod units;
mod validate;

pub use access::{PingUrls, StoreAccess};
pub use load::{Loaded, load};
pub use problem::{ConfigError, Problem};
pub use schema::{
    Config, StoreName,
    keys::{SchemaKey, schema_keys},
};
pub use secret::Secret;
pub use source::{ConfigSource, Environment, Override};
pub use store_url::{StoreUrl, StoreUrlError};
pub use units::{ByteSize, HumanDuration};

/// The built-in defaults: the first layer, and a commented list of keys for people.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// The jobs, as the configuration names them.
pub const JOBS: [&str; 8] = [
    "pg_dump_to_sos",
    "pg_dump_templates",
    "filestore_tarball",
    "retention_pruner",
    "retention_pruner_mirror",
    "insurance_snapshot",
    "partition_roller",
    "restore_from_sos",
];
