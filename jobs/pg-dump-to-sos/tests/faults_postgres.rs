//! What goes wrong between the server, pg_dump and the job: nothing of it is committed, nothing is left running, and the
//! message says what failed, why, and what to do.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::time::{Duration, Instant};

use common::{
    Job, Outcome, expect_no_backend_left, expect_words,
    faults::{HeldLock, big_database},
    signal,
};
use plana_testkit::{
    pg::{Mode, PgCluster, PgMajor, quote_identifier},
    pgbouncer::PgBouncer,
    process::{Port, Signal},
};

fn cluster() -> &'static PgCluster {
    PgCluster::shared(PgMajor::V16)
}

/// A database with a small table `t`.
fn small_database(cluster: &PgCluster, prefix: &str) -> String {
    let name = cluster.fresh_database(prefix).unwrap();
    cluster.psql(&name, "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 1000) AS i").unwrap();
    name
}

/// Nothing of that database is stored, nothing of the run still runs, here or on the server.
#[track_caller]
fn expect_nothing_left(job: &Job, cluster: &PgCluster, database: &str) {
    job.store().expect_nothing_of(database);
    job.expect_no_process_left();
    expect_no_backend_left(cluster, database);
}

// ---- pg_dump ends too early ------------------------------------------------------------------------------------------

fn a_killed_pg_dump_commits_nothing(how: Signal, words: &[&str]) {
    let database = big_database(cluster(), "killed");
    let job = crate::common::job().on(cluster()).only(&[&database]).slow();
    let (running, pid) = job.spawn_into_the_middle(&database);
    signal(pid, how);
    let outcome = Outcome::wait(running).expect(1);
    expect_words(outcome.error(&database), &["dump ", &database]);
    expect_words(outcome.error(&database), words);
    expect_nothing_left(&job, cluster(), &database);
}

#[test]
fn pg_dump_killed_in_the_middle() {
    a_killed_pg_dump_commits_nothing(Signal::KILL, &["killed by signal 9", "look for who killed it", "memory"]);
}

#[test]
fn pg_dump_terminated_in_the_middle() {
    a_killed_pg_dump_commits_nothing(Signal::TERM, &["terminated by user", "look for who killed it"]);
}

#[test]
fn backend_terminated_in_the_middle() {
    let database = big_database(cluster(), "terminated");
    let job = crate::common::job().on(cluster()).only(&[&database]).slow();
    let (running, _) = job.spawn_into_the_middle(&database);
    let terminate = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}'");
    assert_eq!(cluster().psql("postgres", &terminate).unwrap(), "1");
    let outcome = Outcome::wait(running).expect(1);
    let error = outcome.error(&database);
    expect_words(error, &["dump ", &database, "--missing-within"]);
    // The server's last words do not always get through: it closes a connection on which pg_dump has fallen behind.
    let reason = ["terminating connection", "server closed the connection"].iter().any(|words| error.contains(words));
    assert!(reason, "no reason in: {error}");
    expect_nothing_left(&job, cluster(), &database);
}

// ---- pg_dump says one thing and does another -------------------------------------------------------------------------

fn a_dishonest_pg_dump_commits_nothing(script: &str, words: &[&str]) {
    let database = small_database(cluster(), "dishonest");
    let job = crate::common::job().on(cluster()).only(&[&database]).pg_dump_script(cluster(), script);
    let outcome = job.run().expect(1);
    expect_words(outcome.error(&database), words);
    expect_nothing_left(&job, cluster(), &database);
}

#[test]
fn the_script_in_front_of_pg_dump_does_no_harm_by_itself() {
    let database = small_database(cluster(), "honest");
    let job = crate::common::job().on(cluster()).only(&[&database]).pg_dump_script(cluster(), "\"$real\" \"$@\"");
    assert_eq!(job.run().expect(0).outcome(&database), "done");
    assert_eq!(job.store().set(&database).manifest.database.unwrap().rows, 1000);
}

#[test]
fn pg_dump_fails_after_its_pipe_was_closed_cleanly() {
    let script = "\"$real\" \"$@\"; echo 'pg_dump: error: something went wrong at the very end' >&2; exec >&-; sleep 0.5; exit 3";
    a_dishonest_pg_dump_commits_nothing(&with_path(script), &["something went wrong at the very end", "status 3"]);
}

#[test]
fn pg_dump_is_killed_after_its_pipe_was_closed_cleanly() {
    a_dishonest_pg_dump_commits_nothing(&with_path("\"$real\" \"$@\"; exec >&-; sleep 0.5; kill -9 $$"), &["killed by signal 9"]);
}

#[test]
fn pg_dump_reports_success_for_a_truncated_archive() {
    let script = with_path("\"$real\" \"$@\" | head -c 20000; exit 0");
    a_dishonest_pg_dump_commits_nothing(&script, &["read the dump to its end", "nothing was committed", "run the job again"]);
}

#[test]
fn pg_dump_reports_success_for_an_archive_without_its_last_bytes() {
    let script = with_path("\"$real\" \"$@\" | head -c -1; exit 0");
    a_dishonest_pg_dump_commits_nothing(&script, &["read the dump to its end"]);
}

#[test]
fn pg_dump_reports_success_for_an_archive_with_something_behind_it() {
    let script = with_path("\"$real\" \"$@\"; echo; exit 0");
    a_dishonest_pg_dump_commits_nothing(&script, &["read the dump to its end"]);
}

#[test]
fn pg_dump_reports_success_without_any_output() {
    a_dishonest_pg_dump_commits_nothing("exit 0", &["read the dump to its end"]);
}

#[test]
fn pg_dump_cannot_be_started() {
    // It answers for its version, and is gone when it is needed.
    let database = small_database(cluster(), "unstartable");
    let other = small_database(cluster(), "startable");
    let script = format!("case \"$PGDATABASE\" in {database}) exec /nonexistent/pg_dump;; *) exec \"$real\" \"$@\";; esac");
    let job = crate::common::job().on(cluster()).only(&[&database, &other]).pg_dump_script(cluster(), &script);
    let outcome = job.run().expect(3);
    expect_words(outcome.error(&database), &["status 127", "/nonexistent/pg_dump"]);
    assert_eq!(outcome.outcome(&other), "done");
    expect_nothing_left(&job, cluster(), &database);
}

fn with_path(script: &str) -> String {
    format!("PATH=/usr/bin:/bin\n{script}")
}

// ---- the server ------------------------------------------------------------------------------------------------------

#[test]
fn the_server_stops_in_the_middle_of_the_run() {
    let cluster = PgCluster::start(PgMajor::V15).unwrap();
    let big = big_database(&cluster, "big");
    let rest = [small_database(&cluster, "a"), small_database(&cluster, "b")];
    // The largest goes first, and one at a time.
    let job = crate::common::job().on(&cluster).args(["--jobs", "1", "--exclude", "big_template"]).slow();
    let (running, _) = job.spawn_into_the_middle(&big);
    let begun = Instant::now();
    cluster.stop(Mode::Immediate).unwrap();
    let outcome = Outcome::wait(running).expect(3);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(outcome.item_in("globals", "cluster")["outcome"], "done", "it was dumped before");
    assert!(outcome.databases("done").is_empty());
    expect_words(outcome.error(&big), &[&big]);
    for name in &rest {
        let error = outcome.error(name);
        assert!(error.contains("connection") || error.contains("connect"), "{error}");
        assert!(error.contains(name), "{error}");
        job.store().expect_nothing_of(name);
    }
    job.store().expect_nothing_of(&big);
    job.expect_no_process_left();
    // What was lost is made up for by a rerun, as the message says.
    cluster.restart().unwrap();
    let again = job.clone().args(["--missing-within", "12h"]).set("upload.bandwidth", "1GiB");
    let outcome = again.run().expect(0);
    assert_eq!(outcome.item_in("globals", "cluster")["outcome"], "fresh");
    for name in rest.iter().chain([&big]) {
        assert_eq!(outcome.outcome(name), "done");
        job.store().set(name);
    }
}

#[test]
fn a_server_newer_than_every_pg_dump() {
    let job = crate::common::job().on(cluster()).programs(&PgMajor::V15.bin_dir().unwrap());
    let outcome = job.run().expect(10);
    expect_words(outcome.run_error(), &["pg_dump", "PostgreSQL 16", "older", "15.", "postgresql-client-16", "postgres.bin_dirs"]);
    job.store().expect_no_manifest();
}

#[test]
fn no_pg_dump_at_all() {
    let job = crate::common::job().on(cluster());
    let job = job.clone().programs(job.home());
    let outcome = job.run().expect(10);
    expect_words(outcome.run_error(), &["pg_dump", "postgres.bin_dirs", "PATH", "postgresql-client-16"]);
    job.store().expect_no_manifest();
}

#[test]
fn a_pooler_in_front_of_the_server() {
    let bouncer = PgBouncer::start(cluster()).unwrap();
    for dsn in [bouncer.dsn("postgres"), bouncer.keyword_dsn("postgres")] {
        let job = crate::common::job().at(&dsn, cluster().bin_dir());
        let outcome = job.run().expect(10);
        expect_words(outcome.run_error(), &["pooler", "PgBouncer", &bouncer.port().to_string(), "5432"]);
        job.store().expect_no_manifest();
    }
}

#[test]
fn a_wrong_password() {
    let wrong = "a secret that is wrong";
    let job = crate::common::job().at(&cluster().dsn_as("postgres", wrong, "postgres"), cluster().bin_dir());
    let outcome = job.run().expect(10);
    expect_words(outcome.run_error(), &["127.0.0.1", "postgres", "password authentication failed", "pg_hba.conf"]);
    assert!(!format!("{}{}", outcome.done.stdout, outcome.done.stderr).contains(wrong), "the password must not be shown");
    job.store().expect_no_manifest();
}

#[test]
fn no_server_there() {
    let port = Port::claim().unwrap();
    let nowhere = format!("host=127.0.0.1 port={} user=postgres", port.number());
    for dsn in [nowhere.as_str(), "host=/nonexistent user=postgres"] {
        let job = crate::common::job().at(dsn, cluster().bin_dir());
        let outcome = job.run().expect(1);
        expect_words(outcome.run_error(), &["connect to PostgreSQL at", "check that the server runs"]);
        job.store().expect_no_manifest();
    }
}

// ---- one database of many --------------------------------------------------------------------------------------------

#[test]
fn connections_to_a_database_are_disallowed() {
    let (closed, open) = (small_database(cluster(), "closed"), small_database(cluster(), "open"));
    cluster().psql("postgres", &format!("ALTER DATABASE {closed} ALLOW_CONNECTIONS false")).unwrap();
    let job = crate::common::job().on(cluster()).only(&[&closed, &open]);
    let outcome = job.run().expect(3);
    let quoted = quote_identifier(&closed);
    expect_words(outcome.error(&closed), &["disallowed", &format!("ALTER DATABASE {quoted} ALLOW_CONNECTIONS true"), "exclude"]);
    assert_eq!(outcome.outcome(&open), "done");
    expect_nothing_left(&job, cluster(), &closed);
    assert_eq!(job.store().databases(), [open]);
}

#[test]
fn connections_are_disallowed_while_the_run_is_on() {
    let (closed, open) = (small_database(cluster(), "closing"), big_database(cluster(), "open"));
    let job = crate::common::job().on(cluster()).only(&[&closed, &open]).args(["--jobs", "1"]);
    let held = HeldLock::on(cluster(), &open, "big");
    let mut running = job.spawn();
    job.wait_for_pg_dump(&mut running, &open);
    cluster().psql("postgres", &format!("ALTER DATABASE {closed} ALLOW_CONNECTIONS false")).unwrap();
    drop(held);
    let outcome = Outcome::wait(running).expect(3);
    expect_words(outcome.error(&closed), &[&closed, "not", "accept", "ALLOW_CONNECTIONS true"]);
    assert_eq!(outcome.outcome(&open), "done");
    expect_nothing_left(&job, cluster(), &closed);
}

#[test]
fn a_database_is_dropped_before_its_turn() {
    let (dropped, held_up) = (small_database(cluster(), "dropped"), big_database(cluster(), "first"));
    let job = crate::common::job().on(cluster()).only(&[&dropped, &held_up]).args(["--jobs", "1"]);
    let held = HeldLock::on(cluster(), &held_up, "big");
    let mut running = job.spawn();
    job.wait_for_pg_dump(&mut running, &held_up);
    cluster().psql("postgres", &format!("DROP DATABASE {dropped}")).unwrap();
    drop(held);
    let outcome = Outcome::wait(running).expect(0);
    assert_eq!(outcome.outcome(&dropped), "gone");
    assert_eq!(outcome.outcome(&held_up), "done");
    assert!(outcome.done.stderr.contains("gone; it was there when the run began"), "{}", outcome.done.stderr);
    expect_nothing_left(&job, cluster(), &dropped);
}

#[test]
fn a_database_is_dropped_by_force_in_the_middle_of_its_dump() {
    let database = big_database(cluster(), "forced");
    let job = crate::common::job().on(cluster()).only(&[&database]).slow();
    let (running, _) = job.spawn_into_the_middle(&database);
    cluster().psql("postgres", &format!("DROP DATABASE {database} WITH (FORCE)")).unwrap();
    let outcome = Outcome::wait(running).expect(0);
    assert_eq!(outcome.outcome(&database), "gone");
    expect_nothing_left(&job, cluster(), &database);
}

#[test]
fn a_table_is_locked() {
    let (locked, free) = (small_database(cluster(), "locked"), small_database(cluster(), "free"));
    let _held = HeldLock::on(cluster(), &locked, "t");
    let job = crate::common::job().on(cluster()).only(&[&locked, &free]).set("dump.lock_wait_timeout", "1s");
    let outcome = job.run().expect(3);
    let advice = ["LOCK TABLE public.t", "canceling statement due to statement timeout", "pg_stat_activity", "dump.lock_wait_timeout"];
    expect_words(outcome.error(&locked), &advice);
    expect_words(outcome.error(&locked), &[&locked]);
    assert_eq!(outcome.outcome(&free), "done");
    job.store().expect_nothing_of(&locked);
    job.expect_no_process_left();
}

#[test]
fn pg_dump_stands_still() {
    let (database, other) = (big_database(cluster(), "stalled"), small_database(cluster(), "moving"));
    let job = crate::common::job().on(cluster()).only(&[&database, &other]).args(["--jobs", "1"]).set("dump.stall_timeout", "2s");
    // It must not end before it is stopped, and must not stand still before: the store takes a part each second.
    let job = job.set("upload.bandwidth", "8MiB").set("upload.memory", "15MiB").set("upload.parts_in_flight", "1");
    let (running, pid) = job.spawn_into_the_middle(&database);
    signal(pid, Signal::STOP);
    let begun = Instant::now();
    let outcome = Outcome::wait(running).expect(3);
    assert!(begun.elapsed() < Duration::from_secs(15), "given up after {:?}", begun.elapsed());
    expect_words(outcome.error(&database), &["nothing moved for 2s", "dump.stall_timeout", "pg_stat_activity"]);
    assert_eq!(outcome.outcome(&other), "done", "the next one must have its turn");
    expect_nothing_left(&job, cluster(), &database);
}

#[test]
fn the_connection_that_holds_the_locks_is_lost() {
    let database = small_database(cluster(), "unlocked");
    let held = HeldLock::on(cluster(), &database, "t");
    let job = crate::common::job().on(cluster()).only(&[&database]).env("PGAPPNAME", "whatever");
    let mut running = job.spawn();
    job.wait_for_pg_dump(&mut running, &database);
    // The session that asked for this item's lock last.
    let terminate = "SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid \
                     WHERE l.locktype = 'advisory' AND l.granted AND a.state = 'idle' AND (l.classid::bigint << 32 | l.objid::bigint) = ";
    let key = plana_pg::locks::lock_key(plana_plan::Area::Pg, &database);
    assert_eq!(cluster().psql("postgres", &format!("{terminate} {key}")).unwrap(), "1");
    let outcome = Outcome::wait(running).expect(1);
    expect_words(outcome.error(&database), &["lock", "connection", "lost", "run the job again"]);
    drop(held);
    expect_nothing_left(&job, cluster(), &database);
}

// ---- settings that are meant for applications ------------------------------------------------------------------------

#[test]
fn timeouts_and_read_only_defaults_do_not_end_a_dump() {
    let cluster = PgCluster::shared(PgMajor::V18);
    let database = big_database(cluster, "impatient");
    let role = format!("role_of_{database}");
    cluster
        .psql(
            "postgres",
            &format!(
                "CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'p';
                 ALTER ROLE {role} SET statement_timeout = '1s';
                 ALTER ROLE {role} SET transaction_timeout = '1s';
                 ALTER ROLE {role} SET lock_timeout = '1s';
                 ALTER ROLE {role} SET idle_in_transaction_session_timeout = '1s';
                 ALTER ROLE {role} SET idle_session_timeout = '3s';
                 ALTER ROLE {role} SET search_path = nowhere;
                 ALTER DATABASE {database} SET default_transaction_read_only = on;
                 ALTER DATABASE {database} SET DateStyle = 'SQL, DMY'"
            ),
        )
        .unwrap();
    let job = crate::common::job().at(&cluster.dsn_as(&role, "p", "postgres"), cluster.bin_dir()).only(&[&database]);
    // Long enough that each of the timeouts would have hit.
    let held = HeldLock::on(cluster, &database, "big");
    let mut running = job.spawn();
    job.wait_for_pg_dump(&mut running, &database);
    std::thread::sleep(Duration::from_millis(3500));
    drop(held);
    let outcome = Outcome::wait(running).expect(0);
    assert_eq!(outcome.outcome(&database), "done");
    let facts = job.store().set(&database).manifest.database.unwrap();
    assert_eq!(facts.rows, common::faults::BIG_BYTES / (128 * 64));
    let settings = &facts.settings[""];
    assert!(settings.contains(&"default_transaction_read_only=on".to_owned()), "{settings:?}");
}
