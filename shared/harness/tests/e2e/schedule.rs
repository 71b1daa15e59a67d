//! `--schedule`.

use std::collections::BTreeSet;

use plana_testkit::process::Signal;
use serde_json::Value;

use crate::support::{AtWork, Place};

#[test]
fn each_tick_is_a_run_of_its_own_with_the_configuration_of_its_time() {
    let place = Place::new("");
    let at_work =
        AtWork::start(place.command(&["--schedule", "* * * * * *", "--item", "a=done", "--output", "json", "--log-format", "json"]));
    at_work.wait_for("run done", 2);
    place.configure("[dump]\njops = 1\n");
    at_work.wait_for("run bad-config", 1);
    place.configure("");
    let seen = at_work.seen_times("run done");
    at_work.wait_for("run done", seen + 1);
    at_work.wait_for("waiting for the next run", seen + 3);
    at_work.signal(Signal::TERM);
    let ended = at_work.end();
    // Told to stop while nothing was at work (or, if a tick just came, cancelled with everything done).
    assert!(matches!(ended.code, Some(0 | 143)), "{:?} {}", ended.code, ended.stderr);
    let runs: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: BTreeSet<&str> = runs.iter().filter_map(|run| run["run_id"].as_str()).collect();
    assert!(runs.len() >= 4 && ids.len() == runs.len(), "{}", ended.stdout);
    // The log's lines carry the id of the run that they belong to.
    for id in ids {
        assert!(ended.stderr.contains(id), "{id}");
    }
}

#[test]
fn a_tick_during_a_run_is_skipped_and_a_signal_ends_the_run() {
    let place = Place::new("");
    let at_work = AtWork::start(place.command(&["--schedule", "* * * * * *", "--item", "a=done", "--each-ms", "30000"]));
    at_work.wait_for("skipped a scheduled run", 2);
    at_work.signal(Signal::TERM);
    let ended = at_work.end();
    assert_eq!(ended.code, Some(143), "{}", ended.stderr);
    assert_eq!(ended.logged("begins, run"), 1, "two runs at once: {}", ended.stderr);
}

#[test]
fn an_idle_schedule_ends_with_zero() {
    let place = Place::new("");
    let at_work = AtWork::start(place.command(&["--schedule", "0 3 29 2 *", "--item", "a=done"]));
    at_work.wait_for("waiting for the next run, at 20", 1);
    at_work.signal(Signal::TERM);
    let ended = at_work.end();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
}
