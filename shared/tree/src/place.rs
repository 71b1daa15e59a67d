//! A directory tree that is never left: every step is one name below an open directory, resolved by the kernel without
//! links and without another file system.

use std::{
    ffi::{CStr, CString, OsStr},
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::tarball::Meta;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A pipe that has taken a file's place must not make us wait for its writer.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Which file it is, whatever it is called.
type Identity = (u64, u64);

/// The top of a tree.
#[derive(Debug)]
pub struct Place {
    directory: OwnedFd,
    identity: Identity,
    path: PathBuf,
}

impl Place {
    /// The directory at a path that the configuration names: links in it are the administrator's own.
    ///
    /// # Errors
    /// As the system has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(fs::open(path, DIRECTORY, Mode::empty())?, path.to_path_buf())
    }

    /// A directory of that name in `root`, which must not be a link.
    ///
    /// # Errors
    /// As the system has it.
    pub fn open_beneath(root: &Path, name: &OsStr) -> io::Result<Self> {
        let root_directory = fs::open(root, DIRECTORY, Mode::empty())?;
        let directory = open_at(&root_directory, name.as_bytes(), DIRECTORY, BENEATH)?;
        Self::of(directory, root.join(name))
    }

    fn of(directory: OwnedFd, path: PathBuf) -> io::Result<Self> {
        let stat = fs::fstat(&directory)?;
        Ok(Place { identity: identity(&stat), directory, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another directory, or none, stands at its path by now.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn is_gone(&self) -> io::Result<bool> {
        match fs::stat(&self.path) {
            Ok(stat) => Ok(identity(&stat) != self.identity),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// The tree's own directory once more.
    pub(crate) fn top(&self) -> io::Result<Directory> {
        Ok(Directory(self.directory.try_clone()?))
    }

    /// What is at a path below: for a handle that has gone stale.
    fn reopen(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        open_at(&self.directory, if path.is_empty() { b"." } else { path }, flags, INSIDE)
    }

    /// The file of that name in a directory; by its whole path where the directory's handle has gone stale.
    pub(crate) fn file(&self, parent: &Directory, path: &[u8]) -> io::Result<File> {
        match open_at(&parent.0, base_name(path), FILE, INSIDE) {
            Err(error) if is_stale(&error) => self.reopen(path, FILE),
            opened => opened,
        }
        .map(File::from)
    }

    /// A directory in a directory, likewise.
    pub(crate) fn directory(&self, parent: &Directory, path: &[u8]) -> io::Result<Directory> {
        match open_at(&parent.0, base_name(path), DIRECTORY, INSIDE) {
            Err(error) if is_stale(&error) => self.reopen(path, DIRECTORY),
            opened => opened,
        }
        .map(Directory)
    }
}

const INSIDE: ResolveFlags = BENEATH.union(ResolveFlags::NO_XDEV);

/// An open directory in a tree.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

/// A name in a directory, and what the system says it is.
#[derive(Debug)]
pub(crate) struct Name {
    pub name: CString,
    pub kind: FileType,
}

impl Directory {
    /// All names in it, in byte order.
    pub(crate) fn names(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(Name { name: entry.file_name().to_owned(), kind: entry.file_type() });
            }
        }
        names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    pub(crate) fn meta(&self) -> io::Result<Meta> {
        Ok(meta(&fs::fstat(&self.0)?))
    }

    /// What a name means, without following it.
    pub(crate) fn stat(&self, name: &CStr) -> io::Result<(FileType, Meta)> {
        let stat = fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((FileType::from_raw_mode(stat.st_mode), meta(&stat)))
    }

    /// Where a link points.
    pub(crate) fn link(&self, name: &CStr) -> io::Result<Vec<u8>> {
        Ok(fs::readlinkat(&self.0, name, Vec::new())?.into_bytes())
    }
}

/// Resolved by the kernel (Linux 5.6 and newer), so that nothing that happens in the tree meanwhile leads out of it.
fn open_at(directory: &OwnedFd, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    loop {
        match fs::openat2(directory, path, flags, Mode::empty(), resolve) {
            // A rename elsewhere in the tree while the kernel looked: nothing is wrong.
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return Ok(opened?),
        }
    }
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

pub(crate) fn is_stale(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::STALE.raw_os_error())
}

/// What makes two looks at one file the same: size, and both times to the nanosecond.
pub(crate) type Look = (u64, (i64, u64), (i64, u64));

/// What an open file is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pinned {
    pub kind: FileType,
    pub size: u64,
    pub names: u64,
    pub meta: Meta,
    pub look: Look,
}

pub(crate) fn pin(file: &File) -> io::Result<Pinned> {
    let stat = fs::fstat(file)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    Ok(Pinned {
        kind: FileType::from_raw_mode(stat.st_mode),
        size,
        names: stat.st_nlink as u64,
        meta: meta(&stat),
        look: (size, (stat.st_mtime, stat.st_mtime_nsec as u64), (stat.st_ctime, stat.st_ctime_nsec as u64)),
    })
}

fn meta(stat: &Stat) -> Meta {
    Meta { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime: stat.st_mtime }
}

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}
