//! What there is in a tree, in a fixed order: the names of a directory in byte order, each directory before what is in it.

use std::{ffi::CString, io, sync::Arc};

use plana_plan::{filestore::SpecialFiles, select::NamePattern};
use rustix::{fs::FileType, io::Errno};

use crate::{
    place::{Directory, Name, Place},
    queue::Stopped,
    tarball::Meta,
};

/// Deeper trees are no file stores, and each level holds an open directory.
const DEEPEST: usize = 200;

/// What NFS calls a file that was deleted while somebody had it open.
const SILLY_RENAME: &[u8] = b".nfs";

/// Something that was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// A directory; what is in it follows.
    Directory { path: Vec<u8>, meta: Meta },
    /// A file, still to be read.
    File { parent: Arc<Directory>, path: Vec<u8> },
    /// A symbolic link that the source keeps.
    Link { path: Vec<u8>, target: Vec<u8>, meta: Meta },
    /// Left out on purpose.
    Excluded,
    /// Left out because of what it is.
    Skipped { path: Vec<u8>, what: &'static str },
    /// Left out because of what it is, as the source wants it: nothing to say.
    Ignored,
    /// Deleted after it was listed.
    Vanished { path: Vec<u8> },
    /// Could not be read.
    Unreadable { path: Vec<u8>, reason: String },
}

/// What is left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub exclude: Vec<NamePattern>,
    pub special: SpecialFiles,
}

impl Filter {
    /// Whether a path is left out by its name: a pattern means the whole path, or the last name of it.
    fn excludes(&self, path: &[u8], name: &[u8]) -> bool {
        if name.starts_with(SILLY_RENAME) {
            return true;
        }
        !self.exclude.is_empty() && {
            let (path, name) = (String::from_utf8_lossy(path), String::from_utf8_lossy(name));
            self.exclude.iter().any(|pattern| pattern.matches(&path) || pattern.matches(&name))
        }
    }
}

/// A directory whose names are not all taken yet.
struct Level {
    directory: Arc<Directory>,
    /// The directory's path and a slash; empty at the top.
    prefix: Vec<u8>,
    names: std::vec::IntoIter<Name>,
}

/// Walks a whole tree and gives everything to `found`, whose [`Stopped`] ends the walk.
///
/// # Errors
/// When the top itself cannot be read; what is below it is reported instead.
pub(crate) fn walk(place: &Place, filter: &Filter, mut found: impl FnMut(Found) -> Result<(), Stopped>) -> io::Result<Result<(), Stopped>> {
    let top = place.top()?;
    // The top goes by its own name: `reopen` of nothing means it.
    let (meta, names) = (top.meta()?, top.names()?);
    let mut levels = vec![Level { directory: Arc::new(top), prefix: Vec::new(), names: names.into_iter() }];
    if let Err(stopped) = found(Found::Directory { path: Vec::new(), meta }) {
        return Ok(Err(stopped));
    }
    while let Some(level) = levels.last_mut() {
        let Some(Name { name, kind }) = level.names.next() else {
            levels.pop();
            continue;
        };
        let path = [&level.prefix, name.as_bytes()].concat();
        let (next, deeper) = if filter.excludes(&path, name.as_bytes()) {
            (Found::Excluded, None)
        } else {
            look(place, level, name, kind, path, filter.special)
        };
        if let Err(stopped) = found(next) {
            return Ok(Err(stopped));
        }
        match deeper {
            Some(level) if levels.len() < DEEPEST => levels.push(level),
            Some(level) => {
                let path = level.prefix[..level.prefix.len() - 1].to_vec();
                let reason = format!("it is deeper than {DEEPEST} directories");
                if let Err(stopped) = found(Found::Unreadable { path, reason }) {
                    return Ok(Err(stopped));
                }
            }
            None => {}
        }
    }
    Ok(Ok(()))
}

fn look(place: &Place, level: &Level, name: CString, kind: FileType, path: Vec<u8>, special: SpecialFiles) -> (Found, Option<Level>) {
    let kind = match kind {
        FileType::Unknown => match level.directory.stat(&name) {
            Ok((kind, _)) => kind,
            Err(error) => return (unreadable(path, &error), None),
        },
        kind => kind,
    };
    let skipped = |path, what| {
        if special == SpecialFiles::Ignore { Found::Ignored } else { Found::Skipped { path, what } }
    };
    match kind {
        FileType::RegularFile => (Found::File { parent: Arc::clone(&level.directory), path }, None),
        FileType::Directory => descend(place, level, path),
        FileType::Symlink if special == SpecialFiles::Keep => {
            let kept = level.directory.stat(&name).and_then(|(_, meta)| Ok((level.directory.link(&name)?, meta)));
            match kept {
                Ok((target, meta)) => (Found::Link { path, target, meta }, None),
                Err(error) => (unreadable(path, &error), None),
            }
        }
        FileType::Symlink => (skipped(path, "a symbolic link"), None),
        FileType::Fifo => (skipped(path, "a pipe"), None),
        FileType::Socket => (skipped(path, "a socket"), None),
        _ => (skipped(path, "a device"), None),
    }
}

fn descend(place: &Place, level: &Level, path: Vec<u8>) -> (Found, Option<Level>) {
    let open = || {
        let directory = place.directory(&level.directory, &path)?;
        let (meta, names) = (directory.meta()?, directory.names()?);
        Ok((directory, meta, names))
    };
    // A handle may go stale while its names are read: once more from the path.
    match open().or_else(|error| if crate::place::is_stale(&error) { open() } else { Err(error) }) {
        Ok((directory, meta, names)) => {
            let prefix = [&path, &b"/"[..]].concat();
            (Found::Directory { path, meta }, Some(Level { directory: Arc::new(directory), prefix, names: names.into_iter() }))
        }
        Err(error) if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => {
            (Found::Skipped { path, what: "another file system, which is mounted there" }, None)
        }
        Err(error) => (unreadable(path, &error), None),
    }
}

pub(crate) fn unreadable(path: Vec<u8>, error: &io::Error) -> Found {
    if error.kind() == io::ErrorKind::NotFound {
        return Found::Vanished { path };
    }
    let reason = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP | Errno::NOTDIR) => "something else took its place while the tree was read".to_owned(),
        _ => error.to_string(),
    };
    Found::Unreadable { path, reason }
}
