//! A store that fails on demand, for tests of whatever uses one.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use plana_plan::{inventory::ObjectMeta, parts::Limits};

use crate::{
    contract::{
        BucketSafety, Canary, DeleteOutcome, DynStore, GetBody, ListCursor, ListPage, NamePage, ObjectVersion, PartReceipt, PutMode,
        Rights, Shape, Store, Stored, Upload, UploadPage, VersionPage,
    },
    error::{Failure, Operation, StoreError},
};

/// Which calls a fault concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// [`Store::put`].
    Put,
    /// [`Store::begin`].
    Begin,
    /// [`Upload::put_part`].
    PutPart,
    /// [`Upload::complete`].
    Complete,
    /// [`Upload::abort`] and [`Store::abort_upload`].
    Abort,
    /// [`Store::list`], [`Store::list_names`] and [`Store::find`].
    List,
    /// [`Store::list_versions`].
    ListVersions,
    /// [`Store::list_uploads`].
    ListUploads,
    /// [`Store::get`].
    Get,
    /// [`Store::delete`].
    Delete,
    /// [`Store::canary`].
    Canary,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Harm {
    /// The call fails and nothing was done.
    Fail(fn(Failure) -> StoreError),
    /// The call is done, and its answer is lost.
    FailAfterwards(fn(Failure) -> StoreError),
    /// The call takes this much longer.
    Delay(Duration),
    /// Objects are listed with this ETag; empty means none.
    Etag(&'static str),
    /// What is read breaks off after so many bytes.
    CutAfter(u64),
}

/// A fault: on which calls, and what goes wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    call: Call,
    harm: Harm,
    calls: Range<u64>,
    after_bytes: u64,
    key: String,
}

impl Fault {
    /// On every call of this kind.
    pub fn on(call: Call, harm: Harm) -> Self {
        Fault { call, harm, calls: 1..u64::MAX, after_bytes: 0, key: String::new() }
    }

    /// Only on the `nth` call of its kind, counted from 1 since the store was wrapped.
    #[must_use]
    pub fn nth(self, nth: u64) -> Self {
        Fault { calls: nth..nth.saturating_add(1), ..self }
    }

    /// On the `nth` call of its kind and all later ones.
    #[must_use]
    pub fn from(self, nth: u64) -> Self {
        Fault { calls: nth..u64::MAX, ..self }
    }

    /// Only once that many bytes were put, in whatever objects and parts; the call that would pass them is the first.
    #[must_use]
    pub fn after_bytes(self, bytes: u64) -> Self {
        Fault { after_bytes: bytes, ..self }
    }

    /// Only on keys (for listings: prefixes) that hold this.
    #[must_use]
    pub fn key(self, part: &str) -> Self {
        Fault { key: part.to_owned(), ..self }
    }
}

/// A store that fails on demand. Clones share faults and counts.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: DynStore,
    state: Arc<Mutex<State>>,
}

type Refusal = fn(Failure) -> StoreError;

#[derive(Debug, Default)]
struct State {
    faults: Vec<Fault>,
    /// What the key of an object holds that nobody may delete, and the refusal.
    denied: Vec<(String, Refusal)>,
    calls: BTreeMap<Call, u64>,
    bytes: u64,
}

/// What goes wrong with one call.
#[derive(Default)]
struct Fate {
    fail: Option<StoreError>,
    fail_afterwards: Option<StoreError>,
    delay: Duration,
    etag: Option<&'static str>,
    cut_after: Option<u64>,
}

impl Fate {
    async fn meet<T>(&mut self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        tokio::time::sleep(self.delay).await;
        if let Some(error) = self.fail.take() {
            return Err(error);
        }
        let done = work.await?;
        self.fail_afterwards.take().map_or(Ok(done), Err)
    }

    fn mark(&self, objects: &mut [ObjectMeta]) {
        if let Some(etag) = self.etag {
            objects.iter_mut().for_each(|object| object.etag = Some(etag.to_owned()).filter(|etag| !etag.is_empty()));
        }
    }
}

impl FaultyStore {
    /// A store without faults so far.
    pub fn new(inner: DynStore) -> Self {
        FaultyStore { inner, state: Arc::default() }
    }

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).faults.push(fault);
    }

    /// Refuses from now on to delete objects whose keys hold this; the others of a batch go.
    pub fn deny(&self, part: &str, refusal: fn(Failure) -> StoreError) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).denied.push((part.to_owned(), refusal));
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.faults.clear();
        state.denied.clear();
    }

    fn denial(&self, key: &str) -> Option<StoreError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, refusal) = state.denied.iter().find(|(part, _)| key.contains(part))?;
        Some(refusal(Failure::new(Operation::Delete, crate::verify::object_url(&*self.inner, key), "injected")))
    }

    /// Puts the refusals between the outcomes of those that were not refused.
    fn with_denied<'a>(&self, keys: impl Iterator<Item = &'a str>, allowed: Vec<DeleteOutcome>) -> Vec<DeleteOutcome> {
        let mut allowed = allowed.into_iter();
        let outcome = |key: &str| match self.denial(key) {
            Some(denial) => Some(DeleteOutcome { key: key.to_owned(), result: Err(denial) }),
            None => allowed.next(),
        };
        keys.filter_map(outcome).collect()
    }

    /// How many calls of a kind were made.
    pub fn calls(&self, call: Call) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).calls.get(&call).copied().unwrap_or_default()
    }

    fn fate(&self, call: Call, operation: Operation, key: &str, bytes: usize) -> Fate {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = state.calls.entry(call).or_default();
        *count += 1;
        let count = *count;
        state.bytes += bytes as u64;
        let put = state.bytes;
        let mut fate = Fate::default();
        let concerned =
            |fault: &&Fault| fault.call == call && fault.calls.contains(&count) && put >= fault.after_bytes && key.contains(&fault.key);
        for fault in state.faults.iter().filter(concerned) {
            let failure = || Failure::new(operation, crate::verify::object_url(&*self.inner, key), "injected");
            match fault.harm {
                Harm::Fail(error) => fate.fail = Some(error(failure())),
                Harm::FailAfterwards(error) => fate.fail_afterwards = Some(error(failure())),
                Harm::Delay(delay) => fate.delay += delay,
                Harm::Etag(etag) => fate.etag = Some(etag),
                Harm::CutAfter(bytes) => fate.cut_after = Some(bytes),
            }
        }
        fate
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn url(&self) -> &str {
        self.inner.url()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn put(&self, key: &str, body: Bytes, mode: PutMode) -> Result<Stored, StoreError> {
        self.fate(Call::Put, Operation::Put, key, body.len()).meet(self.inner.put(key, body, mode)).await
    }

    async fn begin(&self, key: &str, part_bytes: u64) -> Result<Box<dyn Upload>, StoreError> {
        let inner = self.fate(Call::Begin, Operation::Begin, key, 0).meet(self.inner.begin(key, part_bytes)).await?;
        Ok(Box::new(FaultyUpload { store: self.clone(), key: key.to_owned(), inner }))
    }

    async fn list(&self, prefix: &str, page: Option<&ListCursor>) -> Result<ListPage, StoreError> {
        let mut fate = self.fate(Call::List, Operation::List, prefix, 0);
        let mut listed = fate.meet(self.inner.list(prefix, page)).await?;
        fate.mark(&mut listed.objects);
        Ok(listed)
    }

    async fn list_names(&self, prefix: &str, page: Option<&ListCursor>) -> Result<NamePage, StoreError> {
        let mut fate = self.fate(Call::List, Operation::List, prefix, 0);
        let mut names = fate.meet(self.inner.list_names(prefix, page)).await?;
        fate.mark(&mut names.objects);
        Ok(names)
    }

    async fn find(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let mut fate = self.fate(Call::List, Operation::List, key, 0);
        let mut found = fate.meet(self.inner.find(key)).await?;
        fate.mark(found.as_mut_slice());
        Ok(found)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>, version: Option<&str>) -> Result<GetBody, StoreError> {
        let mut fate = self.fate(Call::Get, Operation::Get, key, 0);
        let body = fate.meet(self.inner.get(key, range, version)).await?;
        let Some(left) = fate.cut_after else { return Ok(body) };
        let error = StoreError::Connection(Failure::new(Operation::Get, crate::verify::object_url(&*self.inner, key), "injected"));
        let cut = stream::unfold((body.stream, left, Some(error)), |(mut stream, left, mut error)| async move {
            if left == 0 {
                return error.take().map(|error| (Err(error), (stream, left, None)));
            }
            let chunk = stream.next().await?.map(|chunk| chunk.slice(..chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX))));
            let taken = chunk.as_ref().map_or(left, |chunk| chunk.len() as u64);
            Some((chunk, (stream, left - taken, error)))
        });
        Ok(GetBody { stream: cut.boxed(), ..body })
    }

    async fn list_versions(&self, prefix: &str, page: Option<&ListCursor>) -> Result<VersionPage, StoreError> {
        self.fate(Call::ListVersions, Operation::ListVersions, prefix, 0).meet(self.inner.list_versions(prefix, page)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<Vec<DeleteOutcome>, StoreError> {
        let first = keys.first().map_or("", String::as_str);
        let allowed: Vec<String> = keys.iter().filter(|key| self.denial(key).is_none()).cloned().collect();
        let outcomes = self.fate(Call::Delete, Operation::Delete, first, 0).meet(self.inner.delete(&allowed)).await?;
        Ok(self.with_denied(keys.iter().map(String::as_str), outcomes))
    }

    async fn delete_versions(&self, versions: &[ObjectVersion]) -> Result<Vec<DeleteOutcome>, StoreError> {
        let first = versions.first().map_or("", |one| &one.key);
        let allowed: Vec<ObjectVersion> = versions.iter().filter(|one| self.denial(&one.key).is_none()).cloned().collect();
        let outcomes = self.fate(Call::Delete, Operation::Delete, first, 0).meet(self.inner.delete_versions(&allowed)).await?;
        Ok(self.with_denied(versions.iter().map(|one| one.key.as_str()), outcomes))
    }

    async fn list_uploads(&self, prefix: &str, page: Option<&ListCursor>) -> Result<UploadPage, StoreError> {
        self.fate(Call::ListUploads, Operation::ListUploads, prefix, 0).meet(self.inner.list_uploads(prefix, page)).await
    }

    async fn abort_upload(&self, key: &str, upload_id: &str) -> Result<(), StoreError> {
        self.fate(Call::Abort, Operation::Abort, key, 0).meet(self.inner.abort_upload(key, upload_id)).await
    }

    async fn server_time(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.inner.server_time().await
    }

    async fn rights(&self, probe_put: bool) -> Result<Rights, StoreError> {
        self.inner.rights(probe_put).await
    }

    async fn safety(&self) -> Result<BucketSafety, StoreError> {
        self.inner.safety().await
    }

    async fn canary(&self, shape: Shape) -> Result<Canary, StoreError> {
        let mut fate = self.fate(Call::Canary, Operation::Inspect, "", 0);
        let mut canary = fate.meet(self.inner.canary(shape)).await?;
        if let Some(etag) = fate.etag {
            canary.listed = Some(etag.to_owned());
        }
        Ok(canary)
    }
}

#[derive(Debug)]
struct FaultyUpload {
    store: FaultyStore,
    key: String,
    inner: Box<dyn Upload>,
}

#[async_trait]
impl Upload for FaultyUpload {
    fn id(&self) -> &str {
        self.inner.id()
    }

    async fn put_part(&self, number: u32, body: Bytes) -> Result<PartReceipt, StoreError> {
        let mut fate = self.store.fate(Call::PutPart, Operation::PutPart(number), &self.key, body.len());
        fate.meet(self.inner.put_part(number, body)).await
    }

    async fn complete(&self, parts: &[PartReceipt]) -> Result<Stored, StoreError> {
        self.store.fate(Call::Complete, Operation::Complete, &self.key, 0).meet(self.inner.complete(parts)).await
    }

    async fn abort(&self) -> Result<(), StoreError> {
        self.store.fate(Call::Abort, Operation::Abort, &self.key, 0).meet(self.inner.abort()).await
    }
}
