use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::*;
use crate::child::Exit;

fn error(code: i32, lines: &[&str]) -> DumpError {
    let exit = Exit { status: ExitStatus::from_raw(code << 8), stderr: lines.iter().map(|&line| line.to_owned()).collect() };
    DumpError::from_exit("acme", "backup", &exit)
}

#[test]
fn failures_are_told_by_what_pg_dump_says() {
    use DumpFailure::*;
    let connecting = "pg_dump: error: connection to server at \"pg01\" (10.0.0.1), port 5432 failed: ";
    for (expected, line) in [
        (Gone, format!("{connecting}FATAL:  database \"acme\" does not exist")),
        (ConnectionsDisallowed, format!("{connecting}FATAL:  database \"acme\" is not currently accepting connections")),
        (ConnectionsDisallowed, format!("{connecting}FATAL:  cannot connect to invalid database \"acme\"")),
        (Authentication, format!("{connecting}FATAL:  role \"backup\" does not exist")),
        (Authentication, format!("{connecting}fe_sendauth: no password supplied")),
        (TooManyConnections, format!("{connecting}FATAL:  too many connections for database \"acme\"")),
        (ConnectionLost, format!("{connecting}FATAL:  the database system is starting up")),
        (Unreachable, format!("{connecting}Connection refused")),
        (Unreachable, "pg_dump: error: could not translate host name \"pg01\" to address: Name or service not known".to_owned()),
        (
            ServerDiskFull,
            "pg_dump: error: query failed: ERROR:  could not write to file \"base/pgsql_tmp/x\": No space left on device".to_owned(),
        ),
        (Permission, "pg_dump: error: query failed: ERROR:  permission denied for large object 5".to_owned()),
        (ReaderGone, "pg_dump: error: could not write to output file: Broken pipe".to_owned()),
        (Other, "pg_dump: error: query failed: ERROR:  cache lookup failed for index 5".to_owned()),
    ] {
        assert_eq!(error(1, &[&line]).failure, expected, "{line}");
    }
}

#[test]
fn names_in_a_query_imitate_nothing() {
    let lines = [
        "pg_dump: error: query failed: ERROR:  permission denied for table database \"x\" does not exist",
        "pg_dump: detail: Query was: LOCK TABLE public.\"FATAL:  database \"\"acme\"\" does not exist\" IN ACCESS SHARE MODE",
    ];
    assert_eq!(error(1, &lines).failure, DumpFailure::Permission);
}

#[test]
fn the_message_says_what_why_and_what_next() {
    let lines = [
        "pg_dump: warning: circular foreign keys",
        "pg_dump: error: query failed: ERROR:  permission denied for table t",
        "pg_dump: detail: Query was: LOCK …",
    ];
    let message = error(1, &lines).to_string();
    assert_eq!(
        message,
        "dump acme: pg_dump: error: query failed: ERROR:  permission denied for table t; Query was: LOCK … (it ended with status 1); \
         `check` prints the GRANT that is missing"
    );
    assert_eq!(error(4, &[]).to_string(), "dump acme: it ended with status 4");
    let long = "pg_dump: error: ".to_owned() + &"x".repeat(10_000) + "\u{1b}[31m";
    assert!(error(1, &[&long]).to_string().chars().count() < 500);
}
