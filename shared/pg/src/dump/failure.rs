//! Why a dump failed, from what it said.

use std::{fmt, os::unix::process::ExitStatusExt};

use plana_plan::name::printable;

use crate::{child::Exit, client::Installed, sql};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpError {
    /// The database, or `the globals`.
    pub what: String,
    /// What kind of failure it was.
    pub failure: DumpFailure,
    /// What the program said, or how it ended.
    pub reason: String,
    /// What to do next.
    pub advice: String,
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dump {}: {}", printable(&self.what), self.reason)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

impl std::error::Error for DumpError {}

/// How much of a program's words stands in a message.
const REASON_CHARACTERS: usize = 400;

/// What a failure is told by; the first that is found counts. `database` stands for the server's own
/// FATAL lines only, which no name in the database can imitate.
const SIGNS: &[(DumpFailure, &[&str])] = &[
    (DumpFailure::VersionMismatch, &["server version mismatch"]),
    (DumpFailure::ConnectionsDisallowed, &["FATAL:  database", "is not currently accepting connections"]),
    (DumpFailure::ConnectionsDisallowed, &["FATAL:  cannot connect to invalid database"]),
    (DumpFailure::Gone, &["FATAL:  database \"", "\" does not exist"]),
    (DumpFailure::Permission, &["FATAL:  permission denied for database"]),
    (DumpFailure::TooManyConnections, &["FATAL:  sorry, too many clients"]),
    (DumpFailure::TooManyConnections, &["FATAL:  remaining connection slots"]),
    (DumpFailure::TooManyConnections, &["FATAL:  too many connections"]),
    (DumpFailure::ConnectionLost, &["FATAL:  the database system is"]),
    (DumpFailure::ConnectionLost, &["FATAL:  terminating connection"]),
    (DumpFailure::ConnectionLost, &["server closed the connection unexpectedly"]),
    (DumpFailure::ConnectionLost, &["no connection to the server"]),
    (DumpFailure::ConnectionLost, &["connection to server was lost"]),
    (DumpFailure::ConnectionLost, &["could not receive data from server"]),
    (DumpFailure::ConnectionLost, &["lost synchronization with server"]),
    (DumpFailure::ConnectionLost, &["SSL connection has been closed unexpectedly"]),
    (DumpFailure::ConnectionLost, &["SSL SYSCALL error"]),
    (DumpFailure::Authentication, &["authentication failed for user"]),
    (DumpFailure::Authentication, &["no pg_hba.conf entry"]),
    (DumpFailure::Authentication, &["pg_hba.conf rejects"]),
    (DumpFailure::Authentication, &["no password supplied"]),
    (DumpFailure::Authentication, &["FATAL:  role \"", "\" does not exist"]),
    (DumpFailure::Authentication, &["is not permitted to log in"]),
    (DumpFailure::Unreachable, &["connection to server", "failed:"]),
    (DumpFailure::Unreachable, &["could not translate host name"]),
    (DumpFailure::RowSecurity, &["affected by row-level security policy"]),
    (DumpFailure::LockTimeout, &["canceling statement due to lock timeout"]),
    (DumpFailure::LockTimeout, &["canceling statement due to statement timeout"]),
    (DumpFailure::ServerDiskFull, &["No space left on device"]),
    (DumpFailure::Permission, &["ERROR:  permission denied for"]),
    (DumpFailure::Permission, &["ERROR:  must be owner of"]),
    (DumpFailure::Killed, &["pg_dump: terminated by user"]),
    (DumpFailure::ReaderGone, &["Broken pipe"]),
];

impl DumpError {
    /// Whether the database was dropped. After [`DumpFailure::ConnectionLost`] ask the server: DROP
    /// DATABASE … WITH (FORCE) terminates the dump first.
    pub fn is_gone(&self) -> bool {
        self.failure == DumpFailure::Gone
    }

    pub(super) fn start(what: &str, client: &Installed, reason: &str) -> Self {
        let reason = format!("{} could not be started: {reason}", client.path.display());
        DumpError { what: what.to_owned(), failure: DumpFailure::Start, reason, advice: String::new() }
    }

    pub(super) fn unknown(what: &str, reason: &str) -> Self {
        let reason = format!("how it ended is unknown: {reason}");
        DumpError { what: what.to_owned(), failure: DumpFailure::Other, reason, advice: String::new() }
    }

    pub(super) fn from_exit(what: &str, user: &str, exit: &Exit) -> Self {
        let ending = match (exit.status.code(), exit.status.signal()) {
            (Some(code), _) => format!("it ended with status {code}"),
            (None, Some(signal)) => format!("it was killed by signal {signal}"),
            (None, None) => "it ended in an unknown way".to_owned(),
        };
        let failure = match exit.status.signal() {
            Some(_) => DumpFailure::Killed,
            None => classify(&exit.stderr),
        };
        let reason = match complaint(&exit.stderr) {
            Some(complaint) => format!("{complaint} ({ending})"),
            None => ending,
        };
        DumpError { what: what.to_owned(), failure, reason, advice: advice(failure, what, user) }
    }
}

fn classify(lines: &[String]) -> DumpFailure {
    let said = |line: &str, parts: &[&str]| parts.iter().try_fold(line, |rest, part| Some(rest.split_once(part)?.1)).is_some();
    // A detail quotes the query, and with it names and values that may say anything.
    let lines: Vec<_> = lines.iter().filter(|line| !line.contains("detail: Query was:")).collect();
    let found = SIGNS.iter().find(|(_, parts)| lines.iter().any(|line| said(line, parts)));
    found.map_or(DumpFailure::Other, |(failure, _)| *failure)
}

/// The first error with its detail, which tells the server's own words or the table, else the last line.
fn complaint(lines: &[String]) -> Option<String> {
    let first = lines.iter().position(|line| line.contains("error:") || line.contains("FATAL:")).or(lines.len().checked_sub(1))?;
    let detail = lines.get(first + 1).and_then(|line| line.split_once("detail: "));
    let detail = detail.map(|(_, detail)| format!("; {}", detail.trim())).unwrap_or_default();
    let short: String = format!("{}{detail}", lines[first].trim()).chars().take(REASON_CHARACTERS).collect();
    Some(printable(&short))
}

fn advice(failure: DumpFailure, what: &str, user: &str) -> String {
    let (database, role) = (sql::identifier(what), sql::identifier(user));
    match failure {
        DumpFailure::Gone => "it was dropped while the run was on".to_owned(),
        DumpFailure::Unreachable => "check that the server runs, and host and port".to_owned(),
        DumpFailure::Authentication => "check user, password (PGPASSFILE, dsn_file) and pg_hba.conf".to_owned(),
        DumpFailure::Permission => "`check` prints the GRANT that is missing".to_owned(),
        DumpFailure::RowSecurity => format!("ALTER ROLE {role} BYPASSRLS"),
        DumpFailure::LockTimeout => {
            "a transaction holds a table's lock: end it (pg_stat_activity), or raise dump.lock_wait_timeout".to_owned()
        }
        DumpFailure::VersionMismatch => "install the pg_dump of the server's major version".to_owned(),
        DumpFailure::ConnectionLost => "look into the server's log; a rerun with --missing-within dumps what is missing".to_owned(),
        DumpFailure::ServerDiskFull => "free space on the server".to_owned(),
        DumpFailure::ConnectionsDisallowed => format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true, or exclude it"),
        DumpFailure::TooManyConnections => "lower --jobs or raise max_connections".to_owned(),
        DumpFailure::Killed => "look for who killed it: the kernel's log tells of memory running out".to_owned(),
        DumpFailure::ReaderGone | DumpFailure::Start | DumpFailure::Other => String::new(),
    }
}

#[cfg(test)]
mod tests;
