//! A store behind a network: what passes is passed over, what does not fails the item, and nothing is counted that is no backup.

use std::time::{Duration, Instant};

use plana_plan::manifest::Verified;
use plana_testkit::{
    job::{
        Job, Outcome,
        bucket::{S3, about},
    },
    proxy::{Action, Etag, Op, Rule, RuleHandle},
};

use crate::{Root, facts_of, job};

const TENANT: &str = "acme.app";

/// A file store of five parts of 8 MiB, or of one put, and a bucket of its own.
struct Case {
    s3: S3,
    job: Job,
}

impl Case {
    fn new(name: &str, files: usize) -> Self {
        let s3 = S3::new(name);
        let job = job();
        let root = Root::of(&job);
        root.fill(TENANT, files, 400_000);
        Case { job: job.into_bucket(&s3).arg(root.arg()), s3 }
    }

    fn big(name: &str) -> Self {
        Case::new(name, 88)
    }

    fn small(name: &str) -> Self {
        Case::new(name, 2)
    }

    fn with(mut self, change: impl FnOnce(Job) -> Job) -> Self {
        self.job = change(self.job.clone());
        self
    }

    fn rule(&self, rule: Rule) -> RuleHandle {
        self.s3.proxy.add(about(rule, TENANT))
    }

    #[track_caller]
    fn done(&self) -> Outcome {
        let outcome = self.job.run().expect(0);
        let (_, manifest) = self.s3.expect_one(TENANT);
        assert!(facts_of(&manifest).proven > 0);
        outcome
    }

    #[track_caller]
    fn fails(&self, words: &[&str]) {
        let outcome = self.job.run().expect(1);
        self.s3.expect_failed(&self.job, &outcome, TENANT, words);
    }
}

#[test]
fn nothing_goes_wrong_with_put_and_list_alone() {
    let case = Case::big("fs-clean");
    case.done();
    let (_, manifest) = case.s3.expect_one(TENANT);
    let [volume] = &manifest.payload.volumes[..] else { panic!("{:?}", manifest.payload.volumes) };
    assert_eq!(volume.verified, Verified::EtagMd5);
    assert!(volume.parts >= 4, "{volume:?}");
    let used: Vec<_> = case.s3.proxy.requests().into_iter().map(|seen| seen.op()).collect();
    let allowed = [Op::PutObject, Op::CreateUpload, Op::UploadPart, Op::CompleteUpload, Op::List];
    assert!(used.iter().all(|op| allowed.contains(op)), "{used:?}");
    let writes: Vec<_> =
        case.s3.proxy.requests().into_iter().filter(|seen| matches!(seen.op(), Op::PutObject | Op::CompleteUpload)).collect();
    assert!(writes.last().is_some_and(|seen| seen.request.path.ends_with("/manifest.json")), "{writes:#?}");
}

#[test]
fn errors_of_every_kind_pass_by_retries() {
    let case = Case::big("fs-passing");
    for (op, status, code) in [
        (Op::List, 500, "InternalError"),
        (Op::CreateUpload, 503, "SlowDown"),
        (Op::UploadPart, 500, "InternalError"),
        (Op::CompleteUpload, 503, "ServiceUnavailable"),
        (Op::PutObject, 503, "SlowDown"),
    ] {
        case.rule(Rule::on(op, Action::error(status, code)).times(2));
    }
    case.rule(Rule::on(Op::UploadPart, Action::CutBody(1 << 20)).query("partNumber=2&").times(1));
    case.rule(Rule::on(Op::UploadPart, Action::CorruptBody(77)).query("partNumber=3&").times(1));
    case.done();
}

#[test]
fn errors_that_last_fail_the_item() {
    for (op, words) in [
        (Op::CreateUpload, &["begin the upload of s3://"][..]),
        (Op::UploadPart, &["send part ", " of s3://"]),
        (Op::CompleteUpload, &["complete the upload of s3://"]),
        (Op::List, &["list s3://"]),
    ] {
        let case = Case::big("fs-lasting");
        case.rule(Rule::on(op, Action::error(500, "InternalError")));
        case.fails(words);
    }
}

#[test]
fn a_stalled_upload_is_given_up_by_the_watchdog() {
    let case = Case::big("fs-watchdog").with(|job| job.set("filestore.stall_timeout", "2s"));
    case.rule(Rule::on(Op::UploadPart, Action::Stall));
    let begun = Instant::now();
    case.fails(&["nothing moved for 2s", "filestore.stall_timeout", "the connection to the store"]);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn what_is_stored_and_is_not_what_was_sent_is_no_backup() {
    for (name, rule, words) in [
        ("fs-etag", Rule::on(Op::List, Action::Etag(Etag::Replaced("0".repeat(32)))), "changed on the way, or overwritten"),
        ("fs-absent", Rule::on(Op::List, Action::list_nothing()), "does not list it"),
        ("fs-manifest", Rule::on(Op::PutObject, Action::error(500, "InternalError")).path("/manifest.json"), "InternalError"),
    ] {
        let case = Case::small(name);
        case.rule(rule);
        case.fails(&["s3://", words]);
    }
}

#[test]
fn a_store_that_goes_away_fails_the_item_and_the_rest() {
    let case = Case::big("fs-away");
    case.s3.proxy.add(Rule::on(Op::UploadPart, Action::Drop));
    case.fails(&["no connection, through all retries"]);
}
