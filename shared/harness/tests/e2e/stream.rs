//! Events on a real Redis, and what is left of a run when it is away, stopped, slow, or wants a password.

use std::{net::TcpListener, time::Duration};

use plana_testkit::{
    process::{Port, Signal},
    proxy::{Direction, TcpProxy, Toxic},
};
use serde_json::{Value, json};

use crate::support::{Ended, Place, Server};

const WORK: [&str; 6] = ["--item", "a=done", "--item", "b=failed", "--item", "c=failed"];

fn config(port: u16, more: &str) -> Place {
    Place::new(&format!("[events]\nurl = \"redis://127.0.0.1:{port}\"\ntimeout = \"1s\"\n{more}"))
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()?.strip_prefix("app.plana.jobs.")).collect()
}

/// The run is what it would be without events: the exit code, one warning, and no more time than one event may take.
fn unharmed(ended: &Ended, reason: &str) {
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let warnings = ended.stderr.lines().filter(|line| line.contains("event")).collect::<Vec<_>>();
    assert_eq!(warnings.len(), 1, "{}", ended.stderr);
    assert!(warnings[0].contains("WARN") && warnings[0].contains(reason), "{reason:?}: {}", ended.stderr);
    assert!(ended.took < Duration::from_millis(2500), "{:?}", ended.took);
    assert!(ended.stderr.lines().last().is_some_and(|line| line.contains("run partial")), "{}", ended.stderr);
}

#[test]
fn a_run_and_its_failures_are_on_the_stream() {
    let redis = Server::redis(&[]);
    let place = config(redis.port, "max_len = 100\n");
    let ended = place.run(&[&WORK[..], &["--output", "json"]].concat());
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let events = redis.events("PLANA:events", None);
    assert_eq!(kinds(&events), ["run.started", "rehearsal.begun", "item.failed", "item.failed", "run.finished"]);
    let last = events.last().unwrap();
    assert_eq!(
        (&last["specversion"], &last["data"]["exit_code"], &last["data"]["totals"]["failed"]),
        (&json!("1.0"), &json!(3), &json!(2))
    );
    assert_eq!(last["data"]["run_id"], ended.json()["run_id"]);
    assert_eq!(ended.logged("WARN"), 0, "{}", ended.stderr);
}

#[test]
fn committed_backups_are_events_only_where_they_are_asked_for() {
    let redis = Server::redis(&[]);
    assert_eq!(config(redis.port, "detail = \"all\"\n").run(&WORK).code, Some(3));
    assert!(kinds(&redis.events("PLANA:events", None)).contains(&"backup.committed"));
}

#[test]
fn the_stream_stays_short() {
    let redis = Server::redis(&["--stream-node-max-entries", "10"]);
    let place = config(redis.port, "max_len = 20\n");
    let items: Vec<String> = (0..200).map(|number| format!("n{number}=failed")).collect();
    let args: Vec<&str> = items.iter().flat_map(|item| ["--item", item.as_str()]).collect();
    assert_eq!(place.run(&args).code, Some(1));
    let left = redis.events("PLANA:events", None).len();
    assert!((20..60).contains(&left), "{left}");
}

#[test]
fn a_dry_run_tells_nobody() {
    let redis = Server::redis(&[]);
    assert_eq!(config(redis.port, "").run(&[&WORK[..], &["--dry-run"]].concat()).code, Some(3));
    assert_eq!(redis.events("PLANA:events", None).len(), 0);
}

#[test]
fn a_password_comes_from_a_file_and_is_never_shown() {
    let redis = Server::redis(&["--requirepass", "hunter2/:@ x"]);
    let place = config(redis.port, "");
    let file = place.path("password");
    std::fs::write(&file, "hunter2/:@ x\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let with_password = config(redis.port, &format!("password_file = {file:?}\n"));
    let ended = with_password.run(&[&WORK[..], &["--log-level", "trace"]].concat());
    assert_eq!(ended.code, Some(3));
    assert_eq!(redis.events("PLANA:events", Some("hunter2/:@ x")).len(), 5, "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);

    unharmed(&place.run(&WORK), "asks for a password");
    let wrong = Place::new(&format!("[events]\nurl = \"redis://:s3cr3t@127.0.0.1:{}\"\n", redis.port)).run(&WORK);
    unharmed(&wrong, "does not accept the password");
    assert!(!wrong.stderr.contains("s3cr3t"), "{}", wrong.stderr);
}

#[test]
fn a_user_without_the_right_to_add_costs_one_warning() {
    let redis = Server::redis(&["--user", "jobs", "on", ">x", "~*", "-@all", "+auth", "+hello", "+client"]);
    let place = Place::new(&format!("[events]\nurl = \"redis://jobs:x@127.0.0.1:{}\"\n", redis.port));
    unharmed(&place.run(&WORK), "may not XADD");
}

#[test]
fn a_server_that_is_away_costs_one_warning() {
    let port = Port::claim().unwrap();
    unharmed(&config(port.number(), "").run(&WORK), "away");
}

#[test]
fn a_server_that_is_stopped_costs_one_timeout_in_all() {
    let redis = Server::redis(&[]);
    redis.signal(Signal::STOP);
    let ended = config(redis.port, "").run(&WORK);
    unharmed(&ended, "within 1s");
    redis.signal(Signal::CONT);
}

#[test]
fn a_server_that_stops_midway_costs_one_timeout_in_all() {
    let redis = Server::redis(&[]);
    let place = config(redis.port, "");
    let at_work = crate::support::AtWork::start(place.command(&[&WORK[..], &["--each-ms", "700"]].concat()));
    at_work.wait_for("pg a: done", 1);
    redis.signal(Signal::STOP);
    let ended = at_work.end();
    redis.signal(Signal::CONT);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert_eq!(ended.logged("event stream"), 1, "{}", ended.stderr);
    assert!(ended.took < Duration::from_millis(4500), "{:?}", ended.took);
}

#[test]
fn a_listener_that_is_no_redis_costs_one_warning() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(500));
    });
    unharmed(&config(port, "").run(&WORK), "away");
    answers.join().unwrap();
}

#[test]
fn check_says_whether_the_stream_takes_events_and_adds_none() {
    let redis = Server::redis(&["--user", "jobs", "on", ">x", "~*", "-@all", "+auth", "+hello", "+client"]);
    let line = |place: &Place| {
        let whole = place.run(&["check", "--output", "json"]).json();
        let lines = whole["checks"].as_array().unwrap().clone();
        let line = lines.into_iter().find(|line| line["subject"] == "event stream").unwrap();
        (line["verdict"].clone(), line["found"].as_str().unwrap().to_owned())
    };
    assert_eq!(line(&config(redis.port, "")), (json!("ok"), "PLANA:events takes events".to_owned()));
    assert!(redis.events("PLANA:events", None).is_empty());
    let (verdict, found) = line(&Place::new(&format!("[events]\nurl = \"redis://jobs:x@127.0.0.1:{}\"\n", redis.port)));
    assert!(verdict == "warning" && found.contains("XADD"), "{verdict} {found}");
    redis.signal(Signal::STOP);
    let (verdict, found) = line(&config(redis.port, ""));
    redis.signal(Signal::CONT);
    assert!(verdict == "warning" && found.contains("within 1s"), "{verdict} {found}");
}

#[test]
fn a_slow_server_costs_one_timeout_in_all() {
    let redis = Server::redis(&[]);
    let proxy = TcpProxy::start(redis.port).unwrap();
    proxy.add(Toxic::Latency(Direction::Down, Duration::from_millis(400)));
    // Each event is within its time; all of them together would take a quarter of a minute.
    let items: Vec<String> = (0..40).map(|number| format!("n{number}=failed")).collect();
    let args: Vec<&str> = items.iter().flat_map(|item| ["--item", item.as_str()]).collect();
    let ended = config(proxy.port(), "").run(&args);
    assert_eq!((ended.code, ended.logged("the last events are left out")), (Some(1), 1), "{}", ended.stderr);
    let events = redis.events("PLANA:events", None).len();
    assert!((1..20).contains(&events) && ended.took < Duration::from_millis(6500), "{events} {:?}", ended.took);
}
