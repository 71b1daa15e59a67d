//! What goes wrong between the job and its store: what passes is passed over, what does not fails the item with a message that
//! says what to do, and in no case is anything counted as a backup that is none.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod completing;
mod directories;
mod lasting;
mod manifest;
mod passing;
mod rights;
mod verification;

use std::sync::Mutex;

use common::{
    Job, Outcome,
    bucket::{S3, about},
    expect_no_backend_left,
    faults::big_database,
    look::Look,
};
use plana_plan::manifest::{Manifest, Verified};
use plana_testkit::{
    pg::{PgCluster, PgMajor},
    proxy::{HttpProxy, Op, Rule, RuleHandle},
};

fn cluster() -> &'static PgCluster {
    PgCluster::shared(PgMajor::V16)
}

/// A database whose payload is one small object.
fn small_database(prefix: &str) -> String {
    let name = cluster().fresh_database(prefix).unwrap();
    cluster().psql(&name, "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 1000) AS i").unwrap();
    name
}

/// Databases of five parts of 8 MiB that no test uses just now.
static IDLE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A database, and a bucket of its own for its backup.
struct Case {
    s3: S3,
    database: String,
    job: Job,
    big: bool,
}

impl Drop for Case {
    fn drop(&mut self) {
        if self.big {
            IDLE.lock().unwrap().push(self.database.clone());
        }
    }
}

impl Case {
    /// A database of five parts of 8 MiB.
    fn big(name: &str) -> Self {
        Self::big_into(S3::new(name))
    }

    fn big_into(s3: S3) -> Self {
        let idle = IDLE.lock().unwrap().pop();
        let mut case = Self::of(idle.unwrap_or_else(|| big_database(cluster(), "big")), s3);
        case.big = true;
        case
    }

    /// A database of one put.
    fn small(name: &str) -> Self {
        Self::of(small_database("small"), S3::new(name))
    }

    fn of(database: String, s3: S3) -> Self {
        let job = crate::common::job().on(cluster()).into_bucket(&s3).only(&[&database]);
        Case { s3, database, job, big: false }
    }

    fn with(mut self, change: impl FnOnce(Job) -> Job) -> Self {
        self.job = change(self.job.clone());
        self
    }

    /// Adds a rule about this database's own requests.
    fn rule(&self, rule: Rule) -> RuleHandle {
        self.s3.proxy.add(about(rule, &self.database))
    }

    /// Runs it: the database is done, and exactly one set of it is stored, which is proven.
    #[track_caller]
    fn done(&self) -> (Outcome, Manifest) {
        let outcome = self.job.run().expect(0);
        assert_eq!(outcome.outcome(&self.database), "done");
        let (set, manifest) = self.s3.expect_one(&self.database);
        assert_eq!(outcome.item(&self.database)["key"], set.to_string());
        (outcome, manifest)
    }

    /// Runs it: the database fails with these words, nothing of it counts, nothing is left running.
    #[track_caller]
    fn fails(&self, words: &[&str]) -> Outcome {
        let outcome = self.job.run().expect(1);
        self.failed(&outcome, words);
        outcome
    }

    #[track_caller]
    fn failed(&self, outcome: &Outcome, words: &[&str]) {
        self.s3.expect_failed(&self.job, outcome, &self.database, words);
        expect_no_backend_left(cluster(), &self.database);
    }
}

#[test]
fn nothing_goes_wrong() {
    let case = Case::big("clean");
    let (outcome, manifest) = case.done();
    let [volume] = &manifest.payload.volumes[..] else { panic!("{:?}", manifest.payload.volumes) };
    assert_eq!((volume.verified, volume.part_bytes), (Verified::EtagMd5, 8 << 20));
    assert!(volume.parts >= 5 && u64::from(volume.parts) == volume.bytes.div_ceil(volume.part_bytes), "{volume:?}");
    let listed = case.s3.objects();
    let payload = listed.iter().find(|object| object.key == volume.key).expect("the payload is listed");
    assert_eq!((payload.size, &payload.etag), (volume.bytes, &volume.etag));
    assert!(volume.etag.as_deref().is_some_and(|etag| etag.ends_with(&format!("-{}", volume.parts))), "{volume:?}");
    assert_eq!(outcome.item(&case.database)["bytes"], volume.bytes);
    // With put and list alone: nothing is read, asked for by HEAD, or deleted.
    let needless: Vec<_> = case
        .s3
        .proxy
        .requests()
        .into_iter()
        .filter(|seen| !matches!(seen.op(), Op::PutObject | Op::CreateUpload | Op::UploadPart | Op::CompleteUpload | Op::List))
        .collect();
    assert!(needless.is_empty(), "{needless:#?}");
    // Over TLS, where bodies are not signed, this alone shows a store that one was damaged on its way.
    let bodies: Vec<_> = case.s3.proxy.requests().into_iter().filter(|seen| matches!(seen.op(), Op::PutObject | Op::UploadPart)).collect();
    assert!(bodies.iter().all(|seen| seen.request.header("content-md5").is_some()), "without Content-MD5: {bodies:#?}");
    // The manifest is the last object written, after the payload was seen in a listing.
    let writes: Vec<_> =
        case.s3.proxy.requests().into_iter().filter(|seen| matches!(seen.op(), Op::PutObject | Op::CompleteUpload)).collect();
    assert!(writes.last().is_some_and(|seen| seen.request.path.ends_with("/manifest.json")), "{writes:#?}");
}

/// Rules and requests are counted as the tests above believe.
#[test]
fn the_proxy_sees_what_the_job_does() {
    let case = Case::small("proxy");
    let proxy: &HttpProxy = &case.s3.proxy;
    case.done();
    let about_it: Vec<_> = proxy.requests().into_iter().filter(|seen| seen.op() == Op::List).collect();
    // The clock and the right to list, then payload, manifest, set.
    assert!(about_it.len() >= 5, "{about_it:#?}");
    assert_eq!(proxy.count(Op::PutObject), 2);
}
