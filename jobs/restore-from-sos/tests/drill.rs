//! `drill`: what is stored is restored elsewhere, compared, and dropped.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;

use common::{Site, TENANT, error, json, tamper};
use plana_testkit::pg::{PgCluster, PgMajor};

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
    let nowhere = site.job(&["drill"]).run().unwrap().expect_code(10);
    assert!(error(&nowhere).contains("restore.scratch_dsn"));
}
