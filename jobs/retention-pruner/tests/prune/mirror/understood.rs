//! What a mirror cannot know or understand, and what would delete what is pulled if it did not heed that.

use std::io::Write as _;

use chrono::{TimeDelta, Utc};
use plana_testkit::{
    job::expect_words,
    proxy::{Action, Op, Rule},
};

use super::{PULLED, REPOSITORIES, Tree, blob, digest, on_disk, on_gateway, stamp};
use crate::ago;

#[test]
fn a_repository_whose_name_is_not_understood_loses_nothing() {
    let mut tree = Tree::default();
    let old = tree.index("library/nginx", "1.0", 60);
    let odd = tree.index("Legacy/App", "1", 60);
    let (job, root, _directory) = on_disk(&tree, &[PULLED]);
    let done = job.run().expect(0);
    expect_words(&done.warnings(), &["unknown, and kept", "Legacy/App"]);
    let there = |hex: &str| root.join(blob(hex)).exists();
    assert!(odd.iter().all(|hex| there(hex)) && !there(&old[0]), "{}", done.done.stderr);
    for part in ["config of Legacy/App 1 amd64", "layer of Legacy/App 1 arm64", "shared layer"] {
        assert!(there(&digest(part)), "{part}");
    }
}

#[test]
fn content_that_goes_by_another_digest_lies_under_its_sha256_and_keeps_its_repository() {
    let mut tree = Tree::default();
    // As a registry stores a layer that was pushed by its SHA-512: under its SHA-256, with a link of each.
    let layer = tree.content("layer by another digest", 60);
    let other = "ab".repeat(64);
    for link in [format!("sha256/{layer}"), format!("sha512/{other}")] {
        tree.put(format!("{REPOSITORIES}/team/app/_layers/{link}/link"), &format!("sha256:{layer}"), 60);
    }
    let config = tree.content("config", 60);
    let text =
        format!("{{\"schemaVersion\":2,\"config\":{{\"digest\":\"sha256:{config}\"}},\"layers\":[{{\"digest\":\"sha512:{other}\"}}]}}");
    let manifest = tree.manifest("team/app", &text, 60);
    tree.tag("team/app", "1", &manifest, 60);
    let gone = tree.image("library/nginx", "gone", 60);
    let (job, root, _directory) = on_disk(&tree, &[("team/app:1", 2)]);
    let done = job.run().expect(0);
    assert!(root.join(blob(&layer)).exists() && !root.join(blob(&gone)).exists(), "{}", done.done.stderr);
    assert!(root.join(format!("{REPOSITORIES}/team/app/_layers/sha256/{layer}/link")).exists());
    expect_words(&done.warnings(), &["all of team/app is kept", "nobody knows what it is", "and 1 more"]);
}

#[test]
fn a_manifest_that_is_listed_and_not_found_keeps_its_repository() {
    let mut tree = Tree::default();
    let pulled = tree.index("library/nginx", "1.27", 60);
    let (job, s3) = on_gateway(&tree);
    // The store loses track of an object for a while.
    s3.proxy.add(Rule::on(Op::Get, Action::error(404, "NoSuchKey")).path(format!("/{}/data", pulled[1])));
    let done = job.run().expect(0);
    expect_words(&done.warnings(), &["all of library/nginx is kept", "the store says that it is not there"]);
    assert_eq!(s3.bucket.keys().unwrap().len(), tree.0.len());
}

#[test]
fn a_ledger_without_any_pull_is_not_of_this_registry() {
    let mut tree = Tree::default();
    let old = tree.index("library/nginx", "1.0", 60);
    let (job, root, _directory) = on_disk(&tree, &[]);
    expect_words(job.run().expect(20).run_error(), &["shows none at all within 30d", "without_ledger"]);
    let (job, _, _directory) = on_disk(&tree, &[("library/nginx:1.27", 35)]);
    job.run().expect(20);
    assert!(root.join(blob(&old[0])).exists());
}

#[test]
fn each_ledger_must_cover_the_window_by_itself() {
    let mut tree = Tree::default();
    let old = tree.index("library/nginx", "1.0", 60);
    let (job, root, _directory) = on_disk(&tree, &[PULLED]);
    let (one, two) = (job.home().join("pulls.jsonl"), job.home().join("two.jsonl"));
    // The registry has two replicas, and the log of the second has not come for three days.
    std::fs::write(&two, format!("{{\"from\":\"{}\",\"to\":\"{}\"}}\n", stamp(ago(40)), stamp(ago(3)))).unwrap();
    let job = job.set("mirror.ledger", &format!("[\"{}\",\"{}\"]", one.display(), two.display()));
    expect_words(job.run().expect(20).run_error(), &["two.jsonl does not show them", "says nothing of the time from"]);
    assert!(root.join(blob(&old[0])).exists());
    writeln!(
        std::fs::File::options().append(true).open(&two).unwrap(),
        "{{\"from\":\"{}\",\"to\":\"{}\"}}",
        stamp(ago(4)),
        stamp(Utc::now())
    )
    .unwrap();
    job.run().expect(0);
    assert!(!root.join(blob(&old[0])).exists());
}

/// A log of these hours before now, each with a pull.
fn log(hours: impl IntoIterator<Item = i64>) -> String {
    let line = |hours: i64| {
        let at = (Utc::now() - TimeDelta::hours(hours)).format("%d/%b/%Y:%H:%M:%S +0000");
        format!("10.0.0.1 - - [{at}] \"GET /v2/library/nginx/manifests/1.27 HTTP/1.1\" 200 1 \"\" \"x\"\n")
    };
    hours.into_iter().map(line).collect()
}

#[test]
fn what_a_log_does_not_show_its_ledger_does_not_cover() {
    let mut tree = Tree::default();
    tree.index("library/nginx", "1.0", 60);
    let run = |log: &str| {
        let (job, _root, directory) = on_disk(&tree, &[]);
        let ledger = std::fs::File::create(job.home().join("pulls.jsonl")).unwrap();
        retention_pruner::convert(log.as_bytes(), ledger).unwrap();
        let outcome = job.run();
        drop(directory);
        outcome
    };
    // A quiet night is none, whole days are: nobody can tell whether the disk was full.
    run(&log((0..960).filter(|hour| hour % 20 > 8).rev())).expect(0);
    expect_words(
        run(&log((0..960).filter(|hour| !(100..150).contains(hour)).rev())).expect(20).run_error(),
        &["says nothing of the time from"],
    );
    // A host that began in 1970 and then learnt the time; one that was in the next century for a moment.
    let began = "10.0.0.1 - - [01/Jan/1970:00:00:09 +0000] \"GET /v2/ HTTP/1.1\" 200 1 \"\" \"x\"\n";
    expect_words(run(&(began.to_owned() + &log((0..48).rev()))).expect(20).run_error(), &["says nothing of the time from"]);
    let ahead = began.replace("1970", "2099");
    expect_words(run(&(log((72..960).rev()) + &ahead)).expect(20).run_error(), &["says nothing of the time from"]);
}
