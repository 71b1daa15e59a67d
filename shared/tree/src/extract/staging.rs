//! A tree on disk, under a name of its own until it is whole.

use std::{
    ffi::{CString, OsStr, OsString},
    fs::{self, File},
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use plana_plan::Stamp;
use rustix::{
    fs::{AtFlags, FlockOperation, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid},
    io::Errno,
};

use super::{ExtractError, TreeSink};

/// What the names of unfinished trees begin with; eight hex digits follow.
pub(super) const PREFIX: &str = ".plana-restore-";
/// What the name of the lock beside one ends in. Whoever holds it is at work on the tree.
pub(super) const LOCK: &str = ".lock";
/// Between a target's name and when it was set aside, as for databases.
const KEPT: &str = "_kept_";
const MOST_NAME_BYTES: usize = 255;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);
/// Until the tree is in its place nobody else needs to look into it.
const UNFINISHED: Mode = Mode::RWXU;
const DIRECTORY_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP);
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP);

/// Whose the restored files are. What the archive says of owners and modes is not used: a tree that is restored for another
/// version of the application belongs to another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user; none leaves it to the system.
    pub uid: Option<u32>,
    /// The group; none leaves it to the system.
    pub gid: Option<u32>,
}

/// An unfinished tree beside its target. Dropped, it is removed; what is left behind by a kill is known by its name and swept.
#[derive(Debug)]
pub struct Staging {
    target: PathBuf,
    parent: OwnedFd,
    parent_path: PathBuf,
    name: OsString,
    owner: Owner,
    /// The directories that the next entry may stand in, from the top on.
    open: Vec<OwnedFd>,
    file: Option<File>,
    lock: Option<OwnedFd>,
    placed: bool,
}

/// Where a tree stands, and what became of the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The path under which the replaced tree is kept.
    pub kept_as: Option<PathBuf>,
}

impl Staging {
    /// Begins a tree beside `target`, whose parent must be there. A target that is there is refused unless it may be replaced.
    ///
    /// # Errors
    /// When the target is in the way, or nothing can be made beside it for that owner.
    pub fn begin(target: &Path, replace: bool, owner: Owner, random: u32) -> Result<Self, ExtractError> {
        let (parent_path, last) = split(target)?;
        let parent = rustix::fs::open(&parent_path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| ExtractError::disk(&parent_path, error))?;
        let target = parent_path.join(last);
        check_target(&parent, last, &target, replace)?;
        let name = OsString::from(format!("{PREFIX}{random:08x}"));
        let path = parent_path.join(&name);
        let lock = lock(&parent, &name).map_err(|error| ExtractError::disk(&path, error))?;
        let mut staging =
            Staging { target, parent, parent_path, name, owner, open: Vec::new(), file: None, lock: Some(lock), placed: false };
        let top = staging.make_directory(None, staging.name.as_bytes(), UNFINISHED).map_err(|error| ExtractError::disk(&path, error))?;
        staging.open.push(top);
        Ok(staging)
    }

    /// Where it is being made.
    pub fn path(&self) -> PathBuf {
        self.parent_path.join(&self.name)
    }

    /// Puts the tree in its place, with everything in it on the disk. What it replaces is kept beside it, under its own name
    /// with a time behind it.
    ///
    /// # Errors
    /// When it cannot be; what was there before is there still.
    pub fn place(mut self, replace: bool, stamp: Stamp) -> Result<Placed, ExtractError> {
        let failed = |error: Errno| ExtractError::disk(&self.target, error);
        let top = self.open.first().ok_or_else(|| failed(Errno::BADF))?;
        rustix::fs::fchmod(top, DIRECTORY_MODE).map_err(failed)?;
        rustix::fs::syncfs(top).map_err(failed)?;
        let last = self.target.file_name().unwrap_or_default().to_owned();
        check_target(&self.parent, &last, &self.target, replace)?;
        let kept = if exists(&self.parent, &last).map_err(failed)? { Some(self.replace(&last, stamp)?) } else { self.rename(&last)? };
        self.placed = true;
        rustix::fs::fsync(&self.parent).map_err(|error| ExtractError::disk(&self.parent_path, error))?;
        Ok(Placed { kept_as: kept.map(|kept| self.parent_path.join(kept)) })
    }

    /// Takes a name that is free. Where the file system cannot promise that, such as NFS, it was free a moment ago.
    pub(super) fn rename(&self, last: &OsStr) -> Result<Option<OsString>, ExtractError> {
        let renamed = match rustix::fs::renameat_with(&self.parent, &self.name, &self.parent, last, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(&self.parent, &self.name, &self.parent, last),
            renamed => renamed,
        };
        renamed.map_err(|error| match error {
            Errno::EXIST => ExtractError::target(&self.target, "something has taken that name meanwhile, and it is not touched"),
            error => ExtractError::disk(&self.target, error),
        })?;
        self.remove_lock();
        Ok(None)
    }

    /// Changes places with what is there, in one step where the file system can.
    fn replace(&mut self, last: &OsStr, stamp: Stamp) -> Result<OsString, ExtractError> {
        let failed = |error| ExtractError::disk(&self.target, error);
        let kept = kept_name(last, stamp);
        if exists(&self.parent, &kept).map_err(failed)? {
            let what =
                format!("{} is in the way of what would be kept under that name; move it away", self.parent_path.join(&kept).display());
            return Err(ExtractError::target(&self.target, what));
        }
        // From here on nobody may sweep what has our name: it may be the old tree.
        self.remove_lock();
        match rustix::fs::renameat_with(&self.parent, &self.name, &self.parent, last, RenameFlags::EXCHANGE) {
            Ok(()) => {
                self.placed = true;
                rustix::fs::renameat(&self.parent, &self.name, &self.parent, &kept).map_err(failed)?;
            }
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::renameat(&self.parent, last, &self.parent, &kept).map_err(failed)?;
                if let Err(error) = rustix::fs::renameat(&self.parent, &self.name, &self.parent, last) {
                    rustix::fs::renameat(&self.parent, &kept, &self.parent, last).map_err(failed)?;
                    return Err(failed(error));
                }
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(kept)
    }

    fn remove_lock(&self) {
        let _there = rustix::fs::unlinkat(&self.parent, lock_name(&self.name), AtFlags::empty());
    }

    fn make_directory(&self, parent: Option<&OwnedFd>, name: &[u8], mode: Mode) -> Result<OwnedFd, Errno> {
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        let parent = parent.unwrap_or(&self.parent).as_fd();
        rustix::fs::mkdirat(parent, &name, UNFINISHED)?;
        let directory = open_at(parent, &name, DIRECTORY, Mode::empty())?;
        self.give(&directory, mode)?;
        Ok(directory)
    }

    fn give(&self, file: &OwnedFd, mode: Mode) -> Result<(), Errno> {
        let Owner { uid, gid } = self.owner;
        if uid.is_some() || gid.is_some() {
            rustix::fs::fchown(file, uid.map(Uid::from_raw), gid.map(Gid::from_raw))?;
        }
        // After the owner: a change of owner takes bits away.
        rustix::fs::fchmod(file, mode)
    }

    /// The directory so many levels below the top.
    fn parent(&mut self, depth: usize) -> Result<&OwnedFd, Errno> {
        self.open.truncate(depth + 1);
        self.open.get(depth).ok_or(Errno::NOENT)
    }

    fn disk(&self, name: &[u8], error: impl Into<io::Error>) -> ExtractError {
        ExtractError::disk(&self.path().join(OsStr::from_bytes(name)), error)
    }
}

impl TreeSink for Staging {
    fn directory(&mut self, depth: usize, name: &[u8]) -> Result<(), ExtractError> {
        let made = match self.parent(depth) {
            Ok(_) => self.make_directory(self.open.get(depth), name, DIRECTORY_MODE),
            Err(error) => Err(error),
        };
        let made = made.map_err(|error| self.disk(name, error))?;
        self.open.push(made);
        Ok(())
    }

    fn file(&mut self, depth: usize, name: &[u8], _bytes: u64) -> Result<(), ExtractError> {
        let make = |staging: &mut Self| {
            let name = CString::new(name).map_err(|_| Errno::INVAL)?;
            let file = open_at(staging.parent(depth)?.as_fd(), &name, NEW_FILE, Mode::RUSR | Mode::WUSR)?;
            staging.give(&file, FILE_MODE)?;
            Ok(File::from(file))
        };
        let made = make(self).map_err(|error: Errno| self.disk(name, error))?;
        self.file = Some(made);
        Ok(())
    }

    fn piece(&mut self, piece: &[u8]) -> Result<(), ExtractError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(piece).map_err(|error| ExtractError::disk(&self.path(), error))
    }

    fn end_file(&mut self) -> Result<(), ExtractError> {
        self.file = None;
        Ok(())
    }
}

impl Drop for Staging {
    /// Removes what is not in its place. What cannot be removed is swept another time.
    fn drop(&mut self) {
        if self.placed {
            return;
        }
        self.file = None;
        self.open.clear();
        if fs::remove_dir_all(self.path()).is_ok() {
            self.remove_lock();
        }
        self.lock = None;
    }
}

fn open_at(parent: rustix::fd::BorrowedFd<'_>, name: &CString, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    loop {
        match rustix::fs::openat2(parent, name, flags, mode, BENEATH) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}

/// A lock that only its process holds, beside the tree: directories cannot be locked everywhere.
fn lock(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let lock = rustix::fs::openat(parent, lock_name(name), NEW_FILE, Mode::RUSR | Mode::WUSR)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        // A sweeper was faster; its turn is over at once. Where there are no locks nothing is swept.
        Err(Errno::WOULDBLOCK) => Err(Errno::AGAIN),
        _ => Ok(lock),
    }
}

pub(super) fn lock_name(name: &OsStr) -> OsString {
    let mut lock = name.to_owned();
    lock.push(LOCK);
    lock
}

/// A path's directory and last name.
fn split(target: &Path) -> Result<(PathBuf, &OsStr), ExtractError> {
    let no_name = || ExtractError::target(target, "it has no name of its own; name the directory that shall be made");
    let last = target.file_name().ok_or_else(no_name)?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((parent.to_path_buf(), last))
}

fn exists(parent: &OwnedFd, name: &OsStr) -> Result<bool, Errno> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses what is in the way.
fn check_target(parent: &OwnedFd, last: &OsStr, target: &Path, replace: bool) -> Result<(), ExtractError> {
    let stat = match rustix::fs::statat(parent, last, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        stat => stat.map_err(|error| ExtractError::disk(target, error))?,
    };
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(ExtractError::target(target, "something that is no directory has that name; it is not touched: use another --to"));
    }
    if !replace {
        let what = "there is a directory of that name, and it is not touched; use another --to, or --replace, which keeps the old one \
                    under another name";
        return Err(ExtractError::target(target, what));
    }
    Ok(())
}

/// The name under which a tree that was replaced is kept.
fn kept_name(last: &OsStr, stamp: Stamp) -> OsString {
    let suffix = format!("{KEPT}{stamp}");
    let bytes = last.as_bytes();
    let mut name = OsStr::from_bytes(&bytes[..bytes.len().min(MOST_NAME_BYTES - suffix.len())]).to_owned();
    name.push(suffix);
    name
}
