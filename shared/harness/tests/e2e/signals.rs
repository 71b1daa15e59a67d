//! SIGINT and SIGTERM.

use std::time::Duration;

use plana_testkit::process::Signal;
use serde_json::json;

use crate::support::{AtWork, Place};

#[test]
fn a_signal_cancels_and_the_job_cleans_up() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let place = Place::new("");
        let clean_up = place.path("clean");
        let args = ["--item", "a=done", "--item", "b=done", "--item", "c=done", "--each-ms", "1500", "--output", "json"];
        let mut command = place.command(&args);
        command.arg("--clean-up").arg(&clean_up);
        let at_work = AtWork::start(command);
        at_work.wait_for("pg a: done", 1);
        at_work.signal(signal);
        let ended = at_work.end();
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(clean_up.exists(), "the job was not given the time to clean up");
        assert!(ended.took < Duration::from_secs(4), "{:?}", ended.took);
        let whole = ended.json();
        assert_eq!((&whole["outcome"], &whole["exit_code"]), (&json!("cancelled"), &json!(code)));
        assert_eq!((&whole["totals"]["done"], &whole["totals"]["cancelled"]), (&json!(1), &json!(2)));
        assert!(ended.stderr.lines().last().unwrap().contains("run cancelled"), "{}", ended.stderr);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let place = Place::new("");
    let at_work = AtWork::start(place.command(&["--item", "a=done", "--each-ms", "60000", "--stubborn"]));
    at_work.wait_for("begins", 1);
    at_work.signal(Signal::INT);
    at_work.wait_for("cancelling and cleaning up", 1);
    at_work.signal(Signal::TERM);
    let ended = at_work.end();
    assert_eq!(ended.code, Some(143), "{}", ended.stderr);
    assert!(ended.took < Duration::from_secs(10) && ended.stdout.is_empty());
}

#[test]
fn a_job_that_does_not_listen_is_left_after_the_grace() {
    let place = Place::new("");
    let at_work = AtWork::start(place.command(&["--item", "a=done", "--each-ms", "120000", "--stubborn", "--output", "json"]));
    at_work.wait_for("begins", 1);
    at_work.signal(Signal::TERM);
    let ended = at_work.end();
    assert_eq!(ended.code, Some(143), "{}", ended.stderr);
    assert!(ended.took > Duration::from_secs(24) && ended.took < Duration::from_secs(30), "{:?}", ended.took);
    assert!(ended.json()["error"].as_str().unwrap().contains("clean up within"), "{}", ended.stdout);
}
