//! The PostgreSQL server.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{HumanDuration, secret::Secret};

/// How the server is reached. What is not said here, libpq's own environment says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// A connection string, in URL or keyword form; else the credential `postgres.dsn`.
    pub dsn: Option<Secret>,
    /// A file that holds the connection string.
    pub dsn_file: Option<PathBuf>,
    /// The environment variable that holds it, such as `EXO_DATABASE_DSN`.
    pub dsn_env: Option<String>,
    /// The database to connect to for what concerns the whole server, where the DSN names none.
    pub maintenance_database: String,
    /// Directories that hold pg_dump, tried besides PATH; the last-but-one segment may be `*`.
    pub bin_dirs: Vec<String>,
    /// How long a connection may take to open.
    pub connect_timeout: HumanDuration,
}
