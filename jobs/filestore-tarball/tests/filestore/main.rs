//! The built job on real directories, with real servers, and what goes wrong with all of them.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod command_line;
mod contents;
mod database;
mod files;
mod kill;
mod network;
mod sources;
mod store;

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use plana_plan::{
    Area,
    manifest::{FileStoreFacts, Manifest, PathList},
};
use plana_testkit::job::{Job, Outcome, expect_words, store::Set};
use sha1::{Digest, Sha1};

/// A call of the job.
fn job() -> Job {
    Job::of(env!("CARGO_BIN_EXE_filestore-tarball")).limit(Duration::from_secs(90))
}

/// A root of tenants in a job's home, so that it goes with it.
struct Root(PathBuf);

impl Root {
    fn of(job: &Job) -> Self {
        Root::named(job, "root")
    }

    fn named(job: &Job, name: &str) -> Self {
        let path = job.home().join(name);
        fs::create_dir(&path).unwrap();
        Root(path)
    }

    fn arg(&self) -> String {
        format!("--root={}", self.0.display())
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.0.join(below)
    }

    /// Writes a file that was there for a while.
    fn write(&self, below: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let then = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options().append(true).open(&path).unwrap().set_modified(then).unwrap();
        path
    }

    /// Writes an attachment of that content, and gives its path in the store.
    fn attach(&self, tenant: &str, content: impl AsRef<[u8]>) -> String {
        let path = attachment(content.as_ref());
        self.write(format!("{tenant}/{path}"), content);
        path
    }

    /// Some attachments, all different, of the given size.
    fn fill(&self, tenant: &str, count: usize, size: usize) {
        for number in 0..count {
            self.attach(tenant, noise(&format!("{tenant} {number}"), size));
        }
    }
}

/// Bytes that no compressor makes smaller, the same for the same seed.
fn noise(seed: &str, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 20);
    let mut block = Sha1::digest(seed.as_bytes());
    while bytes.len() < size {
        bytes.extend_from_slice(&block);
        block = Sha1::digest(block);
    }
    bytes.truncate(size);
    bytes
}

fn attachment(content: &[u8]) -> String {
    let name: String = Sha1::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}/{name}", &name[..2])
}

/// The only set of that name, proven by hash and by `gzip` and `tar`.
#[track_caller]
fn set_of(job: &Job, name: &str) -> Set {
    let set = job.store().only_set(Area::Filestore, name);
    assert_eq!(set.stored_sha256(), set.manifest.payload.stored_sha256);
    assert_eq!(set.content_sha256(), set.manifest.payload.content_sha256);
    set
}

#[track_caller]
fn facts(set: &Set) -> &FileStoreFacts {
    facts_of(&set.manifest)
}

#[track_caller]
fn facts_of(manifest: &Manifest) -> &FileStoreFacts {
    manifest.filestore.as_ref().expect("facts of a file store")
}

fn paths(list: &PathList) -> Vec<&str> {
    list.listed.iter().map(|listed| listed.path.as_str()).collect()
}

/// Unpacks a set with `tar xz`, and compares it with a directory.
#[track_caller]
fn expect_same(set: &Set, directory: &Path) {
    let into = tempfile::tempdir().unwrap();
    let mut tar = Command::new("sh");
    tar.args(["-c", "cat \"$@\" | tar xz --numeric-owner -p", "sh"]).args(set.volumes()).current_dir(into.path());
    assert!(tar.status().unwrap().success());
    let differences = Command::new("diff").arg("-r").arg(directory).arg(into.path()).stdin(Stdio::null()).output().unwrap();
    assert!(differences.status.success(), "{}", String::from_utf8_lossy(&differences.stdout));
}

/// Why an item is not whole.
#[track_caller]
fn partial<'a>(outcome: &'a Outcome, name: &str) -> &'a str {
    let item = outcome.item(name);
    assert_eq!(item["outcome"], "partial", "{item:#}\n{}", outcome.done.stderr);
    item["error"].as_str().expect("an error")
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}
