//! `--schedule`: again and again, until it is told to stop.

use std::time::{Duration, Instant};

use plana_plan::Area;
use plana_testkit::{
    process::Signal,
    proxy::{Action, Op, Rule},
};
use serde_json::Value;

use crate::{
    cluster,
    common::{Outcome, bucket::S3, faults::HeldLock, look::Look},
    small_database,
};

#[test]
fn a_schedule_runs_again_and_again_until_it_is_told_to_stop() {
    let database = small_database("scheduled");
    let job = crate::common::job().on(cluster()).only(&[&database]).args(["--schedule", "* * * * * *"]);
    let mut running = job.spawn();
    running.wait_until("two runs", |running| running.stdout().lines().count() >= 2).unwrap();
    // At work on the next: cancelled. Waiting for the next: nothing is.
    running.signal(Signal::TERM).unwrap();
    let told = Instant::now();
    let done = running.wait().unwrap();
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    let cancelled = done.stdout.lines().last().is_some_and(|line| line.contains("\"outcome\":\"cancelled\",\"exit_code\""));
    assert_eq!(done.code(), Some(if cancelled { 143 } else { 0 }), "{}", done.stderr);
    let runs: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(runs.iter().take(2).all(|run| run["outcome"] == "done"), "{runs:?}");
    assert_ne!(runs[0]["run_id"], runs[1]["run_id"]);
    assert!(job.store().sets(Area::Pg, &database).len() >= 2);
    job.expect_no_process_left();
}

#[test]
fn a_schedule_that_is_told_to_stop_during_a_run_is_cancelled() {
    let database = small_database("scheduled");
    let held = HeldLock::on(cluster(), &database, "t");
    let job = crate::common::job().on(cluster()).only(&[&database]).args(["--schedule", "* * * * * *"]);
    let mut running = job.spawn();
    job.wait_for_pg_dump(&mut running, &database);
    running.signal(Signal::TERM).unwrap();
    let outcome = Outcome::wait(running).expect(143);
    assert_eq!(outcome.outcome(&database), "cancelled");
    job.expect_no_process_left();
    drop(held);
}

#[test]
fn a_schedule_goes_on_after_a_failed_run() {
    let database = small_database("scheduled");
    let s3 = S3::new("scheduled");
    s3.proxy.add(Rule::on(Op::PutObject, Action::error(403, "AccessDenied")).times(1));
    let job = crate::common::job().on(cluster()).only(&[&database]).into_bucket(&s3).args(["--schedule", "* * * * * *"]);
    let mut running = job.spawn();
    running.wait_until("two runs", |running| running.stdout().lines().count() >= 2).unwrap();
    running.signal(Signal::TERM).unwrap();
    let done = running.wait().unwrap();
    let outcomes: Vec<Value> =
        done.stdout.lines().take(2).map(|line| serde_json::from_str::<Value>(line).unwrap()["outcome"].clone()).collect();
    assert_eq!(outcomes, ["failed", "done"], "{}", done.stderr);
    assert!(!s3.backed_up(Area::Pg).is_empty());
}
