//! Two runs at once, and a lock that is lost.

use std::{collections::BTreeSet, time::Duration};

use plana_plan::Area;
use plana_testkit::proxy::{Action, Op, Rule};

use crate::{
    Platform,
    common::{
        Outcome,
        bucket::{S3, about},
        expect_words,
        faults::HeldLock,
        look::Look,
    },
};

#[test]
fn two_runs_at_once_do_the_work_once() {
    let platform = Platform::new();
    for round in 0..3 {
        let s3 = S3::new("twice");
        let job = platform.job().into_bucket(&s3).args(["--missing-within", "12h"]);
        let other = platform.job().into_bucket(&s3).args(["--missing-within", "12h"]);
        let (one, two) = (job.spawn(), other.spawn());
        let (one, two) = (Outcome::wait(one), Outcome::wait(two));
        for outcome in [&one, &two] {
            let (code, locked) = (outcome.done.code(), outcome.report["totals"]["locked"].as_u64());
            assert_eq!(code, Some(if locked == Some(0) { 0 } else { 11 }), "{}", outcome.done.stderr);
        }
        let done: u64 = [&one, &two].iter().filter_map(|outcome| outcome.report["totals"]["done"].as_u64()).sum();
        assert_eq!(done, platform.items().len() as u64, "round {round}:\n{}\n{}", one.done.stderr, two.done.stderr);
        s3.expect_all(&platform.items(), Some(&platform.cluster), &mut BTreeSet::new());
    }
}

#[test]
fn what_another_run_has_just_made_is_not_made_again() {
    // One run's look for a backup takes so long that the other could make one meanwhile: it must look under the lock.
    let platform = Platform::new();
    let (s3, job) = (S3::new("just-made"), platform.job().args(["--missing-within", "12h"]).only(&["gamma"]));
    let slow = S3::of(s3.bucket.clone());
    let held = Rule::on(Op::List, Action::rewrite(|_| std::thread::sleep(Duration::from_secs(2)))).times(1);
    let handle = slow.proxy.add(about(held, "gamma"));
    let mut one = job.clone().into_bucket(&slow).spawn();
    one.wait_until("its look", |_| handle.matched() > 0).unwrap();
    // Until the store has answered.
    std::thread::sleep(Duration::from_millis(500));
    let two = job.into_bucket(&s3).run();
    let one = Outcome::wait(one);
    assert_eq!((one.outcome("gamma"), two.outcome("gamma")), ("done", "locked"), "{}\n{}", one.done.stderr, two.done.stderr);
    assert_eq!(s3.backed_up(Area::Pg), ["gamma"]);
}

#[test]
fn what_another_run_is_at_work_on_is_left_to_it() {
    let platform = Platform::new();
    let job = platform.job();
    let held = HeldLock::on(&platform.cluster, "alpha", "big");
    let mut first = job.spawn();
    job.wait_for_pg_dump(&mut first, "alpha");
    first.wait_until("the others", |running| running.stderr().matches(": done").count() >= 4).unwrap();
    let second = platform.job().store_url(&format!("file://{}", job.store().root().display())).only(&["alpha", "gamma"]);
    let outcome = second.run().expect(11);
    assert_eq!((outcome.outcome("alpha"), outcome.outcome("gamma")), ("locked", "done"));
    assert_eq!(outcome.report["outcome"], "left-to-other");
    expect_words(&outcome.done.stderr, &["alpha: left to another run that is at work on it"]);
    drop(held);
    let outcome = Outcome::wait(first).expect(0);
    assert_eq!(outcome.outcome("alpha"), "done");
}

#[test]
fn a_lost_lock_cancels_what_is_being_uploaded() {
    let platform = Platform::new();
    let s3 = S3::new("unlocked");
    // It would take minutes.
    let job = platform.job().into_bucket(&s3).only(&["alpha"]).set("upload.bandwidth", "64KiB");
    let mut running = job.spawn();
    running.wait_until("the upload", |_| s3.proxy.count(Op::CreateUpload) > 0).unwrap();
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    assert_eq!(platform.cluster.psql("postgres", terminate).unwrap(), "1");
    let outcome = Outcome::wait(running).expect(1);
    expect_words(outcome.error("alpha"), &["keep the item's lock", "connection to the server was lost", "run the job again"]);
    s3.expect_nothing_committed("alpha");
    assert!(s3.objects().is_empty());
    platform.expect_nobody_left(&job);
    platform.expect_resumable(&platform.job().into_bucket(&s3), &s3, None);
}

#[test]
fn two_stores_in_one_bucket_do_not_see_each_other() {
    let platform = Platform::new();
    let s3 = S3::new("shared");
    let job = platform.job().into_bucket(&s3).args(["--missing-within", "12h"]).only(&["gamma"]);
    assert_eq!(job.run().expect(0).outcome("gamma"), "done");
    let other = job.clone().store_url(&s3.url_of("backups-of-another"));
    assert_eq!(other.run().expect(0).outcome("gamma"), "done");
    assert_eq!(other.run().expect(0).outcome("gamma"), "fresh");
    assert_eq!(s3.below("backups").backed_up(Area::Pg), ["gamma"]);
    assert_eq!(s3.below("backups-of-another").backed_up(Area::Pg), ["gamma"]);
}
