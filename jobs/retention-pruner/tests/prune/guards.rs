//! What stops a run: each with its message, and the way past it.

use plana_testkit::{
    job::{Job, expect_words},
    pg::{PgCluster, PgMajor},
};

use crate::{ago, allowed, back_up, job, nights, planned, put, sets};

fn refused(job: &Job, words: &[&str]) {
    let before = job.store().files();
    let outcome = job.run().expect(20);
    expect_words(outcome.run_error(), words);
    assert_eq!(job.store().files(), before, "nothing was deleted");
}

#[test]
fn it_deletes_nothing_before_it_is_enabled_and_the_store_is_named() {
    let job = job();
    nights(&job, "acme.app", "starter", [60, 2, 1, 0]);
    let disabled = job.clone().set("retention.enabled", "false");
    refused(&disabled, &["retention.enabled is false", "--dry-run"]);
    let plan = disabled.arg("--dry-run").run().expect(0);
    expect_words(plan.report["refusals"][0].as_str().unwrap(), &["a run would be refused", "retention.enabled"]);
    refused(&job.clone().set("retention.stores", "[\"s3://another\"]"), &["not named in retention.stores"]);
    job.run().expect(0);
    assert_eq!(sets(&job).len(), 3);
}

#[test]
fn a_store_of_templates_is_refused_whatever_is_configured() {
    let job = job();
    nights(&job, "acme.app", "starter", [60, 2, 1, 0]);
    let seed = put(&job, &format!("basic-template-18/{}/manifest.json", "ab".repeat(32)), ago(900));
    refused(&job, &["the template seed basic-template-18/", "kept for ever"]);
    std::fs::remove_file(seed).unwrap();
    let templates = job.home().join("my-templates");
    std::fs::create_dir(&templates).unwrap();
    let url = format!("file://{}", templates.display());
    let outcome = allowed(job.clone().store_url(&url), &url).run().expect(20);
    expect_words(outcome.run_error(), &["its address says that templates are in it"]);
    job.run().expect(0);
}

#[test]
fn a_listing_that_shrank_is_refused_until_somebody_accepts_it() {
    let job = job();
    nights(&job, "acme.app", "starter", 0..10);
    nights(&job, "acme.app", "starter", [40, 50]);
    job.run().expect(0);
    assert_eq!(sets(&job).len(), 10, "the run remembers what it left, not what it found");
    job.run().expect(0);
    let lost: Vec<String> = sets(&job).into_iter().take(3).collect();
    let old = back_up(&job, "acme.app", "starter", 60);
    lost.iter().for_each(|set| std::fs::remove_dir_all(job.store().root().join(set)).unwrap());
    std::fs::remove_dir_all(job.store().root().join(sets(&job).into_iter().find(|set| *set != old).unwrap())).unwrap();
    refused(&job, &["left 10 committed sets, and now there are 7, 30 % fewer", "--accept-shrink"]);
    let plan = job.clone().arg("--dry-run").run().expect(0);
    expect_words(plan.report["refusals"][0].as_str().unwrap(), &["committed sets"]);
    job.clone().arg("--accept-shrink").run().expect(0);
    assert!(!sets(&job).contains(&old));
    job.run().expect(0);
}

#[test]
fn one_run_takes_no_more_than_the_cap_and_says_what_remains() {
    let job = job().set("retention.max_sets", "2");
    let all = nights(&job, "acme.app", "starter", [70, 60, 50, 40, 2, 1, 0]);
    let outcome = job.run().expect(0);
    expect_words(&outcome.warnings(), &["2 more sets may go"]);
    assert_eq!(sets(&job), all[2..].to_vec());
    job.run().expect(0);
    assert_eq!(sets(&job), all[4..].to_vec());
}

#[test]
fn a_lookup_of_tiers_that_fails_stops_the_run() {
    let tiers = "[tiers.sql]\ndatabase = \"account\"\nquery = \"SELECT 1\"\n";
    let job = job().config(tiers);
    nights(&job, "acme.app", "starter", [60, 2, 1, 0]);
    refused(&job, &["no server is configured", "retention.tiers"]);
    let nobody = job.clone().set("postgres.dsn", "host=127.0.0.1 port=1 user=x connect_timeout=1");
    refused(&nobody, &["look up today's tiers", "retention.tiers"]);
    job.clone().set("retention.tiers", "false").run().expect(0);
}

#[test]
fn a_store_that_is_not_there_is_no_empty_store() {
    let job = job();
    std::fs::remove_dir(job.store().root()).unwrap();
    let outcome = job.run().expect(10);
    expect_words(outcome.run_error(), &["there is no such bucket or directory"]);
}

#[test]
fn a_store_of_keys_is_refused_whatever_is_configured() {
    let job = job();
    nights(&job, "acme.app", "starter", [60, 2, 1, 0]);
    let key = put(&job, "escrow/EXO_ENCRYPTION_KEY/whatever", ago(900));
    refused(&job, &["the key escrow/EXO_ENCRYPTION_KEY/whatever is in it", "kept for ever", "no setting changes that"]);
    std::fs::remove_file(key).unwrap();
    let escrow = job.home().join("my-escrow");
    std::fs::create_dir(&escrow).unwrap();
    let url = format!("file://{}", escrow.display());
    let outcome = allowed(job.clone().store_url(&url), &url).run().expect(20);
    expect_words(outcome.run_error(), &["its address says that keys are kept in it"]);
    job.run().expect(0);
}

/// The tiers of today, by a server: who had one and has none, or has two, is kept longest, until it is said that it has left.
#[test]
fn a_tenant_whose_tier_vanished_is_kept_under_the_longest_window() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let account = cluster.fresh_database("account").unwrap();
    let sql = |sql: &str| cluster.psql(&account, sql).unwrap();
    sql(
        "CREATE TABLE tenants (name text, tier text); INSERT INTO tenants VALUES ('acme.app', 'starter'), ('low.app', 'starter'), ('z.app', 'pro')",
    );
    let config = format!("[tiers.sql]\ndatabase = \"{account}\"\nquery = \"SELECT name, tier FROM tenants\"\n");
    let job = job().on(cluster).config(&config);
    let acme = nights(&job, "acme.app", "starter", [60, 3, 2, 1, 0]);
    let low = nights(&job, "low.app", "starter", [61, 3, 2, 1, 0]);
    let doomed = |job: &Job| planned(&job.clone().arg("--dry-run").run().expect(0), "delete");
    assert_eq!(doomed(&job), [acme[0].clone(), low[0].clone()]);
    // Nothing is remembered by a dry run.
    let seen = job.clone().set("retention.max_sets", "1").run().expect(0);
    assert_eq!(seen.item("low.app")["deleted"], 1, "the oldest goes first");
    sql("DELETE FROM tenants WHERE name = 'acme.app'; INSERT INTO tenants VALUES ('low.app', 'pro')");
    let outcome = job.run().expect(0);
    expect_words(&outcome.warnings(), &["acme.app (was starter)", "gives low.app two tiers", "longest window"]);
    assert!(sets(&job).contains(&acme[0]), "60 days are within a year");
    let later = job.run().expect(0);
    assert!(sets(&job).contains(&acme[0]) && !later.warnings().contains("was starter"), "kept by every later run too");
    // An answer without any row is no answer, and one of another day does not stand in for it here.
    sql("DELETE FROM tenants");
    refused(&job, &["look up today's tiers", "answers no row"]);
    sql("INSERT INTO tenants VALUES ('z.app', 'pro')");
    job.clone().args(["retire", "acme.app"]).run().expect(0);
    job.run().expect(0);
    assert!(!sets(&job).contains(&acme[0]), "its own window holds again");
}
