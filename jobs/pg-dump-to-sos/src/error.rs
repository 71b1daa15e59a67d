//! What ends a whole run, and the exit code that says so.

use plana_archive::RecipientsError;
use plana_config::ConfigError;
use plana_harness::{Exit, Failure};
use plana_pg::{client::ClientError, dsn::DsnError, server::ServerError};
use plana_storage::StoreError;

/// What ends a whole run before or besides its items. Completes the sentence "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The configuration is wrong.
    #[error("read the configuration: {0}")]
    Config(#[from] ConfigError),
    /// The connection string is wrong.
    #[error("{0}")]
    Dsn(#[from] DsnError),
    /// A recipient is no age key.
    #[error("read encryption.recipients: {0}")]
    Recipients(#[from] RecipientsError),
    /// The recipients' file cannot be read.
    #[error("read encryption.recipients_file {path}: {source}")]
    RecipientsFile {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The server cannot be used.
    #[error("{0}")]
    Server(#[from] ServerError),
    /// No pg_dump fits the server.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// The store cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl JobError {
    /// The exit code. What no rerun can mend is bad configuration; what may pass is a failure.
    fn exit(&self) -> Exit {
        match self {
            JobError::Config(_) | JobError::Dsn(_) | JobError::Recipients(_) | JobError::RecipientsFile { .. } | JobError::Client(_) => {
                Exit::BadConfig
            }
            JobError::Server(error) => match error {
                ServerError::Authentication { .. }
                | ServerError::Tls { .. }
                | ServerError::Pooler { .. }
                | ServerError::NoSuitableHost { .. }
                | ServerError::Gone { .. }
                | ServerError::ConnectionsDisallowed { .. }
                | ServerError::Denied { .. }
                | ServerError::Settings(_) => Exit::BadConfig,
                ServerError::Unreachable { .. }
                | ServerError::Timeout { .. }
                | ServerError::TooManyConnections { .. }
                | ServerError::Lost { .. }
                | ServerError::Query { .. } => Exit::Failed,
            },
            JobError::Store(error) => match error {
                StoreError::AccessDenied(_)
                | StoreError::BadCredentials(_)
                | StoreError::NoSuchBucket(_)
                | StoreError::Unusable(_)
                | StoreError::Unsupported(_) => Exit::BadConfig,
                StoreError::ClockSkew(_)
                | StoreError::NotFound(_)
                | StoreError::AlreadyExists(_)
                | StoreError::Unavailable(_)
                | StoreError::Timeout(_)
                | StoreError::Connection(_)
                | StoreError::NoSpace(_)
                | StoreError::Io(_)
                | StoreError::Corrupt(_)
                | StoreError::Unverifiable(_)
                | StoreError::Other(_) => Exit::Failed,
            },
        }
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        Failure::of(error.exit(), &error)
    }
}
