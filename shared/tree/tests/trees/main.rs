//! Real trees, real changes while they are read, and the readers that people have.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod changes;
mod readers;
mod special;

use std::{
    fs,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use plana_plan::{
    attachment::AttachmentName,
    filestore::SpecialFiles,
    manifest::{FileStoreFacts, FileStoreLayout, PathList},
};
use plana_tree::{Place, Stop, TreeError, TreeOptions, archive};
use sha1::{Digest, Sha1};
use tempfile::TempDir;

fn plain() -> TreeOptions {
    TreeOptions {
        layout: FileStoreLayout::Plain,
        growing: false,
        special: SpecialFiles::Report,
        exclude: Vec::new(),
        workers: 8,
        memory_bytes: 8 << 20,
    }
}

fn odoo() -> TreeOptions {
    TreeOptions { layout: FileStoreLayout::Odoo, ..plain() }
}

/// A tree, and what was made of it.
struct Tree {
    directory: TempDir,
}

/// An archive and what was said of it.
struct Taken {
    tar: Vec<u8>,
    facts: FileStoreFacts,
    seen: Vec<String>,
}

impl Tree {
    fn new() -> Self {
        // In memory where there is some: tens of thousands of files take minutes on a slow disk.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Tree { directory: directory.unwrap() }
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join("tree").join(below)
    }

    fn write(&self, below: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Writes an attachment of that content and gives its path.
    fn attach(&self, content: impl AsRef<[u8]>) -> String {
        let path = attachment(content.as_ref());
        self.write(&path, content);
        path
    }

    fn take(&self, options: &TreeOptions) -> Taken {
        self.take_into(options, Vec::new()).map(|(tar, facts, seen)| Taken { tar, facts, seen }).unwrap()
    }

    fn take_into<W: Write>(&self, options: &TreeOptions, output: W) -> Result<(W, FileStoreFacts, Vec<String>), TreeError> {
        let place = Arc::new(Place::open(&self.path("")).unwrap());
        let mut facts = FileStoreFacts::new(options.layout, "test", self.path("").as_os_str().as_bytes());
        let mut seen = Vec::new();
        let mut see = |name: &AttachmentName| seen.push(name.to_string());
        let output = archive(&place, options, &Stop::default(), output, &mut facts, &mut see)?;
        Ok((output, facts, seen))
    }
}

fn attachment(content: &[u8]) -> String {
    let name: String = Sha1::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}/{name}", &name[..2])
}

fn paths(list: &PathList) -> Vec<&str> {
    assert_eq!(list.total, list.listed.len() as u64);
    list.listed.iter().map(|listed| listed.path.as_str()).collect()
}

/// (path, content) of all files, in the archive's order.
fn files(tar: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        io::Read::read_to_end(&mut entry, &mut content).unwrap();
        (entry.path_bytes().into_owned(), content)
    });
    entries.filter(|(path, _)| !path.ends_with(b"/")).collect()
}

#[test]
fn an_odoo_store_proves_itself() {
    let tree = Tree::new();
    let mut paths_: Vec<String> = (0..300).map(|number| tree.attach(format!("attachment {number}"))).collect();
    paths_.push(tree.attach(vec![7; 3 << 20]));
    paths_.push(tree.attach(b""));
    tree.write("checklist/ab/abcd", "");
    // Older stores have directories of three digits.
    let old = attachment(b"old");
    tree.write(format!("{}/{}", &old[3..6], &old[3..]), "old");
    paths_.push(format!("{}/{}", &old[3..6], &old[3..]));
    let (small, large) = (tree.attach("damaged"), tree.attach(vec![1; 2 << 20]));
    tree.write(&small, "Damaged");
    tree.write(&large, vec![2; 2 << 20]);
    age(&tree.path(&small));
    age(&tree.path(&large));
    let taken = tree.take(&odoo());
    let facts = &taken.facts;
    assert_eq!((facts.files, facts.proven, facts.damaged.total), (306, 303, 2));
    let mut damaged = [small, large];
    damaged.sort();
    assert_eq!(paths(&facts.damaged), damaged);
    assert!(facts.damaged.listed[0].reason.as_deref().unwrap().starts_with("its SHA-1 is "));
    assert!(facts.is_whole());
    let found = files(&taken.tar);
    assert_eq!(found.len(), 306);
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted");
    for (path, content) in &found {
        let on_disk = fs::read(tree.path(std::ffi::OsStr::from_bytes(&path[2..]))).unwrap();
        assert_eq!(content, &on_disk, "{}", String::from_utf8_lossy(path));
    }
    assert_eq!(facts.bytes, found.iter().map(|(_, content)| content.len() as u64).sum::<u64>());
    let (mut seen, mut named) = (taken.seen, paths_);
    named.extend(damaged);
    seen.sort();
    named.sort();
    assert_eq!(seen, named);
}

/// Files are only believed to be complete when they have not been changed for a while.
fn age(path: &Path) {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    fs::File::options().append(true).open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let tree = Tree::new();
    for number in 0..2000 {
        tree.write(format!("{}/{number}", number % 7), vec![number as u8; number * 5]);
    }
    let once = tree.take(&TreeOptions { workers: 16, ..plain() }).tar;
    let again = tree.take(&TreeOptions { workers: 1, memory_bytes: 1 << 20, ..plain() }).tar;
    assert!(once == again);
}

#[test]
fn a_directory_of_200_000_entries() {
    let tree = Tree::new();
    fs::create_dir_all(tree.path("many")).unwrap();
    for number in 0..200_000 {
        fs::File::create(tree.path(format!("many/{number:06}"))).unwrap();
    }
    let (_, facts, _) = tree.take_into(&plain(), io::sink()).unwrap();
    assert_eq!((facts.files, facts.directories, facts.bytes), (200_000, 2, 0));
}

#[test]
fn an_output_that_fails_ends_it_at_once() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let tree = Tree::new();
    (0..3000).for_each(|number| tree.write(format!("{number}"), vec![0; 30_000]));
    let error = tree.take_into(&plain(), Full(1 << 20)).err().unwrap();
    assert!(matches!(error, TreeError::Output(_)), "{error}");
}
