//! Trees that change while they are read, at moments that are known: once the output has got so far.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::symlink,
    path::Path,
};

use plana_plan::manifest::FileStoreFacts;
use plana_tree::{TreeError, TreeOptions};

use crate::{Taken, Tree, files, odoo, paths, plain};

/// Does something once so many bytes were written.
struct Trigger<F: FnMut()> {
    written: Vec<u8>,
    at: usize,
    act: Option<F>,
}

impl<F: FnMut()> Write for Trigger<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(bytes);
        if self.written.len() >= self.at
            && let Some(mut act) = self.act.take()
        {
            act();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn take_while(tree: &Tree, options: &TreeOptions, at: usize, act: impl FnMut()) -> Result<Taken, TreeError> {
    let (output, facts, seen) = tree.take_into(options, Trigger { written: Vec::new(), at, act: Some(act) })?;
    assert!(output.act.is_none(), "nothing happened");
    Ok(Taken { tar: output.written, facts, seen })
}

const LARGE: usize = 8 << 20;

fn reason(facts: &FileStoreFacts) -> &str {
    assert_eq!(facts.not_whole.total, 1, "{:?}", facts.not_whole);
    facts.not_whole.listed[0].reason.as_deref().unwrap()
}

fn large(change: impl FnOnce(&Path)) -> Taken {
    let tree = Tree::new();
    tree.write("large", vec![1; LARGE]);
    tree.write("next", "next");
    let path = tree.path("large");
    let mut change = Some(change);
    take_while(&tree, &plain(), LARGE / 4, || change.take().unwrap()(&path)).unwrap()
}

fn append(path: &Path, bytes: &[u8]) {
    fs::File::options().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn a_large_file_that_shrinks_is_listed_and_the_archive_goes_on() {
    let taken = large(|path| fs::File::options().write(true).open(path).unwrap().set_len(LARGE as u64 / 2).unwrap());
    assert!(reason(&taken.facts).contains(&format!("shrank from {LARGE} to ")), "{}", reason(&taken.facts));
    assert!(reason(&taken.facts).contains("zeros fill the rest"));
    let found = files(&taken.tar);
    assert_eq!(found[0].1.len(), LARGE);
    assert!(found[0].1[..LARGE / 4].iter().all(|byte| *byte == 1) && found[0].1[LARGE * 3 / 4..].iter().all(|byte| *byte == 0));
    assert_eq!(found[1], (b"./next".to_vec(), b"next".to_vec()));
    assert!(!taken.facts.is_whole());
}

#[test]
fn a_large_file_that_grows_is_taken_as_it_was_and_listed() {
    let taken = large(|path| append(path, b"more"));
    assert!(reason(&taken.facts).contains("grew beyond its 8388608 bytes"));
    assert_eq!(files(&taken.tar)[0].1.len(), LARGE);
}

#[test]
fn a_file_of_a_growing_source_that_grows_is_whole() {
    let tree = Tree::new();
    tree.write("large", vec![1; LARGE]);
    let taken = take_while(&tree, &TreeOptions { growing: true, ..plain() }, LARGE / 4, || append(&tree.path("large"), b"more")).unwrap();
    assert!(taken.facts.is_whole());
    assert_eq!(paths(&taken.facts.growing), ["large"]);
    // A shrinking one is not.
    tree.write("large", vec![1; LARGE]);
    let shrink = || fs::File::options().write(true).open(tree.path("large")).unwrap().set_len(10).unwrap();
    let taken = take_while(&tree, &TreeOptions { growing: true, ..plain() }, LARGE / 4, shrink).unwrap();
    assert!(!taken.facts.is_whole());
}

#[test]
fn a_large_file_whose_content_changes_is_listed() {
    let taken = large(|path| {
        let mut file = fs::File::options().write(true).open(path).unwrap();
        file.write_all(b"other content at its beginning").unwrap();
    });
    assert!(reason(&taken.facts).contains("changed while it was read"));
}

#[test]
fn a_large_file_that_is_deleted_is_whole_all_the_same() {
    let taken = large(|path| fs::remove_file(path).unwrap());
    assert_eq!(files(&taken.tar)[0].1, vec![1; LARGE]);
    // Its inode changed by that, which is not its content; what is not sure is said.
    assert!(taken.facts.not_whole.total <= 1);
}

#[test]
fn an_attachment_that_proves_itself_may_have_been_touched() {
    let tree = Tree::new();
    let path = tree.attach(vec![1; LARGE]);
    let touch = || fs::File::options().write(true).open(tree.path(&path)).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let taken = take_while(&tree, &odoo(), LARGE / 4, touch).unwrap();
    assert_eq!((taken.facts.proven, taken.facts.is_whole()), (1, true));
}

/// More files than are read ahead; the last ones are named and not opened when the first is written.
fn crowd(tree: &Tree) -> Vec<String> {
    let names: Vec<String> = (0..3000).map(|number| format!("{number:04}")).collect();
    names.iter().for_each(|name| tree.write(name, name));
    names
}

#[test]
fn files_that_are_replaced_vanish_or_are_emptied_before_they_are_read() {
    let tree = Tree::new();
    crowd(&tree);
    let taken = take_while(&tree, &plain(), 1, || {
        for name in ["2990", "2991", "2992", "2993"] {
            fs::remove_file(tree.path(name)).unwrap();
        }
        symlink("/etc/passwd", tree.path("2991")).unwrap();
        fs::create_dir(tree.path("2992")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(tree.path("2993")).status().unwrap().success());
        tree.write("2994", "");
        tree.write("2995", "something much longer than it was");
    })
    .unwrap();
    assert_eq!(paths(&taken.facts.vanished), ["2990"]);
    assert_eq!(paths(&taken.facts.not_whole), ["2991", "2992", "2993"]);
    for listed in &taken.facts.not_whole.listed {
        assert!(listed.reason.as_deref().unwrap().contains("took its place"), "{listed:?}");
    }
    let found = files(&taken.tar);
    assert_eq!(found.len(), 2996);
    let content = |name: &str| found.iter().find(|(path, _)| path == format!("./{name}").as_bytes()).map(|(_, content)| content.len());
    assert_eq!((content("2994"), content("2995"), content("2996")), (Some(0), Some(33), Some(4)));
}

#[test]
fn a_tree_that_is_removed_or_replaced_meanwhile_is_gone() {
    for replaced in [false, true] {
        let tree = Tree::new();
        crowd(&tree);
        let error = take_while(&tree, &plain(), 1, || {
            fs::remove_dir_all(tree.path("")).unwrap();
            if replaced {
                crowd(&tree);
            }
        });
        assert!(matches!(error, Err(TreeError::Gone { .. })), "{:?}", error.err());
    }
}

#[test]
fn a_directory_that_is_removed_meanwhile_is_said() {
    let tree = Tree::new();
    crowd(&tree);
    tree.write("later/file", "content");
    let taken = take_while(&tree, &plain(), 1, || fs::remove_dir_all(tree.path("later")).unwrap()).unwrap();
    assert_eq!(paths(&taken.facts.vanished), ["later"]);
}

#[test]
fn a_directory_that_a_link_replaces_is_not_entered() {
    let tree = Tree::new();
    crowd(&tree);
    tree.write("inside/secret", "secret");
    for name in ["later", "latest"] {
        tree.write(format!("{name}/file"), "content");
    }
    let taken = take_while(&tree, &plain(), 1, || {
        for (name, target) in [("later", "inside"), ("latest", "/etc")] {
            fs::remove_dir_all(tree.path(name)).unwrap();
            symlink(target, tree.path(name)).unwrap();
        }
    })
    .unwrap();
    assert_eq!(paths(&taken.facts.not_whole), ["later", "latest"]);
    assert!(taken.facts.not_whole.listed[0].reason.as_deref().unwrap().contains("took its place"));
    assert!(!files(&taken.tar).iter().any(|(path, _)| path.starts_with(b"./lat")));
}

#[test]
fn files_that_share_memory_do_not_mix() {
    // Contents of different letters pass through the same memory.
    let tree = Tree::new();
    for number in 0..400usize {
        tree.write(format!("{number:03}"), vec![b'a' + (number % 26) as u8; 60_000]);
    }
    let taken = tree.take(&TreeOptions { memory_bytes: 1 << 20, ..plain() });
    for (path, content) in files(&taken.tar) {
        let number: usize = String::from_utf8_lossy(&path[2..]).parse().unwrap();
        assert!(content.len() == 60_000 && content.iter().all(|byte| *byte == b'a' + (number % 26) as u8), "{number}");
    }
}
