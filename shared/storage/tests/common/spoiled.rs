//! A bucket behind a proxy that spoils the traffic.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;
use plana_config::{HumanDuration, schema::S3Client};
use plana_plan::parts::PartPlan;
use plana_storage::{DynStore, Finished, MemoryBudget, ObjectWriter, Pace, S3Options, S3Store, StoreError, WriterOptions};
use plana_testkit::{
    ceph::{Bucket, Gateway, User},
    proxy::{HttpProxy, Rule, RuleHandle},
};

use super::{MIB, noise, options, settings};

pub const KEY: &str = "pg/acme/payload.dump.zst";
pub const PART: u64 = 5 * MIB;

pub struct Spoiled {
    pub bucket: Bucket,
    pub proxy: HttpProxy,
    pub content: Bytes,
}

/// Gives up a silent connection within a test's time.
pub fn impatient() -> S3Client {
    let soon = HumanDuration(Duration::from_secs(3));
    S3Client { read_timeout: HumanDuration(Duration::from_secs(1)), attempt_timeout: soon, complete_timeout: soon, ..settings() }
}

impl Spoiled {
    /// For a stream of three parts.
    pub fn new() -> Self {
        Self::of(2 * PART + 12_345)
    }

    pub fn of(bytes: u64) -> Self {
        let gateway = Gateway::shared();
        // Where it is allowed, a failed upload leaves nothing.
        let bucket = gateway.bucket_builder("faults").allow(User::Backup, "s3:AbortMultipartUpload").create().expect("a bucket");
        Spoiled { bucket, proxy: HttpProxy::start(gateway.port()).expect("a proxy"), content: noise(bytes, 7) }
    }

    pub fn add(&self, rule: Rule) -> RuleHandle {
        self.proxy.add(rule)
    }

    pub fn store_with(&self, user: User, client: S3Client) -> S3Store {
        let options = options(&self.bucket, user);
        S3Store::new(S3Options { endpoint: Some(self.proxy.endpoint()), client, ..options }).expect("a store")
    }

    pub fn store(&self) -> S3Store {
        self.store_with(User::Backup, settings())
    }

    pub fn writer(&self, store: &S3Store) -> ObjectWriter {
        writer(store)
    }

    /// Uploads the content; a failure is cleaned up as a job would.
    pub async fn upload(&self, store: &S3Store) -> Result<Finished, StoreError> {
        upload(store, &self.content).await
    }

    /// Nothing that anybody could take for the object is there, nor its parts.
    pub fn assert_nothing_is_left(&self) {
        let keys = self.bucket.keys().expect("keys");
        assert!(keys.iter().all(|key| key.starts_with("probe/")), "{keys:?}");
        assert_eq!(self.bucket.uploads().expect("uploads").len(), 0);
    }

    pub fn assert_whole(&self) {
        assert!(self.bucket.get(KEY).expect("the object") == self.content, "the object is not what was sent");
        assert_eq!(self.bucket.uploads().expect("uploads").len(), 0);
    }
}

fn writer(store: &S3Store) -> ObjectWriter {
    let store: DynStore = Arc::new(store.clone());
    let options = WriterOptions {
        plan: PartPlan { part_bytes: PART, parts_per_volume: 10_000 },
        parts_in_flight: 2,
        budget: MemoryBudget::new(4 * PART),
        pace: Pace::default(),
        sent: Arc::new(AtomicU64::new(0)),
    };
    ObjectWriter::new(store, |_| KEY.to_owned(), options)
}

/// Uploads the content; a failure is cleaned up as a job would.
pub async fn upload(store: &S3Store, content: &Bytes) -> Result<Finished, StoreError> {
    let mut writer = writer(store);
    for piece in content.chunks(1 << 20) {
        if let Err(error) = writer.write(Bytes::copy_from_slice(piece)).await {
            writer.abort().await;
            return Err(error);
        }
    }
    writer.finish().await
}
