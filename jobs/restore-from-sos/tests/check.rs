//! `check` without sets: whether a restore could begin.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::Site;
use plana_testkit::{
    bin::Done,
    ceph::{Gateway, User},
    pg::PgMajor,
};

/// `verdict subject: found; advice` of every line.
fn lines(done: &Done) -> Vec<String> {
    let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let lines = common::json(done)["checks"].as_array().expect("checks").clone();
    lines.iter().map(|l| format!("{} {}: {}; {}", text(l, "verdict"), text(l, "subject"), text(l, "found"), text(l, "advice"))).collect()
}

#[track_caller]
fn expect(done: &Done, beginning: &str, words: &str) {
    let lines = lines(done);
    assert!(lines.iter().any(|line| line.starts_with(beginning) && line.contains(words)), "{beginning} … {words}: {lines:#?}");
}

#[test]
fn a_key_is_told_what_it_lacks_and_what_it_has_too_much_of() {
    let site = Site::empty(PgMajor::V16);
    let bucket = Gateway::shared().bucket("preflight").unwrap();
    site.back_up_into(&bucket, &["--only", "postgres", "--no-globals"]);
    let keys = bucket.keys().unwrap();
    let call = |user| site.job_from(&bucket, user, &["check"]).run().unwrap();
    let right = call(User::Restore).expect_code(0);
    expect(&right, "ok store rights", "read objects");
    assert!(!lines(&right).iter().any(|line| line.starts_with("warning store")), "{:#?}", lines(&right));
    let blind = call(User::Pruner).expect_code(1);
    expect(&blind, "problem store rights", "the key may not read objects; allow s3:ListBucket and s3:GetObject");
    let mighty = call(User::Admin).expect_code(0);
    expect(&mighty, "warning store rights", "put and delete objects, which this job never does");
    let writer = call(User::Backup).expect_code(1);
    expect(&writer, "warning store rights", "the key may also put objects");
    expect(&writer, "warning store rights", "the key may not list versions");
    assert_ne!(call(User::Nobody).code(), Some(0));
    assert_eq!(bucket.keys().unwrap(), keys, "nothing was written");
}

#[test]
fn role_server_and_drills_are_looked_at() {
    let site = Site::new(PgMajor::V16);
    let call = |user: &str| site.job(&["check"]).env("PGUSER", user).run().unwrap();
    let good = call("plana_restore").expect_code(0);
    expect(&good, "ok role", "may make databases and is no superuser");
    expect(&good, "ok pg_restore", "16.");
    expect(&good, "ok store", "can be read");
    expect(&good, "ok drills", "throwaway cluster of PostgreSQL 16");
    let superuser = call("postgres").expect_code(1);
    expect(&superuser, "problem role", "CREATE ROLE plana_restore LOGIN CREATEDB");
    site.cluster.psql("postgres", "ALTER ROLE plana_restore NOCREATEDB; REVOKE plana FROM plana_restore").unwrap();
    let weak = call("plana_restore").expect_code(1);
    expect(&weak, "problem role", "ALTER ROLE \"plana_restore\" CREATEDB");
    expect(&weak, "warning role", "GRANT \"plana\" TO \"plana_restore\"");
    site.cluster.psql("postgres", "ALTER ROLE plana_restore CREATEDB").unwrap();
    // The server that is restored on is no place for drills, and a spool directory must be there.
    let dsn = format!("host={} port={} user=plana_restore dbname=postgres", site.cluster.socket_dir().display(), site.cluster.port());
    let job = site.job(&["check"]).env("PLANA_JOBS__RESTORE__SCRATCH_DSN", &dsn).env("PLANA_JOBS__RESTORE__SPOOL_DIR", "/nowhere");
    let odd = job.run().unwrap().expect_code(0);
    expect(&odd, "warning spool directory", "/nowhere");
    let told = site.cluster.psql_as("plana_restore", "", "postgres", "SELECT system_identifier FROM pg_control_system()");
    if told.is_ok() {
        expect(&odd, "warning drills", "which is the server that backups are restored on");
    } else {
        expect(&odd, "ok drills", "PostgreSQL 16");
    }
    // A key that cannot be read is wrong configuration; a set is still checked as before.
    let no_key = site.job(&["check", "--identity", "/nowhere/key"]).run().unwrap().expect_code(10);
    expect(&no_key, "bad-config private key", "/nowhere/key");
    site.job(&["check", &site.set("pg", common::TENANT)]).run().unwrap().expect_code(0);
}
