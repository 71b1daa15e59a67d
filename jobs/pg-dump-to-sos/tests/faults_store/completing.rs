//! The request that makes an object of its parts, and its many ways to answer.

use plana_plan::manifest::Verified;
use plana_testkit::proxy::{Action, Answer, Etag, Op, Rule};

use crate::Case;

#[test]
fn an_error_inside_of_a_200_on_complete_passes_or_fails() {
    let case = Case::big("inside-once");
    let asked = case.rule(Rule::on(Op::CompleteUpload, Action::Answer(Answer::error(200, "InternalError"))).times(1));
    case.done();
    assert_eq!(asked.matched(), 2);

    let case = Case::big("inside-always");
    case.rule(Rule::on(Op::CompleteUpload, Action::Answer(Answer::error(200, "InternalError"))));
    case.fails(&["complete the upload of", "InternalError", "unavailable"]);
}

#[test]
fn a_complete_that_was_done_and_answered_otherwise_makes_one_object() {
    // Its answer is lost once, or always; or it says that it failed.
    for (action, times) in [
        (Action::ForwardThenDrop, 1),
        (Action::ForwardThenDrop, u64::MAX),
        (Action::ForwardThenAnswer(Answer::error(200, "InternalError")), 1),
        (Action::ForwardThenAnswer(Answer::error(500, "InternalError")), u64::MAX),
    ] {
        let case = Case::big("lost-answer");
        case.rule(Rule::on(Op::CompleteUpload, action).times(times));
        case.done();
    }
}

#[test]
fn an_empty_or_missing_etag_is_no_failure() {
    let case = Case::big("no-etag");
    case.rule(Rule::on(Op::CompleteUpload, Action::Etag(Etag::Missing)));
    case.rule(Rule::on(Op::UploadPart, Action::Etag(Etag::Missing)));
    case.rule(Rule::on(Op::PutObject, Action::Etag(Etag::Empty)));
    let (_, manifest) = case.done();
    assert_eq!(manifest.payload.volumes[0].verified, Verified::EtagMd5);

    let case = Case::big("empty-etag");
    case.rule(Rule::on(Op::CompleteUpload, Action::Etag(Etag::Empty)));
    case.rule(Rule::on(Op::UploadPart, Action::Etag(Etag::Empty)));
    case.done();
}
