//! What the key may, and the bucket that is not there.

use std::time::Duration;

use plana_testkit::{
    ceph::{Gateway, User},
    proxy::{Action, Op, Rule},
};

use crate::{
    Case, cluster,
    common::{bucket::S3, expect_words, faults::big_database, look::Look},
    small_database,
};

#[test]
fn access_denied_on_one_part_fails_that_item_alone() {
    let case = Case::big("denied");
    let others = [big_database(cluster(), "granted"), small_database("granted")];
    let case = case.with(|job| job.only(&[&others[0], &others[1]]));
    let denied = case.rule(Rule::on(Op::UploadPart, Action::error(403, "AccessDenied")).query("partNumber=3&"));
    let outcome = case.job.run().expect(3);
    case.failed(&outcome, &["send part 3 of", &case.database, "access denied", "the right to put", "AccessDenied"]);
    assert_eq!(denied.matched(), 1, "a refusal is not asked again");
    for other in &others {
        assert_eq!(outcome.outcome(other), "done");
    }
    let mut expected = others.to_vec();
    expected.sort();
    assert_eq!(case.s3.backed_up(plana_plan::Area::Pg), expected);
}

#[test]
fn a_right_taken_away_in_the_middle_fails_the_item() {
    let case = Case::big("revoked");
    let bucket = case.s3.bucket.clone();
    case.rule(
        Rule::on(Op::UploadPart, Action::Delay(Duration::ZERO))
            .query("partNumber=3&")
            .when(move |_| bucket.set_rights(&[(User::Backup, &["s3:ListBucket"])]).is_ok()),
    );
    case.fails(&["part ", &case.database, "access denied", "the right to put"]);
}

#[test]
fn a_refused_abort_is_a_note_and_an_allowed_one_leaves_no_upload() {
    // The key for backups may not abort.
    let case = Case::big("no-abort");
    case.rule(Rule::on(Op::CompleteUpload, Action::error(500, "InternalError")));
    let outcome = case.fails(&["complete the upload of", "InternalError"]);
    expect_words(
        &outcome.done.stderr,
        &["an unfinished upload stays", "until the pruner sweeps it", "abort the upload of", "access denied"],
    );
    assert_eq!(case.s3.bucket.uploads().unwrap().len(), 1);
    assert!(case.s3.objects().is_empty());

    let allowed = Gateway::shared().bucket_builder("may-abort").allow(User::Backup, "s3:AbortMultipartUpload").create().unwrap();
    let case = Case::big_into(S3::of(allowed));
    case.rule(Rule::on(Op::UploadPart, Action::error(500, "InternalError")).query("partNumber=4&"));
    let outcome = case.fails(&["send part 4 of"]);
    assert!(!outcome.done.stderr.contains("pruner"), "{}", outcome.done.stderr);
    assert_eq!(case.s3.bucket.uploads().unwrap(), []);
    assert!(case.s3.objects().is_empty());
}

#[test]
fn wrong_credentials() {
    let case = Case::small("credentials");
    for (name, value) in [("AWS_SECRET_ACCESS_KEY", "wrong/secret"), ("AWS_ACCESS_KEY_ID", "NOBODYKNOWSTHIS")] {
        let outcome = case.job.clone().env(name, value).run().expect(10);
        expect_words(outcome.run_error(), &[case.s3.bucket.name(), "refused the credentials", "access_key_id", "secret_access_key"]);
        assert!(!format!("{}{}", outcome.done.stdout, outcome.done.stderr).contains("wrong/secret"), "no secret is shown");
    }
    assert!(case.s3.objects().is_empty());
}

#[test]
fn a_key_without_the_right_to_list() {
    // Without it nothing could be verified: said before the first dump, not after the last.
    let bucket = Gateway::shared().bucket_builder("no-list").deny(User::Backup, "s3:ListBucket").create().unwrap();
    let case = Case::of(small_database("no_list"), S3::of(bucket));
    let outcome = case.job.run().expect(10);
    expect_words(outcome.run_error(), &[case.s3.bucket.name(), "access denied", "the right to list"]);
    assert!(case.s3.objects().is_empty(), "{:?}", case.s3.objects());
}

#[test]
fn a_key_without_the_right_to_put() {
    let bucket = Gateway::shared().bucket_builder("no-put").deny(User::Backup, "s3:PutObject").create().unwrap();
    for case in [Case::of(small_database("no_put"), S3::of(bucket.clone())), Case::big_into(S3::of(bucket))] {
        case.fails(&["access denied", "the right to put", &case.database]);
        assert!(case.s3.objects().is_empty());
    }
}

#[test]
fn the_bucket_is_gone() {
    let case = Case::small("gone");
    case.s3.bucket.remove().unwrap();
    let outcome = case.job.run().expect(10);
    expect_words(outcome.run_error(), &[case.s3.bucket.name(), "no such bucket", "check the store's URL, or create it"]);
}

#[test]
fn the_bucket_goes_in_the_middle() {
    let case = Case::big("going");
    let other = small_database("going");
    let case = case.with(|job| job.only(&[&other]).args(["--jobs", "1"]));
    let bucket = case.s3.bucket.clone();
    case.rule(Rule::on(Op::UploadPart, Action::Delay(Duration::ZERO)).query("partNumber=3&").when(move |_| bucket.remove().is_ok()));
    let outcome = case.job.run().expect(1);
    expect_words(outcome.error(&case.database), &[&case.database]);
    expect_words(outcome.error(&other), &[&other, "no such bucket"]);
    case.job.expect_no_process_left();
}
