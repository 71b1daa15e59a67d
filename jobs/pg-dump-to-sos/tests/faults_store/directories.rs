//! `file://`: disks that are full, directories that are not there or may not be written.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, process::Command};

use plana_testkit::disk::SmallDisk;

use crate::{
    cluster,
    common::{expect_no_backend_left, expect_words, faults::big_database, store::FileStore},
    small_database,
};

#[test]
fn a_full_disk_fails_what_does_not_fit_and_keeps_the_rest() {
    let (big, small) = (big_database(cluster(), "full"), small_database("full"));
    let disk = SmallDisk::new(20 << 20).unwrap();
    let root = disk.path().join("store");
    let job =
        crate::common::job().on(cluster()).store_url(&format!("file://{}", root.display())).only(&[&big, &small]).args(["--jobs", "1"]);
    let outcome = job.run().expect(3);
    expect_words(outcome.error(&big), &["file://", &big, "No space left on device", "no space is left", "free some"]);
    // What was written is removed, so there is room again.
    assert_eq!(outcome.outcome(&small), "done");
    let store = FileStore::new(&root);
    store.expect_nothing_of(&big);
    store.set(&small);
    job.expect_no_process_left();
    expect_no_backend_left(cluster(), &big);
}

#[test]
fn a_disk_that_is_full_to_the_last_byte() {
    let small = small_database("brim");
    let disk = SmallDisk::new(1 << 20).unwrap();
    let root = disk.path().join("store");
    std::fs::create_dir(&root).unwrap();
    let filled = std::fs::write(disk.path().join("ballast"), vec![1; 2 << 20]).unwrap_err();
    assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
    let job = crate::common::job().on(cluster()).store_url(&format!("file://{}", root.display())).only(&[&small]);
    let outcome = job.run().expect(1);
    expect_words(outcome.error(&small), &[&small, "no space is left"]);
    FileStore::new(&root).expect_nothing_of(&small);
}

#[test]
fn a_directory_that_is_not_there() {
    // Without others' databases: it would take their locks.
    let job = crate::common::job().on(cluster()).only(&[&small_database("not_there")]);
    let away = job.home().join("not/mounted");
    let outcome = job.clone().store_url(&format!("file://{}", away.display())).run().expect(10);
    expect_words(outcome.run_error(), &[away.to_str().unwrap(), "there is no such bucket or directory", "create it"]);
    // One level is made: the directory itself, not the mount point that should be there.
    assert!(!job.home().join("not").exists());

    let file = job.home().join("file");
    std::fs::write(&file, "").unwrap();
    let outcome = job.clone().store_url(&format!("file://{}", file.display())).run();
    assert!(matches!(outcome.done.code(), Some(1 | 10)), "{}", outcome.done.stderr);
    expect_words(outcome.done.stderr.as_str(), &[file.to_str().unwrap(), "Not a directory"]);
}

#[test]
fn a_directory_that_may_not_be_written() {
    // Root may write everywhere, unless it lacks the capability.
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let wrapper: &[&str] = if is_root { &["/usr/bin/setpriv", "--bounding-set=-dac_override,-dac_read_search"] } else { &[] };
    let small = small_database("read_only");
    let job = crate::common::job_under(wrapper).on(cluster()).only(&[&small]);
    let root = job.home().join("store");
    std::fs::create_dir(&root).unwrap();
    std::fs::set_permissions(&root, Permissions::from_mode(0o500)).unwrap();
    let outcome = job.run();
    assert!(matches!(outcome.done.code(), Some(1 | 10)), "{}", outcome.done.stderr);
    expect_words(&outcome.done.stderr, &[root.to_str().unwrap(), "Permission denied"]);
    assert!(outcome.done.stderr.contains("let the user of this job read and write there"), "{}", outcome.done.stderr);
    std::fs::set_permissions(&root, Permissions::from_mode(0o700)).unwrap();
    job.store().expect_no_manifest();
}
