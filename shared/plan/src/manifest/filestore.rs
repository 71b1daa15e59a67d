//! What a file store's tarball holds, and what was found while it was read.

use serde::{Deserialize, Serialize};

use crate::name;

/// How the files of a store are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileStoreLayout {
    /// Odoo's: a file's name is the SHA-1 of its content, so that each proves itself.
    Odoo,
    /// Any directory: names say nothing about contents.
    Plain,
}

impl FileStoreLayout {
    /// The name in manifests and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            FileStoreLayout::Odoo => "odoo",
            FileStoreLayout::Plain => "plain",
        }
    }
}

/// What a file store's tarball holds, and what was found while it was read.
///
/// The tarball's first entry is `./`, the directory itself; every other begins with `./` as well. Paths here are
/// relative to it, without the `./`, and written by [`name::path_text`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStoreFacts {
    /// How its files are named.
    pub layout: FileStoreLayout,
    /// The source's name in the configuration.
    pub source: String,
    /// The directory that was read, as [`name::path_text`] writes it.
    pub directory: String,
    /// Files in the tarball.
    pub files: u64,
    /// Directories in the tarball, the store's own included.
    pub directories: u64,
    /// Symbolic links in the tarball, where the source keeps them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub links: u64,
    /// Bytes of all files in the tarball.
    pub bytes: u64,
    /// Files whose content was compared with the SHA-1 that names them, and is what it says.
    pub proven: u64,
    /// Files left out on purpose: excluded by the configuration, or what NFS keeps of deleted files (`.nfs…`).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub excluded: u64,
    /// Files whose content is not what their name says; in the tarball as they are.
    #[serde(default, skip_serializing_if = "PathList::is_empty")]
    pub damaged: PathList,
    /// Files that the database named before the tree was read and still named afterwards, and that are not there.
    #[serde(default, skip_serializing_if = "PathList::is_empty")]
    pub missing: PathList,
    /// Files that are not in the tarball as they were: could not be read, shrank or changed while they were read.
    #[serde(default, skip_serializing_if = "PathList::is_empty")]
    pub not_whole: PathList,
    /// Files that grew while they were read, as the source says they may; in the tarball up to their size at first.
    #[serde(default, skip_serializing_if = "PathList::is_empty")]
    pub growing: PathList,
    /// Files that were deleted after they were listed and before they were read; not in the tarball.
    #[serde(default, skip_serializing_if = "PathList::is_empty")]
    pub vanished: PathList,
    /// Links, sockets, devices and the like that were left out, and files with several names that are in it once for each.
    #[serde(default, skip_serializing_if = "PathList::is_empty")]
    pub skipped: PathList,
    /// How many files the database named; absent where no database was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_by_database: Option<u64>,
}

/// How many paths of a list a manifest holds at most: it must stay small whatever a store looks like.
pub const MOST_LISTED: usize = 1000;

/// Paths of one kind: all are counted, the first are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathList {
    /// How many there are.
    pub total: u64,
    /// The first of them, at most [`MOST_LISTED`], in the tarball's order.
    pub listed: Vec<ListedPath>,
}

/// A path and what is the matter with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPath {
    /// Relative to the directory, as [`name::path_text`] writes it.
    pub path: String,
    /// What is the matter, where the list does not say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl PathList {
    /// Counts a path, and lists it while there is room.
    pub fn add(&mut self, path: &[u8], reason: Option<String>) {
        self.total += 1;
        if self.listed.len() < MOST_LISTED {
            self.listed.push(ListedPath { path: name::path_text(path), reason });
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.total == 0 && self.listed.is_empty()
    }
}

impl FileStoreFacts {
    /// Nothing is known yet.
    pub fn new(layout: FileStoreLayout, source: &str, directory: &[u8]) -> Self {
        FileStoreFacts {
            layout,
            source: source.to_owned(),
            directory: name::path_text(directory),
            files: 0,
            directories: 0,
            links: 0,
            bytes: 0,
            proven: 0,
            excluded: 0,
            damaged: PathList::default(),
            missing: PathList::default(),
            not_whole: PathList::default(),
            growing: PathList::default(),
            vanished: PathList::default(),
            skipped: PathList::default(),
            named_by_database: None,
        }
    }

    /// Whether every file that was there is in the tarball as it was.
    pub fn is_whole(&self) -> bool {
        self.not_whole.total == 0
    }

    /// What it says that cannot be.
    pub(super) fn contradiction(&self) -> Option<String> {
        if self.proven.checked_add(self.damaged.total).is_none_or(|named| named > self.files) {
            return Some(format!("{} files were proven and {} are damaged, of {}", self.proven, self.damaged.total, self.files));
        }
        let lists = [&self.damaged, &self.missing, &self.not_whole, &self.growing, &self.vanished, &self.skipped];
        for list in lists {
            if list.listed.len() as u64 > list.total {
                return Some(format!("{} paths are listed of {}", list.listed.len(), list.total));
            }
            if let Some(listed) = list.listed.iter().find(|listed| name::path_bytes(&listed.path).is_err()) {
                return Some(format!("`{}` is not a path as it would be written", name::printable(&listed.path)));
            }
        }
        None
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
