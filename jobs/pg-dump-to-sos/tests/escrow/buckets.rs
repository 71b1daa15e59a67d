//! The escrow store as a bucket, with keys that may put and list alone.

use std::time::Duration;

use plana_plan::escrow::EntryKey;
use plana_testkit::{
    ceph::{Bucket, Gateway, User},
    job::{age, bucket::S3},
};

use crate::{
    Case, KEY, SECRET,
    common::{Job, Outcome, expect_words},
    required,
};

/// With put and list alone, on two buckets.
struct Buckets {
    case: Case,
    backups: S3,
    escrow: Bucket,
}

impl Buckets {
    fn new() -> Self {
        Buckets { case: Case::new(), backups: S3::new("dumps"), escrow: Gateway::shared().bucket("kept").unwrap() }
    }

    fn job(&self) -> Job {
        let url = format!("s3://{}/keys", self.escrow.name());
        self.case.configured(&url, "", "").into_bucket(&self.backups).env(KEY, SECRET).limit(Duration::from_secs(120))
    }

    fn kept(&self) -> Vec<EntryKey> {
        let own = |key: String| EntryKey::parse(key.strip_prefix("keys/").unwrap_or(&key)).unwrap_or_else(|| panic!("{key}"));
        self.escrow.keys().unwrap().into_iter().map(own).collect()
    }
}

#[test]
fn a_key_that_may_put_and_list_is_enough_for_the_escrow_store() {
    let buckets = Buckets::new();
    let outcome = buckets.job().run().expect(0);
    assert_eq!(outcome.warnings(), "");
    buckets.job().run().expect(0);
    let [entry] = &buckets.kept()[..] else { panic!("{:?}", buckets.kept()) };
    let sealed = buckets.escrow.get(&format!("keys/{entry}")).unwrap();
    assert_eq!(age::decrypt(&sealed, &buckets.case.identities[1]).as_deref(), Some(SECRET.as_bytes()));
    buckets.job().env(KEY, "rotated").run().expect(0);
    assert_eq!(buckets.kept().len(), 2);
    let line = |outcome: &Outcome, found: &str| outcome.report["checks"].to_string().contains(found);
    let checked = buckets.job().arg("check").run();
    assert_eq!(buckets.kept().len(), 2, "check leaves nothing where nobody sweeps");
    assert!(line(&checked, "the key may put and list") && line(&checked, "the same access key as the backups"), "{}", checked.done.stdout);
    // Without the right to list nobody knows what is kept: that is said, and nothing is lost.
    buckets.escrow.set_rights(&[(User::Backup, &["s3:PutObject"])]).unwrap();
    let outcome = buckets.job().run().expect(0);
    expect_words(&outcome.warnings(), &[KEY, "is in no escrow", "access denied"]);
    assert_eq!(buckets.job().set("escrow.on_missing", "fail").run().expect(3).outcome(&buckets.case.needs), "failed");
    buckets.escrow.set_rights(&[(User::Backup, &["s3:ListBucket"])]).unwrap();
    let outcome = buckets.job().env(KEY, "a third").run().expect(0);
    expect_words(&outcome.warnings(), &[KEY, "is in no escrow", "the right to put"]);
    assert_eq!(buckets.kept().len(), 2);
}

#[test]
fn two_runs_at_once_keep_the_key_and_agree_afterwards() {
    let buckets = Buckets::new();
    let jobs = [buckets.job().arg("escrow"), buckets.job().arg("escrow")];
    let running: Vec<_> = jobs.iter().map(Job::spawn).collect();
    running.into_iter().for_each(|running| drop(Outcome::wait(running).expect(0)));
    assert!((1..=2).contains(&buckets.kept().len()));
    buckets.job().run().expect(0);
    // Where each had made a salt of its own, both are kept, and from now on all use the same one.
    let kept = buckets.kept();
    assert!((1..=2).contains(&kept.len()), "{kept:?}");
    let (_, manifest) = buckets.backups.expect_one(&buckets.case.needs);
    let smallest = kept.iter().map(|entry| entry.fingerprint).min_by_key(|fingerprint| fingerprint.salt).unwrap();
    assert_eq!(required(&manifest), [(KEY, smallest)]);
}
