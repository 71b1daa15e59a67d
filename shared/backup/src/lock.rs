//! One run at a time on one item: an advisory lock where there is a server, a lock file elsewhere.
//!
//! A missed lock is harmless, since no two sets share a key; it only costs double work.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use plana_pg::locks::AdvisoryLocks;
use plana_plan::{Area, name};
use tokio_util::sync::CancellationToken;

/// Why it is not known whether the lock could be had.
#[derive(Debug, thiserror::Error)]
#[error("lock {item}: {reason}")]
pub struct LockError {
    /// `area/name`.
    pub item: String,
    /// Why, and what to do next.
    pub reason: String,
}

/// A held lock; dropping it lets go.
pub struct ItemGuard {
    /// Cancelled when the lock was lost although nobody let go: whoever holds it stops.
    pub lost: CancellationToken,
    _held: Box<dyn Send + Sync>,
}

impl ItemGuard {
    /// A guard that holds whatever `held` holds.
    pub fn new(lost: CancellationToken, held: impl Send + Sync + 'static) -> Self {
        ItemGuard { lost, _held: Box::new(held) }
    }
}

/// Locks per item, so that shards, reruns and an insurance snapshot during the nightly run do not collide.
#[async_trait]
pub trait ItemLocks: Send + Sync {
    /// The lock of an item, or `None` while another run holds it.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn try_lock(&self, area: Area, name: &str) -> Result<Option<ItemGuard>, LockError>;
}

/// Lock files in a directory of this host.
#[derive(Debug)]
pub struct FileLocks {
    directory: PathBuf,
}

impl FileLocks {
    /// Uses (and makes) `{state_dir}/locks`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let directory = state_dir.join("locks");
        std::fs::create_dir_all(&directory)?;
        Ok(FileLocks { directory })
    }

    /// The same for a run that takes no lock: no directory is made.
    pub fn untouched(state_dir: &Path) -> Self {
        FileLocks { directory: state_dir.join("locks") }
    }

    /// The lock of a whole store, or `None` while another run holds it; dropping the file lets go.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn try_store(&self, url: &str) -> io::Result<Option<File>> {
        self.try_file(&format!("store.{}.lock", name::encode(url)))
    }

    fn try_file(&self, file_name: &str) -> io::Result<Option<File>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.directory.join(file_name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[async_trait]
impl ItemLocks for FileLocks {
    async fn try_lock(&self, area: Area, item: &str) -> Result<Option<ItemGuard>, LockError> {
        let file_name = format!("{area}.{}.lock", name::encode(item));
        let held = self.try_file(&file_name).map_err(|error| LockError {
            item: format!("{area}/{}", name::printable(item)),
            reason: format!("{}: {error}; check that state_dir is writable", self.directory.join(&file_name).display()),
        })?;
        Ok(held.map(|file| ItemGuard::new(CancellationToken::new(), file)))
    }
}

/// Advisory locks of the PostgreSQL server, on one connection of their own: its loss cancels the items.
pub struct ServerLocks(pub AdvisoryLocks);

#[async_trait]
impl ItemLocks for ServerLocks {
    async fn try_lock(&self, area: Area, item: &str) -> Result<Option<ItemGuard>, LockError> {
        let held = self.0.try_lock(area, item).await;
        let held = held.map_err(|error| LockError { item: format!("{area}/{}", name::printable(item)), reason: error.to_string() })?;
        Ok(held.map(|guard| ItemGuard::new(guard.lost(), guard)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_run_is_told_and_a_dropped_guard_lets_go() {
        let directory = tempfile::tempdir().expect("a directory");
        let (one, two) = (FileLocks::open(directory.path()).expect("opens"), FileLocks::open(directory.path()).expect("opens"));
        let guard = one.try_lock(Area::Pg, "../acme").await.expect("tells").expect("free");
        assert!(two.try_lock(Area::Pg, "../acme").await.expect("tells").is_none());
        assert!(two.try_lock(Area::Filestore, "../acme").await.expect("tells").is_some());
        drop(guard);
        assert!(two.try_lock(Area::Pg, "../acme").await.expect("tells").is_some());
    }
}
