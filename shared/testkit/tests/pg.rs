//! The throwaway PostgreSQL servers start, answer, stop, and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use plana_testkit::pg::{Mode, PgCluster, PgMajor, quote_identifier};
use plana_testkit::process::accepts;

#[test]
fn every_major_starts_and_answers_in_its_own_version() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::start(major).unwrap();
        let version: u32 = cluster.psql("postgres", "SHOW server_version_num").unwrap().parse().unwrap();
        assert_eq!(version / 10_000, major.number());
        let dump = std::process::Command::new(cluster.bin_dir().join("pg_dump")).arg("--version").output().unwrap();
        assert!(String::from_utf8_lossy(&dump.stdout).contains(&format!("(PostgreSQL) {major}.")));
    }
}

#[test]
fn both_dsn_forms_carry_a_password_full_of_special_characters() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let name = "a b=c/ü'\"%";
    cluster.psql("postgres", &format!("CREATE DATABASE {}", quote_identifier(name))).unwrap();
    for dsn in [cluster.dsn(name), cluster.keyword_dsn(name)] {
        let shown = cluster.command("psql").args(["-XAtc", "SELECT current_database(), inet_server_port()", "-d", &dsn]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), format!("{name}|{}", cluster.port()), "{dsn}");
    }
    let wrong = cluster.dsn_as("postgres", "wrong", name);
    let refused = cluster.command("psql").args(["-XAtc", "SELECT 1", "-d", &wrong]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("password authentication failed"));
}

#[test]
fn psql_fails_on_the_first_error_and_prints_more_than_a_pipe_holds() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let error = cluster.psql("postgres", "SELECT 1; SELECT 1/0; SELECT 2;").unwrap_err();
    assert!(format!("{error:#}").contains("division by zero"), "{error:#}");
    let many = cluster.psql("postgres", "SELECT repeat('x', 99) FROM generate_series(1, 10000)").unwrap();
    assert_eq!(many.len(), 100 * 10_000 - 1);
}

#[test]
fn stops_in_every_mode_and_starts_again_with_its_data() {
    let cluster = PgCluster::start(PgMajor::V15).unwrap();
    cluster.psql("postgres", "CREATE TABLE kept (id int); INSERT INTO kept VALUES (7); CHECKPOINT;").unwrap();
    for mode in [Mode::Smart, Mode::Fast, Mode::Immediate, Mode::Kill] {
        cluster.stop(mode).unwrap();
        assert_eq!(cluster.pid(), None);
        assert!(!accepts(cluster.port()));
        cluster.restart().unwrap();
        assert_eq!(cluster.psql("postgres", "SELECT id FROM kept").unwrap(), "7", "{mode:?}");
    }
}

#[test]
fn a_dropped_cluster_is_gone_from_memory_and_disk() {
    let cluster = PgCluster::start(PgMajor::V18).unwrap();
    let (data, pid) = (cluster.data_dir(), cluster.pid().unwrap());
    assert!(data.exists());
    drop(cluster);
    assert!(!data.exists());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn settings_and_authentication_can_be_chosen() {
    let cluster = PgCluster::builder(PgMajor::V15)
        .setting("max_connections = 17")
        .host_auth("trust")
        .hba("host all nobody_at_all 127.0.0.1/32 reject")
        .start()
        .unwrap();
    assert_eq!(cluster.psql("postgres", "SHOW max_connections").unwrap(), "17");
    let open = cluster.command("psql").env_remove("PGPASSWORD").args(["-wXAtc", "SELECT 1", "-h", "127.0.0.1"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&open.stdout).trim(), "1");
}
