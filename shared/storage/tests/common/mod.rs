//! Stores for tests: a directory, memory, and the gateway's buckets with each job's own key.
#![allow(dead_code, unused_imports, unused_macros)]

pub mod spoiled;

use std::{any::Any, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::TryStreamExt as _;
use plana_config::{
    HumanDuration, Secret,
    schema::{ChecksumMode, S3Client},
};
use plana_plan::parts::Limits;
use plana_storage::{DirectoryStore, DynStore, GetBody, MemoryStore, S3Options, S3Store};
use plana_testkit::ceph::{Bucket, Gateway, REGION, User};

/// Each case over each of the stores.
macro_rules! contract {
    ($($store:ident),*; $cases:tt) => { $(contract!(@ $store $cases);)* };
    (@ $store:ident [$($case:ident),* $(,)?]) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    super::$case(super::common::$store()).await;
                }
            )*
        }
    };
}
pub(crate) use contract;

pub const MIB: u64 = 1 << 20;
/// As Exoscale SOS documents them.
pub const LIMITS: Limits = Limits { min_part_bytes: 5 * MIB, max_part_bytes: 5 << 30, max_parts: 10_000, max_object_bytes: 4 << 40 };

/// One store, entered with the keys of three jobs.
pub struct Stores {
    /// May put and list.
    pub writer: DynStore,
    /// May list and read.
    pub reader: DynStore,
    /// May list, delete and abort.
    pub pruner: DynStore,
    /// Goes away with the test.
    pub keep: Box<dyn Any>,
}

pub fn directory() -> Stores {
    let root = tempfile::tempdir().expect("a directory");
    let store: DynStore = Arc::new(DirectoryStore::new(root.path(), LIMITS));
    Stores { writer: Arc::clone(&store), reader: Arc::clone(&store), pruner: store, keep: Box::new(root) }
}

pub fn memory() -> Stores {
    let store: DynStore = Arc::new(MemoryStore::default());
    Stores { writer: Arc::clone(&store), reader: Arc::clone(&store), pruner: store, keep: Box::new(()) }
}

pub fn gateway() -> Stores {
    gateway_under("a place/in it")
}

/// In the root of the bucket.
pub fn gateway_root() -> Stores {
    gateway_under("")
}

fn gateway_under(prefix: &str) -> Stores {
    let bucket = Gateway::shared().bucket("contract").expect("a bucket");
    let store =
        |user| -> DynStore { Arc::new(S3Store::new(S3Options { prefix: prefix.to_owned(), ..options(&bucket, user) }).expect("a store")) };
    Stores { writer: store(User::Backup), reader: store(User::Restore), pruner: store(User::Pruner), keep: Box::new(bucket) }
}

/// Quick to give up, so that faults are seen in a test's time.
pub fn settings() -> S3Client {
    S3Client {
        path_style: true,
        checksums: ChecksumMode::WhenRequired,
        connect_timeout: HumanDuration(Duration::from_secs(2)),
        read_timeout: HumanDuration(Duration::from_secs(5)),
        attempt_timeout: HumanDuration(Duration::from_secs(15)),
        complete_timeout: HumanDuration(Duration::from_secs(15)),
        max_attempts: 5,
        max_backoff: HumanDuration(Duration::from_millis(50)),
    }
}

pub fn options(bucket: &Bucket, user: User) -> S3Options {
    access(bucket.name(), bucket.endpoint(), user)
}

pub fn access(bucket: &str, endpoint: &str, user: User) -> S3Options {
    let key = user.key();
    S3Options {
        bucket: bucket.to_owned(),
        prefix: String::new(),
        endpoint: Some(endpoint.to_owned()),
        region: REGION.to_owned(),
        access_key_id: Secret::new(key.access),
        secret_access_key: Secret::new(key.secret),
        session_token: None,
        client: settings(),
        limits: LIMITS,
    }
}

/// Bytes that no compression and no shift by a part makes equal.
pub fn noise(bytes: u64, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut noise = Vec::with_capacity(bytes as usize + 8);
    while (noise.len() as u64) < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes as usize);
    noise.into()
}

pub async fn read(body: GetBody) -> Vec<u8> {
    body.stream
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
        .expect("the whole body")
}
