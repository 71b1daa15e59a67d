use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::*;
use crate::child::Exit;

fn error(lines: &[&str]) -> RestoreError {
    let exit = Exit { status: ExitStatus::from_raw(1 << 8), stderr: lines.iter().map(|&line| line.to_owned()).collect() };
    RestoreError::from_exit("acme", "restorer", &exit)
}

#[test]
fn failures_are_told_by_what_pg_restore_says() {
    use ConnectionFailure::*;
    use RestoreFailure::*;
    let query = "pg_restore: error: could not execute query: ";
    let connecting = "pg_restore: error: connection to server at \"pg01\" (10.0.0.1), port 5432 failed: ";
    for (expected, line) in [
        (Connection(Gone), format!("{connecting}FATAL:  database \"acme\" does not exist")),
        (Connection(Unreachable), format!("{connecting}Connection refused")),
        (Connection(ConnectionFailure::Permission), format!("{connecting}FATAL:  permission denied for database \"acme\"")),
        (Connection(Lost), "pg_restore: error: error returned by PQputCopyData: server closed the connection unexpectedly".to_owned()),
        (Connection(Lost), format!("{query}FATAL:  terminating connection due to administrator command")),
        (MissingRole, format!("{query}ERROR:  role \"tenant\" does not exist")),
        (OwnerDenied, format!("{query}ERROR:  must be member of role \"tenant\"")),
        (OwnerDenied, format!("{query}ERROR:  must be able to SET ROLE \"tenant\"")),
        (MissingExtension, format!("{query}ERROR:  extension \"postgis\" is not available")),
        (MissingExtension, format!("{query}ERROR:  could not open extension control file \"/x.control\": No such file or directory")),
        (ExtensionDenied, format!("{query}ERROR:  permission denied to create extension \"vector\"")),
        (ExtensionDenied, format!("{query}ERROR:  must be owner of extension vector")),
        (
            MissingTablespace,
            "pg_restore: error: could not set default_tablespace to fast: ERROR:  invalid value for parameter \"default_tablespace\": \"fast\""
                .to_owned(),
        ),
        (ArchiveTooNew, "pg_restore: error: unsupported version (1.16) in file header".to_owned()),
        (ServerTooOld, format!("{query}ERROR:  unrecognized configuration parameter \"transaction_timeout\"")),
        (DamagedArchive, "pg_restore: error: could not read from input file: end of file".to_owned()),
        (DamagedArchive, "pg_restore: error: could not find block ID 3345 in archive -- possibly corrupt archive".to_owned()),
        (NotInArchive, "pg_restore: error: table \"nope\" not found".to_owned()),
        (NotEmpty, format!("{query}ERROR:  relation \"t\" already exists")),
        (RestoreFailure::Permission, format!("{query}ERROR:  permission denied for schema public")),
        (
            ServerDiskFull,
            "pg_restore: error: COPY failed for table \"t\": ERROR:  could not extend file \"base/1/2\": No space left on device".to_owned(),
        ),
        (
            ServerDiskFull,
            "pg_restore: error: COPY failed for table \"t\": ERROR:  could not extend file \"base/1/2\": wrote only 4096 of 8192 bytes at block 6"
                .to_owned(),
        ),
        (Killed, "pg_restore: terminated by user".to_owned()),
        (Other, format!("{query}ERROR:  type \"geometry\" does not exist")),
    ] {
        let found = error(&[&line]);
        assert_eq!(found.failure, expected, "{line}");
        assert!(found.failure == Other || !found.advice.is_empty(), "{found}");
    }
}

#[test]
fn rows_and_statements_imitate_nothing_and_are_not_shown() {
    let lines = [
        "pg_restore: error: COPY failed for table \"t\": ERROR:  new row for relation \"t\" violates check constraint \"c\"",
        "DETAIL:  Failing row contains (FATAL:  database \"acme\" does not exist).",
        "CONTEXT:  COPY t, line 10: \"secret server closed the connection unexpectedly\"",
    ];
    let found = error(&lines);
    assert_eq!((found.failure, found.advice.as_str()), (RestoreFailure::Other, ""));
    assert!(!found.to_string().contains("secret"), "{found}");
    let lines = [
        "pg_restore: error: could not execute query: ERROR:  syntax error",
        "Command was: COMMENT ON TABLE t IS 'No space left on device';",
        "FATAL:  database \"acme\" does not exist",
    ];
    let found = error(&lines);
    assert_eq!(found.failure, RestoreFailure::Other);
    assert!(found.reason.ends_with("; COMMENT ON TABLE t IS… (it ended with status 1)"), "{found}");
}

#[test]
fn the_message_says_what_why_and_what_next() {
    let lines = [
        "WARNING:  database \"acme\" has a collation version mismatch",
        "DETAIL:  The database was created using collation version 2.31.",
        "pg_restore: error: could not execute query: ERROR:  role \"odd\"name\" does not exist",
        "Command was: ALTER TABLE public.t OWNER TO \"odd\"\"name\";",
        "",
    ];
    assert_eq!(
        error(&lines).to_string(),
        "restore acme: pg_restore: error: could not execute query: ERROR:  role \"odd\"name\" does not exist; \
         ALTER TABLE public.t OWNER TO \"odd\"\"name\"; (it ended with status 1); CREATE ROLE \"odd\"\"name\", \
         restore the globals first, or restore with --no-owner and --no-privileges"
    );
}
