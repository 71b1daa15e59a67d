//! The tier query.

use std::time::Duration;

use plana_pg::{server::ServerError, tiers::look_up};
use plana_testkit::pg::{PgCluster, PgMajor};

use crate::support::{TIMEOUT, superuser};

#[tokio::test]
async fn tiers_are_read_and_oddities_reported() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let name = cluster.fresh_database("tiers").expect("a database");
    let table = "CREATE TABLE tenants (database name, tier varchar);
                 INSERT INTO tenants VALUES ('a', 'pro'), ('b', 'starter'), ('b', 'pro'), ('c', NULL), (NULL, 'pro'), ('d', 'pro'), ('d', 'pro')";
    cluster.psql(&name, table).expect("a table");
    let settings = superuser(cluster, &name);
    let found = look_up(&settings, "SELECT database, tier FROM tenants ORDER BY tier", TIMEOUT).await.expect("tiers");
    assert_eq!(found.rows, [("a".to_owned(), "pro".to_owned()), ("d".to_owned(), "pro".to_owned())]);
    assert_eq!(found.undecided, ["b", "c"]);
    assert_eq!(found.complaints.len(), 2, "{:?}", found.complaints);
    assert!(found.complaints[0].starts_with("2 rows ") && found.complaints[1].contains("gives b two tiers"));
}

#[tokio::test]
async fn a_wrong_query_is_told_and_changes_nothing() {
    let cluster = PgCluster::shared(PgMajor::V18);
    let name = cluster.fresh_database("tiers").expect("a database");
    cluster.psql(&name, "CREATE TABLE t (x text)").expect("a table");
    let settings = superuser(cluster, &name);
    let message = async |query: &str| look_up(&settings, query, Duration::from_millis(700)).await.expect_err(query).to_string();
    assert!(message("SELECT 'one'").await.ends_with("it answers 1 columns, and two are wanted: the database and its tier"));
    assert!(message("SELECT no_such, x FROM t").await.contains("no_such"));
    assert!(message("SELECT 'a'::text, 5").await.contains("mismatched types"));
    assert!(message("WITH w AS (INSERT INTO t VALUES ('a') RETURNING x) SELECT x, x FROM w").await.contains("read-only transaction"));
    assert!(message("SELECT 'a', pg_sleep(30)::text").await.contains("statement timeout"));
    assert!(message("COMMIT; INSERT INTO t VALUES ('a')").await.contains("multiple commands"));
    assert_eq!(cluster.psql(&name, "SELECT count(*) FROM t").expect("a count"), "0");
    let gone = look_up(&settings.with_database("nowhere"), "SELECT 1", TIMEOUT).await.expect_err("no database");
    assert!(matches!(gone, ServerError::Gone { .. }));
}
