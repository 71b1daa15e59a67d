//! `restore-filestore`, and `check` and `fetch` on file stores: proven before they are in their place.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use common::{
    error,
    files::{Files, GZIP, NewSet, ZSTD, contents_of},
    json, tamper,
};
use plana_archive::Recipients;
use plana_plan::{
    Area,
    manifest::{FileStoreFacts, FileStoreLayout},
};
use plana_testkit::{bin::Bin, disk::SmallDisk, process::Signal};
use tempfile::TempDir;

const NAME: &str = "acme.planapulse.app";
const STAMP: &str = "20261123T031500Z";

struct Site {
    home: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Site { home: tempfile::tempdir().unwrap() };
        fs::create_dir(site.store()).unwrap();
        fs::create_dir(site.disk()).unwrap();
        site
    }

    fn store(&self) -> PathBuf {
        self.home.path().join("store")
    }

    /// Where file stores are restored.
    fn disk(&self) -> PathBuf {
        self.home.path().join("disk")
    }

    fn target(&self) -> PathBuf {
        self.disk().join(NAME)
    }

    fn job(&self, arguments: &[&str]) -> Bin {
        Bin::new("restore-from-sos")
            .unwrap()
            .args(["--output", "json", "--log-format", "text"])
            .env("PLANA_JOBS__STATE_DIR", self.home.path().join("state"))
            .env("PLANA_JOBS__STORE__BACKUPS__URL", format!("file://{}", self.store().display()))
            .limit(Duration::from_secs(120))
            .args(arguments)
    }

    fn restore(&self, arguments: &[&str]) -> Bin {
        self.job(&["restore-filestore", NAME, "--to"]).arg(self.target()).args(arguments)
    }

    /// What stands where file stores are restored.
    fn there(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.disk()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn payload(store: &Path, set: &str) -> PathBuf {
    let mut files = fs::read_dir(store.join(set)).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.file_name().unwrap() != "manifest.json").unwrap()
}

#[test]
fn a_file_store_comes_back_whatever_its_compression() {
    let files = Files::new(200);
    files.attach(&vec![7; 3 << 20]);
    let key = tempfile::tempdir().unwrap();
    let identity = key.path().join("key");
    assert!(Command::new("age-keygen").arg("-o").arg(&identity).output().unwrap().status.success());
    let text = fs::read_to_string(&identity).unwrap();
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    for (compression, suffix, recipients) in [
        (GZIP, ".tar.gz", Recipients::default()),
        (ZSTD, ".tar.zst", Recipients::default()),
        (GZIP, ".tar.gz.age", Recipients::parse([public]).unwrap()),
    ] {
        let site = Site::new();
        let set = NewSet { compression, recipients, ..NewSet::new(&site.store(), NAME, STAMP) }.of_tree(&files.path(), |_| {});
        let secret = ["--identity", identity.to_str().unwrap()];
        let done = site.job(&["check", &set]).args(secret).run().unwrap().expect_code(0);
        let item = &json(&done)["items"][0];
        assert_eq!((&item["files"], &item["proven"]), (&202.into(), &201.into()), "{}", done.stdout);
        let done = site.job(&["check", "--latest", "acme*", "--area", "filestore"]).args(secret).run().unwrap().expect_code(0);
        assert_eq!(json(&done)["items"][0]["files"], 202);
        let fetched = site.home.path().join("fetched");
        site.job(&["fetch", &set, "--to"]).arg(&fetched).run().unwrap().expect_code(0);
        assert!(payload(&site.store(), &set).to_str().unwrap().ends_with(suffix));
        let shown = site.job(&["show", &set, "--output", "text"]).run().unwrap().expect_code(0).stdout;
        assert!(shown.contains("202 files in ") && shown.contains("201 of them are what their names say"), "{shown}");
        let planned = site.restore(&["--dry-run"]).args(secret).run().unwrap().expect_code(0);
        assert_eq!((&json(&planned)["items"][0]["outcome"], site.there().len()), (&"planned".into(), 0));
        let done = site.restore(&[]).args(secret).run().unwrap().expect_code(0);
        let item = &json(&done)["items"][0];
        assert_eq!((&item["outcome"], &item["files"], &item["proven"]), (&"done".into(), &202.into(), &201.into()), "{}", done.stdout);
        assert!(contents_of(&site.target()) == contents_of(&files.path()), "the files differ");
        assert_eq!(site.there(), [NAME]);
    }
}

#[test]
fn standard_tools_restore_it_too() {
    let (site, files) = (Site::new(), Files::new(50));
    let set = NewSet::new(&site.store(), NAME, STAMP).of_tree(&files.path(), |_| {});
    let to = site.disk().join("plain");
    fs::create_dir(&to).unwrap();
    let tar = Command::new("tar")
        .args(["xzf"])
        .arg(payload(&site.store(), &set))
        .args(["--no-same-owner", "--no-same-permissions", "-C"])
        .arg(&to)
        .output();
    assert!(tar.unwrap().status.success());
    assert_eq!(contents_of(&to), contents_of(&files.path()));
}

#[test]
fn across_a_major_upgrade_the_files_belong_to_the_new_user() {
    assert!(rustix::process::getuid().is_root(), "only root gives files away");
    let (site, files) = (Site::new(), Files::new(5));
    for entry in walk(&files.path()) {
        chown(&entry, Some(101), Some(101)).unwrap();
        fs::set_permissions(&entry, fs::Permissions::from_mode(if entry.is_dir() { 0o700 } else { 0o6777 })).unwrap();
    }
    NewSet::new(&site.store(), NAME, STAMP).of_tree(&files.path(), |_| {});
    site.restore(&["--uid", "100", "--gid", "101"]).run().unwrap().expect_code(0);
    for entry in walk(&site.target()) {
        let metadata = fs::symlink_metadata(&entry).unwrap();
        let mode = if metadata.is_dir() { 0o750 } else { 0o640 };
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (100, 101, mode), "{}", entry.display());
    }
    assert_eq!(walk(&site.target()).len(), walk(&files.path()).len());
}

/// A directory and everything below it.
fn walk(top: &Path) -> Vec<PathBuf> {
    let mut found = vec![top.to_path_buf()];
    if top.is_dir() {
        fs::read_dir(top).unwrap().for_each(|entry| found.extend(walk(&entry.unwrap().path())));
    }
    found
}

#[test]
fn a_directory_that_is_there_is_kept_or_not_touched() {
    let (site, files) = (Site::new(), Files::new(5));
    NewSet::new(&site.store(), NAME, STAMP).of_tree(&files.path(), |_| {});
    fs::create_dir(site.target()).unwrap();
    fs::write(site.target().join("precious"), "x").unwrap();
    let refused = site.restore(&[]).run().unwrap().expect_code(20);
    assert!(error(&refused).contains("--replace") && site.there() == [NAME], "{}", refused.stdout);
    assert_eq!(fs::read(site.target().join("precious")).unwrap(), b"x");
    let done = site.restore(&["--replace"]).run().unwrap().expect_code(0);
    let kept = PathBuf::from(json(&done)["items"][0]["old_one_kept_as"].as_str().unwrap());
    assert_eq!(fs::read(kept.join("precious")).unwrap(), b"x");
    assert_eq!(contents_of(&site.target()), contents_of(&files.path()));
    assert_eq!(site.there().len(), 2);
    let nowhere = site.job(&["restore-filestore", NAME, "--to", "/nowhere/at/all"]).run().unwrap().expect_code(1);
    assert!(error(&nowhere).contains("No such file"), "{}", nowhere.stdout);
    let none = site.job(&["restore-filestore", "nobody", "--to"]).arg(site.disk().join("x")).run().unwrap().expect_code(1);
    assert!(error(&none).contains("there is none"), "{}", none.stdout);
    let dump = site.job(&["restore-filestore", NAME, "--area", "pg", "--to"]).arg(site.disk().join("x")).run().unwrap().expect_code(1);
    assert!(error(&dump).contains("pg/"), "{}", dump.stdout);
}

/// A header by anybody's hand.
fn entry(path: &str, kind: u8, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..4].copy_from_slice(b"/etc");
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    [header.as_bytes(), content, &vec![0; (512 - content.len() % 512) % 512]].concat()
}

/// The payload has the hashes that its manifest names: whoever may put objects can write both.
#[test]
fn a_hostile_archive_gets_nowhere_even_with_a_manifest_of_its_own() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    let facts = |files, directories, bytes| FileStoreFacts {
        files,
        directories,
        bytes,
        ..FileStoreFacts::new(FileStoreLayout::Plain, "test", b"/srv")
    };
    let top = entry("./", b'5', 0, b"");
    let end = vec![0; 1024];
    let cases = [
        ("leads out", vec![entry("../victim", b'0', 1, b"x")], facts(1, 1, 1)),
        ("absolute", vec![entry(victim.to_str().unwrap(), b'0', 1, b"x")], facts(1, 1, 1)),
        ("symbolic link", vec![entry("./a", b'2', 0, b""), entry("./a/victim", b'0', 1, b"x")], facts(1, 1, 1)),
        ("hard link", vec![entry("./a", b'1', 0, b"")], facts(1, 1, 0)),
        ("device", vec![entry("./a", b'3', 0, b"")], facts(1, 1, 0)),
        ("pipe", vec![entry("./a", b'6', 0, b"")], facts(1, 1, 0)),
        ("comes twice", vec![entry("./a", b'0', 1, b"x"), entry("./a", b'0', 1, b"y")], facts(2, 1, 2)),
        ("more bytes in files", vec![entry("./a", b'0', 1 << 40, b"x")], facts(1, 1, 1)),
        ("more files", vec![entry("./a", b'0', 0, b""), entry("./b", b'0', 0, b"")], facts(1, 1, 0)),
        ("breaks off", vec![entry("./a", b'0', 5000, b"x")], facts(1, 1, 5000)),
        ("it holds 1 files", vec![entry("./a", b'0', 0, b"")], facts(2, 1, 0)),
    ];
    for (what, entries, facts) in cases {
        let site = Site::new();
        let tar = [&top[..], &entries.concat(), &end].concat();
        let set = NewSet::new(&site.store(), NAME, STAMP).of_tar(&tar, facts);
        for done in [site.restore(&[]).run().unwrap(), site.job(&["check", &set]).run().unwrap()] {
            let done = done.expect_code(1);
            assert!(error(&done).contains(what), "«{what}»: {}", done.stdout);
            assert_eq!(site.there(), Vec::<String>::new(), "{what}");
            assert!(!victim.exists(), "{what}");
        }
    }
    // More than any disk has is refused before a byte is read.
    let site = Site::new();
    NewSet::new(&site.store(), NAME, STAMP).of_tar(&[&top[..], &end].concat(), facts(1 << 50, 1, 1 << 60));
    let done = site.restore(&[]).run().unwrap().expect_code(1);
    assert!(error(&done).contains("bytes, and") && error(&done).contains("free some"), "{}", done.stdout);
    assert!(site.there().is_empty());
}

#[test]
fn what_is_cut_or_changed_leaves_nothing() {
    let files = Files::new(100);
    for compression in [GZIP, ZSTD] {
        type Fault = (&'static str, fn(&mut Vec<u8>));
        let faults: [Fault; 4] = [
            ("", |bytes| bytes.truncate(bytes.len() / 2)),
            ("", |bytes| bytes.truncate(bytes.len() - 1)),
            ("", |bytes| bytes.push(0)),
            ("", |bytes| {
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
            }),
        ];
        for (_, fault) in faults {
            let site = Site::new();
            let set = NewSet { compression, ..NewSet::new(&site.store(), NAME, STAMP) }.of_tree(&files.path(), |_| {});
            tamper(&payload(&site.store(), &set), fault);
            site.restore(&[]).run().unwrap().expect_code(1);
            site.job(&["check", &set]).run().unwrap().expect_code(1);
            assert_eq!(site.there(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_manifest_that_says_other_than_the_files_is_not_believed() {
    let files = Files::new(20);
    let damaged = files.attach(b"a scan");
    fs::write(files.path().join(&damaged), "rotten").unwrap();
    let site = Site::new();
    // As it was found when it was read: restored as it is, and said.
    NewSet::new(&site.store(), NAME, STAMP).of_tree(&files.path(), |facts| assert_eq!(facts.damaged.total, 1));
    let done = site.restore(&[]).run().unwrap().expect_code(0);
    assert!(json(&done)["items"][0]["warnings"].to_string().contains(&damaged), "{}", done.stdout);
    assert_eq!(fs::read(site.target().join(&damaged)).unwrap(), b"rotten");
    type Lie = fn(&mut FileStoreFacts);
    let lies: [Lie; 4] =
        [|facts| facts.damaged = Default::default(), |facts| facts.files += 1, |facts| facts.bytes -= 1, |facts| facts.proven += 1];
    for lie in lies {
        let site = Site::new();
        NewSet::new(&site.store(), NAME, STAMP).of_tree(&files.path(), |facts| {
            lie(facts);
            // So that the manifest does not contradict itself.
            facts.files = facts.files.max(facts.proven + facts.damaged.total);
        });
        site.restore(&[]).run().unwrap().expect_code(1);
        assert_eq!(site.there(), Vec::<String>::new());
    }
    // Without what it should say nothing could be proven.
    let site = Site::new();
    let set = NewSet::new(&site.store(), NAME, STAMP).of_tree(&files.path(), |_| {});
    tamper(&site.store().join(&set).join("manifest.json"), |bytes| {
        let mut manifest: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        manifest.as_object_mut().unwrap().remove("filestore");
        *bytes = manifest.to_string().into_bytes();
    });
    for done in [site.restore(&[]).run().unwrap(), site.job(&["check", &set]).run().unwrap()] {
        assert!(error(&done.expect_code(1)).contains("does not say what its archive holds"));
    }
}

#[test]
fn a_killed_restore_leaves_nothing_at_the_target_and_is_swept_by_the_next() {
    let (site, files) = (Site::new(), Files::new(20));
    // Random, and large enough to be caught in the middle.
    files.attach(&random(120 << 20));
    NewSet::new(&site.store(), NAME, STAMP).of_tree(&files.path(), |_| {});
    for signal in [Signal::KILL, Signal::TERM] {
        let running = site.restore(&[]).spawn().unwrap();
        let begun = Instant::now();
        while !site.there().iter().any(|name| site.disk().join(name).join("checklist").exists()) {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing was begun");
            std::thread::sleep(Duration::from_millis(2));
        }
        running.signal(signal).unwrap();
        let done = running.wait().unwrap();
        assert_ne!(done.code(), Some(0), "it was not caught in the middle");
        assert!(!site.target().exists());
        if signal == Signal::KILL {
            assert!(site.there().iter().all(|name| name.starts_with(".plana-restore-")), "{:?}", site.there());
            assert!(!site.there().is_empty());
        }
    }
    let done = site.restore(&[]).run().unwrap().expect_code(0);
    let warnings = json(&done)["items"][0]["warnings"].to_string();
    assert!(site.there() == [NAME], "{:?} {warnings}", site.there());
    assert_eq!(contents_of(&site.target()), contents_of(&files.path()));
}

fn random(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(next).take(bytes / 8).flat_map(u64::to_le_bytes).collect()
}

#[test]
fn a_full_disk_leaves_nothing() {
    let (site, files) = (Site::new(), Files::new(0));
    files.attach(&random(6 << 20));
    let other = files.attach(&random(3 << 20));
    NewSet::new(&site.store(), NAME, STAMP).of_tree(&files.path(), |_| {});
    let disk = SmallDisk::new(8 << 20).unwrap();
    let to = disk.path().join("acme");
    let lacking = site.job(&["restore-filestore", NAME, "--to"]).arg(&to).run().unwrap().expect_code(1);
    assert!(error(&lacking).contains("it needs about") && error(&lacking).contains("free some"), "{}", lacking.stdout);
    // Small files take more than their bytes: a disk that had room by its number is full in the middle.
    let small = Files::new(0);
    (0..3500_u32).for_each(|number| drop(small.attach(&number.to_le_bytes())));
    NewSet::new(&site.store(), "small", STAMP).of_tree(&small.path(), |_| {});
    let full = site.job(&["restore-filestore", "small", "--to"]).arg(&to).run().unwrap().expect_code(1);
    assert!(error(&full).contains("free some space"), "{}", full.stdout);
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
    assert!(files.path().join(other).exists());
}

#[test]
fn insurance_is_restored_likewise() {
    let (site, files) = (Site::new(), Files::new(5));
    let set = NewSet { area: Area::InsuranceFilestore, ..NewSet::new(&site.store(), NAME, STAMP) }.of_tree(&files.path(), |_| {});
    site.restore(&["--area", "insurance-filestore", "--at", "2026-11-23 03:15"]).run().unwrap().expect_code(0);
    assert_eq!(contents_of(&site.target()), contents_of(&files.path()));
    let by_set = site.disk().join("by-set");
    site.job(&["restore-filestore", &set, "--to"]).arg(&by_set).run().unwrap().expect_code(0);
    assert_eq!(contents_of(&by_set), contents_of(&files.path()));
}

#[test]
fn drills_prove_file_stores_in_turn_and_write_nothing() {
    let (site, files) = (Site::new(), Files::new(5));
    let sets = ["a", "b", "c"].map(|name| NewSet::new(&site.store(), name, STAMP).of_tree(&files.path(), |_| {}));
    tamper(&payload(&site.store(), &sets[1]), |bytes| bytes.truncate(bytes.len() - 9));
    let drill = |extra: &[&str]| site.job(&["drill", "--area", "filestore"]).args(extra).run().unwrap();
    let names = |done: &plana_testkit::bin::Done| {
        let report = json(done);
        let items = report["items"].as_array().unwrap().iter();
        items.map(|item| format!("{} {}", item["name"].as_str().unwrap(), item["outcome"].as_str().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(names(&drill(&["--dry-run", "--sample", "1"]).expect_code(0)), ["a planned"]);
    assert_eq!(names(&drill(&["--sample", "1"]).expect_code(0)), ["a done"]);
    // What failed was not proven, and comes first again; what was proven comes last.
    assert_eq!(names(&drill(&["--sample", "2"]).expect_code(3)), ["b failed", "c done"]);
    assert_eq!(names(&drill(&["--sample", "2"]).expect_code(3)), ["a done", "b failed"]);
    assert_eq!(names(&drill(&["--only", "c"]).expect_code(0)), ["c done"]);
    assert!(error(&drill(&["--only", "nobody"]).expect_code(1)).contains("there is none"));
    assert!(error(&site.job(&["drill", "--area", "globals"]).run().unwrap().expect_code(20)).contains("only databases"));
    assert!(site.there().is_empty());
}

#[test]
fn only_root_gives_files_away_and_that_is_said_before_anything_is_read() {
    let (site, files) = (Site::new(), Files::new(3));
    NewSet::new(&site.store(), NAME, STAMP).of_tree(&files.path(), |_| {});
    for path in [site.home.path().to_path_buf(), site.disk()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    // Where everybody may execute it.
    let job = site.home.path().join("job");
    fs::copy(env!("CARGO_BIN_EXE_restore-from-sos"), &job).unwrap();
    let restore = |extra: &[&str]| {
        let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let program = if rustix::process::getuid().is_root() { Bin::program("setpriv").args(nobody).arg(&job) } else { Bin::program(&job) };
        program
            .args(["--output", "json", "restore-filestore", NAME, "--store"])
            .arg(format!("file://{}", site.store().display()))
            .env("PLANA_JOBS__STATE_DIR", site.home.path().join("state"))
            .arg("--to")
            .arg(site.target())
            .args(extra)
            .run()
            .unwrap()
    };
    let refused = restore(&["--uid", "101"]).expect_code(1);
    assert!(error(&refused).contains("an owner that it may give") && site.there().is_empty(), "{}", refused.stdout);
    restore(&[]).expect_code(0);
    assert_eq!(contents_of(&site.target()), contents_of(&files.path()));
}
