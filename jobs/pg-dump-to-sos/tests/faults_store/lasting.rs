//! What does not pass: the item fails in time, with what to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use plana_testkit::proxy::{Action, Op, Rule};

use crate::{
    Case, cluster,
    common::{bucket::S3, expect_words, faults::big_database, look::Look},
    small_database,
};

#[test]
fn errors_that_do_not_pass_fail_the_item() {
    // A case per request of an upload; the listing that opens the run is not about the database.
    for (op, words) in [
        (Op::CreateUpload, &["begin the upload of s3://"][..]),
        (Op::UploadPart, &["send part ", " of s3://"]),
        (Op::CompleteUpload, &["complete the upload of s3://"]),
        (Op::List, &["list s3://"]),
    ] {
        let case = Case::big("lasting");
        case.rule(Rule::on(op, Action::error(500, "InternalError")));
        let outcome = case.fails(words);
        expect_words(outcome.error(&case.database), &[&case.database, "InternalError", "unavailable", "try again later"]);
        if op != Op::CreateUpload && op != Op::List {
            assert!(case.s3.proxy.count(Op::AbortUpload) >= 1, "what was begun is to be aborted");
        }
    }
}

#[test]
fn a_store_that_always_asks_to_slow_down_fails_the_item() {
    let case = Case::small("slow-down");
    let asked = case.rule(Rule::on(Op::PutObject, Action::error(503, "SlowDown")));
    let outcome = case.fails(&["put s3://", "SlowDown", "asked to slow down", "fewer jobs"]);
    assert_eq!(asked.matched(), 3, "as many attempts as were configured: {}", outcome.done.stderr);
}

#[test]
fn a_connection_that_is_always_cut_in_the_middle_of_a_part_fails_the_item() {
    let case = Case::big("cut-always");
    case.rule(Rule::on(Op::UploadPart, Action::CutBody(3 << 20)));
    case.fails(&["send part ", &case.database, "no connection, through all retries", "check the endpoint"]);
}

#[test]
fn a_store_that_stalls_fails_the_item_in_time() {
    let case = Case::big("stall-always").with(|job| job.set("s3.attempt_timeout", "1s"));
    case.rule(Rule::on(Op::UploadPart, Action::StallBody(2 << 20)).query("partNumber=2&"));
    let begun = Instant::now();
    case.fails(&["send part 2 of", "no answer in time", "[s3]"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_stalled_upload_is_given_up_by_the_watchdog() {
    // The client's own patience is five minutes here.
    let case = Case::big("watchdog").with(|job| job.set("dump.stall_timeout", "2s"));
    case.rule(Rule::on(Op::UploadPart, Action::Stall));
    let begun = Instant::now();
    case.fails(&["nothing moved for 2s", "dump.stall_timeout", "the connection to the store"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_store_that_goes_away_in_the_middle_fails_the_item_and_the_rest() {
    let (big, small) = (big_database(cluster(), "away"), small_database("away"));
    let s3 = S3::new("away");
    let job = crate::common::job().on(cluster()).into_bucket(&s3).only(&[&big, &small]).args(["--jobs", "1"]);
    let gone = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&gone);
    // Everything after the second part.
    s3.proxy.add(Rule::any(Action::Drop).when(move |request| {
        flag.fetch_or(request.query.contains("partNumber=2&"), Ordering::SeqCst) || request.query.contains("partNumber=2&")
    }));
    let outcome = job.run().expect(1);
    assert!(gone.load(Ordering::SeqCst));
    expect_words(outcome.error(&big), &["no connection, through all retries"]);
    expect_words(outcome.error(&small), &["no connection, through all retries", &small]);
    assert!(s3.objects().is_empty(), "{:?}", s3.objects());
}

#[test]
fn no_store_at_that_address() {
    let s3 = S3::new("nowhere");
    let nowhere = plana_testkit::process::Port::claim().unwrap();
    let job =
        crate::common::job().on(cluster()).into_bucket(&s3).env("AWS_ENDPOINT_URL_S3", format!("http://127.0.0.1:{}", nowhere.number()));
    let outcome = job.run().expect(1);
    expect_words(outcome.run_error(), &[s3.bucket.name(), "no connection, through all retries", "check the endpoint"]);
}
