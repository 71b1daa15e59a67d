//! The small disk is full when it should be, and goes away.
#![allow(clippy::unwrap_used)]

use plana_testkit::disk::SmallDisk;

#[test]
fn takes_what_fits_and_refuses_the_rest() {
    let disk = SmallDisk::new(1 << 20).unwrap();
    std::fs::write(disk.path().join("fits"), vec![1; 500_000]).unwrap();
    let full = std::fs::write(disk.path().join("does not"), vec![1; 800_000]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let path = disk.path();
    drop(disk);
    assert!(!path.exists());
    assert!(!std::fs::read_to_string("/proc/self/mounts").unwrap().contains(path.to_str().unwrap()));
}
