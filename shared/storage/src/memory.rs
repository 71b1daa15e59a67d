//! A store in memory, for tests of whatever uses one. It behaves as an S3 store does.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _};
use plana_plan::{inventory::ObjectMeta, parts::Limits};

use crate::{
    contract::{
        BucketSafety, Canary, DeleteOutcome, ETag, GetBody, ListCursor, ListPage, NamePage, PartReceipt, PutMode, Rights, Shape, Store,
        Stored, Switch, Upload, UploadMeta, UploadPage,
    },
    error::{Failure, Operation, StoreError},
    key,
    verify::{etag_of_body, etag_of_parts},
};

const URL: &str = "memory://test";

/// A store in memory. Clones share their content.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Mutex<Content>>,
    limits: Limits,
    page: usize,
}

#[derive(Debug, Default)]
struct Content {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<(String, String), Begun>,
    begun: u64,
}

#[derive(Debug, Clone)]
struct Object {
    body: Bytes,
    etag: String,
    written: DateTime<Utc>,
}

#[derive(Debug)]
struct Begun {
    at: DateTime<Utc>,
    parts: BTreeMap<u32, Bytes>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new(Limits { min_part_bytes: 1, max_part_bytes: 1 << 32, max_parts: 10_000, max_object_bytes: 1 << 42 }, 1000)
    }
}

impl MemoryStore {
    /// An empty store with these limits, which lists so many keys a page.
    pub fn new(limits: Limits, page: usize) -> Self {
        MemoryStore { shared: Arc::default(), limits, page: page.max(1) }
    }

    /// What an object holds.
    pub fn content(&self, key: &str) -> Option<Bytes> {
        self.lock().objects.get(key).map(|object| object.body.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys_after(&self, prefix: &str, page: Option<&ListCursor>) -> Vec<ObjectMeta> {
        let begin = match page {
            Some(cursor) => Bound::Excluded(cursor.marker.clone()),
            None => Bound::Included(prefix.to_owned()),
        };
        let content = self.lock();
        let range = content.objects.range((begin, Bound::Unbounded));
        range.take_while(|(key, _)| key.starts_with(prefix)).map(|(key, object)| meta(key, object)).collect()
    }
}

fn meta(key: &str, object: &Object) -> ObjectMeta {
    ObjectMeta { key: key.to_owned(), size: object.body.len() as u64, last_modified: object.written, etag: Some(object.etag.clone()) }
}

fn failure(operation: Operation, key: &str, cause: &str) -> Failure {
    Failure::new(operation, format!("{URL}/{key}"), cause)
}

fn cursor(marker: &str) -> ListCursor {
    ListCursor { marker: marker.to_owned(), minor: None }
}

#[async_trait]
impl Store for MemoryStore {
    fn url(&self) -> &str {
        URL
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    async fn put(&self, key: &str, body: Bytes, mode: PutMode) -> Result<Stored, StoreError> {
        key::check(Operation::Put, URL, key, 0)?;
        let mut content = self.lock();
        if mode == PutMode::IfAbsent && content.objects.contains_key(key) {
            return Err(StoreError::AlreadyExists(failure(Operation::Put, key, "")));
        }
        let (bytes, expected) = (body.len() as u64, etag_of_body(&body));
        // A copy: what was sent no longer counts against the sender's memory.
        let body = Bytes::copy_from_slice(&body);
        content.objects.insert(key.to_owned(), Object { body, etag: expected.to_string(), written: Utc::now() });
        Ok(Stored { bytes, parts: 1, etag: Some(expected.to_string()), version: None, expected: Some(expected) })
    }

    async fn begin(&self, key: &str, _part_bytes: u64) -> Result<Box<dyn Upload>, StoreError> {
        key::check(Operation::Begin, URL, key, 0)?;
        let mut content = self.lock();
        content.begun += 1;
        let id = format!("upload-{}", content.begun);
        content.uploads.insert((key.to_owned(), id.clone()), Begun { at: Utc::now(), parts: BTreeMap::new() });
        Ok(Box::new(MemoryUpload { store: self.clone(), key: key.to_owned(), id }))
    }

    async fn list(&self, prefix: &str, page: Option<&ListCursor>) -> Result<ListPage, StoreError> {
        let mut objects = self.keys_after(prefix, page);
        let more = objects.len() > self.page;
        objects.truncate(self.page);
        let next = objects.last().filter(|_| more).map(|last| cursor(&last.key));
        Ok(ListPage { objects, next })
    }

    async fn list_names(&self, prefix: &str, page: Option<&ListCursor>) -> Result<NamePage, StoreError> {
        let mut names = NamePage::default();
        for object in self.keys_after(prefix, page) {
            let common = object.key[prefix.len()..].split_once('/').map(|(name, _)| format!("{prefix}{name}/"));
            if let Some(common) = &common
                && (names.prefixes.last() == Some(common) || page.is_some_and(|page| page.marker.starts_with(common)))
            {
                continue;
            }
            if names.prefixes.len() + names.objects.len() == self.page {
                let last = names.prefixes.last().into_iter().chain(names.objects.last().map(|object| &object.key)).max();
                // Behind every key under the last prefix.
                names.next = last.map(|last| cursor(&if last.ends_with('/') { format!("{last}\u{10ffff}") } else { last.clone() }));
                break;
            }
            match common {
                Some(common) => names.prefixes.push(common),
                None => names.objects.push(object),
            }
        }
        Ok(names)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>, _version: Option<&str>) -> Result<GetBody, StoreError> {
        let content = self.lock();
        let object = content.objects.get(key).ok_or_else(|| StoreError::NotFound(failure(Operation::Get, key, "")))?;
        let range = readable(range, object.body.len() as u64, || failure(Operation::Get, key, ""))?;
        let body = object.body.slice(usize::try_from(range.start).unwrap_or(usize::MAX)..usize::try_from(range.end).unwrap_or(usize::MAX));
        Ok(GetBody { meta: meta(key, object), version: None, range, stream: stream::once(async { Ok(body) }).boxed() })
    }

    async fn delete(&self, keys: &[String]) -> Result<Vec<DeleteOutcome>, StoreError> {
        let mut content = self.lock();
        Ok(keys
            .iter()
            .map(|key| {
                content.objects.remove(key);
                DeleteOutcome { key: key.clone(), result: Ok(()) }
            })
            .collect())
    }

    async fn list_uploads(&self, prefix: &str, page: Option<&ListCursor>) -> Result<UploadPage, StoreError> {
        let after = page.map(|page| (page.marker.clone(), page.minor.clone().unwrap_or_default()));
        let content = self.lock();
        let mut uploads: Vec<UploadMeta> = content
            .uploads
            .iter()
            .filter(|(id, _)| id.0.starts_with(prefix) && after.as_ref().is_none_or(|after| *id > after))
            .map(|((key, id), begun)| UploadMeta { key: key.clone(), upload_id: id.clone(), initiated: begun.at })
            .collect();
        let more = uploads.len() > self.page;
        uploads.truncate(self.page);
        let next = uploads.last().filter(|_| more).map(|last| ListCursor { marker: last.key.clone(), minor: Some(last.upload_id.clone()) });
        Ok(UploadPage { uploads, next })
    }

    async fn abort_upload(&self, key: &str, upload_id: &str) -> Result<(), StoreError> {
        self.lock().uploads.remove(&(key.to_owned(), upload_id.to_owned()));
        Ok(())
    }

    async fn server_time(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(None)
    }

    async fn rights(&self, _probe_put: bool) -> Result<Rights, StoreError> {
        let yes = Some(true);
        Ok(Rights { put: yes, list: yes, read: yes, delete: yes, list_uploads: yes, abort: yes, list_versions: None })
    }

    async fn safety(&self) -> Result<BucketSafety, StoreError> {
        Ok(BucketSafety { versioning: Switch::Off, object_lock: Switch::Off })
    }

    async fn canary(&self, _shape: Shape) -> Result<Canary, StoreError> {
        let expected = ETag { md5: [0; 16], parts: None };
        Ok(Canary { expected, listed: Some(expected.to_string()), refuses_wrong_md5: true })
    }
}

/// The bytes of an object that a reader gets who asked for `range`.
pub(crate) fn readable(range: Option<Range<u64>>, size: u64, failure: impl FnOnce() -> Failure) -> Result<Range<u64>, StoreError> {
    let Some(range) = range else { return Ok(0..size) };
    let end = range.end.min(size);
    if range.start >= end {
        let cause = format!("it has {size} bytes, and bytes {}..{} were asked for", range.start, range.end);
        return Err(StoreError::Unusable(Failure { cause, ..failure() }));
    }
    Ok(range.start..end)
}

#[derive(Debug)]
struct MemoryUpload {
    store: MemoryStore,
    key: String,
    id: String,
}

impl MemoryUpload {
    fn gone(&self, operation: Operation) -> StoreError {
        StoreError::NotFound(failure(operation, &self.key, "the upload was completed or aborted"))
    }
}

#[async_trait]
impl Upload for MemoryUpload {
    fn id(&self) -> &str {
        &self.id
    }

    async fn put_part(&self, number: u32, body: Bytes) -> Result<PartReceipt, StoreError> {
        let mut content = self.store.lock();
        let begun = content.uploads.get_mut(&(self.key.clone(), self.id.clone()));
        let etag = etag_of_body(&body);
        let receipt = PartReceipt { number, bytes: body.len() as u64, etag: Some(etag.to_string()), md5: Some(etag.md5) };
        // A copy: what was sent no longer counts against the sender's memory.
        begun.ok_or_else(|| self.gone(Operation::PutPart(number)))?.parts.insert(number, Bytes::copy_from_slice(&body));
        Ok(receipt)
    }

    async fn complete(&self, parts: &[PartReceipt]) -> Result<Stored, StoreError> {
        let mut content = self.store.lock();
        let id = (self.key.clone(), self.id.clone());
        let Some(begun) = content.uploads.get(&id) else {
            // A repetition answers as the first did.
            let expected = etag_of_parts(parts);
            let made = content.objects.get(&self.key).filter(|made| expected.is_some_and(|expected| made.etag == expected.to_string()));
            let made = made.filter(|_| !parts.is_empty()).ok_or_else(|| self.gone(Operation::Complete))?;
            let (bytes, parts) = (made.body.len() as u64, u32::try_from(parts.len()).unwrap_or(u32::MAX));
            return Ok(Stored { bytes, parts, etag: Some(made.etag.clone()), version: None, expected });
        };
        let mut body = BytesMut::new();
        for receipt in parts {
            let part = begun.parts.get(&receipt.number);
            body.extend_from_slice(part.ok_or_else(|| {
                StoreError::Other(failure(Operation::Complete, &self.key, &format!("part {} was never sent", receipt.number)))
            })?);
        }
        let expected = etag_of_parts(parts);
        let etag = expected.as_ref().map(ToString::to_string);
        let bytes = body.len() as u64;
        let object = Object { body: body.freeze(), etag: etag.clone().unwrap_or_default(), written: Utc::now() };
        content.objects.insert(self.key.clone(), object);
        content.uploads.remove(&id);
        let parts = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        Ok(Stored { bytes, parts, etag, version: None, expected })
    }

    async fn abort(&self) -> Result<(), StoreError> {
        self.store.abort_upload(&self.key, &self.id).await
    }
}
