//! What passes by itself: the item is done, and stored once.

use plana_plan::manifest::Verified;
use plana_testkit::{
    ceph::Gateway,
    proxy::{Action, Answer, Direction, Op, Rule, TcpProxy, Toxic},
};

use crate::Case;

#[test]
fn errors_of_every_kind_pass_by_retries() {
    let case = Case::big("passing");
    let handles: Vec<_> = [
        (Op::List, 500, "InternalError"),
        (Op::CreateUpload, 503, "SlowDown"),
        (Op::UploadPart, 500, "InternalError"),
        (Op::CompleteUpload, 503, "ServiceUnavailable"),
        (Op::PutObject, 503, "SlowDown"),
    ]
    .map(|(op, status, code)| case.s3.proxy.add(Rule::on(op, Action::error(status, code)).times(2)))
    .into();
    // The second and later parts too, and a store that says how long to wait.
    let slow = Answer::error(503, "SlowDown").with("Retry-After", "1");
    case.rule(Rule::on(Op::UploadPart, Action::Answer(slow)).query("partNumber=4&").times(1));
    case.rule(Rule::on(Op::UploadPart, Action::CutBody(1 << 20)).query("partNumber=3&").times(1));
    case.rule(Rule::on(Op::UploadPart, Action::CorruptBody(77)).query("partNumber=5&").times(1));
    let (_, manifest) = case.done();
    assert_eq!(manifest.payload.volumes[0].verified, Verified::EtagMd5);
    for handle in handles {
        assert!(handle.matched() >= 3, "{handle:?}");
    }
}

#[test]
fn a_connection_cut_once_in_the_middle_of_a_part_passes() {
    let case = Case::big("cut-once");
    let proxy = TcpProxy::start(Gateway::shared().port()).unwrap();
    let case = case.with(|job| job.env("AWS_ENDPOINT_URL_S3", proxy.endpoint()));
    proxy.add(Toxic::Cut(Direction::Up, 12 << 20));
    proxy.add(Toxic::Cut(Direction::Up, 27 << 20));
    case.done();
}

#[test]
fn a_stall_passes_by_a_new_attempt() {
    let case = Case::big("stall-once").with(|job| job.set("s3.attempt_timeout", "3s"));
    case.rule(Rule::on(Op::UploadPart, Action::Stall).query("partNumber=2&").times(1));
    case.rule(Rule::on(Op::UploadPart, Action::StallBody(3 << 20)).query("partNumber=4&").times(1));
    case.rule(Rule::on(Op::PutObject, Action::Stall).times(1));
    case.done();
}

#[test]
fn the_clock_of_the_store_is_far_away() {
    // Further away than that, the gateway takes no signature: see side.rs.
    for (seconds, warned) in [(400, true), (-400, true), (100, false)] {
        let case = Case::small("clock");
        case.s3.proxy.add(Rule::any(Action::ShiftDate(seconds)));
        let (outcome, _) = case.done();
        let warnings = outcome.warnings();
        assert_eq!(warnings.contains("this host's clock and the store's differ by"), warned, "{warnings}");
        assert_eq!(warnings.contains("chronyc tracking"), warned, "{warnings}");
    }
}
