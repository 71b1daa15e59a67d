//! Ended at the moments that matter: around each request of an upload, in a wait for a lock, before a store that says nothing.

use std::time::{Duration, Instant};

use plana_testkit::{
    bin::Running,
    process::Signal,
    proxy::{Action, Op, Rule},
};

use crate::{
    Platform, SOON,
    common::{Job, bucket::S3, expect_words, faults::HeldLock, look::is_temporary},
    expect_end,
};

/// Held before the store sees it, or after the store has done it and before the job knows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Held {
    Before,
    After,
}

const HOLD: Duration = Duration::from_millis(400);

/// Starts a run whose request of that kind is held, and gives it once the request is there.
fn run_into(platform: &Platform, op: Op, part_of_path: &str, query: &str, held: Held) -> (Job, S3, Running) {
    let s3 = S3::new("moment");
    let action = match held {
        Held::Before => Action::Delay(HOLD),
        Held::After => Action::rewrite(|_| std::thread::sleep(HOLD)),
    };
    let rule = Rule::on(op, action).path(part_of_path).query(query).times(1);
    let handle = s3.proxy.add(rule);
    let job = platform.job().into_bucket(&s3);
    let mut running = job.spawn();
    running.wait_until("the request", |_| handle.matched() > 0).unwrap();
    if held == Held::After {
        // Until the store has done it.
        std::thread::sleep(HOLD / 2);
    }
    (job, s3, running)
}

fn at_the_moments_that_matter(signal: Signal) {
    let platform = Platform::new();
    for (op, path, query) in [
        (Op::CreateUpload, "/pg/alpha/", ""),
        (Op::UploadPart, "/pg/alpha/", "partNumber=1&"),
        (Op::UploadPart, "/pg/alpha/", "partNumber=2&"),
        (Op::CompleteUpload, "/pg/alpha/", ""),
        (Op::PutObject, "/pg/alpha/", ""),
        (Op::PutObject, "/pg/gamma/", ""),
    ] {
        for held in [Held::Before, Held::After] {
            let (job, s3, running) = run_into(&platform, op, path, query, held);
            running.signal(signal).unwrap();
            let told = Instant::now();
            let done = running.wait().unwrap();
            assert!(told.elapsed() < SOON, "{op:?} {held:?}: it took {:?}:\n{}", told.elapsed(), done.stderr);
            let ended = expect_end(done, signal);
            // What was on its way may still arrive.
            std::thread::sleep(HOLD);
            platform.expect_resumable(&job, &s3, Some(&ended));
        }
    }
}

#[test]
fn terminated_at_the_moments_that_matter() {
    at_the_moments_that_matter(Signal::TERM);
}

#[test]
fn killed_at_the_moments_that_matter() {
    at_the_moments_that_matter(Signal::KILL);
}

#[test]
fn interrupted_while_a_part_is_on_its_way() {
    let platform = Platform::new();
    let (job, s3, running) = run_into(&platform, Op::UploadPart, "/pg/alpha/", "partNumber=1&", Held::Before);
    running.signal(Signal::INT).unwrap();
    let outcome = expect_end(running.wait().unwrap(), Signal::INT);
    assert_eq!(outcome.outcome("alpha"), "cancelled");
    expect_words(&outcome.done.stderr, &["SIGINT"]);
    s3.expect_nothing_committed("alpha");
    platform.expect_resumable(&job, &s3, Some(&outcome));
}

#[test]
fn terminated_while_the_store_says_nothing() {
    // The store accepts everything and answers nothing, at each kind of request: nobody waits for its timeouts.
    let platform = Platform::new();
    for (op, path) in
        [(Op::List, ""), (Op::CreateUpload, "/pg/"), (Op::UploadPart, "/pg/"), (Op::CompleteUpload, "/pg/"), (Op::PutObject, "/pg/")]
    {
        let s3 = S3::new("mute");
        let handle = s3.proxy.add(Rule::on(op, Action::Stall).path(path));
        let job = platform.job().into_bucket(&s3);
        let mut running = job.spawn();
        running.wait_until("the request", |_| handle.matched() > 0).unwrap();
        running.signal(Signal::TERM).unwrap();
        let told = Instant::now();
        let ended = expect_end(running.wait().unwrap(), Signal::TERM);
        assert!(told.elapsed() < SOON, "{op:?}: it took {:?}", told.elapsed());
        s3.expect_nothing_committed("alpha");
        s3.proxy.clear();
        platform.expect_resumable(&job, &s3, Some(&ended));
    }
}

#[test]
fn terminated_while_pg_dump_waits_for_a_lock() {
    let platform = Platform::new();
    let job = platform.job();
    let held = HeldLock::on(&platform.cluster, "alpha", "big");
    let mut running = job.spawn();
    job.wait_for_pg_dump(&mut running, "alpha");
    running.wait_until("the others", |running| running.stderr().matches(": done").count() >= 4).unwrap();
    running.signal(Signal::TERM).unwrap();
    let outcome = expect_end(running.wait().unwrap(), Signal::TERM);
    assert_eq!(outcome.outcome("alpha"), "cancelled");
    assert_eq!(outcome.databases("done"), ["beta", "delta", "gamma"]);
    // It was told, and it heard: without the lock it would soon have ended by itself.
    assert!(!outcome.done.stderr.contains("gave up cleaning up"), "{}", outcome.done.stderr);
    job.expect_no_process_left();
    drop(held);
    platform.expect_resumable(&job, &job.store(), None);
}

#[test]
fn killed_while_pg_dump_waits_for_a_lock() {
    // pg_dump is told by its parent's death; its backend, by pg_dump's.
    let platform = Platform::new();
    let job = platform.job();
    let held = HeldLock::on(&platform.cluster, "alpha", "big");
    let mut running = job.spawn();
    job.wait_for_pg_dump(&mut running, "alpha");
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'alpha' AND wait_event_type = 'Lock'";
    running.wait_until("the wait", |_| platform.cluster.psql("postgres", waits).unwrap() == "1").unwrap();
    running.signal(Signal::KILL).unwrap();
    running.wait().unwrap();
    job.expect_no_process_left();
    let begun = Instant::now();
    while platform.cluster.psql("postgres", waits).unwrap() != "0" {
        assert!(begun.elapsed() < Duration::from_secs(5), "its backend still waits");
    }
    drop(held);
    platform.expect_resumable(&job, &job.store(), None);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let platform = Platform::new();
    let s3 = S3::new("impatient");
    let handle = s3.proxy.add(Rule::on(Op::CompleteUpload, Action::Stall));
    let job = platform.job().into_bucket(&s3);
    let mut running = job.spawn();
    running.wait_until("the request", |_| handle.matched() > 0).unwrap();
    running.signal(Signal::TERM).unwrap();
    running.wait_until("the first", |running| running.stderr().contains("SIGTERM")).unwrap();
    let told = Instant::now();
    running.signal(Signal::INT).unwrap();
    let done = running.wait().unwrap();
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    assert!(matches!(done.code(), Some(130 | 143)), "{}\n{}", done.status, done.stderr);
    s3.proxy.clear();
    platform.expect_resumable(&job, &s3, None);
}

#[test]
fn a_terminated_run_leaves_no_temporary_file_and_a_killed_one_none_that_counts() {
    let platform = Platform::new();
    for signal in [Signal::TERM, Signal::KILL] {
        let job = platform.job().set("upload.bandwidth", "4MiB");
        let temporary = || job.store().files().into_iter().filter(|(key, _)| is_temporary(key)).collect::<Vec<_>>();
        let mut running = job.spawn();
        let begun = || temporary().iter().any(|(key, size)| key.starts_with("pg/alpha/") && *size > 0);
        running.wait_until("an unfinished file", |_| begun()).unwrap();
        running.signal(signal).unwrap();
        expect_end(running.wait().unwrap(), signal);
        assert_eq!(temporary().is_empty(), signal == Signal::TERM, "{:?}", temporary());
        platform.expect_resumable(&job.clone().set("upload.bandwidth", "1GiB"), &job.store(), None);
    }
}
