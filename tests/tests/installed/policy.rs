//! The package as Debian's policy wants it.

use std::process::Command;

use crate::host::packages;

/// Of binaries that were built in another way, and packed without compression, so that the tests are quick.
const OF_THE_TEST: &str = "uses-no-compression-for-data-tarball,uses-no-compression-for-control-tarball";

#[test]
fn lintian_finds_no_error_and_no_warning() {
    let found = Command::new("lintian")
        .args(["--allow-root", "--no-user-dirs", "--fail-on", "error,warning", "--suppress-tags", OF_THE_TEST])
        .arg(packages().join(format!("plana-jobs_0.1.0-1_{}.deb", architecture())))
        .output()
        .expect("lintian: run tools/install-deps.sh test");
    let said = String::from_utf8_lossy(&[found.stdout, found.stderr].concat()).into_owned();
    assert!(found.status.success(), "{said}");
}

fn architecture() -> String {
    let told = Command::new("dpkg").arg("--print-architecture").output().expect("dpkg");
    String::from_utf8(told.stdout).unwrap().trim().to_owned()
}
