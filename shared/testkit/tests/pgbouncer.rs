//! PgBouncer in transaction mode, as tests of "not through a pooler" need it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use plana_testkit::pg::{PgCluster, PgMajor};
use plana_testkit::pgbouncer::PgBouncer;

fn psql(cluster: &PgCluster, dsn: &str, sql: &str) -> String {
    let done = cluster.command("psql").env_remove("PGPASSWORD").args(["-wXAt", "-d", dsn, "-c", sql]).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)).trim().to_owned()
}

#[test]
fn passes_queries_on_and_knows_its_users() {
    let cluster = PgCluster::start(PgMajor::V15).unwrap();
    cluster.psql("postgres", "CREATE ROLE odoo LOGIN PASSWORD 'x \"y'; CREATE DATABASE \"a.planapulse.app\" OWNER odoo").unwrap();
    let bouncer = PgBouncer::with_users(&cluster, &[("odoo", "x \"y")]).unwrap();
    assert_eq!(psql(&cluster, &bouncer.dsn("a.planapulse.app"), "SELECT current_database()"), "a.planapulse.app");
    assert_eq!(psql(&cluster, &bouncer.keyword_dsn("a.planapulse.app"), "SELECT current_user"), "postgres");
    assert_eq!(psql(&cluster, &bouncer.dsn_as("odoo", "x \"y", "a.planapulse.app"), "SELECT current_user"), "odoo");
    assert!(psql(&cluster, &bouncer.dsn_as("odoo", "wrong", "postgres"), "SELECT 1").contains("authentication failed"));
}

#[test]
fn is_in_transaction_mode_and_answers_for_its_own_database() {
    let cluster = PgCluster::start(PgMajor::V15).unwrap();
    let bouncer = PgBouncer::start(&cluster).unwrap();
    // Its console, by the database name `pgbouncer`, which PostgreSQL does not have.
    assert!(psql(&cluster, &bouncer.dsn("pgbouncer"), "SHOW VERSION").starts_with("PgBouncer"));
    assert!(psql(&cluster, &bouncer.dsn("pgbouncer"), "SHOW CONFIG").contains("pool_mode|transaction"));
    assert!(psql(&cluster, &cluster.dsn("pgbouncer"), "SELECT 1").contains("does not exist"));
    bouncer.stop();
    assert!(psql(&cluster, &bouncer.dsn("postgres"), "SELECT 1").contains("Connection refused"));
    bouncer.restart().unwrap();
    assert_eq!(psql(&cluster, &bouncer.dsn("postgres"), "SELECT 1"), "1");
}
