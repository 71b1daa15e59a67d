//! What stands beside a run: the event stream, metrics, pings, the clock, the locale. None of it decides how a run ends.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::Permissions,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use common::{Job, Outcome, bucket::S3, expect_words, look::Look};
use plana_plan::Area;
use plana_testkit::{
    pg::{PgCluster, PgMajor},
    process::Port,
    redis::RedisServer,
};
use serde_json::Value;

fn cluster() -> &'static PgCluster {
    PgCluster::shared(PgMajor::V16)
}

fn small_database(cluster: &PgCluster, prefix: &str) -> String {
    let name = cluster.fresh_database(prefix).unwrap();
    cluster.psql(&name, "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 1000) AS i").unwrap();
    name
}

/// A run over one database that works.
fn job(prefix: &str) -> (String, Job) {
    let database = small_database(cluster(), prefix);
    let job = crate::common::job().on(cluster()).only(&[&database]);
    (database, job)
}

/// The database is done and its backup is there, whatever stood beside it.
#[track_caller]
fn expect_done(job: &Job, database: &str) -> Outcome {
    let outcome = job.run().expect(0);
    assert_eq!(outcome.outcome(database), "done");
    job.store().set(database);
    outcome
}

// ---- the event stream ------------------------------------------------------------------------------------------------

const STREAM: &str = "PLANA:events";

/// The events on the stream, the oldest first.
fn events(redis: &RedisServer) -> Vec<Value> {
    let listed = redis.cli(&["XRANGE", STREAM, "-", "+"]).unwrap();
    listed.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Exactly one warning, and it is about the stream.
#[track_caller]
fn expect_one_warning(outcome: &Outcome, words: &[&str]) {
    let warned: Vec<&str> = outcome.done.stderr.lines().filter(|line| line.contains(" WARN ")).collect();
    let [warning] = &warned[..] else { panic!("one warning, not {}:\n{}", warned.len(), outcome.done.stderr) };
    expect_words(warning, &["event stream"]);
    expect_words(warning, words);
}

#[test]
fn no_redis_costs_one_warning() {
    let (database, job) = job("no_redis");
    let nowhere = Port::claim().unwrap();
    let job = job.set("events.url", &format!("redis://127.0.0.1:{}/", nowhere.number())).set("events.detail", "all");
    let outcome = expect_done(&job, &database);
    expect_one_warning(&outcome, &["is away", "left out", "refused"]);
}

#[test]
fn a_redis_that_says_nothing_costs_one_warning_and_one_timeout() {
    let (database, job) = job("slow_redis");
    let clean = expect_done(&job, &database).done.elapsed;
    let redis = RedisServer::start().unwrap();
    redis.pause().unwrap();
    // Four events: whoever waited for each would lose twelve seconds.
    let job = job.clone().set("events.url", &redis.url()).set("events.timeout", "3s").set("events.detail", "all");
    let job = job.clone().store_url(&format!("file://{}", job.home().join("other").display()));
    let outcome = job.run().expect(0);
    assert_eq!(outcome.outcome(&database), "done");
    expect_one_warning(&outcome, &["did not answer within 3s"]);
    assert!(outcome.done.elapsed < clean * 2 + Duration::from_secs(5), "{:?} after {clean:?} without", outcome.done.elapsed);
    redis.resume().unwrap();
    assert_eq!(redis.cli(&["EXISTS", STREAM]).unwrap(), "0", "an event after the run would speak of the past");
}

#[test]
fn a_redis_that_is_stopped_in_the_middle_costs_one_warning() {
    let (database, job) = job("stopped_redis");
    let redis = RedisServer::start().unwrap();
    let job = job.set("events.url", &redis.url()).set("upload.bandwidth", "4KiB");
    let mut running = job.spawn();
    running.wait_until("the first event", |_| redis.cli(&["XLEN", STREAM]).unwrap() == "1").unwrap();
    redis.stop();
    let outcome = Outcome::wait(running).expect(0);
    assert_eq!(outcome.outcome(&database), "done");
    expect_one_warning(&outcome, &[]);
}

#[test]
fn a_redis_that_demands_a_password() {
    let password = "p@ss:w/ord %41 \"quoted\"";
    let redis = RedisServer::with_password(password).unwrap();
    let (database, job) = job("password");
    let job = job.set("events.url", &redis.url_without_password());

    let outcome = expect_done(&job, &database);
    expect_one_warning(&outcome, &["asks for a password", "events.password_file"]);

    let wrong = job.clone().set("events.password", "a wrong secret").args(["--missing-within", "12h"]);
    let outcome = wrong.run().expect(0);
    expect_one_warning(&outcome, &["does not accept the password"]);
    assert!(!format!("{}{}", outcome.done.stdout, outcome.done.stderr).contains("a wrong secret"));
    assert!(events(&redis).is_empty());

    let file = job.home().join("redis-password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    for (at, right) in [
        job.clone().set("events.password_file", file.to_str().unwrap()),
        job.clone().set("events.password", password),
        job.clone().set("events.url", &redis.url()),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = right.args(["--missing-within", "12h"]).run().expect(0);
        assert!(!outcome.done.stderr.contains("WARN"), "{}", outcome.done.stderr);
        assert!(!format!("{}{}", outcome.done.stdout, outcome.done.stderr).contains(password));
        assert_eq!(events(&redis).len(), 2 * (at + 1));
    }
}

#[test]
fn events_are_cloudevents_of_what_happened() {
    let redis = RedisServer::start().unwrap();
    let (good, bad) = (small_database(cluster(), "good"), small_database(cluster(), "bad"));
    cluster().psql("postgres", &format!("ALTER DATABASE {bad} ALLOW_CONNECTIONS false")).unwrap();
    let job = crate::common::job().on(cluster()).only(&[&good, &bad]).set("events.url", &redis.url());
    let outcome = job.run().expect(3);
    let found = events(&redis);
    let kinds: Vec<&str> = found.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds, ["app.plana.jobs.run.started", "app.plana.jobs.item.failed", "app.plana.jobs.run.finished"]);
    let mut ids = BTreeSet::new();
    for event in &found {
        assert_eq!((&event["specversion"], &event["datacontenttype"]), (&Value::from("1.0"), &Value::from("application/json")));
        assert!(event["source"].as_str().unwrap().ends_with("/pg-dump-to-sos"), "{event}");
        let time: DateTime<Utc> = event["time"].as_str().unwrap().parse().unwrap();
        assert!((Utc::now() - time).abs() < TimeDelta::minutes(2));
        assert_eq!((&event["data"]["run_id"], &event["data"]["job"]), (&outcome.report["run_id"], &outcome.report["job"]));
        assert!(ids.insert(event["id"].as_str().unwrap().to_owned()), "an id comes once");
    }
    assert_eq!(found[1]["subject"], format!("pg/{bad}"));
    assert_eq!(found[1]["data"]["error"], outcome.error(&bad));
    let data = &found[2]["data"];
    assert_eq!((&data["outcome"], &data["exit_code"]), (&Value::from("partial"), &Value::from(3)));
    assert_eq!(data["totals"]["done"], 1);

    // With detail, one for each backup too; a dry run tells nobody.
    let all = job.clone().set("events.detail", "all").args(["--exclude", &bad]);
    assert_eq!(all.run().expect(0).outcome(&good), "done");
    let found = events(&redis);
    assert_eq!(found.len(), 6);
    assert_eq!((&found[4]["type"], &found[4]["subject"]), (&"app.plana.jobs.backup.committed".into(), &format!("pg/{good}").into()));
    all.arg("--dry-run").run().expect(0);
    assert_eq!(events(&redis).len(), 6);
}

#[test]
fn the_stream_stays_short() {
    let redis = RedisServer::start().unwrap();
    let fill = "for i = 1, 3000 do redis.call('XADD', KEYS[1], '*', 'event', '-') end";
    redis.cli(&["EVAL", fill, "1", STREAM]).unwrap();
    let (database, job) = job("short_stream");
    expect_done(&job.set("events.url", &redis.url()).set("events.max_len", "500"), &database);
    let length: u64 = redis.cli(&["XLEN", STREAM]).unwrap().parse().unwrap();
    // Redis trims whole nodes of a hundred.
    assert!((500..=700).contains(&length), "{length}");
    assert_eq!(events(&redis).len(), 2, "the newest stay");
}

// ---- metrics ---------------------------------------------------------------------------------------------------------

/// The series in the job's textfile: `name{labels}` with labels in their order, and value.
fn series(directory: &Path) -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(directory.join("plana_jobs_pg_dump_to_sos.prom")).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

fn of_name(family: &str, area: &str, name: &str) -> String {
    format!("plana_jobs_{family}{{area=\"{area}\",name=\"{name}\",plana_job=\"pg-dump-to-sos\"}}")
}

fn of_job(family: &str) -> String {
    format!("plana_jobs_{family}{{plana_job=\"pg-dump-to-sos\"}}")
}

#[test]
fn metrics_say_what_there_is_and_a_run_by_hand_touches_its_own_only() {
    let cluster = PgCluster::start(PgMajor::V15).unwrap();
    for name in ["one", "two", "three"] {
        cluster.psql("postgres", &format!("CREATE DATABASE {name}")).unwrap();
    }
    let job = crate::common::job().on(&cluster).args(["--jobs", "4"]);
    let directory = job.home().join("metrics");
    std::fs::create_dir(&directory).unwrap();
    let job = job.set("metrics.textfile_dir", directory.to_str().unwrap());

    let outcome = job.run().expect(0);
    let first = series(&directory);
    let finished = outcome.report["finished_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap().timestamp() as f64;
    assert_eq!((first[&of_job("last_run_timestamp_seconds")], first[&of_job("last_success_timestamp_seconds")]), (finished, finished));
    assert_eq!(first[&of_job("last_run_exit_code")], 0.0);
    let items = outcome.report["items"].as_array().unwrap().len() as f64;
    assert_eq!(first["plana_jobs_last_run_items{outcome=\"done\",plana_job=\"pg-dump-to-sos\"}"], items);
    for (area, name) in [("pg", "one"), ("pg", "two"), ("pg", "postgres"), ("globals", "cluster")] {
        let item = outcome.item_in(area, name);
        assert_eq!(Some(first[&of_name("backup_stored_bytes", area, name)]), item["bytes"].as_f64());
        assert_eq!(Some(first[&of_name("backup_content_bytes", area, name)]), item["content_bytes"].as_f64());
        assert!(first.contains_key(&of_name("backup_duration_seconds", area, name)));
        let stamp = job.store().only_set(if area == "pg" { Area::Pg } else { Area::Globals }, name).key.stamp;
        assert_eq!(first[&of_name("backup_newest_timestamp_seconds", area, name)], stamp.instant().timestamp() as f64);
    }

    // Stamps are of seconds.
    std::thread::sleep(Duration::from_millis(1100));
    job.clone().only(&["one"]).run().expect(0);
    let second = series(&directory);
    let newest = |name: &str| of_name("backup_newest_timestamp_seconds", "pg", name);
    assert!(second[&newest("one")] > first[&newest("one")]);
    let others = |series: &BTreeMap<String, f64>| -> BTreeMap<String, f64> {
        series.iter().filter(|(name, _)| !name.contains("name=\"one\"")).map(|(name, value)| (name.clone(), *value)).collect()
    };
    assert_eq!(others(&second), others(&first), "neither the other names nor the job as such");

    // A failed run says so, keeps what there was, and is no success; a name that is gone goes with the next run over all.
    cluster.psql("postgres", "ALTER DATABASE two ALLOW_CONNECTIONS false").unwrap();
    cluster.psql("postgres", "DROP DATABASE three").unwrap();
    job.clone().args(["--missing-within", "1s"]).run().expect(3);
    let third = series(&directory);
    assert_eq!(third[&of_job("last_run_exit_code")], 3.0);
    assert_eq!(third[&of_job("last_success_timestamp_seconds")], finished);
    assert_eq!(third["plana_jobs_last_run_items{outcome=\"failed\",plana_job=\"pg-dump-to-sos\"}"], 1.0);
    assert_eq!(third[&newest("two")], first[&newest("two")]);
    assert!(!third.keys().any(|name| name.contains("name=\"three\"")), "{third:#?}");
}

#[test]
fn metrics_that_cannot_be_written_cost_a_warning() {
    let (database, job) = job("no_metrics");
    let outcome = expect_done(&job.set("metrics.textfile_dir", "/proc/nowhere"), &database);
    expect_words(&outcome.done.stderr, &["WARN", "the metrics could not be written to /proc/nowhere", "metrics.textfile_dir"]);
}

// ---- pings -----------------------------------------------------------------------------------------------------------

/// A web server that remembers what was asked for.
fn listen() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let shared = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            shared.lock().unwrap().push(first.split(' ').take(2).collect::<Vec<_>>().join(" "));
            (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
        }
    });
    (port, seen)
}

#[test]
fn pings_say_start_and_success_or_failure() {
    let (database, good) = job("pinged");
    let (port, seen) = listen();
    let at = |what: &str| format!("{what} = \"http://127.0.0.1:{port}/{what}/a-token\"\n");
    let text = format!("[ping.pg_dump_to_sos]\n{}{}{}", at("start"), at("success"), at("failure"));
    let outcome = expect_done(&good.clone().config(&text), &database);
    assert_eq!(*seen.lock().unwrap(), ["GET /start/a-token", "GET /success/a-token"]);
    assert!(!format!("{}{}", outcome.done.stdout, outcome.done.stderr).contains("a-token"), "a ping URL is a secret");

    // What failed, in whole or in part, is no success; neither is a run that could not begin.
    seen.lock().unwrap().clear();
    good.clone().config(&text).store_url("file:///nonexistent/store").run().expect(10);
    assert_eq!(*seen.lock().unwrap(), ["GET /start/a-token", "GET /failure/a-token"]);

    seen.lock().unwrap().clear();
    good.config(&text).arg("--dry-run").run().expect(0);
    assert!(seen.lock().unwrap().is_empty(), "a dry run tells nobody");
}

#[test]
fn pings_that_nobody_answers_cost_warnings() {
    let (database, job) = job("unpinged");
    let nowhere = Port::claim().unwrap();
    let text = format!("[ping.pg_dump_to_sos]\nsuccess = \"http://127.0.0.1:{}/a-token\"\n", nowhere.number());
    let outcome = expect_done(&job.config(&text), &database);
    expect_words(&outcome.done.stderr, &["WARN", "the ping URL for success could not be called", "the run goes on"]);
    assert!(!outcome.done.stderr.contains("a-token"), "{}", outcome.done.stderr);
}

// ---- the clock -------------------------------------------------------------------------------------------------------

/// Our program and its children live in another time; the store and the server do not.
fn in_another_time(shift: &str) -> Job {
    crate::common::job_under(&["/usr/bin/faketime", "-f", shift]).on(cluster()).env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

#[test]
fn a_clock_twenty_minutes_off_is_said_and_nothing_false_is_stored() {
    for shift in ["+20m", "-20m"] {
        let database = small_database(cluster(), "clock");
        let s3 = S3::new("clock");
        // The client learns the store's time from its first answer and signs by it.
        let job = in_another_time(shift).into_bucket(&s3).only(&[&database]);
        let home = job.home().to_path_buf();
        let job = job.set("metrics.textfile_dir", home.to_str().unwrap());
        let outcome = job.run().expect(0);
        assert_eq!(outcome.outcome(&database), "done");
        // Alerts hear of it, also of a run by hand.
        let metrics = std::fs::read_to_string(home.join("plana_jobs_pg_dump_to_sos.prom")).unwrap();
        let apart =
            metrics.lines().find_map(|line| line.strip_prefix("plana_jobs_store_clock_difference_seconds{plana_job=\"pg-dump-to-sos\"} "));
        assert!(apart.is_some_and(|seconds| (1190..1230).contains(&seconds.parse::<i64>().unwrap())), "{metrics}");
        expect_words(&outcome.warnings(), &["this host's clock and the store's differ by", "correct it (chronyc tracking)"]);
        let (set, _) = s3.expect_one(&database);
        let off = set.stamp.instant() - Utc::now();
        assert!((TimeDelta::minutes(18)..TimeDelta::minutes(22)).contains(&off.abs()), "{set}");
    }
}

#[test]
fn a_directory_takes_what_a_wrong_clock_stamps_and_the_future_is_not_fresh() {
    let database = small_database(cluster(), "directory_clock");
    let ahead = in_another_time("+20m").only(&[&database]);
    assert_eq!(ahead.run().expect(0).outcome(&database), "done");
    let set = ahead.store().set(&database);
    assert!(set.key.stamp.instant() > Utc::now() + TimeDelta::minutes(15), "{}", set.key);
    ahead.store().prove(&set.key, &set.manifest, None);
    // A stamp in the future keeps nobody from making a backup now.
    let now = crate::common::job().on(cluster()).only(&[&database]).store_url(&format!("file://{}", ahead.store().root().display()));
    let outcome = now.args(["--missing-within", "12h"]).run().expect(0);
    assert_eq!(outcome.outcome(&database), "done");
}

// ---- the environment -------------------------------------------------------------------------------------------------

#[test]
fn zones_and_locales_change_nothing() {
    let plain = "späße ✓";
    cluster().psql("postgres", &format!("CREATE DATABASE \"{plain}\"")).unwrap();
    cluster().psql(plain, "CREATE TABLE t AS SELECT now() AS at, 'ü' AS text FROM generate_series(1, 3)").unwrap();
    let mut contents = BTreeSet::new();
    for (zone, locale) in [("Asia/Kathmandu", "C"), ("America/St_Johns", "de_DE.UTF-8"), ("nonsense", "nonsense")] {
        let job = crate::common::job().on(cluster()).only(&[plain]).envs([
            ("TZ", zone),
            ("LC_ALL", locale),
            ("LANG", locale),
            ("LANGUAGE", "de"),
        ]);
        let outcome = job.run().expect(0);
        assert_eq!(outcome.outcome(plain), "done", "{zone} {locale}");
        let set = job.store().set(plain);
        assert!((set.key.stamp.instant() - Utc::now()).abs() < TimeDelta::minutes(2), "{zone}: {}", set.key);
        for at in ["started_at", "finished_at"] {
            let text = outcome.report[at].as_str().unwrap();
            assert!(text.ends_with('Z') && (text.parse::<DateTime<Utc>>().unwrap() - Utc::now()).abs() < TimeDelta::minutes(2), "{text}");
        }
        let line = outcome.done.stderr.lines().next().unwrap();
        let logged: DateTime<Utc> = line.split(' ').next().unwrap().parse().unwrap();
        assert!((logged - Utc::now()).abs() < TimeDelta::minutes(2), "{line}");
        // The header of an archive holds when it was made: look at what the manifest counts.
        contents.insert(format!("{:?}", set.manifest.database.map(|facts| (facts.rows, facts.tables, facts.encoding))));
    }
    assert_eq!(contents.len(), 1, "{contents:?}");
}

#[test]
fn a_state_directory_that_cannot_be_written_keeps_nobody_from_a_backup() {
    let (database, job) = job("no_state");
    for state in ["/proc/nowhere", "/dev/null/state"] {
        let job = job.clone().set("state_dir", state).store_url(&format!("file://{}", job.home().join(state.len().to_string()).display()));
        let outcome = job.run().expect(0);
        assert_eq!(outcome.outcome(&database), "done");
    }
}
