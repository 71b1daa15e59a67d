//! The last object: without it nothing counts.

use plana_testkit::proxy::{Action, Etag, Op, Rule};

use crate::{
    Case,
    common::{expect_words, look::Look},
};

#[test]
fn a_manifest_that_cannot_be_put_makes_no_backup() {
    for case in [Case::big("manifest"), Case::small("manifest")] {
        case.rule(Rule::on(Op::PutObject, Action::error(500, "InternalError")).path("/manifest.json"));
        case.fails(&["put s3://", "manifest.json", "InternalError"]);
        assert!(case.s3.committed().is_empty());
        // The payload is there, and it does not count: the next run makes a new one.
        assert_eq!(case.s3.objects().len(), 1);
        case.s3.proxy.clear();
        let outcome = case.job.clone().args(["--missing-within", "12h"]).run().expect(0);
        assert_eq!(outcome.outcome(&case.database), "done");
        assert_eq!(case.s3.committed().len(), 1);
    }
}

#[test]
fn a_manifest_whose_answer_was_lost_counts_once() {
    let case = Case::small("manifest-answer");
    case.rule(Rule::on(Op::PutObject, Action::ForwardThenDrop).path("/manifest.json").times(1));
    case.done();
}

#[test]
fn a_manifest_that_was_damaged_on_the_way_is_not_taken() {
    let case = Case::small("manifest-damaged");
    case.rule(Rule::on(Op::PutObject, Action::CorruptBody(9)).path("/manifest.json"));
    case.fails(&["put s3://", "manifest.json"]);
}

#[test]
fn a_listing_that_fails_or_lies_after_the_manifest_is_not_taken_for_success() {
    // The listings of a small database: its payload, its manifest, its set.
    for (nth, action, words) in [
        (2, Action::error(500, "InternalError"), &["list s3://", "manifest.json", "InternalError"][..]),
        (2, Action::list_nothing(), &["verify s3://", "manifest.json", "does not list it"]),
        (3, Action::error(500, "InternalError"), &["list s3://", "InternalError"]),
        (3, Action::list_nothing(), &["confirm the backup", "the listing does not show it", "must not be relied on"]),
        (3, Action::replace("<Size>", "<Size>1"), &["confirm the backup", "bytes", "must not be relied on", "run the job again"]),
        (3, Action::Etag(Etag::Replaced("0".repeat(32))), &["confirm the backup", "is listed with", "must not be relied on"]),
    ] {
        let case = Case::small("after");
        case.rule(Rule::on(Op::List, action).from(nth));
        let outcome = case.job.run().expect(1);
        expect_words(outcome.error(&case.database), words);
        assert!(outcome.item(&case.database)["key"].is_null());
    }
}
