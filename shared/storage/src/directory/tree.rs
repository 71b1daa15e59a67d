//! Walking a directory tree from its root, never through a symbolic link.

use std::{
    ffi::CStr,
    io,
    ops::ControlFlow,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use chrono::{DateTime, Utc};
use plana_plan::inventory::ObjectMeta;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

/// Temporary files begin with this; no key has a segment that does.
const TEMPORARY: &str = ".tmp-";
const ID_DIGITS: usize = 16;
/// The longest file name that Linux file systems take, in bytes.
pub(super) const MOST_NAME_BYTES: usize = 255;
/// No key is longer, so nothing deeper is ours.
const MOST_PATH_BYTES: usize = 1024;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens the root; a link is followed there, since that is the operator's own choice.
pub(super) fn open_root(root: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(root, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty())?)
}

/// Opens the directory of these segments.
pub(super) fn descend<'a>(root: OwnedFd, segments: impl IntoIterator<Item = &'a str>) -> io::Result<OwnedFd> {
    segments.into_iter().try_fold(root, |dir, segment| open_in(dir.as_fd(), segment))
}

/// As [`descend`], and makes the directories that are not there, durably.
pub(super) fn descend_creating<'a>(root: OwnedFd, segments: impl IntoIterator<Item = &'a str>) -> io::Result<OwnedFd> {
    segments.into_iter().try_fold(root, |dir, segment| match open_in(dir.as_fd(), segment) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match rustix::fs::mkdirat(&dir, segment, Mode::RWXU) {
                Ok(()) => rustix::fs::fsync(&dir)?,
                // Another upload was faster.
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            open_in(dir.as_fd(), segment)
        }
        opened => opened,
    })
}

fn open_in(dir: BorrowedFd<'_>, segment: &str) -> io::Result<OwnedFd> {
    rustix::fs::openat(dir, segment, DIRECTORY, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP => io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("`{segment}` on its path is a file or a symbolic link, and links are not followed"),
        ),
        error => error.into(),
    })
}

/// The name of a temporary file for `file`, which is cut where the two do not fit into a name.
pub(super) fn temporary(id: &str, file: &str) -> String {
    let mut name = format!("{TEMPORARY}{id}-{file}");
    while name.len() > MOST_NAME_BYTES {
        name.pop();
    }
    name
}

/// Whether a file name is reserved for temporary files.
pub(super) fn is_temporary(file: &str) -> bool {
    file.starts_with(TEMPORARY)
}

/// The upload's id and the file name that a temporary file is for.
pub(super) fn parse_temporary(file: &str) -> Option<(&str, &str)> {
    let (id, file) = file.strip_prefix(TEMPORARY)?.split_at_checked(ID_DIGITS)?;
    let hex = id.bytes().all(|b| b.is_ascii_hexdigit());
    file.strip_prefix('-').filter(|_| hex).map(|file| (id, file))
}

/// One file that a walk came by.
pub(super) struct Found<'a> {
    /// Its path from the root.
    pub path: &'a str,
    /// The file's name in it.
    pub name: &'a str,
    stat: Stat,
}

impl Found<'_> {
    pub(super) fn modified(&self) -> DateTime<Utc> {
        modified(&self.stat)
    }

    /// As a listing gives it.
    pub(super) fn meta(&self) -> ObjectMeta {
        meta(self.path.to_owned(), &self.stat)
    }
}

/// As a listing gives it.
pub(super) fn meta(key: String, stat: &Stat) -> ObjectMeta {
    ObjectMeta { key, size: u64::try_from(stat.st_size).unwrap_or_default(), last_modified: modified(stat), etag: None }
}

fn modified(stat: &Stat) -> DateTime<Utc> {
    DateTime::from_timestamp(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default()).unwrap_or_default()
}

/// Which part of a tree is walked.
#[derive(Clone, Copy)]
pub(super) struct Span<'a> {
    /// Only paths that begin with this.
    pub prefix: &'a str,
    /// Only paths behind this.
    pub after: Option<&'a str>,
}

impl Span<'_> {
    fn has_file(&self, path: &str) -> bool {
        path.starts_with(self.prefix) && self.after.is_none_or(|after| path > after)
    }

    /// Whether something under the directory `path`, which ends in `/`, may be in it.
    fn reaches(&self, path: &str) -> bool {
        let within = path.starts_with(self.prefix) || self.prefix.starts_with(path);
        within && self.after.is_none_or(|after| path > after || after.starts_with(path))
    }
}

/// An entry of a directory, named so that names sort as keys do.
pub(super) struct Entry {
    /// The file's name, or the directory's with a final `/`.
    pub name: String,
}

impl Entry {
    pub(super) fn directory(&self) -> Option<&str> {
        self.name.strip_suffix('/')
    }
}

/// The files and directories in `dir`, in the order of keys.
pub(super) fn entries(dir: BorrowedFd<'_>, path: &str) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if let Some(name) = entry_name(dir, entry.file_name(), entry.file_type(), path)? {
            entries.push(Entry { name });
        }
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn entry_name(dir: BorrowedFd<'_>, raw: &CStr, kind: FileType, path: &str) -> io::Result<Option<String>> {
    if raw == c"." || raw == c".." {
        return Ok(None);
    }
    let Ok(name) = raw.to_str() else {
        tracing::warn!(directory = path, name = %raw.to_string_lossy(), "left out of the listing: its name is not UTF-8");
        return Ok(None);
    };
    // A file system's own, which only root may open.
    if path.is_empty() && name == "lost+found" {
        return Ok(None);
    }
    let kind = match kind {
        FileType::Unknown => match rustix::fs::statat(dir, raw, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        },
        kind => kind,
    };
    match kind {
        FileType::RegularFile => Ok(Some(name.to_owned())),
        FileType::Directory => Ok(Some(format!("{name}/"))),
        _ => {
            tracing::warn!(directory = path, name, "left out of the listing: it is neither a file nor a directory");
            Ok(None)
        }
    }
}

/// Visits the files of a span in the order of their paths, temporary ones included, until told to stop.
pub(super) fn walk(
    dir: BorrowedFd<'_>,
    path: &str,
    span: Span<'_>,
    visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    for entry in entries(dir, path)? {
        let full = format!("{path}{}", entry.name);
        if full.len() > MOST_PATH_BYTES {
            tracing::warn!(path = full, "left out of the listing: no key is that long");
            continue;
        }
        let flow = match entry.directory() {
            Some(name) if span.reaches(&full) => match open_in(dir, name) {
                Ok(inner) => walk(inner.as_fd(), &full, span, visit)?,
                // Deleted in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => ControlFlow::Continue(()),
                Err(error) => return Err(error),
            },
            None if span.has_file(&full) => match rustix::fs::statat(dir, &*entry.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => visit(Found { path: &full, name: &entry.name, stat }),
                Err(rustix::io::Errno::NOENT) => ControlFlow::Continue(()),
                Err(error) => return Err(error.into()),
            },
            _ => ControlFlow::Continue(()),
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_are_read_back_and_never_too_long() {
        let id = "0123456789abcdef";
        assert_eq!(parse_temporary(&temporary(id, "a-b.zst")), Some((id, "a-b.zst")));
        let long = "ö".repeat(127);
        let name = temporary(id, &long);
        assert!(name.len() <= MOST_NAME_BYTES && is_temporary(&name));
        assert_eq!(parse_temporary(&name).map(|(found, _)| found), Some(id));
        for other in ["a", ".tmp-", ".tmp-0123", ".tmp-0123456789abcdeg-x", ".tmp-0123456789abcdef"] {
            assert_eq!(parse_temporary(other), None, "{other}");
        }
    }
}
