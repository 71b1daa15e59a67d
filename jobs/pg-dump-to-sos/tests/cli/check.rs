//! `check`, in text and as JSON.

use serde_json::Value;

use crate::{
    by_hand, cluster,
    common::{Outcome, bucket::S3, expect_words, look::Look},
};

#[test]
fn check_in_text_and_json() {
    let job = crate::common::job().on(cluster()).arg("check");
    std::fs::create_dir(job.store().root()).unwrap();
    let outcome = Outcome::of(job.run().done.expect_code(0));
    let checks = outcome.report["checks"].as_array().expect("checks");
    assert_eq!((&outcome.report["schema"], &outcome.report["job"]), (&Value::from(1), &Value::from("pg-dump-to-sos")));
    for subject in ["configuration", "encryption", "server", "pg_dump", "pg_dumpall", "store", "store safety"] {
        let line = checks.iter().find(|line| line["subject"] == subject).unwrap_or_else(|| panic!("{subject}: {checks:#?}"));
        assert!(matches!(line["verdict"].as_str(), Some("ok" | "warning")), "{line}");
        assert!(line["found"].as_str().is_some_and(|found| !found.is_empty()));
        assert_eq!(line["verdict"] == "warning", line["advice"].is_string(), "a warning says what to do: {line}");
    }
    let text = by_hand(cluster(), job.home(), "any", &["check"]).expect_code(0);
    expect_words(&text.stdout, &["ok", "server", "PostgreSQL 16", "warning", "encryption", "recipients"]);
    assert!(text.stdout.lines().last().is_some_and(|line| line.contains(" ok")), "{}", text.stdout);
    assert!(job.store().files().is_empty(), "{:?}", job.store().files());
}

#[test]
fn check_goes_on_after_what_is_wrong_and_says_so_by_its_exit_code() {
    let s3 = S3::new("check");
    let job = crate::common::job().on(cluster()).into_bucket(&s3).arg("check");
    let good = Outcome::of(job.run().done.expect_code(0));
    let found = good.report["checks"].to_string();
    expect_words(&found, &["the key may put objects", "the key may list the bucket", "s apart from the store's"]);
    assert!(!found.contains("the key may also"), "{found}");
    // What it leaves is marked as a probe, or nothing.
    assert!(s3.objects().iter().all(|object| object.key.starts_with("probe/")), "{:?}", s3.objects());

    let gone = Outcome::of(job.clone().store_url("s3://no-such-bucket-anywhere").run().done.expect_code(10));
    let found = gone.report["checks"].to_string();
    expect_words(&found, &["no such bucket", "PostgreSQL 16"]);

    let port = plana_testkit::process::Port::claim().unwrap();
    let away = job.env("PGHOST", "127.0.0.1").env("PGPORT", port.number().to_string());
    let away = Outcome::of(away.run().done.expect_code(1));
    expect_words(&away.report["checks"].to_string(), &["connect to PostgreSQL", "the key may list the bucket"]);

    let unknown = Outcome::of(crate::common::job().arg("check").env("PLANA_JOBS__DUMP__JOBBS", "1").run().done.expect_code(10));
    expect_words(&unknown.report["checks"].to_string(), &["PLANA_JOBS__DUMP__JOBBS"]);
}
