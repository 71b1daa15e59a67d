//! A bucket of the gateway behind a proxy of its own, and what a test wants to know about it.

use plana_plan::{SetKey, inventory::ObjectMeta, manifest::Manifest};

use super::{Job, Outcome, expect_words, look::Look};
use crate::{
    ceph::{Bucket, Gateway, User},
    proxy::{HttpProxy, Rule},
};

/// What the store's URL has after the bucket, so that prefixes are in play everywhere.
const PREFIX: &str = "backups";

/// A bucket behind a proxy.
pub struct S3 {
    /// The bucket, as its owner sees it.
    pub bucket: Bucket,
    /// What stands between the job and the gateway.
    pub proxy: HttpProxy,
}

impl S3 {
    /// A new bucket with the usual rights.
    pub fn new(name: &str) -> Self {
        Self::of(Gateway::shared().bucket(name).expect("a bucket"))
    }

    /// That bucket.
    pub fn of(bucket: Bucket) -> Self {
        S3 { bucket, proxy: HttpProxy::start(Gateway::shared().port()).expect("a proxy") }
    }

    /// The store's URL.
    pub fn url(&self) -> String {
        self.url_of(PREFIX)
    }

    /// The URL of another store in the same bucket.
    pub fn url_of(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", self.bucket.name())
    }

    /// Another store in the same bucket, as a test looks at it.
    pub fn below<'a>(&'a self, prefix: &'a str) -> Below<'a> {
        Below { bucket: &self.bucket, prefix }
    }

    fn here(&self) -> Below<'_> {
        self.below(PREFIX)
    }

    /// All objects of that name, in whatever area.
    fn of_name(&self, name: &str) -> Vec<ObjectMeta> {
        let group = format!("/{}/", plana_plan::name::encode(name));
        self.here().objects().into_iter().filter(|object| object.key.contains(&group)).collect()
    }

    /// Panics where anything of that name counts as a backup. What could not be deleted may lie about.
    #[track_caller]
    pub fn expect_nothing_committed(&self, database: &str) {
        let manifests = self.of_name(database);
        assert!(!manifests.iter().any(|object| object.key.ends_with("manifest.json")), "committed in spite of the failure: {manifests:#?}");
    }

    /// Panics unless the item of that name failed with these words, nothing of it counts, and nothing is left running.
    #[track_caller]
    pub fn expect_failed(&self, job: &Job, outcome: &Outcome, name: &str, words: &[&str]) {
        expect_words(outcome.error(name), words);
        self.expect_nothing_committed(name);
        assert!(outcome.item(name)["key"].is_null(), "a failed item names no backup: {}", outcome.item(name));
        job.expect_no_process_left();
    }

    /// The only set of that name, which must be the only thing stored of it, and no upload may be open.
    #[track_caller]
    pub fn expect_one(&self, database: &str) -> (SetKey, Manifest) {
        let mut sets = self.here().committed();
        sets.retain(|(set, _)| set.encoded_name == plana_plan::name::encode(database));
        let objects = self.of_name(database);
        assert_eq!((sets.len(), objects.len()), (1, 2), "{objects:#?}");
        assert_eq!(self.bucket.uploads().expect("the uploads"), [], "no upload may be left open");
        let (set, manifest) = sets.remove(0);
        self.here().prove(&set, &manifest, None);
        (set, manifest)
    }
}

impl Look for S3 {
    fn objects(&self) -> Vec<ObjectMeta> {
        self.here().objects()
    }

    fn read(&self, key: &str) -> Vec<u8> {
        self.here().read(key)
    }
}

/// What lies below a prefix of a bucket.
pub struct Below<'a> {
    bucket: &'a Bucket,
    prefix: &'a str,
}

impl Look for Below<'_> {
    fn objects(&self) -> Vec<ObjectMeta> {
        let listed = self.bucket.list().expect("the gateway lists");
        let own = |key: &str| key.strip_prefix(self.prefix).and_then(|key| key.strip_prefix('/')).map(str::to_owned);
        let meta = |key: String, size, etag| ObjectMeta { key, size, last_modified: chrono::DateTime::UNIX_EPOCH, etag: Some(etag) };
        listed.into_iter().filter_map(|object| Some(meta(own(&object.key)?, object.size, object.etag))).collect()
    }

    fn read(&self, key: &str) -> Vec<u8> {
        self.bucket.get(&format!("{}/{key}", self.prefix)).expect("the owner may read")
    }
}

impl Job {
    /// Into that bucket, through its proxy, with the key that may put and list.
    pub fn into_bucket(self, s3: &S3) -> Self {
        self.store_url(&s3.url()).envs(s3.bucket.env(User::Backup)).env("AWS_ENDPOINT_URL_S3", s3.proxy.endpoint()).quick_retries()
    }

    /// Three attempts, a tenth of a second apart.
    pub fn quick_retries(self) -> Self {
        self.set("s3.max_attempts", "3").set("s3.max_backoff", "100ms").set("s3.connect_timeout", "2s")
    }
}

/// Only requests that concern that name. Listings name it in the query, the rest in the path.
pub fn about(rule: Rule, database: &str) -> Rule {
    let name = plana_plan::name::encode(database);
    rule.when(move |request| {
        let query = request.query.replace("%2F", "/");
        request.path.contains(&format!("/{name}/")) || query.contains(&format!("/{name}/"))
    })
}
