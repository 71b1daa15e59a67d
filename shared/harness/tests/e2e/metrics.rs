//! The textfile, and a real Pushgateway.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use plana_testkit::process::{Port, Signal};

use crate::support::{Place, Server};

fn textfile() -> (Place, impl Fn() -> String) {
    let place = Place::new("");
    let dir = place.path("prom");
    std::fs::create_dir(&dir).unwrap();
    place.configure(&format!("[metrics]\ntextfile_dir = {dir:?}\n"));
    (place, move || std::fs::read_to_string(dir.join("plana_jobs_pg_dump_to_sos.prom")).unwrap())
}

/// The names that have a newest backup.
fn names(text: &str) -> BTreeSet<String> {
    let newest = text.lines().filter(|line| line.starts_with("plana_jobs_backup_newest_timestamp_seconds{"));
    newest.map(|line| line.split("name=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn value(text: &str, start: &str) -> Option<f64> {
    text.lines().find(|line| line.starts_with(start)).map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn the_textfile_holds_the_job_and_its_names() {
    let (place, text) = textfile();
    assert_eq!(place.run(&["--item", "a=done", "--item", "b=done"]).code, Some(0));
    assert_eq!(names(&text()), set(&["a", "b"]));
    let success = value(&text(), "plana_jobs_last_success_timestamp_seconds{plana_job=\"pg-dump-to-sos\"}").unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    // By hand: touches its own name only.
    assert_eq!(place.run(&["--item", "a=done", "--item", "c=done", "--only", "c"]).code, Some(0));
    assert_eq!(names(&text()), set(&["a", "b", "c"]));
    assert_eq!(value(&text(), "plana_jobs_last_success_timestamp_seconds"), Some(success));
    // The server is away: what is known stays.
    assert_eq!(place.run(&["--then", "failed"]).code, Some(1));
    assert_eq!(names(&text()), set(&["a", "b", "c"]));
    assert_eq!(value(&text(), "plana_jobs_last_run_exit_code"), Some(1.0));
    assert_eq!(value(&text(), "plana_jobs_last_success_timestamp_seconds"), Some(success));
    // A dry run: nothing.
    let before = text();
    assert_eq!(place.run(&["--item", "z=done", "--dry-run"]).code, Some(0));
    assert_eq!(text(), before);
    // A whole run: what is gone goes.
    assert_eq!(place.run(&["--item", "a=done", "--item", "b=failed"]).code, Some(3));
    assert_eq!(names(&text()), set(&["a", "b"]));
}

#[test]
fn shards_that_run_at_once_share_the_textfile() {
    let (place, text) = textfile();
    let items: Vec<String> = (0..20).map(|number| format!("n{number}=done")).collect();
    let items: Vec<&str> = items.iter().flat_map(|item| ["--item", item.as_str()]).collect();
    std::thread::scope(|scope| {
        for shard in ["0/4", "1/4", "2/4", "3/4"] {
            let (place, items) = (&place, &items);
            scope.spawn(move || assert_eq!(place.run(&[&items[..], &["--shard", shard]].concat()).code, Some(0)));
        }
    });
    assert_eq!(names(&text()).len(), 20, "{}", text());
    assert_eq!(text().matches("plana_jobs_last_success_timestamp_seconds{").count(), 4);
}

#[test]
fn a_directory_that_is_not_there_costs_one_warning() {
    let ended = Place::new("[metrics]\ntextfile_dir = \"/none/such\"\n").run(&["--item", "a=done"]);
    assert_eq!((ended.code, ended.logged("the metrics could not be written to /none/such")), (Some(0), 1), "{}", ended.stderr);
}

/// What Prometheus would scrape from the gateway.
fn scrape(server: &Server) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_pushgateway_holds_the_same() {
    let gateway = Server::pushgateway();
    let place = Place::new(&format!("[metrics]\npushgateway = \"http://127.0.0.1:{}/\"\n", gateway.port));
    let run = |args: &[&str], code| {
        let ended = place.run(args);
        assert_eq!((ended.code, ended.logged("WARN")), (Some(code), 0), "{}", ended.stderr);
    };
    let success = "plana_jobs_last_success_timestamp_seconds{";
    run(&["--item", "a/b=done", "--item", "é\"x=done"], 0);
    let first = scrape(&gateway);
    assert_eq!(names(&first), set(&["a/b", "é\\"]), "{first}");
    assert!(first.contains("job=\"pg-dump-to-sos\"") && first.contains("name=\"é\\\"x\""), "{first}");
    let succeeded = value(&first, success).unwrap();
    run(&["--item", "c=done", "--only", "c"], 0);
    run(&["--item", "n=done", "--shard", "0/2"], 0);
    run(&["--item", "n=done", "--shard", "1/2"], 0);
    // A failed run keeps the last success, one that saw nothing keeps the names.
    std::thread::sleep(Duration::from_millis(1100));
    let ended = place.run(&["--then", "failed"]);
    assert_eq!(ended.code, Some(1));
    let second = scrape(&gateway);
    assert_eq!(names(&second), set(&["a/b", "é\\", "c", "n"]), "{second}");
    assert_eq!(second.matches(success).count(), 3, "{second}");
    assert!(second.contains(&format!("{succeeded:e}").replace('e', "e+0")) || value(&second, success) == Some(succeeded), "{second}");
    // A whole run does away with names that are gone, and with the shards.
    let ended = place.run(&["--item", "c=failed"]);
    assert_eq!(ended.code, Some(1));
    let third = scrape(&gateway);
    assert_eq!(names(&third), set(&["c"]), "{third}");
    assert_eq!(third.matches(success).count(), 1, "{third}");
}

#[test]
fn a_pushgateway_that_is_away_or_stopped_costs_one_warning() {
    let port = Port::claim().unwrap();
    let away = Place::new(&format!("[metrics]\npushgateway = \"http://u:s3cr3t@127.0.0.1:{}\"\n", port.number()));
    let ended = away.run(&["--item", "a=done", "--log-level", "trace"]);
    assert_eq!((ended.code, ended.logged("the metrics could not be pushed")), (Some(0), 1), "{}", ended.stderr);
    assert!(!ended.stderr.contains("s3cr3t"), "{}", ended.stderr);

    let gateway = Server::pushgateway();
    gateway.signal(Signal::STOP);
    let stopped = Place::new(&format!("[metrics]\npushgateway = \"http://127.0.0.1:{}\"\n", gateway.port));
    let ended = stopped.run(&["--item", "a=done", "--item", "b=done"]);
    gateway.signal(Signal::CONT);
    assert_eq!((ended.code, ended.logged("the metrics could not be pushed")), (Some(0), 1), "{}", ended.stderr);
    assert!(ended.took < Duration::from_secs(13), "{:?}", ended.took);
}

#[test]
fn check_says_where_metrics_and_state_cannot_go() {
    let gateway = Server::pushgateway();
    let place = Place::new(&format!("[metrics]\npushgateway = \"http://127.0.0.1:{}\"\ntextfile_dir = \"/none/such\"\n", gateway.port));
    let verdicts = |place: &Place| -> Vec<String> {
        let whole = place.run(&["check", "--output", "json"]).json();
        let lines = whole["checks"].as_array().unwrap().clone();
        let ours = ["state directory", "metrics textfile", "Pushgateway"];
        let ours = lines.iter().filter(|line| ours.contains(&line["subject"].as_str().unwrap()));
        ours.map(|line| format!("{}: {}", line["subject"].as_str().unwrap(), line["verdict"].as_str().unwrap())).collect()
    };
    assert_eq!(verdicts(&place), ["state directory: ok", "metrics textfile: warning", "Pushgateway: ok"]);
    drop(gateway);
    assert_eq!(verdicts(&place).last().unwrap(), "Pushgateway: warning");
    assert!(!place.path("state").exists());
}

#[test]
fn a_check_leaves_metrics_only_when_it_is_asked_to() {
    let (place, text) = textfile();
    assert_eq!(place.run(&["check"]).code, Some(1));
    assert!(!std::fs::exists(place.path("prom/plana_jobs_pg_dump_to_sos.prom")).unwrap());
    assert_eq!(place.run(&["check", "--metrics"]).code, Some(1));
    for line in ["plana_jobs_key_needless_rights{plana_job=\"pg-dump-to-sos\"} 1\n", "verdict=\"problem\"} 1\n"] {
        assert!(text().contains(line), "{}", text());
    }
    assert!(!text().contains("last_run"), "{}", text());
    let gateway = Server::pushgateway();
    let place = Place::new(&format!("[metrics]\npushgateway = \"http://127.0.0.1:{}/\"\n", gateway.port));
    place.run(&["check"]);
    assert!(!scrape(&gateway).contains("plana_jobs_"));
    place.run(&["check", "--metrics"]);
    assert_eq!(value(&scrape(&gateway), "plana_jobs_key_needless_rights{"), Some(1.0));
}
