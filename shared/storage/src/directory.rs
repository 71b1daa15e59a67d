//! A directory as a store: `file:///srv/backups`.
//!
//! Each object is a file of its key's path. It is written under a temporary name beside its own, made durable, and
//! renamed, so it is whole or not there. Files are for their owner alone (0600, directories 0700). No symbolic link
//! below the root is followed, and no key leads out of it.

mod names;
mod remove;
mod tree;
mod upload;

use std::{
    io,
    ops::{ControlFlow, Range},
    os::{fd::AsFd as _, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _};
use plana_plan::{inventory::ObjectMeta, parts::Limits};
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags};

use self::{
    tree::Span,
    upload::{DirectoryUpload, Temporary},
};
use crate::{
    contract::{
        BucketSafety, Canary, DeleteOutcome, GetBody, ListCursor, ListPage, NamePage, PutMode, Rights, Shape, Store, Stored, Switch,
        Upload, UploadMeta, UploadPage,
    },
    error::{Failure, Operation, StoreError},
    key,
    memory::readable,
};

const PAGE: usize = 1000;
const READ_BYTES: usize = 1 << 20;

/// A directory as a store.
#[derive(Debug, Clone)]
pub struct DirectoryStore(Arc<Root>);

#[derive(Debug)]
struct Root {
    path: PathBuf,
    url: String,
    limits: Limits,
}

impl Root {
    fn object(&self, key: &str) -> String {
        format!("{}/{key}", self.url.trim_end_matches('/'))
    }

    /// The key's temporary file of that upload, whose name may have been cut.
    fn find_temporary(&self, key: &str, id: &str) -> io::Result<Option<(std::os::fd::OwnedFd, String)>> {
        let (parents, _) = split(key);
        let dir = tree::descend(tree::open_root(&self.path)?, parents)?;
        let found = tree::entries(dir.as_fd(), key)?;
        let found = found.into_iter().find(|entry| tree::parse_temporary(&entry.name).is_some_and(|(of, _)| of == id));
        Ok(found.map(|entry| (dir, entry.name)))
    }
}

/// The directories of a key, and its file.
fn split(key: &str) -> (impl Iterator<Item = &str> + Clone, &str) {
    let (parents, file) = key.rsplit_once('/').unwrap_or(("", key));
    (parents.split('/').filter(|segment| !segment.is_empty()), file)
}

impl DirectoryStore {
    /// The directory at `path`, which need not exist yet: an operation on it then says so.
    pub fn new(path: impl Into<PathBuf>, limits: Limits) -> Self {
        let path = path.into();
        let url = format!("file://{}", path.display());
        DirectoryStore(Arc::new(Root { path, url, limits }))
    }

    /// Makes the directory itself where it is missing, but not the one that holds it: a disk may not be mounted.
    ///
    /// # Errors
    /// What kept it from being made.
    pub async fn create(&self) -> Result<(), StoreError> {
        blocking(&self.0, Operation::Open, "", |root| match rustix::fs::mkdir(&root.path, Mode::RWXU) {
            Ok(()) => Ok(rustix::fs::fsync(tree::open_root(root.path.parent().unwrap_or(Path::new("/")))?)?),
            Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        })
        .await
    }

    fn check(&self, operation: Operation, key: &str) -> Result<(), StoreError> {
        key::check(operation, &self.0.url, key, 0)?;
        let wrong = |cause: &str| Err(StoreError::Unusable(Failure::new(operation, self.0.object(key), cause)));
        if key.split('/').any(tree::is_temporary) {
            return wrong("names that begin with `.tmp-` are for temporary files");
        }
        if key.split('/').any(|segment| segment.len() > tree::MOST_NAME_BYTES) {
            return wrong("a name in it has more than 255 bytes, which no file system takes; an s3:// store would");
        }
        Ok(())
    }

    async fn page(&self, prefix: &str, page: Option<&ListCursor>) -> Result<ListPage, StoreError> {
        let (prefix, after) = (prefix.to_owned(), page.map(|page| page.marker.clone()));
        blocking(&self.0, Operation::List, &prefix.clone(), move |root| {
            let mut listed = ListPage::default();
            let dir = tree::open_root(&root.path)?;
            tree::walk(dir.as_fd(), "", Span { prefix: &prefix, after: after.as_deref() }, &mut |found| {
                if tree::is_temporary(found.name) {
                    return ControlFlow::Continue(());
                }
                if listed.objects.len() == PAGE {
                    listed.next = listed.objects.last().map(|last| ListCursor { marker: last.key.clone(), minor: None });
                    return ControlFlow::Break(());
                }
                listed.objects.push(found.meta());
                ControlFlow::Continue(())
            })
            .map(|_| listed)
        })
        .await
    }
}

#[async_trait]
impl Store for DirectoryStore {
    fn url(&self) -> &str {
        &self.0.url
    }

    fn limits(&self) -> Limits {
        self.0.limits
    }

    async fn put(&self, key: &str, body: Bytes, mode: PutMode) -> Result<Stored, StoreError> {
        self.check(Operation::Put, key)?;
        let (target, id) = (key.to_owned(), random_id(&self.0, Operation::Put, key)?);
        let bytes = body.len() as u64;
        blocking(&self.0, Operation::Put, key, move |root| {
            let temporary = Temporary::create(root, &target, &id)?;
            let done = temporary.write_at(&body, 0).and_then(|()| temporary.commit(bytes, mode));
            // After a success it is gone already, unless it was linked.
            let removed = temporary.remove();
            done.and(removed)
        })
        .await?;
        Ok(Stored { bytes, parts: 1, etag: None, version: None, expected: None })
    }

    async fn begin(&self, key: &str, part_bytes: u64) -> Result<Box<dyn Upload>, StoreError> {
        self.check(Operation::Begin, key)?;
        let (target, id) = (key.to_owned(), random_id(&self.0, Operation::Begin, key)?);
        let name = id.clone();
        let temporary = blocking(&self.0, Operation::Begin, key, move |root| Temporary::create(root, &target, &name)).await?;
        Ok(Box::new(DirectoryUpload::new(Arc::clone(&self.0), key, id, part_bytes, temporary)))
    }

    async fn list(&self, prefix: &str, page: Option<&ListCursor>) -> Result<ListPage, StoreError> {
        self.page(prefix, page).await
    }

    async fn list_names(&self, prefix: &str, page: Option<&ListCursor>) -> Result<NamePage, StoreError> {
        let (prefix, after) = (prefix.to_owned(), page.map(|page| page.marker.clone()));
        blocking(&self.0, Operation::List, &prefix.clone(), move |root| names::list_names(root, &prefix, after.as_deref())).await
    }

    async fn find(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        self.check(Operation::List, key)?;
        let wanted = key.to_owned();
        blocking(&self.0, Operation::List, key, move |root| {
            let (parents, file) = split(&wanted);
            let found = tree::descend(tree::open_root(&root.path)?, parents)
                .and_then(|dir| Ok(rustix::fs::statat(dir, file, AtFlags::SYMLINK_NOFOLLOW)?));
            match found {
                Ok(stat) => Ok((FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(|| tree::meta(wanted.clone(), &stat))),
                Err(error) if error.kind() == io::ErrorKind::NotFound && root.path.exists() => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>, _version: Option<&str>) -> Result<GetBody, StoreError> {
        self.check(Operation::Get, key)?;
        let wanted = key.to_owned();
        let (file, meta) = blocking(&self.0, Operation::Get, key, move |root| {
            let (parents, name) = split(&wanted);
            let dir = tree::descend(tree::open_root(&root.path)?, parents)?;
            let file =
                rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
            let stat = rustix::fs::fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(io::Error::new(io::ErrorKind::NotFound, "it is not a file"));
            }
            Ok((Arc::new(std::fs::File::from(file)), tree::meta(wanted.clone(), &stat)))
        })
        .await?;
        let range = readable(range, meta.size, || Failure::new(Operation::Get, self.0.object(key), ""))?;
        let begin = (Arc::clone(&self.0), file, key.to_owned(), range.clone());
        let stream = stream::try_unfold(begin, |(root, file, key, left)| async move {
            if left.is_empty() {
                return Ok(None);
            }
            let (source, at) = (Arc::clone(&file), left.clone());
            let chunk = blocking(&root, Operation::Get, &key, move |_| read_chunk(&source, at)).await?;
            let left = left.start + chunk.len() as u64..left.end;
            Ok(Some((chunk, (root, file, key, left))))
        });
        Ok(GetBody { meta, version: None, range, stream: stream.boxed() })
    }

    async fn delete(&self, keys: &[String]) -> Result<Vec<DeleteOutcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in keys {
            let result = match self.check(Operation::Delete, key) {
                Ok(()) => {
                    let target = key.clone();
                    blocking(&self.0, Operation::Delete, key, move |root| remove::delete(root, &target)).await
                }
                refused => refused,
            };
            outcomes.push(DeleteOutcome { key: key.clone(), result });
        }
        Ok(outcomes)
    }

    async fn list_uploads(&self, prefix: &str, page: Option<&ListCursor>) -> Result<UploadPage, StoreError> {
        let (prefix, after) = (prefix.to_owned(), page.cloned());
        blocking(&self.0, Operation::ListUploads, &prefix.clone(), move |root| {
            let mut uploads = Vec::new();
            let dir = tree::open_root(&root.path)?;
            // Temporary names sort elsewhere than the keys that they are for: all are read, then put in order.
            tree::walk(dir.as_fd(), "", Span { prefix: "", after: None }, &mut |found| {
                if let Some((id, file)) = tree::parse_temporary(found.name) {
                    let key = format!("{}{file}", &found.path[..found.path.len() - found.name.len()]);
                    if key.starts_with(&prefix) {
                        uploads.push(UploadMeta { key, upload_id: id.to_owned(), initiated: found.modified() });
                    }
                }
                ControlFlow::Continue(())
            })
            .map(|_| uploads)
        })
        .await
        .map(|uploads| names::upload_page(uploads, after.as_ref()))
    }

    async fn abort_upload(&self, key: &str, upload_id: &str) -> Result<(), StoreError> {
        key::check(Operation::Abort, &self.0.url, key, 0)?;
        let (wanted, id) = (key.to_owned(), upload_id.to_owned());
        blocking(&self.0, Operation::Abort, key, move |root| match root.find_temporary(&wanted, &id) {
            Ok(Some((dir, name))) => match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) => remove::remove_empty_parents(root, &wanted),
                Err(rustix::io::Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Ok(None) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }

    async fn server_time(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(None)
    }

    async fn rights(&self, _probe_put: bool) -> Result<Rights, StoreError> {
        blocking(&self.0, Operation::Open, "", |root| {
            tree::open_root(&root.path)?;
            let may = |access| Some(rustix::fs::access(&root.path, access).is_ok());
            let (read, write) = (may(Access::READ_OK | Access::EXEC_OK), may(Access::WRITE_OK | Access::EXEC_OK));
            Ok(Rights { put: write, list: read, read, delete: write, list_uploads: read, abort: write, list_versions: None })
        })
        .await
    }

    async fn safety(&self) -> Result<BucketSafety, StoreError> {
        Ok(BucketSafety { versioning: Switch::Off, object_lock: Switch::Off })
    }

    async fn canary(&self, _shape: Shape) -> Result<Canary, StoreError> {
        Err(StoreError::Unsupported(Failure::new(Operation::Inspect, &self.0.url, "a directory has no ETags")))
    }
}

/// Runs file work where it may block, and gives its error a name.
async fn blocking<T: Send + 'static>(
    root: &Arc<Root>,
    operation: Operation,
    key: &str,
    work: impl FnOnce(&Root) -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let own = Arc::clone(root);
    let done = tokio::task::spawn_blocking(move || work(&own)).await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    done.map_err(|error| name_error(root, operation, key, &error))
}

fn name_error(root: &Root, operation: Operation, key: &str, error: &io::Error) -> StoreError {
    let failure = Failure::new(operation, if key.is_empty() { root.url.clone() } else { root.object(key) }, error.to_string());
    match error.kind() {
        io::ErrorKind::NotFound if operation == Operation::Open || !root.path.exists() => StoreError::NoSuchBucket(failure),
        io::ErrorKind::NotFound => StoreError::NotFound(failure),
        io::ErrorKind::AlreadyExists => StoreError::AlreadyExists(failure),
        io::ErrorKind::PermissionDenied => StoreError::AccessDenied(failure),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => StoreError::NoSpace(failure),
        io::ErrorKind::InvalidData => StoreError::Corrupt(failure),
        _ => StoreError::Io(failure),
    }
}

fn random_id(root: &Root, operation: Operation, key: &str) -> Result<String, StoreError> {
    let number = getrandom::u64();
    number
        .map(|number| format!("{number:016x}"))
        .map_err(|error| StoreError::Io(Failure::new(operation, root.object(key), format!("no random number: {error}"))))
}

fn read_chunk(file: &std::fs::File, at: Range<u64>) -> io::Result<Bytes> {
    let wanted = usize::try_from(at.end - at.start).unwrap_or(usize::MAX).min(READ_BYTES);
    let mut chunk = vec![0; wanted];
    let read = file.read_at(&mut chunk, at.start)?;
    if read == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it was cut while it was read"));
    }
    chunk.truncate(read);
    Ok(chunk.into())
}
