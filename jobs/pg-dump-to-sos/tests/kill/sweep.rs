//! Ended after a growing share of the time that a whole run takes.

use std::{collections::BTreeSet, time::Instant};

use plana_plan::Area;
use plana_testkit::process::Signal;

use crate::{
    Platform, SOON,
    common::{Job, Outcome, bucket::S3, look::Look},
    expect_end,
};

/// Moments of a sweep.
const MOMENTS: u32 = 12;

/// Ends runs of that job after a growing share of the time that a whole run takes; each into a store of its own.
fn sweep<L: Look>(signal: Signal, platform: &Platform, job: impl Fn(u32) -> (Job, L)) {
    let (whole, _store) = job(0);
    let mut time = whole.run().expect(0).done.elapsed;
    let (mut committed, mut complete) = (BTreeSet::new(), 0);
    for moment in 1..=MOMENTS {
        let (job, store) = job(moment);
        let mut running = job.spawn();
        std::thread::sleep(time * moment / (MOMENTS + 1));
        // Whether the signal still finds it at work is chance near the end; what must hold afterwards is the same.
        if running.is_running().unwrap() {
            running.signal(signal).unwrap();
        }
        let told = Instant::now();
        let done = running.wait().unwrap();
        assert!(told.elapsed() < SOON, "it took {:?}:\n{}", told.elapsed(), done.stderr);
        let ended = if done.code() == Some(0) { Outcome::of(done).expect(0) } else { expect_end(done, signal) };
        if ended.done.code() == Some(0) {
            complete += 1;
            time = time.min(ended.done.elapsed);
        }
        committed.insert(store.backed_up(Area::Pg).len());
        platform.expect_resumable(&job, &store, Some(&ended));
    }
    assert!(committed.len() > 1, "the moments must not all be the same: {committed:?}");
    assert!(complete < MOMENTS, "every run was complete before its signal");
}

fn sweep_directory(signal: Signal) {
    let platform = Platform::new();
    sweep(signal, &platform, |_| {
        let job = platform.job();
        let store = job.store();
        (job, store)
    });
}

fn sweep_bucket(signal: Signal) {
    let platform = Platform::new();
    sweep(signal, &platform, |_| {
        let s3 = S3::new("sweep");
        (platform.job().into_bucket(&s3), s3)
    });
}

#[test]
fn terminated_at_many_moments_into_a_directory() {
    sweep_directory(Signal::TERM);
}

#[test]
fn killed_at_many_moments_into_a_directory() {
    sweep_directory(Signal::KILL);
}

#[test]
fn terminated_at_many_moments_into_a_bucket() {
    sweep_bucket(Signal::TERM);
}

#[test]
fn killed_at_many_moments_into_a_bucket() {
    sweep_bucket(Signal::KILL);
}
