//! What is wrong with the configuration, and where: exit 10.

use std::path::Path;

use plana_testkit::bin::Bin;

use crate::{
    PROGRAM, cluster,
    common::{Job, Outcome, expect_words},
    small_database,
};

/// Bad configuration: exit 10, these words, nothing done.
#[track_caller]
fn expect_bad(job: &Job, words: &[&str]) -> Outcome {
    let outcome = job.run().expect(10);
    assert_eq!(outcome.report["outcome"], "bad-config");
    expect_words(outcome.run_error(), words);
    expect_words(&outcome.done.stderr, words);
    assert!(outcome.report["items"].as_array().is_some_and(Vec::is_empty));
    job.store().expect_no_manifest();
    assert!(!job.store().root().exists(), "nothing is made by a run that cannot begin");
    outcome
}

#[test]
fn an_unknown_key_in_the_file() {
    let job = crate::common::job().on(cluster());
    let job = job.config("[dump]\njobs = 2\ncompresion_level = 3\n");
    expect_bad(&job, &["config.toml:3", "dump.compresion_level", "unknown", "compression_level"]);
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let job = crate::common::job()
        .on(cluster())
        .config("[dump]\njobs = \"two\"\nstall_timeout = \"soon\"\n\n[strore.backups]\nurl = \"file:///x\"\n");
    expect_bad(&job, &["config.toml:2", "dump.jobs", "config.toml:3", "dump.stall_timeout", "config.toml:5", "strore", "store"]);
}

#[test]
fn an_unknown_key_in_a_drop_in() {
    let job = crate::common::job().on(cluster()).config("[dump]\njobs = 2\n");
    let drop_ins = job.home().join("conf.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(drop_ins.join("50-local.toml"), "# ours\n[events]\nurll = \"redis://localhost\"\n").unwrap();
    expect_bad(&job, &["conf.d/50-local.toml:3", "events.urll", "unknown", "url"]);
    std::fs::write(drop_ins.join("50-local.toml"), "[dump]\njobs = 0\n").unwrap();
    expect_bad(&job, &["conf.d/50-local.toml:2", "dump.jobs"]);
}

#[test]
fn an_unknown_key_in_the_environment() {
    let job = crate::common::job().on(cluster()).env("PLANA_JOBS__DUMP__JOBBS", "2");
    expect_bad(&job, &["PLANA_JOBS__DUMP__JOBBS", "dump.jobbs", "unknown", "PLANA_JOBS__DUMP__JOBS"]);
    let job = crate::common::job().on(cluster()).env("PLANA_JOBS__DUMP__JOBS", "a few");
    expect_bad(&job, &["PLANA_JOBS__DUMP__JOBS", "dump.jobs"]);
    let job = crate::common::job().on(cluster()).env("PLANA_JOBS__STORE__BACKUPS__URL", "ftp://somewhere/else");
    expect_bad(&job, &["store.backups.url", "s3://", "file://"]);
}

#[test]
fn no_error_shows_a_secret() {
    let secret = "hunter2-is-secret";
    for (name, value) in [
        ("PLANA_JOBS__POSTGRES__DSN", format!("postgres://u:{secret}@[broken/db")),
        ("PLANA_JOBS__POSTGRES__DSN", format!("host=x password={secret} nonsense")),
        ("PLANA_JOBS__EVENTS__URL", format!("rediss//:{secret}@x")),
    ] {
        let outcome = crate::common::job().on(cluster()).env(name, &value).arg("--dry-run").run();
        let said = format!("{}{}", outcome.done.stdout, outcome.done.stderr);
        assert!(!said.contains(secret), "{name}={value}:\n{said}");
    }
}

#[test]
fn a_bad_connection_string() {
    for (dsn, words) in [
        ("postgres://somewhere:notaport/db", &["port"][..]),
        ("host=localhost prot=5432", &["prot"]),
        ("mysql://localhost/db", &["postgres"]),
    ] {
        let job = crate::common::job().at(dsn, cluster().bin_dir());
        expect_bad(&job, words);
    }
    let job = crate::common::job().set("postgres.dsn_env", "NO_SUCH_VARIABLE");
    expect_bad(&job, &["postgres.dsn_env", "NO_SUCH_VARIABLE"]);
}

#[test]
fn a_configuration_file_that_is_not_there() {
    let job = crate::common::job().on(cluster());
    expect_bad(&job.clone().args(["--config", "/nonexistent/plana.toml"]), &["/nonexistent/plana.toml"]);
    expect_bad(&job.clone().env("PLANA_JOBS_CONFIG", "/nonexistent/other.toml"), &["/nonexistent/other.toml"]);
    expect_bad(&job.config("[dump\n"), &["config.toml"]);
}

#[test]
fn no_store_is_configured() {
    let bin = Bin::program(PROGRAM).envs(cluster().env()).env("PLANA_JOBS__POSTGRES__BIN_DIRS", cluster().bin_dir());
    let outcome = Outcome::of(bin.args(["--output", "json"]).run().unwrap()).expect(10);
    expect_words(outcome.run_error(), &["store", "--store", "file:///", "s3://"]);
}

#[test]
fn keys_for_the_store_are_missing() {
    let job = crate::common::job().on(cluster()).store_url("s3://bucket/prefix").set("store.backups.region", "bg-sof-1");
    expect_bad(&job, &["access_key_id", "AWS_ACCESS_KEY_ID"]);
}

#[test]
fn every_layer_may_set_a_key_and_the_later_wins() {
    let database = small_database("layers");
    let job = crate::common::job().on(cluster()).only(&[&database]).config("[dump]\nscratch_prefix = \"layers\"\n");
    let outcome = job.run().expect(0);
    assert!(outcome.databases("done").is_empty(), "the file's prefix leaves it out");
    let drop_ins = job.home().join("conf.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(drop_ins.join("a.toml"), "[dump]\nscratch_prefix = \"another\"\n").unwrap();
    assert_eq!(job.run().expect(0).outcome(&database), "done", "the drop-in wins over the file");
    let outcome = job.clone().set("dump.scratch_prefix", "layers").run().expect(0);
    assert!(outcome.databases("done").is_empty(), "the environment wins over the drop-in");
    let elsewhere = format!("file://{}", job.home().join("by-flag").display());
    assert_eq!(job.clone().args(["--store", &elsewhere]).run().expect(0).outcome(&database), "done");
    assert!(Path::new(elsewhere.trim_start_matches("file://")).join("pg").join(&database).exists(), "the flag wins over all");
}
