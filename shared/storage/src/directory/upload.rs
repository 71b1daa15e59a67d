//! A file that appears whole or not at all.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt as _,
    },
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{Root, blocking, tree};
use crate::{
    contract::{PartReceipt, PutMode, Stored, Upload},
    error::{Failure, Operation, StoreError},
};

/// How often a directory may be removed under us.
const PATIENCE: u32 = 100;

/// A temporary file in the directory of the file that it becomes.
#[derive(Debug)]
pub(super) struct Temporary {
    dir: OwnedFd,
    name: String,
    target: String,
    file: File,
}

impl Temporary {
    /// Makes one for the key, and the directories on its path.
    pub(super) fn create(root: &Root, key: &str, id: &str) -> io::Result<Self> {
        let (parents, target) = super::split(key);
        let name = tree::temporary(id, target);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..PATIENCE {
            let top = tree::open_root(&root.path)?;
            let made = tree::descend_creating(top, parents.clone())
                .and_then(|dir| Ok((rustix::fs::openat(&dir, &*name, flags, Mode::RUSR | Mode::WUSR)?, dir)));
            match made {
                Ok((file, dir)) => return Ok(Temporary { dir, name, target: target.to_owned(), file: file.into() }),
                // A deletion has removed an empty directory under us.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "its directory is removed again and again"))
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Makes it the file that it is for, durably.
    pub(super) fn commit(&self, bytes: u64, mode: PutMode) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        if size != bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{bytes} bytes were written, and the file has {size}")));
        }
        self.file.sync_all()?;
        match mode {
            PutMode::Overwrite => rustix::fs::renameat(&self.dir, &*self.name, &self.dir, &*self.target)?,
            PutMode::IfAbsent => self.rename_if_absent()?,
        }
        rustix::fs::fsync(&self.dir)?;
        Ok(())
    }

    fn rename_if_absent(&self) -> Result<(), Errno> {
        let (dir, name, target) = (&self.dir, &*self.name, &*self.target);
        match rustix::fs::renameat_with(dir, name, dir, target, RenameFlags::NOREPLACE) {
            // NFS and some others do not know the flag; a hard link does not replace either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(dir, name, dir, target, AtFlags::empty())?;
                rustix::fs::unlinkat(dir, name, AtFlags::empty())
            }
            renamed => renamed,
        }
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        match rustix::fs::unlinkat(self.dir.as_fd(), &*self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// An upload into a temporary file; each part is written where it belongs.
#[derive(Debug)]
pub(super) struct DirectoryUpload {
    root: Arc<Root>,
    key: String,
    id: String,
    part_bytes: u64,
    temporary: Arc<Temporary>,
    completed: Mutex<Option<Stored>>,
}

impl DirectoryUpload {
    pub(super) fn new(root: Arc<Root>, key: &str, id: String, part_bytes: u64, temporary: Temporary) -> Self {
        let temporary = Arc::new(temporary);
        DirectoryUpload { root, key: key.to_owned(), id, part_bytes, temporary, completed: Mutex::new(None) }
    }

    fn wrong(&self, operation: Operation, cause: String) -> StoreError {
        StoreError::Unusable(Failure::new(operation, self.root.object(&self.key), cause))
    }
}

#[async_trait]
impl Upload for DirectoryUpload {
    fn id(&self) -> &str {
        &self.id
    }

    async fn put_part(&self, number: u32, body: Bytes) -> Result<PartReceipt, StoreError> {
        let operation = Operation::PutPart(number);
        let bytes = body.len() as u64;
        if number == 0 || bytes > self.part_bytes {
            return Err(self.wrong(operation, format!("parts count from 1 and have at most {} bytes, not {bytes}", self.part_bytes)));
        }
        let offset = u64::from(number - 1) * self.part_bytes;
        let temporary = Arc::clone(&self.temporary);
        blocking(&self.root, operation, &self.key, move |_| temporary.write_at(&body, offset)).await?;
        Ok(PartReceipt { number, bytes, etag: None, md5: None })
    }

    async fn complete(&self, parts: &[PartReceipt]) -> Result<Stored, StoreError> {
        let operation = Operation::Complete;
        if let Some(stored) = self.completed.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(stored);
        }
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let in_order = !parts.is_empty() && parts.iter().map(|part| part.number).eq(1..=count);
        if !in_order || parts.iter().rev().skip(1).any(|part| part.bytes != self.part_bytes) {
            return Err(self.wrong(operation, format!("its {count} parts are not one row of {} bytes each", self.part_bytes)));
        }
        let bytes = parts.iter().map(|part| part.bytes).sum();
        let temporary = Arc::clone(&self.temporary);
        blocking(&self.root, operation, &self.key, move |_| temporary.commit(bytes, PutMode::IfAbsent)).await?;
        let stored = Stored { bytes, parts: count, etag: None, version: None, expected: None };
        *self.completed.lock().unwrap_or_else(PoisonError::into_inner) = Some(stored.clone());
        Ok(stored)
    }

    async fn abort(&self) -> Result<(), StoreError> {
        let temporary = Arc::clone(&self.temporary);
        blocking(&self.root, Operation::Abort, &self.key, move |_| temporary.remove()).await
    }
}
