//! `drill`: what is stored is restored elsewhere, compared, and dropped.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use common::{Site, TENANT, error, json, tamper};
use plana_testkit::{
    bin::Bin,
    disk::SmallDisk,
    pg::{PgCluster, PgMajor},
    process::Signal,
};
use tempfile::TempDir;

/// A server for drills that knows none of the tenants' roles, and its connection string.
fn scratch() -> (PgCluster, String) {
    let cluster = PgCluster::start(PgMajor::V16).unwrap();
    cluster.psql("postgres", "CREATE ROLE driller LOGIN CREATEDB").unwrap();
    let dsn = format!("host={} port={} user=driller dbname=postgres", cluster.socket_dir().display(), cluster.port());
    (cluster, dsn)
}

#[test]
fn every_backup_has_its_turn_and_leaves_nothing_behind() {
    let site = Site::new(PgMajor::V16);
    site.add_tenant("beta.planapulse.app");
    site.back_up(&["--only", "beta.planapulse.app"]);
    let (server, dsn) = scratch();
    let metrics = site.home.path().join("metrics");
    fs::create_dir(&metrics).unwrap();
    let drill = |extra: &[&str]| {
        let job = site.job(&["drill", "--scratch-dsn", &dsn]).args(extra).env("PLANA_JOBS__METRICS__TEXTFILE_DIR", &metrics);
        json(&job.run().unwrap().expect_code(0))
    };
    // acme, beta, postgres and template1 in turn, two at a time.
    let mut proven = Vec::new();
    for _ in 0..2 {
        let report = drill(&["--sample", "2"]);
        proven.extend(report["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
    }
    proven.sort();
    assert_eq!(proven, [TENANT, "beta.planapulse.app", "postgres", "template1"]);
    let report = drill(&["--only", TENANT]);
    assert_eq!((&report["items"][0]["rows"], &report["items"][0]["tables"]), (&6500.into(), &4.into()));
    let left = server.psql("postgres", "SELECT string_agg(datname, ',') FROM pg_database WHERE NOT datistemplate").unwrap();
    assert_eq!(left, "postgres");
    let text = fs::read_dir(&metrics).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect::<String>();
    let series = format!("plana_jobs_last_proven_restorable_timestamp_seconds{{area=\"pg\",name=\"{TENANT}\"");
    assert!(text.contains(&series) && !text.contains("plana_jobs_backup_stored_bytes{"), "{text}");
}

#[test]
fn a_backup_that_does_not_restore_fails_alone() {
    let site = Site::new(PgMajor::V16);
    let (server, dsn) = scratch();
    tamper(&site.payload(&site.set("pg", TENANT)), |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let done = site.job(&["drill", "--scratch-dsn", &dsn]).run().unwrap().expect_code(3);
    let report = json(&done);
    assert_eq!((&report["totals"]["failed"], &report["totals"]["done"]), (&1.into(), &2.into()), "{report:#}");
    assert!(error(&done).contains("damaged"), "{}", error(&done));
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'plana_scratch%'").unwrap(), "0");
    let nothing = site.job(&["drill", "--scratch-dsn", &dsn, "--only", "nobody"]).run().unwrap().expect_code(1);
    assert!(error(&nothing).contains("there is none"));
    let bare = site.home.path().join("bare");
    fs::create_dir(&bare).unwrap();
    let nowhere = site.job(&["drill"]).env("PATH", &bare).env("PLANA_JOBS__POSTGRES__BIN_DIRS", &bare).run().unwrap().expect_code(10);
    assert!(error(&nowhere).contains("restore.scratch_dsn") && error(&nowhere).contains("postgresql-N"), "{}", error(&nowhere));
}

/// A directory that the throwaway server's user can reach.
fn scratch_dir() -> TempDir {
    let directory = tempfile::Builder::new().prefix("plana-scratch-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn drill_in(site: &Site, directory: &Path, arguments: &[&str]) -> Bin {
    site.job(&["drill"]).args(arguments).env("PLANA_JOBS__RESTORE__SCRATCH_DIR", directory)
}

/// The clusters that are there, and the numbers of their servers' processes.
fn clusters(directory: &Path) -> Vec<(std::path::PathBuf, Option<u32>)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let pid = |path: &Path| fs::read_to_string(path.join("data/postmaster.pid")).ok()?.lines().next()?.parse().ok();
    entries.map(|path| (path.clone(), pid(&path))).collect()
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn without_a_scratch_server_drills_make_a_cluster_of_their_own_and_remove_it() {
    for major in [PgMajor::V15, PgMajor::V16, PgMajor::V18] {
        let site = Site::new(major);
        let directory = scratch_dir();
        // Roles that only the backed up server knows, and a tablespace.
        let done = drill_in(&site, directory.path(), &["--jobs", "2"]).run().unwrap().expect_code(0);
        let report = json(&done);
        let tenant = report["items"].as_array().unwrap().iter().find(|item| item["name"] == TENANT).unwrap();
        assert_eq!((&tenant["outcome"], &tenant["rows"], &tenant["tables"]), (&"done".into(), &6500.into(), &4.into()), "{report:#}");
        assert!(done.stderr.contains(&format!("PostgreSQL {}.", major.number())), "{}", done.stderr);
        assert_eq!(clusters(directory.path()), []);
        // Nothing was restored on the server that is backed up.
        site.expect_no_scratch();
    }
}

#[test]
fn a_killed_drill_takes_its_server_with_it_and_the_next_one_its_directory() {
    let site = Site::new(PgMajor::V16);
    site.cluster.psql(TENANT, "INSERT INTO events SELECT '2026-06-01', repeat('x', 100) FROM generate_series(1, 400000)").unwrap();
    site.back_up(&["--only", TENANT]);
    let directory = scratch_dir();
    let call = || drill_in(&site, directory.path(), &["--only", TENANT]);
    for signal in [Signal::KILL, Signal::TERM] {
        let mut running = call().spawn().unwrap();
        running.wait_until("the restore", |running| running.stderr().contains("restoring pg/")).unwrap();
        let server = clusters(directory.path()).pop().expect("a cluster").1.expect("a server");
        assert!(is_alive(server));
        running.signal(signal).unwrap();
        running.wait().unwrap();
        let begun = Instant::now();
        while is_alive(server) && begun.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(50));
        }
        assert!(!is_alive(server), "{signal:?}: the server outlives its drill");
        assert_eq!(clusters(directory.path()).len(), if signal == Signal::KILL { 1 } else { 0 }, "{signal:?}");
        if signal == Signal::KILL {
            let left = clusters(directory.path()).pop().unwrap().0;
            let next = call().run().unwrap().expect_code(0);
            let warned = json(&next)["warnings"].to_string();
            assert!(warned.contains(left.to_str().unwrap()), "{warned}");
            assert_eq!(clusters(directory.path()), []);
        }
    }
}

#[test]
fn a_cluster_without_room_refuses_the_drill_and_says_where_it_looked() {
    let site = Site::new(PgMajor::V16);
    let disk = SmallDisk::new(120 << 20).unwrap();
    let done = drill_in(&site, &disk.path(), &["--only", TENANT]).run().unwrap().expect_code(1);
    assert!(error(&done).contains("restore.scratch_dir"), "{}", error(&done));
    assert_eq!(clusters(&disk.path()), []);
    let nobody = drill_in(&site, &disk.path(), &[]).env("PLANA_JOBS__RESTORE__SCRATCH_USER", "nobody-of-that-name").run().unwrap();
    assert!(error(&nobody.expect_code(10)).contains("restore.scratch_user"));
}
