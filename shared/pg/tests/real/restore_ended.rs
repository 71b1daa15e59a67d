//! Restores that are ended: by their server, by us, by the kernel.

use std::{
    fs::File,
    io::Read,
    time::{Duration, Instant},
};

use plana_pg::{
    client::Program,
    restore::{ArchiveSource, ConnectionFailure, RestoreChild, RestoreFailure, RestoreOptions, start_restore},
};
use plana_testkit::{
    pg::{PgCluster, PgMajor},
    process::{Signal, send},
};

use crate::{
    restore_faults::{WIDE, made, target},
    support::{archive, client_in, feed, sessions, settings, start_with, superuser, until},
};

/// Two tables whose rows take a minute each to restore.
const SLOW: &str = "
    CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF pg_catalog.current_database() LIKE 'target%' THEN PERFORM pg_catalog.pg_sleep(60); END IF; RETURN true; END $$;
    CREATE TABLE a (id int CHECK (public.slow())); INSERT INTO a VALUES (1);
    CREATE TABLE b (id int CHECK (public.slow())); INSERT INTO b VALUES (1)";

fn terminate(cluster: &PgCluster, database: &str) {
    let kill = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND query LIKE 'COPY %'");
    cluster.psql("postgres", &kill).expect("its end");
}

#[tokio::test]
async fn a_terminated_backend_is_a_failure() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        // While rows come in, and while they are at work on the server.
        let (wide, slow) = (archive(cluster, &made(cluster, WIDE)).await, archive(cluster, &made(cluster, SLOW)).await);
        let quarter = wide.as_file().metadata().expect("its size").len() / 4;
        let name = target(cluster);
        let mut child = start_with(cluster, &superuser(cluster, &name), ArchiveSource::Stream, &RestoreOptions::default()).await;
        let mut stdin = child.take_stdin().expect("its input");
        let mut file = wide.reopen().expect("the archive");
        let head = tokio::task::spawn_blocking(move || std::io::copy(&mut (&file).take(quarter), &mut stdin).map(|_| (file, stdin)));
        (file, stdin) = head.await.expect("a writer").expect("the head");
        let copies = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND query LIKE 'COPY %'");
        until("it restores", || cluster.psql("postgres", &copies).expect("a count") == "1").await;
        terminate(cluster, &name);
        tokio::task::spawn_blocking(move || std::io::copy(&mut file, &mut stdin)).await.expect("a writer").expect_err("nobody reads");
        let error = child.wait().await.expect_err("a failure");
        assert_eq!(error.failure, RestoreFailure::Connection(ConnectionFailure::Lost), "PostgreSQL {major}: {error}");

        let name = target(cluster);
        let options = RestoreOptions { jobs: 2, ..RestoreOptions::default() };
        let mut child = start_with(cluster, &superuser(cluster, &name), ArchiveSource::File(slow.path()), &options).await;
        busy(cluster, &name, 2).await;
        terminate(cluster, &name);
        let error = child.wait().await.expect_err("a failure");
        assert_eq!(error.failure, RestoreFailure::Connection(ConnectionFailure::Lost), "PostgreSQL {major}: {error}");
    }
}

#[tokio::test]
async fn stopping_or_dropping_a_restore_leaves_nothing() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let archive = archive(cluster, &made(cluster, SLOW)).await;
        for (jobs, told) in [(1, true), (1, false), (2, true), (2, false)] {
            let name = target(cluster);
            let source = if jobs == 1 { ArchiveSource::Stream } else { ArchiveSource::File(archive.path()) };
            let options = RestoreOptions { jobs, ..RestoreOptions::default() };
            let mut child = start_with(cluster, &superuser(cluster, &name), source, &options).await;
            let stdin = child.take_stdin();
            if let Some(mut stdin) = stdin {
                // It is small enough for the pipe, and its end does not come.
                std::io::copy(&mut archive.reopen().expect("the archive"), &mut stdin).expect("a copy");
                busy(cluster, &name, 1).await;
                stop(child, told).await;
            } else {
                busy(cluster, &name, 2).await;
                stop(child, told).await;
            }
            until("its backends are gone", || sessions(cluster, &name) == "0").await;
        }
    }
}

/// Waits until so many tables are being restored.
async fn busy(cluster: &PgCluster, database: &str, tables: u32) {
    let query = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event = 'PgSleep'");
    until("it restores", || cluster.psql("postgres", &query).expect("a count") == tables.to_string()).await;
}

async fn stop(mut child: RestoreChild, told: bool) {
    if !told {
        return drop(child);
    }
    let begun = Instant::now();
    tokio::time::timeout(Duration::from_secs(20), child.terminate()).await.expect("its end");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(child.wait().await.expect_err("a failure").failure, RestoreFailure::Killed);
}

/// As the kernel does when memory runs out: its workers and its backends must not go on.
#[tokio::test]
async fn a_killed_restore_is_a_failure_and_leaves_no_backend() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let archive = archive(cluster, &made(cluster, WIDE)).await;
        let name = target(cluster);
        let mut child = start_with(cluster, &superuser(cluster, &name), ArchiveSource::Stream, &RestoreOptions::default()).await;
        let pid = child.pid();
        let fed = feed(&mut child, Killer { file: File::open(archive.path()).expect("the archive"), left: 10 << 20, pid }).await;
        assert!(fed.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe));
        let error = child.wait().await.expect_err("a failure");
        assert_eq!((error.failure, error.reason.as_str()), (RestoreFailure::Killed, "it was killed by signal 9"));
        until("its backend is gone", || sessions(cluster, &name) == "0").await;
    }
}

/// Kills a process in the middle of a file.
struct Killer {
    file: File,
    left: usize,
    pid: u32,
}

impl Read for Killer {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        if self.left < count {
            send(self.pid, Signal::KILL).expect("a signal");
            self.left = usize::MAX;
        }
        self.left -= count;
        Ok(count)
    }
}

const KILLED_JOB: &str = "PLANA_TEST_RESTORE_TO_KILL";

#[test]
#[ignore = "no test of its own: the job that the next one kills"]
fn job_to_kill() {
    let Ok(dsn) = std::env::var(KILLED_JOB) else { return };
    let variable = |name: &str| std::env::var(name).expect(name);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = client_in(std::path::Path::new(&variable("PLANA_TEST_BIN")), Program::PgRestore).await;
        let (archive, options) = (variable("PLANA_TEST_ARCHIVE"), RestoreOptions { jobs: 2, ..RestoreOptions::default() });
        let source = ArchiveSource::File(archive.as_ref());
        let _restore = start_restore(&client, client.version, &settings(&dsn), source, &options).await.expect("a restore");
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn a_killed_job_leaves_no_restore_and_no_backend() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let archive = archive(cluster, &made(cluster, SLOW)).await;
        let name = target(cluster);
        let mut job = std::process::Command::new(std::env::current_exe().expect("this program"));
        job.args(["--ignored", "--exact", "restore_ended::job_to_kill"])
            .env(KILLED_JOB, cluster.dsn(&name))
            .env("PLANA_TEST_BIN", cluster.bin_dir())
            .env("PLANA_TEST_ARCHIVE", archive.path());
        let mut job = job.stdout(std::process::Stdio::null()).spawn().expect("a job");
        busy(cluster, &name, 2).await;
        job.kill().expect("a signal");
        job.wait().expect("its end");
        let begun = Instant::now();
        until("the backends are gone", || sessions(cluster, &name) == "0").await;
        assert!(begun.elapsed() < Duration::from_secs(5), "PostgreSQL {major}: {:?}", begun.elapsed());
    }
}
