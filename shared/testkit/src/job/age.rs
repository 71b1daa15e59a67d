//! Pairs of age keys, by Debian's `age-keygen`, and what `age` itself makes of a file.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Makes a pair: the file with the private key, and the public one.
#[track_caller]
pub fn pair(directory: &Path, name: &str) -> (PathBuf, String) {
    let file = directory.join(name);
    let made = Command::new("age-keygen").arg("-o").arg(&file).output().expect("age-keygen");
    assert!(made.status.success(), "{made:?}");
    let text = std::fs::read_to_string(&file).expect("a file of keys");
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("a public key").to_owned();
    (file, public)
}

/// What `age -d` reads from these bytes; `None` where it refuses them.
pub fn decrypt(sealed: &[u8], identity: &Path) -> Option<Vec<u8>> {
    let mut age = Command::new("age");
    age.arg("-d").arg("-i").arg(identity).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut age = age.spawn().expect("age");
    // One that refuses the beginning does not read the rest.
    age.stdin.take().expect("an input").write_all(sealed).ok();
    let done = age.wait_with_output().expect("an end");
    done.status.success().then_some(done.stdout)
}
