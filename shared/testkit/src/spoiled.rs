//! A file system that fails and waits when it is told to: another directory as it is, through FUSE, with rules.
//!
//! Mounting takes root. What a rule does not spoil is passed through; nothing can be written.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, MountOption,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, Request,
};

use crate::process::lock;

/// What the file system is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A name is looked up.
    Lookup,
    /// A file is opened.
    Open,
    /// A file is read.
    Read,
    /// A directory is listed.
    List,
}

/// What happens then.
#[derive(Clone)]
pub enum Spoil {
    /// The error of that number, such as 116 for a stale handle.
    Fail(i32),
    /// It takes so long.
    Delay(Duration),
    /// No answer comes, until [`SpoiledTree::release`] or the end. The kernel lets no process that waits for it end before
    /// (NFS, unlike FUSE, lets one be killed).
    Hang,
    /// Something else is done first.
    Act(Arc<dyn Fn(&Path) + Send + Sync>),
}

/// A stale file handle.
pub const ESTALE: i32 = 116;
/// An input or output error.
pub const EIO: i32 = 5;

/// One rule: for which step of which path, how often, and what.
#[derive(Clone)]
pub struct SpoilRule {
    step: Step,
    path: String,
    from_offset: u64,
    left: Arc<AtomicU32>,
    hits: Arc<AtomicU32>,
    spoil: Spoil,
}

impl SpoilRule {
    /// Always, for every path that ends so.
    #[must_use]
    pub fn on(step: Step, path: &str, spoil: Spoil) -> Self {
        SpoilRule { step, path: path.to_owned(), from_offset: 0, left: Arc::new(AtomicU32::new(u32::MAX)), hits: Arc::default(), spoil }
    }

    /// Only so often.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        self.left.store(times, Ordering::SeqCst);
        self
    }

    /// Only reads from that offset on.
    #[must_use]
    pub fn from_offset(mut self, offset: u64) -> Self {
        self.from_offset = offset;
        self
    }

    /// How often it was used.
    #[must_use]
    pub fn hits(&self) -> u32 {
        self.hits.load(Ordering::SeqCst)
    }

    fn takes(&self, step: Step, path: &Path, offset: u64) -> bool {
        let meant = self.step == step && offset >= self.from_offset && path.to_string_lossy().ends_with(&self.path);
        let left = |left: u32| if left == u32::MAX { Some(left) } else { left.checked_sub(1) };
        let takes = meant && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok();
        if takes {
            self.hits.fetch_add(1, Ordering::SeqCst);
        }
        takes
    }
}

/// A mounted file system of that kind; unmounted when it is dropped.
pub struct SpoiledTree {
    session: Option<BackgroundSession>,
    shared: Arc<Shared>,
    at: PathBuf,
}

struct Shared {
    rules: Mutex<Vec<SpoilRule>>,
    released: AtomicBool,
}

impl SpoiledTree {
    /// Shows `source` at `at`, which is an empty directory.
    pub fn mount(source: &Path, at: &Path) -> Result<Self> {
        let shared = Arc::new(Shared { rules: Mutex::default(), released: AtomicBool::new(false) });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RO, MountOption::FSName("plana-testkit".to_owned())];
        // Many, so that those that wait do not keep the others.
        config.n_threads = Some(64);
        let view = View { source: source.to_path_buf(), shared: Arc::clone(&shared), nodes: Mutex::default(), files: Mutex::default() };
        view.node(source);
        let session = fuser::spawn_mount(view, at, &config).context("failed to mount with FUSE: it takes root and /dev/fuse")?;
        Ok(SpoiledTree { session: Some(session), shared, at: at.to_path_buf() })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Answers, with an error, whatever hangs.
    pub fn release(&self) {
        self.shared.released.store(true, Ordering::SeqCst);
    }

    /// Adds a rule; of several that fit, the first one counts.
    pub fn add(&self, rule: SpoilRule) -> SpoilRule {
        lock(&self.shared.rules).push(rule.clone());
        rule
    }
}

impl Drop for SpoiledTree {
    fn drop(&mut self) {
        self.shared.released.store(true, Ordering::SeqCst);
        drop(self.session.take());
    }
}

const TTL: Duration = Duration::ZERO;

struct View {
    source: PathBuf,
    shared: Arc<Shared>,
    nodes: Mutex<Nodes>,
    files: Mutex<HashMap<u64, Arc<File>>>,
}

#[derive(Default)]
struct Nodes {
    paths: Vec<PathBuf>,
    numbers: HashMap<PathBuf, u64>,
}

impl View {
    /// The number of a path; the source itself is the first.
    fn node(&self, path: &Path) -> u64 {
        let mut nodes = lock(&self.nodes);
        if let Some(number) = nodes.numbers.get(path) {
            return *number;
        }
        nodes.paths.push(path.to_path_buf());
        let number = nodes.paths.len() as u64;
        nodes.numbers.insert(path.to_path_buf(), number);
        number
    }

    fn path(&self, node: INodeNo) -> PathBuf {
        let at = usize::try_from(node.0).unwrap_or(1).max(1) - 1;
        lock(&self.nodes).paths.get(at).unwrap_or(&self.source).clone()
    }

    fn attributes(&self, path: &Path) -> io::Result<FileAttr> {
        let meta = std::fs::symlink_metadata(path)?;
        let kind = meta.file_type();
        let kind = if kind.is_dir() {
            FileType::Directory
        } else if kind.is_symlink() {
            FileType::Symlink
        } else {
            FileType::RegularFile
        };
        let time = |seconds: i64, nanos: i64| UNIX_EPOCH + Duration::new(seconds.max(0).unsigned_abs(), u32::try_from(nanos).unwrap_or(0));
        Ok(FileAttr {
            ino: INodeNo(self.node(path)),
            size: meta.len(),
            blocks: meta.blocks(),
            atime: UNIX_EPOCH,
            mtime: time(meta.mtime(), meta.mtime_nsec()),
            ctime: time(meta.ctime(), meta.ctime_nsec()),
            crtime: UNIX_EPOCH,
            kind,
            perm: (meta.mode() & 0o7777) as u16,
            nlink: meta.nlink() as u32,
            uid: meta.uid(),
            gid: meta.gid(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// Does what the first rule that fits says.
    fn spoil(&self, step: Step, path: &Path, offset: u64) -> Result<(), Errno> {
        let rule = lock(&self.shared.rules).iter().find(|rule| rule.takes(step, path, offset)).cloned();
        match rule.map(|rule| rule.spoil) {
            None => Ok(()),
            Some(Spoil::Fail(number)) => Err(Errno::from_i32(number)),
            Some(Spoil::Delay(time)) => {
                std::thread::sleep(time);
                Ok(())
            }
            Some(Spoil::Hang) => {
                while !self.shared.released.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(Errno::from_i32(EIO))
            }
            Some(Spoil::Act(act)) => {
                act(path);
                Ok(())
            }
        }
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_i32(error.raw_os_error().unwrap_or(EIO))
}

impl Filesystem for View {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let path = self.path(parent).join(name);
        match self.spoil(Step::Lookup, &path, 0).and_then(|()| self.attributes(&path).map_err(|error| errno(&error))) {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _request: &Request, node: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(&self.path(node)) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn readlink(&self, _request: &Request, node: INodeNo, reply: ReplyData) {
        match std::fs::read_link(self.path(node)) {
            Ok(target) => reply.data(target.as_os_str().as_encoded_bytes()),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn open(&self, _request: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let path = self.path(node);
        let opened = self.spoil(Step::Open, &path, 0).and_then(|()| File::open(&path).map_err(|error| errno(&error)));
        match opened {
            Ok(file) => {
                let mut files = lock(&self.files);
                let handle = (1..).find(|handle| !files.contains_key(handle)).unwrap_or(0);
                files.insert(handle, Arc::new(file));
                // Every read is to be seen here, and none to be answered by the kernel's cache.
                reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _request: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let path = self.path(node);
        let Some(file) = lock(&self.files).get(&handle.0).cloned() else { return reply.error(Errno::from_i32(EIO)) };
        let mut buffer = vec![0; size as usize];
        let read = self.spoil(Step::Read, &path, offset).and_then(|()| file.read_at(&mut buffer, offset).map_err(|error| errno(&error)));
        match read {
            Ok(read) => reply.data(&buffer[..read]),
            Err(error) => reply.error(error),
        }
    }

    fn release(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.files).remove(&handle.0);
        reply.ok();
    }

    fn readdir(&self, _request: &Request, node: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let path = self.path(node);
        let listed = self.spoil(Step::List, &path, offset).and_then(|()| names(&path).map_err(|error| errno(&error)));
        match listed {
            Ok(names) => {
                for (at, (name, kind)) in names.iter().enumerate().skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
                    if reply.add(INodeNo(self.node(&path.join(name))), at as u64 + 1, *kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }
}

fn names(path: &Path) -> io::Result<Vec<(std::ffi::OsString, FileType)>> {
    let mut names = vec![(".".into(), FileType::Directory), ("..".into(), FileType::Directory)];
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let kind = match (kind.is_dir(), kind.is_symlink()) {
            (true, _) => FileType::Directory,
            (_, true) => FileType::Symlink,
            _ => FileType::RegularFile,
        };
        names.push((entry.file_name(), kind));
    }
    Ok(names)
}
