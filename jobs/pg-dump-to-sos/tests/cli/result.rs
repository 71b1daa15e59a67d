//! What stands on stdout and stderr.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    PROGRAM, by_hand, cluster,
    common::{Job, Outcome, expect_words},
    small_database, small_database_on, spoilt_cluster,
};

#[test]
fn the_result_is_one_json_object_with_the_contracts_fields() {
    let cluster = spoilt_cluster();
    let (good, bad) = (small_database_on(cluster, "good"), small_database_on(cluster, "bad"));
    cluster.psql("postgres", &format!("ALTER DATABASE {bad} ALLOW_CONNECTIONS false")).unwrap();
    let job = crate::common::job().on(cluster).only(&[&good, &bad]);
    let outcome = job.run().expect(3);
    assert_eq!(outcome.done.stdout.lines().count(), 1, "one line, nothing else");
    let report = &outcome.report;
    assert_eq!((&report["schema"], &report["job"], &report["outcome"]), (&1.into(), &"pg-dump-to-sos".into(), &"partial".into()));
    for key in ["run_id", "started_at", "finished_at", "version", "host"] {
        assert!(report[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {report}");
    }
    assert!(outcome.done.stderr.lines().all(|line| line.contains(report["run_id"].as_str().unwrap())), "{}", outcome.done.stderr);
    let done = outcome.item(&good);
    let set = job.store().set(&good);
    assert_eq!((&done["outcome"], &done["key"]), (&"done".into(), &set.key.to_string().into()));
    assert_eq!(
        (done["bytes"].as_u64(), done["content_bytes"].as_u64()),
        (Some(set.stored().len() as u64), Some(set.content().len() as u64))
    );
    assert!(done["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0) && done["error"].is_null(), "{done}");
    assert_eq!(done["rows"], 1000);
    let failed = outcome.item(&bad);
    assert!(failed["error"].is_string() && failed["key"].is_null() && failed["bytes"].is_null(), "{failed}");

    let text = by_hand(cluster, job.home(), &good, &[&format!("--only={bad}")]).expect_code(3);
    expect_words(&text.stdout, &[&good, &bad, "done", "failed"]);
    assert!(!text.stdout.contains('\u{1b}'), "no colour where nobody looks: {}", text.stdout);
    assert!(!text.stderr.contains('\u{1b}') && !text.stderr.contains('\r'), "no bars either: {}", text.stderr);
    let quiet = job.args(["--quiet", "--exclude", &bad]).run();
    assert_eq!((quiet.done.code(), quiet.report["outcome"].as_str()), (Some(0), Some("done")));
    assert!(!quiet.done.stderr.contains(" INFO "), "{}", quiet.done.stderr);
}

#[test]
fn logs_as_json_are_an_object_a_line() {
    let database = small_database("json_logs");
    let home = tempfile::tempdir().unwrap();
    let outcome = Outcome::of(by_hand(cluster(), home.path(), &database, &["--log-format", "json", "--output", "json"]).expect_code(0));
    let lines: Vec<&str> = outcome.done.stderr.lines().collect();
    assert!(lines.len() >= 3, "{lines:?}");
    for line in lines {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!((&object["run_id"], &object["job"]), (&outcome.report["run_id"], &outcome.report["job"]), "{line}");
    }
}

#[test]
fn a_dry_run_stores_nothing() {
    let database = small_database("dry");
    let job = crate::common::job().on(cluster()).only(&[&database]).arg("--dry-run");
    assert_eq!(job.run().expect(0).outcome(&database), "planned");
    assert!(!job.store().root().exists());
}

/// Runs the job by a shell, and gives its own exit code and the shell's standard error.
fn by_shell(job: &Job, database: &str, redirection: &str) -> (i32, String) {
    let store = job.store().root().display().to_string();
    let script = format!(
        "set -o pipefail; '{PROGRAM}' --only={database} --store 'file://{store}' --output json {redirection}; code=$?; echo \"code $code\" >&2"
    );
    let mut command = Command::new("/bin/bash");
    command.args(["-c", &script]).env_clear().envs(cluster().env()).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command.env("PLANA_JOBS__POSTGRES__BIN_DIRS", cluster().bin_dir()).env("PLANA_JOBS__STATE_DIR", job.home());
    let begun = Instant::now();
    let done = command.output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let code = said.lines().find_map(|line| line.strip_prefix("code ")).and_then(|code| code.parse().ok()).expect("a code");
    (code, said)
}

#[test]
fn a_result_that_nobody_takes_is_no_success() {
    for redirection in ["| sleep 0", "| head -c0", ">/dev/full"] {
        let (database, job) = (small_database("nobody"), crate::common::job());
        let (code, said) = by_shell(&job, &database, redirection);
        assert_eq!(code, 1, "{redirection}: {said}");
        expect_words(&said, &["failed to write the result to stdout"]);
        // The backup itself is good.
        job.store().set(&database);
    }
}

#[test]
fn logs_that_nobody_takes_do_no_harm() {
    for redirection in ["2>/dev/full", "2>&-", "2>&1 >/dev/null | head -c0"] {
        let (database, job) = (small_database("silent"), crate::common::job());
        let (code, said) = by_shell(&job, &database, redirection);
        assert_eq!(code, 0, "{redirection}: {said}");
        job.store().set(&database);
    }
}
