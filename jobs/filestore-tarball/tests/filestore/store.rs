//! A store that is a directory: full, or not to be written.

use std::{fs, time::Duration};

use plana_testkit::disk::SmallDisk;

use crate::{Root, expect_words, facts, job, noise, set_of};

#[test]
fn a_full_disk_fails_what_does_not_fit_and_leaves_nothing_of_it() {
    let disk = SmallDisk::new(6 << 20).unwrap();
    let job = job().store_url(&format!("file://{}", disk.path().join("store").display()));
    let root = Root::of(&job);
    root.fill("large.app", 40, 400_000);
    root.fill("small.app", 5, 1_000);
    let outcome = job.clone().arg(root.arg()).run().expect(3);
    assert_eq!(outcome.outcome("small.app"), "done");
    expect_words(outcome.error("large.app"), &["no space is left"]);
    let left: Vec<_> = fs::read_dir(disk.path().join("store/filestore")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().any(|name| name == "small.app"));
    let used = std::process::Command::new("du").args(["-sb"]).arg(disk.path()).output().unwrap();
    let used: u64 = String::from_utf8_lossy(&used.stdout).split_whitespace().next().unwrap().parse().unwrap();
    assert!(used < 1 << 20, "{used} bytes are left behind");
}

#[test]
fn two_runs_at_once_do_no_harm() {
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 10, 1_200_000);
    let slow = job.clone().arg(root.arg()).slow();
    let mut first = slow.spawn();
    first.wait_until("the first run", |running| running.stderr().contains("planned")).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let outcome = job.clone().arg(root.arg()).run().expect(11);
    assert_eq!(outcome.outcome("acme.app"), "locked");
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert_eq!(facts(&set_of(&job, "acme.app")).files, 10);
}

#[test]
fn a_tarball_of_several_volumes_is_simply_concatenated() {
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 20, 1_000_000);
    root.attach("acme.app", noise("one more", 100));
    job.clone().arg(root.arg()).set("upload.max_object", "5MiB").set("upload.memory", "15MiB").run().expect(0);
    let set = set_of(&job, "acme.app");
    assert!(set.manifest.payload.volumes.len() > 1);
    crate::expect_same(&set, &root.path("acme.app"));
    assert_eq!(facts(&set).proven, 21);
}
