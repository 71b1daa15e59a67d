//! What the role may read: what `check` says when it is too little, and that the role in the README is enough.

use plana_pg::rights::LEAST_RIGHTS_SQL;
use plana_testkit::pg::{PgCluster, PgMajor};
use serde_json::Value;

use crate::common::{Outcome, expect_words, rows};

/// A server on which something stands in the way of whoever is not a superuser, in each way that there is.
fn guarded(major: PgMajor) -> PgCluster {
    let cluster = PgCluster::start(major).unwrap();
    let each = [
        (
            "hidden_rows",
            "CREATE TABLE t AS SELECT generate_series(1, 9) AS i; ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (i < 5)",
        ),
        ("objects", "SELECT lo_from_bytea(5, 'a contract')"),
        ("closed", "CREATE TABLE t AS SELECT generate_series(1, 3) AS i; REVOKE CONNECT ON DATABASE closed FROM PUBLIC"),
        ("private", "CREATE SCHEMA vault; CREATE TABLE vault.t AS SELECT generate_series(1, 4) AS i; CREATE SEQUENCE vault.s"),
    ];
    for (name, sql) in each {
        cluster.psql("postgres", &format!("CREATE DATABASE {name}")).unwrap();
        cluster.psql(name, sql).unwrap();
    }
    cluster.psql("postgres", "CREATE ROLE weak LOGIN PASSWORD 'weak'").unwrap();
    // Only the rows are hidden, so that nothing else is said of them.
    cluster.psql("hidden_rows", "GRANT SELECT ON t TO weak").unwrap();
    cluster
}

fn lines<'a>(check: &'a Outcome, subject: &str) -> Vec<&'a Value> {
    let checks = check.report["checks"].as_array().unwrap_or_else(|| panic!("{}\n{}", check.done.stdout, check.done.stderr));
    checks.iter().filter(|line| line["subject"] == subject).collect()
}

#[test]
fn check_finds_a_good_setup_good() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let job = crate::common::job().on(cluster);
    std::fs::create_dir(job.store().root()).unwrap();
    let check = job.clone().arg("check").run().expect(0);
    for subject in ["server", "pg_dump", "pg_dumpall", "databases", "store"] {
        assert!(lines(&check, subject).iter().any(|line| line["verdict"] == "ok"), "{subject}: {:#}", check.report);
    }
    expect_words(lines(&check, "server")[0]["found"].as_str().unwrap(), &["PostgreSQL 16", "postgres"]);
    assert!(job.store().files().is_empty(), "check leaves nothing behind");
}

#[test]
fn check_names_what_a_weak_role_lacks_and_the_role_of_the_readme_has_it_all() {
    for major in [PgMajor::V16, PgMajor::V18] {
        let cluster = guarded(major);
        let weak = crate::common::job().at(&cluster.dsn_as("weak", "weak", "postgres"), cluster.bin_dir());
        let check = weak.clone().arg("check").run().expect(1);
        for (database, mend) in [
            ("hidden_rows", "ALTER ROLE \"weak\" BYPASSRLS"),
            ("objects", "lo_compat_privileges"),
            ("closed", "GRANT CONNECT ON DATABASE \"closed\" TO \"weak\""),
            ("private", "GRANT pg_read_all_data TO \"weak\""),
        ] {
            let advice: Vec<_> =
                lines(&check, database).iter().filter(|line| line["verdict"] == "problem").map(|line| line["advice"].to_string()).collect();
            let plain = advice.join("\n").replace("\\\"", "\"").replace('"', "");
            assert!(plain.contains(&mend.replace('"', "")), "PostgreSQL {major}, {database}: {advice:?}");
        }
        expect_words(&check.done.stdout, &["CREATE ROLE plana_backup LOGIN", "BYPASSRLS"]);
        // A run says the same of each database, and backs up nothing in part.
        let outcome = weak.run().expect(3);
        assert_eq!(outcome.databases("failed"), ["closed", "hidden_rows", "objects", "private"], "{:#}", outcome.report);
        expect_words(outcome.error("closed"), &["GRANT CONNECT ON DATABASE", "closed"]);
        expect_words(outcome.error("hidden_rows"), &["row-level security", "BYPASSRLS"]);
        for name in ["closed", "hidden_rows", "objects", "private"] {
            weak.store().expect_nothing_of(name);
        }
        the_role_of_the_readme_dumps_everything(&cluster);
    }
}

fn the_role_of_the_readme_dumps_everything(cluster: &PgCluster) {
    cluster.psql("postgres", LEAST_RIGHTS_SQL).unwrap();
    cluster.psql("postgres", "ALTER ROLE plana_backup PASSWORD 'p'").unwrap();
    let job = crate::common::job().at(&cluster.dsn_as("plana_backup", "p", "postgres"), cluster.bin_dir());
    let check = job.clone().arg("check").run().expect(0);
    assert!(!check.done.stdout.contains("\"problem\""), "{:#}", check.report);
    let outcome = job.run().expect(0);
    assert_eq!(outcome.databases("done"), ["closed", "hidden_rows", "objects", "postgres", "private", "template1"]);
    assert_eq!(outcome.item_in("globals", "cluster")["outcome"], "done");
    for name in ["closed", "hidden_rows", "private"] {
        let set = job.store().set(name);
        rows::expect_counts(set.manifest.database.as_ref().unwrap(), &rows::tables(cluster, name));
    }
    assert_eq!(job.store().set("hidden_rows").manifest.database.unwrap().rows, 9);
    let objects = job.store().set("objects");
    assert_eq!(objects.manifest.database.as_ref().unwrap().large_objects.as_ref().unwrap().bytes, 10);
    objects.restore(cluster, "objects_back");
    assert_eq!(cluster.psql("objects_back", "SELECT convert_from(lo_get(5), 'UTF8')").unwrap(), "a contract");
}
