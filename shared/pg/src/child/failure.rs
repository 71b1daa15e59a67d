//! Why a program of PostgreSQL failed, from what it said.

use std::{fmt, os::unix::process::ExitStatusExt};

use plana_plan::name::printable;

use super::Exit;
use crate::client::Installed;

/// What a failure is told by: parts of one line, in this order.
pub type Sign = &'static [&'static str];

/// The kinds of failure of one program, and what each is told by.
pub trait FailureKind: fmt::Debug + Copy + Eq + 'static {
    /// What the program was to do, such as `dump`.
    const DOING: &'static str;
    /// Somebody killed it.
    const KILLED: Self;
    /// It could not be started.
    const START: Self;
    /// Anything else.
    const OTHER: Self;
    /// What its own failures are told by; the first that is found counts.
    const SIGNS: &'static [(Self, Sign)];

    /// What a failure to reach the server, or to stay with it, is called here.
    fn from_connection(failure: ConnectionFailure) -> Self;

    /// What to do next; empty where nobody can know.
    fn advice(self, subject: &Subject<'_>) -> String;
}

/// Whom a failure concerns.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The database, or `the globals`.
    pub what: &'a str,
    /// As whom the program connected.
    pub user: &'a str,
    /// What the program said first; empty where it said nothing.
    pub said: &'a str,
}

/// What goes wrong between any program and its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionFailure {
    /// The database does not exist.
    Gone,
    /// Nothing answers at the server's address.
    Unreachable,
    /// The server does not let us in.
    Authentication,
    /// Our role may not connect to the database.
    Permission,
    /// The connection broke: the backend was terminated, or the server stopped.
    Lost,
    /// Nobody may connect to the database.
    Disallowed,
    /// Every connection slot is taken.
    TooMany,
}

/// `database` stands for the server's own FATAL lines only, which no name in the database can imitate.
const CONNECTION_SIGNS: &[(ConnectionFailure, Sign)] = &[
    (ConnectionFailure::Disallowed, &["FATAL:  database", "is not currently accepting connections"]),
    (ConnectionFailure::Disallowed, &["FATAL:  cannot connect to invalid database"]),
    (ConnectionFailure::Gone, &["FATAL:  database \"", "\" does not exist"]),
    (ConnectionFailure::Permission, &["FATAL:  permission denied for database"]),
    (ConnectionFailure::TooMany, &["FATAL:  sorry, too many clients"]),
    (ConnectionFailure::TooMany, &["FATAL:  remaining connection slots"]),
    (ConnectionFailure::TooMany, &["FATAL:  too many connections"]),
    (ConnectionFailure::Lost, &["FATAL:  the database system is"]),
    (ConnectionFailure::Lost, &["FATAL:  terminating connection"]),
    (ConnectionFailure::Lost, &["server closed the connection unexpectedly"]),
    (ConnectionFailure::Lost, &["no connection to the server"]),
    (ConnectionFailure::Lost, &["connection to server was lost"]),
    (ConnectionFailure::Lost, &["could not receive data from server"]),
    (ConnectionFailure::Lost, &["could not send data to server"]),
    (ConnectionFailure::Lost, &["lost synchronization with server"]),
    (ConnectionFailure::Lost, &["SSL connection has been closed unexpectedly"]),
    (ConnectionFailure::Lost, &["SSL SYSCALL error"]),
    (ConnectionFailure::Authentication, &["authentication failed for user"]),
    (ConnectionFailure::Authentication, &["no pg_hba.conf entry"]),
    (ConnectionFailure::Authentication, &["pg_hba.conf rejects"]),
    (ConnectionFailure::Authentication, &["no password supplied"]),
    (ConnectionFailure::Authentication, &["FATAL:  role \"", "\" does not exist"]),
    (ConnectionFailure::Authentication, &["is not permitted to log in"]),
    (ConnectionFailure::Unreachable, &["connection to server", "failed:"]),
    (ConnectionFailure::Unreachable, &["could not translate host name"]),
];

impl ConnectionFailure {
    /// What helps whatever the program is; empty where that depends on it.
    pub const fn advice(self) -> &'static str {
        match self {
            ConnectionFailure::Unreachable => "check that the server runs, and host and port",
            ConnectionFailure::Authentication => "check user, password (PGPASSFILE, dsn_file) and pg_hba.conf",
            ConnectionFailure::TooMany => "lower --jobs or raise max_connections",
            _ => "",
        }
    }
}

/// Why a program failed. Completes the sentence "failed to …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramError<K> {
    /// The database, or `the globals`.
    pub what: String,
    /// What kind of failure it was.
    pub failure: K,
    /// What the program said, or how it ended.
    pub reason: String,
    /// What to do next.
    pub advice: String,
}

impl<K: FailureKind> fmt::Display for ProgramError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", K::DOING, printable(&self.what), self.reason)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

impl<K: FailureKind> std::error::Error for ProgramError<K> {}

impl<K: FailureKind> ProgramError<K> {
    pub(crate) fn start(what: &str, client: &Installed, reason: &str) -> Self {
        Self::without_advice(what, K::START, format!("{} could not be started: {reason}", client.path.display()))
    }

    pub(crate) fn unknown(what: &str, reason: &str) -> Self {
        Self::without_advice(what, K::OTHER, format!("how it ended is unknown: {reason}"))
    }

    pub(crate) fn without_advice(what: &str, failure: K, reason: String) -> Self {
        ProgramError { what: what.to_owned(), failure, reason, advice: String::new() }
    }

    pub(crate) fn from_exit(what: &str, user: &str, exit: &Exit) -> Self {
        let ending = match (exit.status.code(), exit.status.signal()) {
            (Some(code), _) => format!("it ended with status {code}"),
            (None, Some(signal)) => format!("it was killed by signal {signal}"),
            (None, None) => "it ended in an unknown way".to_owned(),
        };
        let failure = match exit.status.signal() {
            Some(_) => K::KILLED,
            None => classify(&exit.stderr),
        };
        let reason = match complaint(&exit.stderr) {
            Some(complaint) => format!("{complaint} ({ending})"),
            None => ending,
        };
        let said = first_error(&exit.stderr).and_then(|at| exit.stderr.get(at)).map_or("", String::as_str);
        let advice = failure.advice(&Subject { what, user, said });
        ProgramError { what: what.to_owned(), failure, reason, advice }
    }
}

/// Whether a line tells of an error and not of a warning.
pub(super) fn is_error(line: &str) -> bool {
    line.contains("error:") || line.contains("FATAL:")
}

fn first_error(lines: &[String]) -> Option<usize> {
    lines.iter().position(|line| is_error(line))
}

fn classify<K: FailureKind>(lines: &[String]) -> K {
    let lines = evidence(lines);
    let said =
        |sign: Sign| lines.iter().any(|line| sign.iter().try_fold(*line, |rest: &str, part| Some(rest.split_once(part)?.1)).is_some());
    let connection = CONNECTION_SIGNS.iter().find(|(_, sign)| said(sign)).map(|(failure, _)| K::from_connection(*failure));
    let own = || K::SIGNS.iter().find(|(_, sign)| said(sign)).map(|(failure, _)| *failure);
    connection.or_else(own).unwrap_or(K::OTHER)
}

/// What the server adds to its message: values, statements and names that may say anything.
const QUOTES: [&str; 6] = ["DETAIL:", "HINT:", "CONTEXT:", "QUERY:", "LINE ", "Command was:"];

/// The first error up to the server's first quote: what comes from the database and the archive imitates nothing.
fn evidence(lines: &[String]) -> Vec<&str> {
    let is_quote = |line: &str| QUOTES.iter().any(|quote| line.starts_with(quote));
    let from_error = lines.iter().skip(first_error(lines).unwrap_or_default()).map(String::as_str);
    from_error.take_while(|line| !is_quote(line)).filter(|line| !line.contains("detail: Query was:")).collect()
}

/// How much of a program's words stands in a message.
const REASON_CHARACTERS: usize = 400;

/// The first error with its detail, which tells the server's own words, the table or the statement, else the last line.
fn complaint(lines: &[String]) -> Option<String> {
    let first = first_error(lines).or(lines.len().checked_sub(1))?;
    let (error, rest) = lines.get(first..)?.split_first()?;
    let detail = rest.first().and_then(|line| Some(line.split_once("detail: ")?.1.trim().to_owned()));
    let detail = detail.or_else(|| rest.iter().find_map(|line| line.strip_prefix("Command was: ")).map(without_literals));
    let detail = detail.map(|detail| format!("; {detail}")).unwrap_or_default();
    let short: String = format!("{}{detail}", error.trim()).chars().take(REASON_CHARACTERS).collect();
    Some(printable(&short))
}

/// The statement up to its first literal, which may be a password.
fn without_literals(statement: &str) -> String {
    match statement.split_once(['\'', '$']) {
        Some((head, _)) => format!("{}…", head.trim_end()),
        None => statement.trim_end().to_owned(),
    }
}
