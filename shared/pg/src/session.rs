//! Settings for sessions that take as long as they take.

use plana_plan::pgclient::PgVersion;

/// Timeouts that are meant for applications must not end a dump or a restore, and a server whose client was killed
/// must notice that even while it waits for a lock.
pub(crate) fn patient(server: PgVersion) -> Vec<(&'static str, &'static str)> {
    let mut session = vec![("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "0"), ("lock_timeout", "0")];
    if server.major >= 14 {
        session.extend([("idle_session_timeout", "0"), ("client_connection_check_interval", "500")]);
    }
    if server.major >= 17 {
        session.push(("transaction_timeout", "0"));
    }
    session
}

/// The same for a session that writes, also where a role or a database is read-only by default.
pub(crate) fn patient_writer(server: PgVersion) -> Vec<(&'static str, &'static str)> {
    let mut session = patient(server);
    session.push(("default_transaction_read_only", "off"));
    session
}

/// These settings and then the caller's own, of which the later counts.
pub(crate) fn with(session: Vec<(&'static str, &'static str)>, own: &[(String, String)]) -> Vec<(String, String)> {
    let fixed = session.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    fixed.chain(own.iter().cloned()).collect()
}
