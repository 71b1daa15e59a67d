//! What is no ordinary file, and what is left out.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
    process::Command,
};

use plana_plan::filestore::SpecialFiles;
use plana_tree::{Place, TreeOptions};

use crate::{Tree, files, paths, plain};

fn zoo() -> Tree {
    let tree = Tree::new();
    tree.write("file", "content");
    tree.write("deep/er/file", "other");
    symlink("/etc/passwd", tree.path("outside")).unwrap();
    symlink("deep", tree.path("inside")).unwrap();
    fs::hard_link(tree.path("file"), tree.path("second")).unwrap();
    drop(UnixListener::bind(tree.path("socket")).unwrap());
    assert!(Command::new("mkfifo").arg(tree.path("pipe")).status().unwrap().success());
    tree
}

fn names(tar: &[u8]) -> Vec<String> {
    files(tar).into_iter().map(|(path, _)| String::from_utf8(path).unwrap()).collect()
}

#[test]
fn nothing_is_followed_and_everything_is_said() {
    let tree = zoo();
    let taken = tree.take(&plain());
    assert_eq!(names(&taken.tar), ["./deep/er/file", "./file", "./second"]);
    assert_eq!(paths(&taken.facts.skipped), ["file", "inside", "outside", "pipe", "second", "socket"]);
    assert!(taken.facts.is_whole());
    let whole = String::from_utf8_lossy(&taken.tar);
    assert!(!whole.contains("root:x:0:0"), "a link was followed");
}

#[test]
fn links_are_kept_where_the_source_says_so() {
    let taken = zoo().take(&TreeOptions { special: SpecialFiles::Keep, ..plain() });
    assert_eq!(names(&taken.tar), ["./deep/er/file", "./file", "./inside", "./outside", "./second"]);
    assert_eq!((taken.facts.files, taken.facts.links), (3, 2));
    assert_eq!(paths(&taken.facts.skipped), ["pipe", "socket"]);
    let mut archive = tar::Archive::new(&taken.tar[..]);
    let targets: Vec<_> =
        archive.entries().unwrap().filter_map(|entry| entry.unwrap().link_name_bytes().map(|to| to.into_owned())).collect();
    assert_eq!(targets, [b"deep".to_vec(), b"/etc/passwd".to_vec()]);
}

#[test]
fn nothing_is_said_where_the_source_says_so() {
    let taken = zoo().take(&TreeOptions { special: SpecialFiles::Ignore, ..plain() });
    assert_eq!(names(&taken.tar), ["./deep/er/file", "./file", "./second"]);
    assert!(taken.facts.skipped.is_empty());
}

#[test]
fn what_is_excluded_is_not_even_opened() {
    let tree = Tree::new();
    for path in ["keep", "sessions/a", "sessions/b", "x/cache.tmp", "x/y/other.tmp", "checklist/ab/abc", ".nfs0000001"] {
        tree.write(path, path);
    }
    let exclude = ["sessions", "*.tmp"].iter().map(|text| text.parse().unwrap()).collect();
    let taken = tree.take(&TreeOptions { exclude, ..plain() });
    assert_eq!(names(&taken.tar), ["./checklist/ab/abc", "./keep"]);
    assert_eq!(taken.facts.excluded, 4);
}

#[test]
fn another_file_system_is_not_entered() {
    let tree = Tree::new();
    tree.write("file", "content");
    fs::create_dir(tree.path("mounted")).unwrap();
    let mount = |args: &[&OsStr]| Command::new("mount").args(args).arg(tree.path("mounted")).status().unwrap().success();
    assert!(mount(&[OsStr::new("-t"), OsStr::new("tmpfs"), OsStr::new("tmpfs")]), "mounting takes root");
    fs::write(tree.path("mounted/inner"), "inner").unwrap();
    let taken = tree.take(&plain());
    assert!(Command::new("umount").arg(tree.path("mounted")).status().unwrap().success());
    assert_eq!(names(&taken.tar), ["./file"]);
    assert_eq!(paths(&taken.facts.skipped), ["mounted"]);
}

#[test]
fn a_tenant_that_is_a_link_is_refused() {
    let tree = Tree::new();
    tree.write("real/file", "content");
    symlink("real", tree.path("link")).unwrap();
    symlink("/etc", tree.path("out")).unwrap();
    assert!(Place::open_beneath(&tree.path(""), OsStr::new("real")).is_ok());
    for name in ["link", "out", "..", "../tree/real", "real/../real"] {
        let opened = Place::open_beneath(&tree.path(""), OsStr::from_bytes(name.as_bytes()));
        if name != "real/../real" {
            assert!(opened.is_err(), "{name}");
        }
    }
}
