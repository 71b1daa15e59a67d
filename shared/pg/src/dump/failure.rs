//! Why a dump failed, from what it said.

use crate::{
    child::{ConnectionFailure, FailureKind, ProgramError, Sign, Subject},
    sql,
};

/// What kind of failure it was, as far as callers act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DumpFailure {
    /// The database was dropped.
    Gone,
    /// Nothing answers at the server's address.
    Unreachable,
    /// The server does not let us in.
    Authentication,
    /// A right is missing.
    Permission,
    /// Row-level security hides rows from us.
    RowSecurity,
    /// A table's lock was not to be had in time.
    LockTimeout,
    /// The program is older than the server.
    VersionMismatch,
    /// The connection broke: the backend was terminated, or the server stopped.
    ConnectionLost,
    /// The server's disk is full.
    ServerDiskFull,
    /// Nobody may connect to the database.
    ConnectionsDisallowed,
    /// Every connection slot is taken.
    TooManyConnections,
    /// The reader of its output went away first.
    ReaderGone,
    /// Somebody killed it.
    Killed,
    /// It could not be started.
    Start,
    /// Anything else.
    Other,
}

/// Why a dump failed. Completes the sentence "failed to …".
pub type DumpError = ProgramError<DumpFailure>;

impl DumpError {
    /// Whether the database was dropped. After [`DumpFailure::ConnectionLost`] ask the server: DROP
    /// DATABASE … WITH (FORCE) terminates the dump first.
    pub fn is_gone(&self) -> bool {
        self.failure == DumpFailure::Gone
    }
}

impl FailureKind for DumpFailure {
    const DOING: &'static str = "dump";
    const KILLED: Self = DumpFailure::Killed;
    const START: Self = DumpFailure::Start;
    const OTHER: Self = DumpFailure::Other;
    const SIGNS: &'static [(Self, Sign)] = &[
        (DumpFailure::VersionMismatch, &["server version mismatch"]),
        (DumpFailure::RowSecurity, &["affected by row-level security policy"]),
        (DumpFailure::LockTimeout, &["canceling statement due to lock timeout"]),
        (DumpFailure::LockTimeout, &["canceling statement due to statement timeout"]),
        (DumpFailure::ServerDiskFull, &["No space left on device"]),
        (DumpFailure::Permission, &["ERROR:  permission denied for"]),
        (DumpFailure::Permission, &["ERROR:  must be owner of"]),
        (DumpFailure::Killed, &["pg_dump: terminated by user"]),
        (DumpFailure::ReaderGone, &["Broken pipe"]),
    ];

    fn from_connection(failure: ConnectionFailure) -> Self {
        match failure {
            ConnectionFailure::Gone => DumpFailure::Gone,
            ConnectionFailure::Unreachable => DumpFailure::Unreachable,
            ConnectionFailure::Authentication => DumpFailure::Authentication,
            ConnectionFailure::Permission => DumpFailure::Permission,
            ConnectionFailure::Lost => DumpFailure::ConnectionLost,
            ConnectionFailure::Disallowed => DumpFailure::ConnectionsDisallowed,
            ConnectionFailure::TooMany => DumpFailure::TooManyConnections,
        }
    }

    fn advice(self, subject: &Subject<'_>) -> String {
        let (database, role) = (sql::identifier(subject.what), sql::identifier(subject.user));
        match self {
            DumpFailure::Gone => "it was dropped while the run was on".to_owned(),
            DumpFailure::Unreachable => ConnectionFailure::Unreachable.advice().to_owned(),
            DumpFailure::Authentication => ConnectionFailure::Authentication.advice().to_owned(),
            DumpFailure::TooManyConnections => ConnectionFailure::TooMany.advice().to_owned(),
            DumpFailure::Permission => "`check` prints the GRANT that is missing".to_owned(),
            DumpFailure::RowSecurity => format!("ALTER ROLE {role} BYPASSRLS"),
            DumpFailure::LockTimeout => {
                "a transaction holds a table's lock: end it (pg_stat_activity), or raise dump.lock_wait_timeout".to_owned()
            }
            DumpFailure::VersionMismatch => "install the pg_dump of the server's major version".to_owned(),
            DumpFailure::ConnectionLost => "look into the server's log; a rerun with --missing-within dumps what is missing".to_owned(),
            DumpFailure::ServerDiskFull => "free space on the server".to_owned(),
            DumpFailure::ConnectionsDisallowed => format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true, or exclude it"),
            DumpFailure::Killed => "look for who killed it: the kernel's log tells of memory running out".to_owned(),
            DumpFailure::ReaderGone | DumpFailure::Start | DumpFailure::Other => String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
