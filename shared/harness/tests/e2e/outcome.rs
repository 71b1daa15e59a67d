//! Exit codes, the result on stdout, the last log line.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Place, end, rehearsal};

#[test]
fn the_exit_code_says_how_it_ended() {
    let place = Place::new("");
    for (args, code, word) in [
        (&[][..], 0, "done"),
        (&["--item", "a=done"], 0, "done"),
        (&["--item", "a=failed"], 1, "failed"),
        (&["--item", "a=done", "--item", "b=failed"], 3, "partial"),
        (&["--item", "a=locked", "--item", "b=done"], 11, "left-to-other"),
        (&["--item", "a=done", "--then", "refused"], 20, "refused"),
        (&["--item", "a=done", "--then", "failed"], 1, "failed"),
        (&["--item", "a=done", "--item", "b=failed", "--dry-run"], 3, "partial"),
    ] {
        let ended = place.run(&[args, &["--output", "json"]].concat());
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.stderr);
        let whole = ended.json();
        assert_eq!((&whole["exit_code"], &whole["outcome"]), (&json!(code), &json!(word)), "{args:?}");
        let last = ended.stderr.lines().last().unwrap_or_default();
        assert!(last.contains(&format!("run {word}: ")), "{args:?}: {last}");
    }
}

#[test]
fn a_panic_is_a_failure_and_what_was_done_is_still_reported() {
    let ended = Place::new("").run(&["--item", "a=done", "--then", "panic", "--output", "json"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let whole = ended.json();
    assert_eq!(whole["items"][0]["outcome"], "done");
    assert!(whole["error"].as_str().unwrap().contains("a rehearsed defect"), "{whole}");
}

#[test]
fn a_bad_configuration_is_ten_and_still_one_object_on_stdout() {
    let place = Place::new("[dump]\njops = 3\n");
    let ended = place.run(&["--output", "json"]);
    assert_eq!(ended.code, Some(10));
    assert!(ended.json()["error"].as_str().unwrap().contains("jobs"), "{}", ended.stdout);
    assert!(ended.stderr.lines().last().unwrap().contains("jops"), "{}", ended.stderr);

    std::fs::remove_file(place.path("config.toml")).unwrap();
    let ended = place.run(&[]);
    assert_eq!(ended.code, Some(10));
    assert!(ended.stderr.contains("config.toml"), "{}", ended.stderr);

    let secret = Place::new("[events]\nurl = \"redis://127.0.0.1:1\"\npassword_file = \"/none/such\"\n").run(&[]);
    assert_eq!(secret.code, Some(10), "{}", secret.stderr);
}

#[test]
fn usage_is_two() {
    let place = Place::new("");
    for args in [&["--no-such-flag"][..], &["--output", "xml"], &["--schedule", "whenever"], &["--shard", "9/3"]] {
        assert_eq!(place.run(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn the_environment_names_the_file_too() {
    let place = Place::new("[dump]\njops = 3\n");
    let mut named = std::process::Command::new(rehearsal());
    named.env_clear().env("PLANA_JOBS_CONFIG", place.path("config.toml")).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(end(named).code, Some(10));
}

#[test]
fn flags_win_over_the_configuration() {
    let place = Place::new("[store.backups]\nurl = \"file:///srv/a\"\n");
    assert_eq!(place.run(&["--store", "file:///srv/b", "--jobs", "3"]).code, Some(0));
    let wrong = place.run(&["--store", "ftp://x"]);
    assert_eq!(wrong.code, Some(10));
    assert!(wrong.stderr.contains("--store"), "{}", wrong.stderr);
}

#[test]
fn every_json_log_line_names_the_job_and_the_run() {
    let ended = Place::new("").run(&["--item", "a\nb=failed", "--item", "c=done", "--log-format", "json", "--output", "json"]);
    let run_id = ended.json()["run_id"].clone();
    let lines: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 4, "{}", ended.stderr);
    for line in &lines {
        assert_eq!((&line["job"], &line["run_id"]), (&json!("pg-dump-to-sos"), &run_id), "{line}");
    }
    let last = lines.last().unwrap();
    assert_eq!((&last["outcome"], &last["exit_code"], &last["failed"]), (&json!("partial"), &json!(3), &json!(1)));
}

#[test]
fn a_name_cannot_forge_a_log_line() {
    let ended = Place::new("").run(&["--item", "a\u{1b}[2J\n2026-01-01T00:00:00Z  INFO [x] run done: all is well=failed"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.lines().all(|line| !line.starts_with("2026-01-01") && !line.contains('\u{1b}')), "{}", ended.stderr);
}

#[test]
fn a_dry_run_plans() {
    let place = Place::new("");
    let whole = place.run(&["--item", "a=done", "--dry-run", "--output", "json"]).json();
    assert_eq!((&whole["dry_run"], &whole["items"][0]["outcome"]), (&json!(true), &json!("planned")));
}

#[test]
fn quiet_says_only_what_is_wrong() {
    let place = Place::new("");
    assert_eq!(place.run(&["--item", "a=done", "--quiet"]).stderr, "");
    assert!(place.run(&["--item", "a=failed", "--quiet"]).stderr.contains("run failed"));
}

#[test]
fn check_prints_a_line_per_check() {
    let place = Place::new("");
    let ended = place.run(&["check"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.starts_with("ok       configuration"), "{}", ended.stdout);
    assert!(ended.stdout.contains("GRANT CONNECT"));
    let whole = place.run(&["check", "--output", "json"]).json();
    assert_eq!((&whole["exit_code"], &whole["checks"].as_array().unwrap().last().unwrap()["verdict"]), (&json!(1), &json!("problem")));
    place.configure("jops = 1");
    let ended = place.run(&["check"]);
    assert_eq!(ended.code, Some(10));
    assert!(ended.stdout.contains("PROBLEM") && ended.stdout.contains("jops"), "{}", ended.stdout);
}

#[test]
fn a_reader_that_goes_away_is_not_success() {
    let place = Place::new("");
    for args in [&["--item", "a=done"][..], &["--item", "a=done", "--output", "json"], &["check"]] {
        // A pipe whose reading end is closed: the write answers EPIPE, and must neither panic nor be lost.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.command(args);
        command.stdout(writer);
        let ended = end(command);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("write the result to stdout") && !ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[test]
fn a_log_that_nobody_reads_changes_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let place = Place::new("");
    let mut command = place.command(&["--item", "a=done", "--item", "b=failed"]);
    command.stderr(writer);
    let ended = end(command);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stdout.contains("1 done, 1 failed"), "{}", ended.stdout);
}

#[test]
fn the_journal_gets_priorities_and_kubernetes_json() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new("");
    let log = std::fs::File::create(place.path("log")).unwrap();
    let meta = log.metadata().unwrap();
    let mut journal = place.command(&["--item", "a=done", "--item", "b=failed"]);
    journal.env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino())).stderr(log);
    assert_eq!(end(journal).code, Some(3));
    let text = std::fs::read_to_string(place.path("log")).unwrap();
    assert!(text.starts_with("<6> INFO ") && text.contains("\n<3>ERROR pg b: failed to dump b"), "{text}");

    // Inherited, but stderr goes elsewhere.
    let mut elsewhere = place.command(&[]);
    elsewhere.env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()));
    assert!(end(elsewhere).stderr.starts_with("20"));

    let mut pod = place.command(&[]);
    pod.env("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    assert!(end(pod).stderr.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}
