//! Why a server did not do what it was asked.

use plana_plan::name::printable;

use crate::dsn::{ConnectionSettings, DsnError};

/// Why a server did not do what it was asked. Each message completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Nothing answers there.
    #[error("connect to PostgreSQL at {server}: {reason}; check that the server runs, and host and port")]
    Unreachable {
        /// The server.
        server: String,
        /// What the system said.
        reason: String,
    },
    /// It took too long.
    #[error(
        "connect to PostgreSQL at {server}: no answer within {seconds} s; check network and firewall, or raise postgres.connect_timeout"
    )]
    Timeout {
        /// The server.
        server: String,
        /// How long we waited.
        seconds: u64,
    },
    /// It does not let us in.
    #[error("connect to PostgreSQL at {server} as `{user}`: {reason}; check user, password (PGPASSFILE, dsn_file) and pg_hba.conf")]
    Authentication {
        /// The server.
        server: String,
        /// As whom.
        user: String,
        /// What the server said.
        reason: String,
    },
    /// TLS could not be set up.
    #[error("connect to PostgreSQL at {server}: TLS: {reason}; check sslmode and sslrootcert")]
    Tls {
        /// The server.
        server: String,
        /// What went wrong.
        reason: String,
    },
    /// It is a pooler.
    #[error(
        "use PostgreSQL at {server}: a pooler (PgBouncer) answers there, through which dumps break and disturb other sessions; \
         connect to the server's own port, usually 5432"
    )]
    Pooler {
        /// The address.
        server: String,
    },
    /// No server of the wanted kind.
    #[error("connect to PostgreSQL at {server}: no host is {wanted}, as target_session_attrs wants it")]
    NoSuitableHost {
        /// The servers.
        server: String,
        /// What was wanted.
        wanted: String,
    },
    /// There is no such database (any more).
    #[error("connect to database `{}`: it does not exist", printable(.database))]
    Gone {
        /// The database.
        database: String,
    },
    /// Nobody may connect to the database.
    #[error("connect to database `{}`: it does not accept connections; {}", printable(.database), allow(.database))]
    ConnectionsDisallowed {
        /// The database.
        database: String,
    },
    /// A right is missing.
    #[error("{doing} in database `{}`: {reason}; `check` prints the GRANT that is missing", printable(.database))]
    Denied {
        /// What was tried.
        doing: String,
        /// The database.
        database: String,
        /// What the server said.
        reason: String,
    },
    /// Every connection slot is taken.
    #[error("connect to PostgreSQL at {server}: {reason}; lower --jobs or raise max_connections")]
    TooManyConnections {
        /// The server.
        server: String,
        /// What the server said.
        reason: String,
    },
    /// The connection broke.
    #[error("{doing}: the connection to PostgreSQL at {server} was lost: {reason}")]
    Lost {
        /// What was tried.
        doing: String,
        /// The server.
        server: String,
        /// What happened.
        reason: String,
    },
    /// A query failed.
    #[error("{doing} in database `{}`: {reason}", printable(.database))]
    Query {
        /// What was tried.
        doing: String,
        /// The database.
        database: String,
        /// What the server said.
        reason: String,
    },
    /// The settings are wrong.
    #[error("connect to PostgreSQL: {0}")]
    Settings(#[from] DsnError),
}

fn allow(database: &str) -> String {
    format!("ALTER DATABASE {} ALLOW_CONNECTIONS true, or exclude it", crate::sql::identifier(database))
}

impl ServerError {
    /// Whether the database was dropped.
    pub fn is_gone(&self) -> bool {
        matches!(self, ServerError::Gone { .. })
    }

    /// From a failed attempt to connect.
    pub(crate) fn from_connect(settings: &ConnectionSettings, error: sqlx::Error) -> Self {
        let server = settings.server_label();
        let database = settings.database().to_owned();
        let reason = reason(&error);
        match &error {
            error if is_tls(error) => return ServerError::Tls { server, reason: explain_tls(reason) },
            sqlx::Error::Database(db) => {
                let code = db.code().unwrap_or_default();
                return match &*code {
                    "3D000" => ServerError::Gone { database },
                    "28000" | "28P01" => ServerError::Authentication { server, user: settings.user().to_owned(), reason },
                    "55000" => ServerError::ConnectionsDisallowed { database },
                    "42501" => ServerError::Denied { doing: "connect".to_owned(), database, reason },
                    "53300" => ServerError::TooManyConnections { server, reason },
                    // What only a pooler says: it knows no startup parameters but a few.
                    "08P01" if reason.contains("unsupported startup parameter") => ServerError::Pooler { server },
                    _ => ServerError::Unreachable { server, reason },
                };
            }
            _ => {}
        }
        ServerError::Unreachable { server, reason }
    }

    /// From a failed query.
    pub(crate) fn from_query(doing: &str, settings: &ConnectionSettings, error: sqlx::Error) -> Self {
        let (doing, database, reason) = (doing.to_owned(), settings.database().to_owned(), reason(&error));
        match (&error, sql_state(&error).as_deref()) {
            (_, Some("42501")) => ServerError::Denied { doing, database, reason },
            (sqlx::Error::Io(_) | sqlx::Error::Protocol(_), _) | (_, Some("57P01" | "57P02" | "57P03")) => {
                ServerError::Lost { doing, server: settings.server_label(), reason }
            }
            _ => ServerError::Query { doing, database, reason },
        }
    }
}

/// Whether TLS failed; what rustls refuses comes as invalid data.
pub(super) fn is_tls(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// libpq takes a certificate that signed itself as its own authority; rustls does not.
fn explain_tls(reason: String) -> String {
    if reason.contains("CaUsedAsEndEntity") {
        return "the server's certificate is its own authority, which is not accepted: \
                let an authority sign it and name that one in sslrootcert, or use sslmode=require"
            .to_owned();
    }
    reason
}

/// The server's five characters for what went wrong.
pub(crate) fn sql_state(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|db| db.code().map(|code| code.into_owned()))
}

/// What the server or the system said, without the layers in between.
pub(crate) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(db) => db.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => error.to_string(),
        other => other.to_string(),
    }
}
