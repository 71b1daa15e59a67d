//! A run on backups that is killed or told to stop, on the gateway: no manifest without its payload, and the next run does the rest.

use std::{collections::BTreeSet, time::Duration};

use plana_testkit::{
    ceph::Gateway,
    job::{Job, Outcome, bucket::S3},
    process::Signal,
    proxy::{Action, Op, Request, Rule},
};

use crate::gateway::{age, aged, nights};

/// Names of which three backups of eight may go, and on which a run has been before.
fn pruned_before() -> (Job, S3) {
    let (job, s3) = aged(Gateway::shared().bucket("prune-killed").unwrap());
    for name in ["acme.app", "zoo.app", "mill.app"] {
        nights(&s3.bucket, name, &[60, 50, 40, 4, 3, 2, 1, 0]);
    }
    let before = job.clone().set("retention.windows.starter", "3650d").quick_retries().run().expect(0);
    assert_eq!(before.item("acme.app")["kept"], 8);
    (job.quick_retries(), s3)
}

fn is_deletion(request: &Request) -> bool {
    matches!(request.op(), Op::Delete | Op::DeleteMany)
}

fn heal(s3: &S3) {
    s3.proxy.clear();
    for op in [Op::List, Op::ListVersions, Op::ListUploads] {
        s3.proxy.add(Rule::on(op, Action::rewrite(age)));
    }
}

/// How many sets have a payload; none may have a manifest alone.
fn payloads(s3: &S3) -> usize {
    let keys = s3.bucket.keys().unwrap();
    let payloads: BTreeSet<&str> = keys.iter().filter_map(|key| Some(key.strip_suffix(".dump.zst")?.rsplit_once('/')?.0)).collect();
    for set in keys.iter().filter_map(|key| key.strip_suffix("/manifest.json")) {
        assert!(payloads.contains(set), "a manifest without its payload: {set}");
    }
    payloads.len()
}

#[test]
fn a_killed_run_leaves_debris_and_the_next_one_finishes() {
    // Of three names side by side the manifests, then the payloads.
    for nth in 1..=6 {
        let (job, s3) = pruned_before();
        let held = s3.proxy.add(Rule::any(Action::Stall).when(is_deletion).nth(nth));
        let mut running = job.spawn();
        running.wait_until("a deletion on its way", |_| held.matched() >= nth).unwrap();
        running.signal(Signal::KILL).unwrap();
        assert_eq!(running.wait().unwrap().signal(), Some(9));
        assert!(payloads(&s3) > 15, "killed at {nth}, and nothing was left to do");
        heal(&s3);
        // Three eighths of the backups may be gone: that it deleted them itself is known.
        job.run().expect(0);
        assert_eq!((payloads(&s3), s3.bucket.keys().unwrap().len()), (15, 30), "killed at {nth}");
    }
}

#[test]
fn a_run_that_is_told_to_stop_ends_with_143() {
    let (job, s3) = pruned_before();
    let held = s3.proxy.add(Rule::any(Action::Delay(Duration::from_secs(2))).when(is_deletion));
    let mut running = job.spawn();
    running.wait_until("a deletion on its way", |_| held.matched() > 0).unwrap();
    running.signal(Signal::TERM).unwrap();
    Outcome::wait(running).expect(143);
    payloads(&s3);
    heal(&s3);
    job.run().expect(0);
    assert_eq!((payloads(&s3), s3.bucket.keys().unwrap().len()), (15, 30));
}
