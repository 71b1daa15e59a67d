//! The query for tiers: what stands in for it when it fails, and what is told of its answers.

use plana_testkit::{
    pg::{PgCluster, PgMajor, quote_literal},
    redis::RedisServer,
};
use serde_json::Value;

use crate::common::{Job, Outcome, expect_words};

/// A tenant, and the database of the account portal, whose table says its tier.
struct Platform {
    cluster: &'static PgCluster,
    tenant: String,
    account: String,
    job: Job,
}

impl Platform {
    fn new() -> Self {
        let cluster = PgCluster::shared(PgMajor::V15);
        let (tenant, account) = (cluster.fresh_database("tenant").unwrap(), cluster.fresh_database("account").unwrap());
        cluster.psql(&account, "CREATE TABLE tenants (name text, tier text)").unwrap();
        let job = crate::common::job().on(cluster).only(&[&tenant]).config(&format!(
            "[rules.tenants]\norder = 1\nclass = \"tenant\"\ndatabases = [\"tenant_*\"]\n\
             [tiers.sql]\ndatabase = \"{account}\"\nquery = \"SELECT name, tier FROM tenants\"\ntimeout = \"2s\"\n"
        ));
        let platform = Platform { cluster, tenant, account, job };
        platform.set(&[(&platform.tenant, "pro"), ("other.app", "starter")]);
        platform
    }

    fn set(&self, rows: &[(&str, &str)]) {
        self.sql("TRUNCATE tenants");
        for (name, tier) in rows {
            self.sql(&format!("INSERT INTO tenants VALUES ({}, {})", quote_literal(name), quote_literal(tier)));
        }
    }

    fn sql(&self, sql: &str) {
        self.cluster.psql(&self.account, sql).unwrap();
    }

    fn rows(&self) -> String {
        self.cluster.psql(&self.account, "SELECT count(*) FROM tenants").unwrap()
    }

    /// The label of a backup that was made now.
    fn label(&self, job: &Job) -> (String, Outcome) {
        let outcome = job.run().expect(0);
        (outcome.item(&self.tenant)["label"].as_str().unwrap().to_owned(), outcome)
    }
}

/// Each way in which a lookup gives nothing usable.
#[test]
fn the_last_good_answer_stands_in_for_one_that_fails_and_its_age_is_told() {
    let platform = Platform::new();
    let (label, first) = platform.label(&platform.job);
    assert_eq!((label.as_str(), first.warnings().as_str()), ("pro", ""));
    let faults: [(&str, &str, &str); 5] = [
        ("ALTER TABLE tenants RENAME TO gone", "ALTER TABLE gone RENAME TO tenants", "tenants"),
        (
            "CREATE VIEW slow AS SELECT * FROM tenants WHERE pg_sleep(30)::text <> 'x'; ALTER TABLE tenants RENAME TO fast; ALTER VIEW slow RENAME TO tenants",
            "DROP VIEW tenants; ALTER TABLE fast RENAME TO tenants",
            "timeout",
        ),
        (
            "ALTER TABLE tenants RENAME TO full_one; CREATE TABLE tenants (name text, tier text)",
            "DROP TABLE tenants; ALTER TABLE full_one RENAME TO tenants",
            "answers no row",
        ),
        (
            "ALTER TABLE tenants RENAME TO full_one; CREATE TABLE tenants AS SELECT name, NULL::text AS tier FROM full_one",
            "DROP TABLE tenants; ALTER TABLE full_one RENAME TO tenants",
            "answers no row",
        ),
        (
            "ALTER TABLE tenants RENAME TO text_one; CREATE TABLE tenants AS SELECT name, 5 AS tier FROM text_one",
            "DROP TABLE tenants; ALTER TABLE text_one RENAME TO tenants",
            "mismatched types",
        ),
    ];
    for (breaks, mends, why) in faults {
        platform.sql(breaks);
        let (label, outcome) = platform.label(&platform.job);
        assert_eq!(label, "pro", "{why}");
        expect_words(&outcome.warnings(), &["tiers.sql", why, "the last good answer", " s old", "tiers.cache_for"]);
        let (label, outcome) = platform.label(&platform.job.clone().set("tiers.cache_for", "0s"));
        assert_eq!(label, "unclassified");
        expect_words(&outcome.warnings(), &[why, "no answer that is young enough", "longest window"]);
        // Another question's answer is none to this one.
        let other = platform.job.clone().set("tiers.sql.query", "SELECT name, tier FROM tenants WHERE name > ''");
        assert_eq!(platform.label(&other).0, "unclassified");
        platform.sql(mends);
        assert_eq!(platform.label(&platform.job).1.warnings(), "");
    }
    // What is remembered is no secret to be kept, and damaged it is nothing.
    std::fs::write(platform.job.home().join("state/tiers.json"), "{").unwrap();
    platform.sql("ALTER TABLE tenants RENAME TO gone");
    assert_eq!(platform.label(&platform.job).0, "unclassified");
}

/// What an administrator typed wrong costs a warning, and never a row of the platform's.
#[test]
fn a_query_that_is_wrong_is_told_and_changes_nothing() {
    let platform = Platform::new();
    for (query, why) in [
        ("SELEC name, tier FROM tenants", "syntax error"),
        ("SELECT name FROM tenants", "it answers 1 columns, and two are wanted"),
        ("SELECT name, tier, now() FROM tenants", "it answers 3 columns, and two are wanted"),
        ("SELECT name, tier FROM nothing_of_that_name", "does not exist"),
        ("SELECT name, 1 / 0 FROM tenants", "division by zero"),
        ("SELECT name, tier FROM tenants WHERE false", "answers no row"),
        ("DELETE FROM tenants RETURNING name, tier", "read-only transaction"),
        ("SELECT name, tier FROM tenants; DROP TABLE tenants", "multiple commands"),
        ("COMMIT", "answers no row"),
    ] {
        let outcome = platform.job.clone().set("tiers.sql.query", query).run().expect(0);
        assert_eq!(outcome.item(&platform.tenant)["label"], "unclassified", "{query}");
        expect_words(&outcome.warnings(), &["tiers.sql", why, "longest window"]);
        // Asked before anything is stored.
        let checked = platform.job.clone().set("tiers.sql.query", query).arg("check").run();
        expect_words(&checked.report["checks"].to_string(), &[why]);
        assert_eq!(platform.rows(), "2", "{query}");
    }
}

#[test]
fn every_change_is_told_by_the_first_run_that_sees_it() {
    let platform = Platform::new();
    let redis = RedisServer::start().unwrap();
    let job = platform.job.clone().set("events.url", &redis.url());
    platform.label(&job);
    platform.set(&[(&platform.tenant, "enterprise"), ("new.app", "pro")]);
    // A dry run tells it, and remembers nothing.
    let dry = job.clone().arg("--dry-run").run().expect(0);
    let told = [format!("{} pro → enterprise", platform.tenant), "other.app (was starter)".to_owned()];
    expect_words(&dry.warnings(), &[&told[0], &told[1]]);
    let (label, outcome) = platform.label(&job);
    assert_eq!(label, "enterprise");
    expect_words(
        &outcome.warnings(),
        &["the tier of 1 tenant has changed", &told[0], "1 tenant had a tier and has none", &told[1], "retire"],
    );
    expect_words(&outcome.done.stderr, &["new.app is new, with the tier pro"]);
    let listed = redis.cli(&["XRANGE", "PLANA:events", "-", "+"]).unwrap();
    let events: Vec<Value> = listed.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    let changed: Vec<&Value> = events.iter().filter(|event| event["type"] == "app.plana.jobs.tiers.changed").collect();
    let [event] = &changed[..] else { panic!("{events:#?}") };
    assert_eq!(event["data"]["changed"][0], serde_json::json!({ "name": platform.tenant, "from": "pro", "to": "enterprise" }));
    assert_eq!((&event["data"]["vanished"][0]["name"], &event["data"]["appeared"][0]["to"]), (&"other.app".into(), &"pro".into()));
    let (_, again) = platform.label(&job);
    assert_eq!(again.warnings(), "", "told once");
}

#[test]
fn unknown_tiers_duplicates_and_tenants_that_vanished_are_kept_longest_and_told() {
    let platform = Platform::new();
    platform.label(&platform.job);
    platform.set(&[(&platform.tenant, "platinum"), ("other.app", "starter")]);
    let (label, outcome) = platform.label(&platform.job);
    assert_eq!(label, "unclassified");
    expect_words(&outcome.warnings(), &["the tier `platinum` has no window", &platform.tenant, "longest window"]);
    platform.set(&[(&platform.tenant, "pro"), (&platform.tenant, "starter"), ("other.app", "starter"), ("other.app", "starter")]);
    let (label, outcome) = platform.label(&platform.job);
    assert_eq!(label, "unclassified");
    expect_words(&outcome.warnings(), &["two tiers, `pro` and `starter`", "its tier was not found"]);
    platform.set(&[("other.app", "starter")]);
    let (label, outcome) = platform.label(&platform.job);
    assert_eq!(label, "unclassified");
    expect_words(&outcome.warnings(), &["its tier was not found"]);
}
