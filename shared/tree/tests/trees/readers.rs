//! GNU tar, bsdtar, Python and busybox read what is written, names and contents alike.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Tree, plain};

const READERS: [(&str, &[&str]); 4] = [
    ("tar", &["-xf", "-", "--numeric-owner", "-p"]),
    ("bsdtar", &["-xf", "-", "-p"]),
    ("busybox", &["tar", "-xf", "-", "-p"]),
    ("python3", &["-c", "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('.')"]),
];

/// Path → mode, seconds, content; none for directories.
type Listing = BTreeMap<PathBuf, (u32, i64, Option<Vec<u8>>)>;

fn listing(top: &Path) -> Listing {
    let mut found = Listing::new();
    let mut directories = vec![top.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() { None } else { Some(fs::read(&path).unwrap()) };
            if meta.is_dir() {
                directories.push(path.clone());
            }
            found.insert(path.strip_prefix(top).unwrap().to_path_buf(), (meta.mode() & 0o7777, meta.mtime(), content));
        }
    }
    found
}

/// Lets a reader unpack an archive and gives what came out.
fn unpack(reader: (&str, &[&str]), tar: &[u8]) -> Listing {
    let into = tempfile::tempdir().unwrap();
    let mut command = Command::new(reader.0);
    command.args(reader.1).env("LC_ALL", "C.UTF-8").current_dir(into.path()).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", reader.0));
    child.stdin.take().unwrap().write_all(tar).unwrap();
    let done = child.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && complaints.is_empty(), "{}: {complaints}", reader.0);
    listing(into.path())
}

#[test]
fn names_and_contents_survive_in_every_reader() {
    let tree = Tree::new();
    let long = "n".repeat(255);
    let names: Vec<Vec<u8>> = vec![
        b"plain".to_vec(),
        b"-rf".to_vec(),
        b" space ".to_vec(),
        b"new\nline".to_vec(),
        b"back\\slash \"quoted\" 'too'".to_vec(),
        "gr\u{fc}n/\u{1f600}".as_bytes().to_vec(),
        b"not \xff\xfe utf8".to_vec(),
        [&b"\xff"[..], &[b'x'; 200]].concat(),
        long.clone().into_bytes(),
        [b"d/", long.as_bytes(), b"/", long.as_bytes()].concat(),
        format!("{}/{}", "p".repeat(150), "q".repeat(99)).into_bytes(),
        format!("{}/{}", "p".repeat(155), "q".repeat(100)).into_bytes(),
        format!("{}/{}", "p".repeat(156), "q".repeat(101)).into_bytes(),
        vec![b'y'; 98],
        vec![b'y'; 99],
        vec![b'y'; 100],
    ];
    for (at, name) in names.iter().enumerate() {
        tree.write(OsStr::from_bytes(name), vec![b'0' + at as u8; at * 300]);
    }
    let expected = listing(&tree.path(""));
    let taken = tree.take(&plain());
    for reader in READERS {
        let found = unpack(reader, &taken.tar);
        let missing: Vec<_> = expected.keys().filter(|path| !found.contains_key(*path)).collect();
        let strange: Vec<_> = found.keys().filter(|path| !expected.contains_key(*path)).collect();
        assert!(missing.is_empty() && strange.is_empty(), "{}: missing {missing:?}, strange {strange:?}", reader.0);
        for (path, what) in &found {
            // What busybox and Python do with a directory's time is their affair.
            let comparable =
                |(mode, time, content): &(u32, i64, Option<Vec<u8>>)| (*mode, content.is_some().then_some(*time), content.clone());
            assert_eq!(comparable(what), comparable(&expected[path]), "{}: {}", reader.0, path.display());
        }
    }
}
