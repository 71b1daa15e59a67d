use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use plana_plan::{
    Stamp,
    manifest::{FileStoreFacts, FileStoreLayout},
};
use proptest::prelude::*;
use rustix::fs::{FlockOperation, flock};
use sha1::{Digest, Sha1};
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::*;
use crate::tarball::{Meta, Tarball};

const META: Meta = Meta { mode: 0o7777, uid: 101, gid: 101, mtime: 1_700_000_000 };
const NOBODY: Owner = Owner { uid: None, gid: None };

/// A header as anybody can write it, and the content behind it.
fn entry(path: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    sized(path, kind, content.len() as u64, content)
}

fn sized(path: &[u8], kind: u8, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_entry_type(EntryType::new(kind));
    header.set_mode(0o644);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/passwd");
    header.set_cksum();
    let padding = vec![0; (512 - content.len() % 512) % 512];
    [header.as_bytes(), content, &padding].concat()
}

fn directory(path: &[u8]) -> Vec<u8> {
    entry(path, b'5', b"")
}

fn file(path: &[u8], content: &[u8]) -> Vec<u8> {
    entry(path, b'0', content)
}

fn record(keyword: &str, value: &str) -> Vec<u8> {
    let rest = keyword.len() + value.len() + 3;
    let length = (rest..).find(|length| *length == rest + length.to_string().len()).expect("a length");
    format!("{length} {keyword}={value}\n").into_bytes()
}

/// An archive of these entries behind the top, with its end.
fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    [directory(b"./"), entries.concat(), vec![0; 1024]].concat()
}

fn facts(files: u64, directories: u64, bytes: u64) -> FileStoreFacts {
    FileStoreFacts { files, directories, bytes, ..FileStoreFacts::new(FileStoreLayout::Plain, "test", b"/srv/acme") }
}

/// A manifest that would let anything through.
fn lenient() -> FileStoreFacts {
    FileStoreFacts { links: 0, ..facts(1 << 40, 1 << 40, 1 << 50) }
}

struct Site {
    home: TempDir,
}

impl Site {
    fn new() -> Self {
        Site { home: tempfile::tempdir().expect("a directory") }
    }

    fn target(&self) -> PathBuf {
        self.home.path().join("acme")
    }

    fn extract(&self, tar: &[u8], facts: &FileStoreFacts) -> Result<TreeProof, ExtractError> {
        self.extract_from(&mut &*tar, facts, false, NOBODY).map(|(proof, _)| proof)
    }

    fn extract_from(
        &self,
        tar: &mut dyn Read,
        facts: &FileStoreFacts,
        replace: bool,
        owner: Owner,
    ) -> Result<(TreeProof, Placed), ExtractError> {
        let mut staging = Staging::begin(&self.target(), replace, owner, 0x1a2b_3c4d)?;
        let proof = read_tree(tar, facts, &mut staging)?;
        Ok((proof, staging.place(replace, stamp())?))
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.home.path())
            .expect("reads")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    /// Neither a target nor anything unfinished is there.
    #[track_caller]
    fn expect_nothing(&self) {
        assert_eq!(self.names(), Vec::<String>::new());
    }
}

fn stamp() -> Stamp {
    "20261123T031500Z".parse().expect("a stamp")
}

#[test]
fn every_hostile_archive_leaves_nothing() {
    let outside = tempfile::tempdir().expect("a directory");
    let victim = outside.path().join("victim");
    let absolute = victim.to_str().expect("text").as_bytes().to_vec();
    let long = "n".repeat(256);
    let deep = "d/".repeat(300);
    let pax = |records: &[u8]| entry(b"PaxHeader", b'x', records);
    let gnu = |path: &[u8]| entry(b"././@LongLink", b'L', &[path, b"\0"].concat());
    let mut wrong_sum = file(b"./a", b"x");
    wrong_sum[148] ^= 1;
    let mut old = file(b"./a", b"x");
    old[257..265].fill(0);
    let mut header = Header::from_byte_slice(&old[..512]).clone();
    header.set_cksum();
    old[..512].copy_from_slice(header.as_bytes());
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("absolute", vec![file(&absolute, b"x")]),
        ("absolute", vec![gnu(&absolute), file(b"./a", b"x")]),
        ("absolute", vec![pax(&record("path", "/etc/cron.d/x")), file(b"./a", b"x")]),
        ("leads out", vec![file(b"../victim", b"x")]),
        ("leads out", vec![directory(b"./a/"), file(b"./a/../../victim", b"x")]),
        ("leads out", vec![directory(b"./..")]),
        ("leads out", vec![gnu(b"./a/../../victim"), file(b"./a", b"x")]),
        ("it is a symbolic link", vec![entry(b"./a", b'2', b"")]),
        ("it is a symbolic link", vec![entry(b"./a", b'2', b""), file(b"./a/b", b"x")]),
        ("link with content", vec![entry(b"./a", b'2', b"content")]),
        ("hard link", vec![file(b"./a", b"x"), entry(b"./b", b'1', b"")]),
        ("device", vec![entry(b"./a", b'3', b"")]),
        ("device", vec![entry(b"./a", b'4', b"")]),
        ("pipe", vec![entry(b"./a", b'6', b"")]),
        ("of a kind", vec![entry(b"./a", b'S', b"")]),
        ("of a kind", vec![entry(b"./a", b'7', b"x")]),
        ("of a kind", vec![entry(b"./a", b'g', &record("path", "b"))]),
        ("of a kind", vec![entry(b"././@LongLink", b'K', b"/etc/passwd\0"), entry(b"./a", b'2', b"")]),
        ("directory with content", vec![entry(b"./a/", b'5', b"content")]),
        ("twice", vec![file(b"./a", b"x"), file(b"./a", b"y")]),
        ("twice", vec![directory(b"./a/"), directory(b"./a")]),
        ("twice", vec![directory(b"./a"), file(b"./a/b", b"x"), file(b"a/b", b"y")]),
        ("twice", vec![file(b"./a", b"x"), directory(b"./")]),
        ("not in its order", vec![file(b"./b", b"x"), file(b"./a", b"x"), file(b"./b", b"y")]),
        ("its directory does not come", vec![file(b"./a/b", b"x")]),
        ("its directory does not come", vec![file(b"./a", b"x"), file(b"./a/b", b"x")]),
        ("not as it would be written", vec![file(b"./a//b", b"x")]),
        ("not as it would be written", vec![file(b"././a", b"x")]),
        ("not as it would be written", vec![file(b"./a/", b"x")]),
        ("longer than 255", vec![gnu(format!("./{long}").as_bytes()), file(b"./a", b"x")]),
        ("longer than any path", vec![gnu("./a".repeat(1500).as_bytes()), file(b"./a", b"x")]),
        ("its directory does not come", vec![pax(&record("path", &format!("./{deep}a"))), file(b"./a", b"x")]),
        ("zero byte", vec![gnu(b"./a\0b"), file(b"./a", b"x")]),
        ("has two names", vec![pax(&record("path", "./b")), gnu(b"./c"), file(b"./a", b"x")]),
        ("second time", vec![pax(&record("path", "./b")), pax(&record("path", "./c")), file(b"./a", b"x")]),
        ("second time", vec![gnu(b"./b"), gnu(b"./c"), file(b"./a", b"x")]),
        ("no sense", vec![pax(&[record("path", "./b"), record("path", "./c")].concat()), file(b"./a", b"x")]),
        ("no sense", vec![pax(b"999 path=./b\n"), file(b"./a", b"x")]),
        ("no sense", vec![pax(b"1 "), file(b"./a", b"x")]),
        ("no sense", vec![pax(b"-9 path=./b\n"), file(b"./a", b"x")]),
        ("no sense", vec![pax(&record("size", "-1")), file(b"./a", b"x")]),
        ("no sense", vec![pax(&record("GNU.sparse.major", "1")), file(b"./a", b"x")]),
        ("more bytes than that takes", vec![pax(&vec![b'x'; 20_000]), file(b"./a", b"x")]),
        ("more bytes than that takes", vec![sized(b"././@LongLink", b'L', 1 << 40, b"")]),
        ("is missing", vec![pax(&record("path", "./b"))]),
        ("wrong checksum", vec![wrong_sum]),
        ("no format", vec![old]),
        ("wrong checksum", vec![b"junk".repeat(128)]),
        ("goes on", vec![vec![0; 512], file(b"./a", b"x")]),
        ("do not belong", vec![vec![0; 1024], file(b"./a", b"x")]),
        ("do not belong", vec![vec![0; 9_000_000], b"x".to_vec()]),
    ];
    for (what, entries) in cases {
        let site = Site::new();
        let error = site.extract(&archive(&entries), &lenient()).expect_err(what);
        assert!(error.to_string().contains(what), "«{what}»: {error}");
        site.expect_nothing();
        assert!(!victim.exists(), "{what}");
    }
}

#[test]
fn an_archive_that_is_cut_anywhere_leaves_nothing() {
    let whole = archive(&[directory(b"./a/"), file(b"./a/b", &[7; 700]), file(b"./c", b"")]);
    let said = facts(2, 2, 700);
    for length in (0..whole.len()).step_by(29).chain([511, 512, 513, 1023, 1024, 1025, whole.len() - 512, whole.len() - 1]) {
        let site = Site::new();
        let error = site.extract(&whole[..length], &said).expect_err("cut");
        assert!(matches!(error, ExtractError::Truncated { .. }), "{length}: {error}");
        site.expect_nothing();
    }
    let site = Site::new();
    // Filled up to a record, as GNU tar does.
    site.extract(&[&whole[..], &[0; 10_240]].concat(), &said).expect("whole");
    assert_eq!(fs::read(site.target().join("a/b")).expect("reads"), [7; 700]);
}

/// Says that it is endless, and counts what is asked of it.
struct Endless {
    head: io::Cursor<Vec<u8>>,
    given: u64,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.head.read(buffer)?;
        if read > 0 {
            return Ok(read);
        }
        self.given += buffer.len() as u64;
        assert!(self.given < 1 << 20, "a bomb goes on");
        Ok(buffer.len())
    }
}

#[test]
fn bombs_end_before_they_are_written() {
    let said = facts(10, 10, 1_000_000);
    let large = |header: Vec<u8>| Endless { head: io::Cursor::new([directory(b"./"), header].concat()), given: 0 };
    let eight_eib = sized(b"./a", b'0', u64::MAX / 2, b"");
    let pax = [entry(b"PaxHeader", b'x', &record("size", "18446744073709551615")), file(b"./a", b"")].concat();
    for header in [sized(b"./a", b'0', 1_000_001, b""), eight_eib, pax] {
        let site = Site::new();
        let error = site.extract_from(&mut large(header), &said, false, NOBODY).expect_err("a bomb");
        assert!(error.to_string().contains("more bytes in files than the 1000000"), "{error}");
        site.expect_nothing();
    }
    // By number, without a byte of content.
    for (kind, what) in [(b'0', "more files than the 10"), (b'5', "more directories than the 10")] {
        let many: Vec<Vec<u8>> = (0..2_000).map(|number| entry(format!("./{number:06}").as_bytes(), kind, b"")).collect();
        let site = Site::new();
        let error = site.extract(&archive(&many), &said).expect_err("a bomb");
        assert!(error.to_string().contains(what), "{error}");
        site.expect_nothing();
    }
}

#[test]
fn what_the_manifest_says_differently_is_an_error() {
    let tar = archive(&[directory(b"./a/"), file(b"./a/b", b"content")]);
    assert!(Site::new().extract(&tar, &facts(1, 2, 7)).is_ok());
    for said in [facts(2, 2, 7), facts(1, 3, 7), facts(1, 2, 8), facts(0, 2, 7), facts(1, 1, 7), facts(1, 2, 6)] {
        let site = Site::new();
        let error = site.extract(&tar, &said).expect_err("different");
        assert!(matches!(error, ExtractError::Different(_)), "{error}");
        site.expect_nothing();
    }
    let with_links = FileStoreFacts { links: 2, ..facts(1, 2, 7) };
    assert!(matches!(Site::new().extract(&tar, &with_links), Err(ExtractError::Different(_))));
}

fn attachment(content: &[u8]) -> String {
    let name: String = Sha1::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}/{name}", &name[..2])
}

#[test]
fn every_attachment_is_compared_with_its_name() {
    let (good, bad) = (attachment(b"good"), attachment(b"bad"));
    let mut paths = [(&good, &b"good"[..]), (&bad, b"rotten")];
    paths.sort();
    let entries: Vec<Vec<u8>> = paths
        .iter()
        .flat_map(|(path, content)| [directory(format!("./{}/", &path[..2]).as_bytes()), file(format!("./{path}").as_bytes(), content)])
        .collect();
    let mut said = FileStoreFacts { layout: FileStoreLayout::Odoo, proven: 1, ..facts(2, 3, 10) };
    said.damaged.add(bad.as_bytes(), None);
    let proof = Site::new().extract(&archive(&entries), &said).expect("as the manifest says");
    assert_eq!((proof.proven, proof.unproven.len(), proof.unproven[0].name.to_string()), (1, 1, bad.clone()));
    assert_eq!(proof.unproven[0].found, attachment(b"rotten")[3..]);
    let none_damaged = FileStoreFacts { damaged: Default::default(), ..said.clone() };
    let all_proven = FileStoreFacts { proven: 2, ..said.clone() };
    let mut another = FileStoreFacts { damaged: Default::default(), ..said.clone() };
    another.damaged.add(good.as_bytes(), None);
    for (lie, what) in [(none_damaged, "not what their names say"), (all_proven, "its manifest names 2"), (another, "does not know of it")]
    {
        let site = Site::new();
        let error = site.extract(&archive(&entries), &lie).expect_err(what).to_string();
        assert!(error.contains(what), "{error}");
        site.expect_nothing();
    }
    // The same bytes in a plain directory prove nothing, and need not.
    let plain = FileStoreFacts { layout: FileStoreLayout::Plain, proven: 0, damaged: Default::default(), ..said };
    assert_eq!(Site::new().extract(&archive(&entries), &plain).expect("plain").unproven, []);
}

#[test]
fn of_what_a_manifest_has_no_room_to_list_no_more_is_believed_than_it_counts() {
    let contents = [&b"good"[..], b"one", b"two"];
    let mut paths = contents.map(|content| (attachment(content), content));
    paths.sort();
    let entries: Vec<Vec<u8>> = paths
        .iter()
        .flat_map(|(path, content)| {
            let content = if *content == b"good" { &b"good"[..] } else { b"rotten" };
            [directory(format!("./{}/", &path[..2]).as_bytes()), file(format!("./{path}").as_bytes(), content)]
        })
        .collect();
    let said = |listed: &[u8]| {
        let mut said = FileStoreFacts { layout: FileStoreLayout::Odoo, proven: 1, ..facts(3, 4, 16) };
        said.damaged.add(attachment(listed).as_bytes(), None);
        said.damaged.total = 2;
        said
    };
    let proof = Site::new().extract(&archive(&entries), &said(b"one")).expect("one is listed, and another known of");
    assert_eq!(proof.unproven.len(), 2);
    let site = Site::new();
    let error = site.extract(&archive(&entries), &said(b"good")).expect_err("both are strangers").to_string();
    assert!(error.contains("does not know of it"), "{error}");
    site.expect_nothing();
}

#[test]
fn links_that_the_manifest_names_are_left_out_and_listed() {
    let tar = archive(&[file(b"./a", b"x"), entry(b"./b", b'2', b"")]);
    let site = Site::new();
    let proof = site.extract(&tar, &FileStoreFacts { links: 1, ..facts(1, 1, 1) }).expect("known");
    assert_eq!((proof.links.total, &*proof.links.listed[0].path), (1, "b"));
    assert!(!site.target().join("b").exists() && site.target().join("a").exists());
    // Nor can one be walked through.
    let through = archive(&[entry(b"./b", b'2', b""), file(b"./b/c", b"x")]);
    let error = Site::new().extract(&through, &FileStoreFacts { links: 1, ..facts(1, 1, 1) }).expect_err("through a link");
    assert!(error.to_string().contains("its directory does not come"), "{error}");
}

#[test]
fn names_of_any_bytes_come_back() {
    let names: [Vec<u8>; 4] = [vec![b'n'; 255], b"new\nline".to_vec(), vec![0xff, 0xfe, b'x'], "été".as_bytes().to_vec()];
    let mut sorted = names.to_vec();
    sorted.sort();
    let mut tarball = Tarball::new(Vec::new());
    tarball.directory(b".", &META).expect("writes");
    for name in &sorted {
        let mut entry = tarball.file(&[b"./", &name[..]].concat(), name.len() as u64, &META).expect("begins");
        entry.write(name).and_then(|()| entry.finish()).expect("writes");
    }
    let tar = tarball.finish().expect("ends");
    let site = Site::new();
    site.extract(&tar, &facts(4, 1, sorted.iter().map(|name| name.len() as u64).sum())).expect("extracts");
    let mut found: Vec<Vec<u8>> =
        fs::read_dir(site.target()).expect("reads").map(|entry| fs::read(entry.expect("an entry").path()).expect("content")).collect();
    found.sort();
    assert_eq!(found, sorted);
}

#[test]
fn owner_and_modes_are_the_targets_and_not_the_archives() {
    let mut tarball = Tarball::new(Vec::new());
    for path in [&b"."[..], b"./a"] {
        tarball.directory(path, &META).expect("writes");
    }
    tarball.file(b"./a/b", 0, &META).and_then(super::super::tarball::FileEntry::finish).expect("writes");
    let tar = tarball.finish().expect("ends");
    let site = Site::new();
    let is_root = rustix::process::geteuid().is_root();
    let owner = if is_root { Owner { uid: Some(100), gid: Some(101) } } else { NOBODY };
    site.extract_from(&mut &*tar, &facts(1, 2, 0), false, owner).expect("extracts");
    for (below, mode) in [("", 0o750), ("a", 0o750), ("a/b", 0o640)] {
        let metadata = fs::metadata(site.target().join(below)).expect("there");
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{below}");
        if is_root {
            assert_eq!((metadata.uid(), metadata.gid()), (100, 101), "{below}");
        }
    }
}

#[test]
fn a_target_that_is_there_is_kept_or_not_touched() {
    let (old, new) = (archive(&[file(b"./a", b"old")]), archive(&[file(b"./a", b"new")]));
    let site = Site::new();
    let said = facts(1, 1, 3);
    site.extract(&old, &said).expect("extracts");
    let error = site.extract(&new, &said).expect_err("in the way").to_string();
    assert!(error.contains("--replace") && site.names() == ["acme"], "{error}");
    assert_eq!(fs::read(site.target().join("a")).expect("reads"), b"old");
    let (_, placed) = site.extract_from(&mut &*new, &said, true, NOBODY).expect("replaces");
    let kept = placed.kept_as.expect("kept");
    assert_eq!(kept, site.home.path().join("acme_kept_20261123T031500Z"));
    assert_eq!(
        (fs::read(site.target().join("a")).expect("reads"), fs::read(kept.join("a")).expect("reads")),
        (b"new".to_vec(), b"old".to_vec())
    );
    assert_eq!(site.names(), ["acme", "acme_kept_20261123T031500Z"]);
    // What was kept is never replaced in its turn.
    assert!(site.extract_from(&mut &*old, &said, true, NOBODY).expect_err("in the way").to_string().contains("is in the way"));
    assert_eq!(fs::read(site.target().join("a")).expect("reads"), b"new");
    assert_eq!(site.names(), ["acme", "acme_kept_20261123T031500Z"]);
}

#[test]
fn a_target_that_is_no_directory_of_its_own_is_refused() {
    let tar = archive(&[]);
    let site = Site::new();
    let elsewhere = site.home.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("makes");
    symlink(&elsewhere, site.target()).expect("links");
    for replace in [false, true] {
        let error = site.extract_from(&mut &*tar, &facts(0, 1, 0), replace, NOBODY).expect_err("a link").to_string();
        assert!(error.contains("no directory"), "{error}");
    }
    assert_eq!(site.names(), ["acme", "elsewhere"]);
    for (path, what) in [("/", "no name"), ("..", "no name"), ("/nowhere/at/all", "No such file")] {
        let error = Staging::begin(Path::new(path), false, NOBODY, 1).expect_err(what).to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn a_target_that_appears_meanwhile_is_not_touched() {
    let site = Site::new();
    let tar = archive(&[file(b"./a", b"new")]);
    let mut staging = Staging::begin(&site.target(), false, NOBODY, 7).expect("begins");
    read_tree(&mut &*tar, &facts(1, 1, 3), &mut staging).expect("reads");
    fs::create_dir(site.target()).expect("makes");
    assert!(staging.place(false, stamp()).is_err());
    assert_eq!(site.names(), ["acme"]);
    assert_eq!(fs::read_dir(site.target()).expect("reads").count(), 0);
}

#[test]
fn a_target_that_appears_at_the_last_moment_is_not_touched_either() {
    // Somebody's empty directory, made after the last look: a plain rename would take its place.
    let site = Site::new();
    let staging = Staging::begin(&site.target(), false, NOBODY, 7).expect("begins");
    fs::create_dir(site.target()).expect("makes");
    let theirs = fs::metadata(site.target()).expect("is there").ino();
    let error = staging.rename(std::ffi::OsStr::new("acme")).expect_err("it is taken").to_string();
    assert!(error.contains("has taken that name meanwhile"), "{error}");
    drop(staging);
    assert_eq!((site.names(), fs::metadata(site.target()).expect("is there").ino()), (vec!["acme".to_owned()], theirs));
}

#[test]
fn what_a_kill_leaves_is_swept_and_nothing_else() {
    let site = Site::new();
    let home = site.home.path();
    let leave = |random: u32| {
        let staging = Staging::begin(&site.target(), false, NOBODY, random).expect("begins");
        let path = staging.path();
        fs::write(path.join("file"), "x").expect("writes");
        std::mem::forget(staging);
        path
    };
    // The lock of a process ends with it; here it is still held, as by a restore at work.
    let at_work = leave(1);
    assert_eq!(sweep_staging(home).expect("sweeps"), Vec::<String>::new());
    assert!(at_work.exists());
    let killed = home.join(".plana-restore-00000002");
    fs::create_dir_all(killed.join("a/b")).expect("makes");
    fs::write(home.join(".plana-restore-00000002.lock"), "").expect("writes");
    for stranger in [".plana-restore-00000003", ".plana-restore-xyz", "acme", ".plana-restore-0000000g"] {
        fs::create_dir(home.join(stranger)).expect("makes");
    }
    for stranger in [".plana-restore-0000000g", ".plana-restore-000000002", "other"] {
        fs::create_dir_all(home.join(stranger)).expect("makes");
        fs::write(home.join(format!("{stranger}.lock")), "").expect("writes");
    }
    let before = site.names().len();
    assert_eq!(sweep_staging(home).expect("sweeps"), [".plana-restore-00000002"]);
    assert!(!killed.exists() && site.names().len() == before - 2, "{:?}", site.names());
    let lock = fs::File::open(home.join(".plana-restore-00000001.lock")).expect("there");
    assert!(flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err(), "it is still at work");
}

#[derive(Debug)]
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("no connection"))
    }
}

#[test]
fn an_error_of_the_input_comes_out_as_it_went_in() {
    let site = Site::new();
    let tar = archive(&[file(b"./a", &[7; 5000])]);
    for bytes in [0, 100, 512, 1100, 3000, tar.len() - 1, tar.len()] {
        let mut input = (&tar[..bytes]).chain(Broken);
        let error = site.extract_from(&mut input, &facts(1, 1, 5000), false, NOBODY).expect_err("broken");
        assert!(matches!(&error, ExtractError::Input(inner) if inner.to_string() == "no connection"), "{error}");
        site.expect_nothing();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever an archive says, nothing is ever written outside, and what was not whole is gone.
    #[test]
    fn no_archive_reaches_anything(
        entries in proptest::collection::vec(("(\\./|/|\\.\\./)?[ab./]{0,5}", prop::sample::select(vec![b'0', b'1', b'2', b'5', b'6', b'x', b'L']), proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
        flip in proptest::option::of((any::<prop::sample::Index>(), 0u8..8)),
    ) {
        let outer = tempfile::tempdir().expect("a directory");
        fs::create_dir(outer.path().join("a")).expect("makes");
        let entries: Vec<Vec<u8>> = entries.iter().map(|(path, kind, content)| entry(path.as_bytes(), *kind, content)).collect();
        let mut tar = archive(&entries);
        if let Some((at, bit)) = flip {
            let at = at.index(tar.len());
            tar[at] ^= 1 << bit;
        }
        let target = outer.path().join("a/acme");
        let mut staging = Staging::begin(&target, false, NOBODY, 5).expect("begins");
        let whole = read_tree(&mut &*tar, &lenient(), &mut staging).is_ok();
        drop(staging);
        prop_assert!(!whole, "a manifest that names a million million files is not borne out");
        prop_assert_eq!(fs::read_dir(outer.path()).expect("reads").count(), 1);
        prop_assert_eq!(fs::read_dir(outer.path().join("a")).expect("reads").count(), 0);
    }
}
