//! What every job opens before its work begins: the store, the server, the programs, the public keys.

use std::path::Path;

use chrono::{TimeDelta, Utc};
use plana_archive::{Recipients, RecipientsError};
use plana_config::{Config, ConfigError, Environment, Secret, StoreName, schema::Encryption};
use plana_pg::{
    client::{self, Chosen, ClientError, Program},
    dsn::{self, ConnectionSettings, DsnError},
    locks::AdvisoryLocks,
    server::{Server, ServerError},
};
use plana_storage::{DynStore, OpenOptions, StoreError};

use crate::lock::FileLocks;

/// What ends a run before or besides its items. Completes the sentence "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The configuration is wrong.
    #[error("read the configuration: {0}")]
    Config(#[from] ConfigError),
    /// The connection string is wrong.
    #[error("{0}")]
    Dsn(#[from] DsnError),
    /// A password on a command line, where everybody on the host can see it.
    #[error(
        "take the connection string of the command line: it holds a password, which everybody on this host can see (ps); use PGPASSFILE, \
         or a file that the configuration names"
    )]
    PasswordShown,
    /// A recipient is no age key.
    #[error("read encryption.recipients: {0}")]
    Recipients(#[from] RecipientsError),
    /// A file that the configuration names cannot be read.
    #[error("read {key} {path}: {source}")]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The server cannot be used.
    #[error("{0}")]
    Server(#[from] ServerError),
    /// There is no place for lock files.
    #[error("make a directory for lock files in {state_dir}: {source}; set state_dir to a directory that this user may write")]
    Locks {
        /// Where it was to be.
        state_dir: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// No program fits the server.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// The store cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl SetupError {
    /// Whether the configuration is wrong, which no rerun can mend; anything else may pass.
    pub fn is_configuration(&self) -> bool {
        match self {
            SetupError::Config(_)
            | SetupError::Dsn(_)
            | SetupError::PasswordShown
            | SetupError::Recipients(_)
            | SetupError::File { .. }
            | SetupError::Locks { .. }
            | SetupError::Client(_) => true,
            SetupError::Server(error) => match error {
                ServerError::Authentication { .. }
                | ServerError::Tls { .. }
                | ServerError::Pooler { .. }
                | ServerError::NoSuitableHost { .. }
                | ServerError::Gone { .. }
                | ServerError::ConnectionsDisallowed { .. }
                | ServerError::Denied { .. }
                | ServerError::Settings(_) => true,
                ServerError::Unreachable { .. }
                | ServerError::Timeout { .. }
                | ServerError::TooManyConnections { .. }
                | ServerError::Lost { .. }
                | ServerError::Query { .. } => false,
            },
            SetupError::Store(error) => match error {
                StoreError::AccessDenied(_)
                | StoreError::BadCredentials(_)
                | StoreError::NoSuchBucket(_)
                | StoreError::Unusable(_)
                | StoreError::Unsupported(_) => true,
                StoreError::ClockSkew(_)
                | StoreError::Locked(_)
                | StoreError::NotFound(_)
                | StoreError::AlreadyExists(_)
                | StoreError::Unavailable(_)
                | StoreError::Timeout(_)
                | StoreError::Connection(_)
                | StoreError::NoSpace(_)
                | StoreError::Io(_)
                | StoreError::Corrupt(_)
                | StoreError::Unverifiable(_)
                | StoreError::Other(_) => false,
            },
        }
    }
}

/// The backups' store; a directory is made where `create` allows it.
///
/// # Errors
/// When it is not configured, or is no place that a store can be.
pub async fn open_store(config: &Config, env: &Environment, create: bool) -> Result<DynStore, SetupError> {
    open_named_store(config, env, StoreName::Backups, create).await
}

/// One of the stores; a directory is made where `create` allows it.
///
/// # Errors
/// As [`open_store`].
pub async fn open_named_store(config: &Config, env: &Environment, which: StoreName, create: bool) -> Result<DynStore, SetupError> {
    let access = config.store_credentials(which, env)?;
    Ok(plana_storage::open(&access, &OpenOptions::new(&config.s3, &config.upload, create)).await?)
}

/// The store's clock and ours may differ by this much before it is said.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// How far this host's clock and the store's are apart; `None` for a store without one.
///
/// # Errors
/// When the store does not answer.
pub async fn clock_difference(store: &DynStore) -> Result<Option<TimeDelta>, SetupError> {
    Ok(store.server_time().await?.map(|theirs| (theirs - Utc::now()).abs()))
}

/// Whether a server is configured, here or by libpq's environment: jobs that can do without one ask first.
///
/// # Errors
/// When a file of a secret cannot be used.
pub fn has_server(config: &Config, env: &Environment) -> Result<bool, SetupError> {
    let named = ["PGHOST", "PGHOSTADDR", "PGSERVICE"].into_iter().any(|name| env.get(name).is_some_and(|value| !value.is_empty()));
    Ok(named || config.postgres_dsn(env)?.is_some())
}

/// How the server is reached, by the configuration or, over it, by a connection string of the command line.
///
/// # Errors
/// When the connection string is wrong, or a file of a secret cannot be used.
pub fn connection(config: &Config, env: &Environment, job: &str, dsn: Option<&Secret>) -> Result<ConnectionSettings, SetupError> {
    let configured = config.postgres_dsn(env)?;
    let dsn = dsn.or(configured.as_ref());
    let environment: dsn::Environment = env.iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let settings = ConnectionSettings::resolve(dsn.map(Secret::expose), &environment)?;
    Ok(settings.with_default_database(&config.postgres.maintenance_database).with_application_name(&format!("plana-jobs/{job}")))
}

/// A connection string of the command line.
///
/// # Errors
/// When it is wrong, or holds a password.
pub fn shown_dsn(text: &str) -> Result<Secret, SetupError> {
    let settings = ConnectionSettings::resolve(Some(text), &dsn::Environment::default())?;
    if settings.holds_password() { Err(SetupError::PasswordShown) } else { Ok(Secret::new(text)) }
}

/// The server, which answers.
///
/// # Errors
/// When it does not, refuses us, or is a pooler.
pub async fn connect(config: &Config, settings: &ConnectionSettings) -> Result<Server, SetupError> {
    Ok(Server::connect(settings, config.postgres.connect_timeout.0).await?)
}

/// Locks of items on the server. They are seen within one database only: the same one for every job, whatever its DSN names.
///
/// # Errors
/// When the server does not let us in.
pub async fn locks(config: &Config, server: &Server) -> Result<AdvisoryLocks, SetupError> {
    let settings = server.settings().with_database(&config.postgres.maintenance_database);
    Ok(AdvisoryLocks::connect(&settings, config.postgres.connect_timeout.0).await?)
}

/// Lock files of this host, for where there is no server. A dry run makes no directory.
///
/// # Errors
/// When there is no place for them.
pub fn file_locks(state_dir: &Path, dry_run: bool) -> Result<FileLocks, SetupError> {
    if dry_run {
        return Ok(FileLocks::untouched(state_dir));
    }
    FileLocks::open(state_dir).map_err(|source| SetupError::Locks { state_dir: state_dir.display().to_string(), source })
}

/// The installed program that fits the server.
///
/// # Errors
/// When none does.
pub async fn find_client(config: &Config, env: &Environment, program: Program, server: &Server) -> Result<Chosen, SetupError> {
    let installed = client::find(program, &config.postgres.bin_dirs, env.get("PATH")).await;
    let mut chosen = client::choose(program, server.facts().version, &installed)?;
    if program == Program::PgDump {
        chosen.client = chosen.client.with_large_writes(env.get("PATH")).await;
    }
    Ok(chosen)
}

/// To whom payloads are encrypted.
///
/// # Errors
/// When a text is no public key, or the file cannot be read.
pub fn recipients(encryption: &Encryption) -> Result<Recipients, SetupError> {
    let named = Recipients::parse(&encryption.recipients)?;
    let Some(path) = &encryption.recipients_file else { return Ok(named) };
    Ok(named.and(Recipients::parse_file(&read("encryption.recipients_file", path)?)?))
}

/// The text of a file that the configuration names.
///
/// # Errors
/// When it cannot be read.
pub fn read(key: &'static str, path: &Path) -> Result<String, SetupError> {
    std::fs::read_to_string(path).map_err(|source| SetupError::File { key, path: path.display().to_string(), source })
}
