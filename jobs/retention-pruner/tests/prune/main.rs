//! The job from its command line: what it refuses, shows, deletes and leaves alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod changes;
mod command_line;
mod files;
mod gateway;
mod guards;
mod held;
mod killed;
mod many;
mod mirror;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, TimeDelta, Utc};
use plana_testkit::job::{Job, Outcome};
use serde_json::Value;

/// The job on a directory store, allowed to prune it.
fn job() -> Job {
    let job = Job::of(env!("CARGO_BIN_EXE_retention-pruner"));
    let url = format!("file://{}", job.store().root().display());
    fs::create_dir_all(job.store().root()).unwrap();
    allowed(job, &url)
}

/// Allowed to prune that store.
fn allowed(job: Job, url: &str) -> Job {
    job.set("retention.enabled", "true").set("retention.stores", &format!("[\"{url}\"]"))
}

fn ago(days: i64) -> DateTime<Utc> {
    Utc::now() - TimeDelta::days(days) - TimeDelta::hours(1)
}

/// The keys of a committed set.
fn keys(area: &str, name: &str, label: &str, begun: DateTime<Utc>, nonce: u32) -> [String; 2] {
    let stamp = begun.format("%Y%m%dT%H%M%SZ");
    let set = format!("{area}/{name}/{stamp}.{label}.{nonce:08x}");
    [format!("{set}/{name}_{stamp}.dump.zst"), format!("{set}/manifest.json")]
}

/// Stores a file that was last changed then.
fn put(job: &Job, key: &str, changed: DateTime<Utc>) -> PathBuf {
    let path = job.store().root().join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "0123456789").unwrap();
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(changed.timestamp().try_into().unwrap());
    fs::File::options().write(true).open(&path).unwrap().set_modified(changed).unwrap();
    path
}

/// A backup of a name that is so many days old; gives its set.
fn back_up(job: &Job, name: &str, label: &str, days: i64) -> String {
    let keys = keys("pg", name, label, ago(days), days as u32);
    keys.iter().for_each(|key| drop(put(job, key, ago(days))));
    keys[0].rsplit_once('/').unwrap().0.to_owned()
}

/// Backups of a name, so many days old; gives their sets.
fn nights(job: &Job, name: &str, label: &str, days: impl IntoIterator<Item = i64>) -> Vec<String> {
    days.into_iter().map(|day| back_up(job, name, label, day)).collect()
}

/// The sets that are in the store.
fn sets(job: &Job) -> Vec<String> {
    let files = job.store().files();
    let mut sets: Vec<String> = files.iter().filter_map(|(key, _)| Some(key.rsplit_once('/')?.0.to_owned())).collect();
    sets.dedup();
    sets
}

/// The sets of a plan with that verdict.
fn planned(outcome: &Outcome, verdict: &str) -> Vec<String> {
    let sets = outcome.report["sets"].as_array().unwrap_or_else(|| panic!("no plan:\n{}", outcome.done.stderr));
    sets.iter().filter(|set| set["verdict"] == verdict).filter_map(|set: &Value| set["key"].as_str().map(str::to_owned)).collect()
}

/// The job's answer for people, on the same store and allowed to prune it.
fn text(job: &Job, args: &[&str], settings: &[(&str, &str)]) -> String {
    let url = format!("file://{}", job.store().root().display());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_retention-pruner"));
    command.args(args).env_clear().env("PLANA_JOBS__STATE_DIR", job.home().join("state")).env("PLANA_JOBS__STORE__BACKUPS__URL", &url);
    command.env("PLANA_JOBS__RETENTION__ENABLED", "true").env("PLANA_JOBS__RETENTION__STORES", format!("[\"{url}\"]"));
    command.envs(settings.iter().copied());
    let done = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}\n{stdout}\n{stderr}", done.status);
    stdout
}
