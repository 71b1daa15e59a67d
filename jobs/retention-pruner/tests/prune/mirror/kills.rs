//! A run that is killed or told to stop, on the gateway: what it leaves is whole, and the next one does the rest.

use std::time::Duration;

use plana_testkit::{
    ceph::Gateway,
    job::{Job, Outcome, bucket::S3},
    process::Signal,
    proxy::{Action, Rule},
};

use super::{PULLED, Tree, deletions, in_bucket, is_deletion, look_old};

fn tree() -> Tree {
    let mut tree = Tree::default();
    tree.index("library/nginx", "1.27", 60);
    for tag in ["1.0", "1.1", "1.2"] {
        tree.index("library/nginx", tag, 60);
        tree.index("library/redis", tag, 60);
    }
    tree
}

/// A mirror on which a run has been before, which found that nothing was to go then.
fn pruned_before(tree: &Tree) -> (Job, S3) {
    let (job, s3) = in_bucket(tree, Gateway::shared().bucket_builder("mirror"), &[PULLED]);
    let before = job.clone().set("mirror.window", "3650d").set("mirror.without_ledger", "last-modified").run().expect(0);
    assert_eq!(before.item("library/nginx")["deleted"], 0);
    (job, s3)
}

/// Starts a run whose nth deletion meets that action, and gives it when it is there.
fn in_the_middle(job: &Job, s3: &S3, nth: u64, action: Action) -> plana_testkit::bin::Running {
    let held = s3.proxy.add(Rule::any(action).when(is_deletion).nth(nth));
    let mut running = job.spawn();
    running.wait_until("a deletion on its way", |_| held.matched() >= nth).unwrap();
    running
}

fn heal(s3: &S3) {
    s3.proxy.clear();
    look_old(s3);
}

/// The keys that a run leaves that nothing disturbs, and how many requests delete.
fn undisturbed(tree: &Tree) -> (Vec<String>, u64) {
    let (job, s3) = pruned_before(tree);
    job.run().expect(0);
    (s3.bucket.keys().unwrap(), deletions(&s3) as u64)
}

#[test]
fn a_killed_run_leaves_no_manifest_without_its_blobs_and_the_next_one_finishes() {
    let tree = tree();
    let (left, requests) = undisturbed(&tree);
    assert!(requests > 20, "{requests}");
    // Between tags and manifests, between manifests and links, in the middle of the blobs, and at their end.
    for nth in [1, 2, 3, 4, 5, 6, 8, 10, requests / 2, requests - 1] {
        let (job, s3) = pruned_before(&tree);
        let running = in_the_middle(&job, &s3, nth, Action::Stall);
        running.signal(Signal::KILL).unwrap();
        assert_eq!(running.wait().unwrap().signal(), Some(9));
        let keys = s3.bucket.keys().unwrap();
        assert!(keys.len() > left.len(), "killed at {nth} of {requests}, and nothing was left to do");
        tree.expect_whole(&keys);
        heal(&s3);
        // More than a fifth of the manifests may be gone: that it deleted them itself is known.
        job.run().expect(0);
        assert_eq!(s3.bucket.keys().unwrap(), left, "killed at {nth} of {requests}");
    }
}

#[test]
fn a_run_that_is_told_to_stop_ends_with_143_and_the_next_one_finishes() {
    let tree = tree();
    let (left, requests) = undisturbed(&tree);
    for (nth, in_blobs) in [(2, false), (requests - 12, true)] {
        let (job, s3) = pruned_before(&tree);
        let running = in_the_middle(&job, &s3, nth, Action::Delay(Duration::from_secs(2)));
        running.signal(Signal::TERM).unwrap();
        let done = Outcome::wait(running).expect(143);
        let blobs = done.report["items"].as_array().unwrap().iter().find(|item| item["name"] == "blobs");
        assert_eq!(blobs.map(|item| &item["outcome"]), in_blobs.then_some(&"cancelled".into()), "{}", done.done.stderr);
        let keys = s3.bucket.keys().unwrap();
        assert!(keys.len() > left.len(), "told to stop at {nth} of {requests}, and nothing was left to do");
        tree.expect_whole(&keys);
        heal(&s3);
        job.run().expect(0);
        assert_eq!(s3.bucket.keys().unwrap(), left);
    }
}
