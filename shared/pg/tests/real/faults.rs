//! Dumps that must fail, and say so.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use plana_pg::{
    archive::ArchiveError,
    client::Program,
    dsn::ConnectionSettings,
    dump::{DumpChild, DumpError, DumpFailure, DumpOptions, start_dump},
};
use plana_testkit::{
    pg::{Mode, PgCluster, PgMajor, quote_identifier},
    process::{Port, Signal, send},
};

use crate::support::{client_in, pg_dump, read, server, sessions, settings, start, superuser, until, wrapper};

/// More than a pipe and the sockets' buffers hold, so that a dump stands in the middle until it is read.
const WIDE: &str = "CREATE TABLE wide AS SELECT n, repeat(md5(n::text), 40) AS note FROM generate_series(1, 30000) n";

fn wide(cluster: &PgCluster) -> String {
    let name = cluster.fresh_database("fault").expect("a database");
    cluster.psql(&name, WIDE).expect("a table");
    name
}

/// A dump that has sent its first bytes and is at work.
async fn at_work(cluster: &PgCluster, settings: &ConnectionSettings) -> (DumpChild, std::fs::File) {
    let mut dump = start(cluster, settings).await;
    let mut stdout = dump.take_stdout().expect("its output");
    let first = tokio::task::spawn_blocking(move || {
        let mut first = vec![0; 100_000];
        stdout.read_exact(&mut first).map(|()| stdout)
    });
    (dump, first.await.expect("a reader").expect("the first bytes"))
}

async fn drain(mut stdout: std::fs::File) -> usize {
    let rest = tokio::task::spawn_blocking(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    usize::try_from(rest.await.expect("a reader").expect("the rest")).expect("a length")
}

/// Somebody who holds a table's lock until dropped.
struct Holder(std::process::Child);

impl Holder {
    async fn lock(cluster: &PgCluster, database: &str) -> Self {
        cluster.psql(database, "CREATE TABLE locked (id int)").expect("a table");
        let mut psql = cluster.command("psql");
        psql.args(["-X", "-q", "-c", "BEGIN; LOCK TABLE locked; SELECT pg_sleep(60)"]).env("PGDATABASE", database);
        let holder = Holder(psql.stdout(std::process::Stdio::null()).spawn().expect("psql"));
        until("the table is locked", || waiting(cluster, database, "wait_event = 'PgSleep'")).await;
        holder
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn waiting(cluster: &PgCluster, database: &str, how: &str) -> bool {
    let query = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND {how}");
    cluster.psql("postgres", &query).expect("a count") == "1"
}

/// Whether a dump waits for the lock.
fn waits(cluster: &PgCluster, database: &str) -> bool {
    waiting(cluster, database, "wait_event_type = 'Lock'")
}

async fn failure(cluster: &PgCluster, settings: &ConnectionSettings, options: &DumpOptions) -> DumpError {
    let client = pg_dump(cluster).await;
    let mut dump = start_dump(&client, client.version, settings, options).await.expect("a dump");
    read(&mut dump).await.expect_err("no whole archive");
    dump.wait().await.expect_err("a failure")
}

#[tokio::test]
async fn a_killed_dump_is_a_failure() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let (mut dump, stdout) = at_work(cluster, &superuser(cluster, &wide(cluster))).await;
    send(dump.pid(), Signal::KILL).expect("a signal");
    drain(stdout).await;
    let error = dump.wait().await.expect_err("a failure");
    assert_eq!((error.failure, error.reason.as_str()), (DumpFailure::Killed, "it was killed by signal 9"));
    assert_eq!(dump.wait().await.expect_err("the same"), error);
}

#[tokio::test]
async fn a_terminated_backend_is_a_failure() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let name = wide(cluster);
        let (mut dump, stdout) = at_work(cluster, &superuser(cluster, &name)).await;
        let terminate = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        cluster.psql("postgres", &terminate).expect("its end");
        drain(stdout).await;
        let error = dump.wait().await.expect_err("a failure");
        assert_eq!(error.failure, DumpFailure::ConnectionLost, "{error}");
        assert!(!error.is_gone());
    }
}

#[tokio::test]
async fn a_stopped_server_is_a_failure() {
    let cluster = PgCluster::start(PgMajor::V16).expect("a server");
    for mode in [Mode::Fast, Mode::Immediate, Mode::Kill] {
        let name = wide(&cluster);
        let (mut dump, stdout) = at_work(&cluster, &superuser(&cluster, &name)).await;
        let backend = cluster.psql("postgres", &format!("SELECT pid FROM pg_stat_activity WHERE datname = '{name}'")).expect("its backend");
        cluster.stop(mode).expect("its end");
        // The backend of a killed server goes on while its client reads.
        until("the backend is gone", || !std::path::Path::new(&format!("/proc/{backend}")).exists()).await;
        drain(stdout).await;
        let Err(error) = dump.wait().await else { panic!("{mode:?}: a failure") };
        assert_eq!(error.failure, DumpFailure::ConnectionLost, "{mode:?}: {error}");
        cluster.restart().expect("a server");
    }
}

/// The stream is whole and closed cleanly, and only the status says that it failed.
#[tokio::test]
async fn a_failure_after_the_pipe_closed_cleanly_is_a_failure() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let name = wide(cluster);
    let (_directory, bin) =
        wrapper(cluster.bin_dir(), "\"$real\" \"$@\"; exec >&-; sleep 0.3; echo 'pg_dump: error: too late' >&2; exit 1");
    let client = client_in(&bin, Program::PgDump).await;
    let settings = superuser(cluster, &name);
    let mut dump = start_dump(&client, client.version, &settings, &DumpOptions::default()).await.expect("a dump");
    assert_eq!(read(&mut dump).await.map(|summary| summary.rows), Ok(30_000));
    let error = dump.wait().await.expect_err("a failure");
    assert_eq!(error.to_string(), format!("dump {name}: pg_dump: error: too late (it ended with status 1)"));
}

/// The status is 0, and only the stream says that it is cut.
#[tokio::test]
async fn a_cut_stream_with_status_0_is_a_failure() {
    let cluster = PgCluster::shared(PgMajor::V18);
    let name = wide(cluster);
    let (_directory, bin) = wrapper(cluster.bin_dir(), "\"$real\" \"$@\" | head -c 500000; exit 0");
    let client = client_in(&bin, Program::PgDump).await;
    let settings = superuser(cluster, &name);
    let mut dump = start_dump(&client, client.version, &settings, &DumpOptions::default()).await.expect("a dump");
    let error = read(&mut dump).await.expect_err("a cut archive");
    assert_eq!(error, ArchiveError::Cut { inside: "the data of TABLE DATA public.wide".to_owned(), bytes: 500_000 });
    dump.wait().await.expect("status 0");
}

#[tokio::test]
async fn stopping_ends_the_dump_its_backend_and_what_a_wrapper_started() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let name = wide(cluster);
        let (mut dump, stdout) = at_work(cluster, &superuser(cluster, &name)).await;
        let begun = Instant::now();
        tokio::time::timeout(Duration::from_secs(20), dump.terminate()).await.expect("its end");
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        dump.wait().await.expect_err("a failure");
        drop(stdout);
        until("the backend is gone", || sessions(cluster, &name) == "0").await;
    }
    let cluster = PgCluster::shared(PgMajor::V15);
    let name = wide(cluster);
    let (_directory, bin) = wrapper(cluster.bin_dir(), "\"$real\" \"$@\"; exit 0");
    let client = client_in(&bin, Program::PgDump).await;
    let settings = superuser(cluster, &name);
    let mut dump = start_dump(&client, client.version, &settings, &DumpOptions::default()).await.expect("a dump");
    until("the dump connects", || sessions(cluster, &name) != "0").await;
    tokio::time::timeout(Duration::from_secs(20), dump.terminate()).await.expect("its end");
    until("the backend is gone", || sessions(cluster, &name) == "0").await;
}

#[tokio::test]
async fn what_ignores_sigterm_is_killed() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let (_directory, bin) = wrapper(cluster.bin_dir(), "trap '' TERM; while :; do sleep 1; done");
    let client = client_in(&bin, Program::PgDump).await;
    let settings = superuser(cluster, "postgres");
    let mut dump = start_dump(&client, client.version, &settings, &DumpOptions::default()).await.expect("a dump");
    // The trap needs a moment to be set.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    tokio::time::timeout(Duration::from_secs(20), dump.terminate()).await.expect("its end");
    assert!(begun.elapsed() > Duration::from_secs(4) && begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert_eq!(dump.wait().await.expect_err("a failure").failure, DumpFailure::Killed);
}

#[tokio::test]
async fn a_dropped_dump_leaves_nothing() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let name = wide(cluster);
    let (dump, stdout) = at_work(cluster, &superuser(cluster, &name)).await;
    let pid = dump.pid();
    drop(dump);
    until("the backend is gone", || sessions(cluster, &name) == "0").await;
    until("the child is reaped", || !std::path::Path::new(&format!("/proc/{pid}")).exists()).await;
    drop(stdout);
}

/// The thread that a test starts a dump from ends at once; the dump must not end with it.
#[tokio::test]
async fn a_dump_outlives_the_thread_that_asked_for_it() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let settings = superuser(cluster, &wide(cluster));
    let client = pg_dump(cluster).await;
    let short_lived = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(start_dump(&client, client.version, &settings, &DumpOptions::default())).expect("a dump")
    });
    let mut dump = short_lived.join().expect("the thread");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(read(&mut dump).await.map(|summary| summary.rows), Ok(30_000));
    dump.wait().await.expect("status 0");
}

const KILLED_JOB: &str = "PLANA_TEST_JOB_TO_KILL";

#[test]
#[ignore = "no test of its own: the job that the next one kills"]
fn job_to_kill() {
    let Ok(dsn) = std::env::var(KILLED_JOB) else { return };
    let bin = std::env::var("PLANA_TEST_BIN").expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = client_in(std::path::Path::new(&bin), Program::PgDump).await;
        let _dump = start_dump(&client, client.version, &settings(&dsn), &DumpOptions::default()).await.expect("a dump");
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn a_killed_job_leaves_no_dump_and_no_backend_even_one_that_waits_for_a_lock() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let name = cluster.fresh_database("killed").expect("a database");
        let _holder = Holder::lock(cluster, &name).await;
        let mut job = std::process::Command::new(std::env::current_exe().expect("this program"));
        job.args(["--ignored", "--exact", "faults::job_to_kill"])
            .env(KILLED_JOB, cluster.dsn(&name))
            .env("PLANA_TEST_BIN", cluster.bin_dir());
        let mut job = job.stdout(std::process::Stdio::null()).spawn().expect("a job");
        until("the dump waits for the lock", || waits(cluster, &name)).await;
        job.kill().expect("a signal");
        job.wait().expect("its end");
        let begun = Instant::now();
        until("the backend is gone", || sessions(cluster, &name) == "1").await;
        assert!(begun.elapsed() < Duration::from_secs(5), "PostgreSQL {major}: {:?}", begun.elapsed());
    }
}

/// As the kernel does when memory runs out: pg_dump has no time to cancel what its backend waits for.
#[tokio::test]
async fn a_killed_dump_leaves_no_backend_that_waits_for_a_lock() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let name = cluster.fresh_database("orphan").expect("a database");
        let _holder = Holder::lock(cluster, &name).await;
        let mut dump = start(cluster, &superuser(cluster, &name)).await;
        until("the dump waits for the lock", || waits(cluster, &name)).await;
        send(dump.pid(), Signal::KILL).expect("a signal");
        let begun = Instant::now();
        until("the backend is gone", || sessions(cluster, &name) == "1").await;
        assert!(begun.elapsed() < Duration::from_secs(5), "PostgreSQL {major}: {:?}", begun.elapsed());
        assert_eq!(dump.wait().await.expect_err("a failure").failure, DumpFailure::Killed);
    }
}

#[tokio::test]
async fn each_failure_is_told_apart() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let options = DumpOptions::default();
        let nowhere = failure(cluster, &superuser(cluster, "no such \"database"), &options).await;
        assert!(nowhere.is_gone(), "{nowhere}");
        let wrong = settings(&cluster.dsn_as("postgres", "hunter2", "postgres"));
        let refused = failure(cluster, &wrong, &options).await;
        assert_eq!(refused.failure, DumpFailure::Authentication, "{refused}");
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
        let none = settings(&format!("host=127.0.0.1 port={} user=postgres dbname=postgres passfile=/nowhere", cluster.port()));
        assert_eq!(failure(cluster, &none, &options).await.failure, DumpFailure::Authentication);
        let port = Port::claim().expect("a port");
        let silent = settings(&format!("host=127.0.0.1 port={} user=u dbname=d", port.number()));
        assert_eq!(failure(cluster, &silent, &options).await.failure, DumpFailure::Unreachable);

        let name = cluster.fresh_database("told").expect("a database");
        let (quoted, role) = (quote_identifier(&name), format!("{name}_role"));
        let make = format!("CREATE ROLE {role} LOGIN PASSWORD 'x'; CREATE TABLE t (id int); ALTER TABLE t ENABLE ROW LEVEL SECURITY");
        cluster.psql(&name, &make).expect("a role");
        let weak = settings(&cluster.dsn_as(&role, "x", &name));
        let denied = failure(cluster, &weak, &options).await;
        assert_eq!(denied.failure, DumpFailure::Permission, "{denied}");
        cluster.psql(&name, &format!("GRANT SELECT ON t TO {role}")).expect("a grant");
        let hidden = failure(cluster, &weak, &options).await;
        assert_eq!(hidden.failure, DumpFailure::RowSecurity, "{hidden}");
        assert!(hidden.to_string().ends_with(&format!("ALTER ROLE \"{role}\" BYPASSRLS")), "{hidden}");
        cluster.psql(&name, &format!("ALTER ROLE {role} BYPASSRLS; SELECT lo_from_bytea(0, 'x')")).expect("a large object");
        let object = failure(cluster, &weak, &options).await;
        assert_eq!(object.failure, DumpFailure::Permission, "{object}");
        cluster.psql(&name, &format!("REVOKE CONNECT ON DATABASE {quoted} FROM PUBLIC")).expect("a revocation");
        let outside = failure(cluster, &weak, &options).await;
        assert_eq!(outside.failure, DumpFailure::Permission, "{outside}");
        cluster.psql("postgres", &format!("ALTER DATABASE {quoted} ALLOW_CONNECTIONS false")).expect("a change");
        let closed = failure(cluster, &superuser(cluster, &name), &options).await;
        assert_eq!(closed.failure, DumpFailure::ConnectionsDisallowed, "{closed}");
    }
}

#[tokio::test]
async fn a_lock_that_is_not_to_be_had_is_a_failure_in_time() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let name = cluster.fresh_database("lock").expect("a database");
        let _holder = Holder::lock(cluster, &name).await;
        let options = DumpOptions { lock_wait_timeout: Duration::from_millis(300), ..DumpOptions::default() };
        let error = failure(cluster, &superuser(cluster, &name), &options).await;
        assert_eq!(error.failure, DumpFailure::LockTimeout, "PostgreSQL {major}: {error}");
    }
}

#[tokio::test]
async fn an_older_pg_dump_is_refused_by_name() {
    let old = client_in(&PgMajor::V15.bin_dir().expect("a directory"), Program::PgDump).await;
    let cluster = PgCluster::shared(PgMajor::V16);
    let version = server(cluster).await.facts().version;
    let mut dump = start_dump(&old, version, &superuser(cluster, "postgres"), &DumpOptions::default()).await.expect("a dump");
    read(&mut dump).await.expect_err("no archive");
    let error = dump.wait().await.expect_err("a failure");
    assert_eq!(error.failure, DumpFailure::VersionMismatch, "{error}");
}

#[tokio::test]
async fn a_database_dropped_by_force_under_a_dump_can_be_asked_for() {
    let cluster = PgCluster::shared(PgMajor::V18);
    let name = wide(cluster);
    let server = server(cluster).await;
    let (mut dump, stdout) = at_work(cluster, &superuser(cluster, &name)).await;
    cluster.psql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", quote_identifier(&name))).expect("a drop");
    drain(stdout).await;
    assert_eq!(dump.wait().await.expect_err("a failure").failure, DumpFailure::ConnectionLost);
    assert!(!server.database_exists(&name).await.expect("an answer"));
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let mut client = pg_dump(cluster).await;
    client.path = "/nowhere/pg_dump".into();
    let error =
        start_dump(&client, client.version, &superuser(cluster, "postgres"), &DumpOptions::default()).await.expect_err("no program");
    assert_eq!(error.failure, DumpFailure::Start);
    assert!(error.to_string().starts_with("dump postgres: /nowhere/pg_dump could not be started: No such file"), "{error}");
}

#[tokio::test]
async fn a_flood_of_complaints_is_bounded() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let script = "i=0; while [ $i -lt 20000 ]; do echo \"complaint $i ......................................\" >&2; i=$((i+1)); done; \
                  head -c 100000 /dev/zero | tr '\\0' x >&2; echo >&2; echo 'pg_dump: error: last' >&2; exit 3";
    let (_directory, bin) = wrapper(cluster.bin_dir(), script);
    let client = client_in(&bin, Program::PgDump).await;
    let mut dump = start_dump(&client, client.version, &superuser(cluster, "postgres"), &DumpOptions::default()).await.expect("a dump");
    let error = dump.wait().await.expect_err("a failure");
    assert_eq!(error.reason, "pg_dump: error: last (it ended with status 3)");
}
