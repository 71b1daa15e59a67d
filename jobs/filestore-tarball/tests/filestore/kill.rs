//! Ended at any moment: what has a manifest is whole, nothing else looks like a backup, and the next run makes what is missing.

use std::time::{Duration, Instant};

use plana_plan::Area;
use plana_testkit::{
    job::{
        Job,
        bucket::S3,
        look::{self, Look},
    },
    process::Signal,
    proxy::{Action, Op, Rule},
};

use crate::{Root, job};

const TENANTS: [&str; 3] = ["a.app", "b.app", "c.app"];
/// How long a run may take to end after it was told to.
const SOON: Duration = Duration::from_secs(8);

fn platform() -> (Job, Root) {
    let job = job();
    let root = Root::of(&job);
    root.fill(TENANTS[0], 30, 400_000);
    root.fill(TENANTS[1], 100, 5_000);
    root.fill(TENANTS[2], 3, 1_000);
    (job.clone().arg(root.arg()).arg("--jobs=2"), root)
}

#[track_caller]
fn expect_resumable(job: &Job, store: &impl Look) {
    look::expect_resumable(job, store, &TENANTS.map(|tenant| (Area::Filestore, tenant)), None, None);
}

fn sweep(signal: Signal) {
    const MOMENTS: u32 = 10;
    let (job, _root) = platform();
    let whole = job.run().expect(0).done.elapsed;
    for moment in 1..=MOMENTS {
        let (job, _root) = platform();
        let mut running = job.spawn();
        std::thread::sleep(whole * moment / (MOMENTS + 1));
        if running.is_running().unwrap() {
            running.signal(signal).unwrap();
        }
        let told = Instant::now();
        let done = running.wait().unwrap();
        assert!(told.elapsed() < SOON, "{:?}\n{}", told.elapsed(), done.stderr);
        expect_resumable(&job, &job.store());
    }
}

#[test]
fn terminated_at_many_moments() {
    sweep(Signal::TERM);
}

#[test]
fn killed_at_many_moments() {
    sweep(Signal::KILL);
}

#[test]
fn ended_at_each_request_that_matters() {
    for (op, path) in
        [(Op::CreateUpload, "/a.app/"), (Op::UploadPart, "/a.app/"), (Op::CompleteUpload, "/a.app/"), (Op::PutObject, "manifest.json")]
    {
        for signal in [Signal::TERM, Signal::KILL] {
            let (job, _root) = platform();
            let s3 = S3::new("fs-moment");
            let handle = s3.proxy.add(Rule::on(op, Action::Delay(Duration::from_millis(400))).path(path).times(1));
            let job = job.into_bucket(&s3);
            let mut running = job.spawn();
            running.wait_until("the request", |_| handle.matched() > 0).unwrap();
            running.signal(signal).unwrap();
            let told = Instant::now();
            running.wait().unwrap();
            assert!(told.elapsed() < SOON, "{op:?}: {:?}", told.elapsed());
            std::thread::sleep(Duration::from_millis(400));
            expect_resumable(&job, &s3);
        }
    }
}
