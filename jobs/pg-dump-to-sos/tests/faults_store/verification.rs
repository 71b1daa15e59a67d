//! What the listing says against what was sent.

use plana_plan::manifest::Verified;
use plana_testkit::proxy::{Action, Etag, Op, Rule};

use crate::{Case, common::look::Look};

#[test]
fn another_etag_in_the_listing_fails_the_item() {
    for case in [Case::big("etag"), Case::small("etag")] {
        let wrong = "0123456789abcdef0123456789abcdef-5";
        case.rule(Rule::on(Op::List, Action::Etag(Etag::Replaced(wrong.to_owned()))));
        case.fails(&["verify s3://", &case.database, wrong, "changed on the way, or overwritten", "do not trust"]);
    }
}

#[test]
fn another_size_or_nothing_in_the_listing_fails_the_item() {
    let case = Case::big("size");
    case.rule(Rule::on(Op::List, Action::replace("<Size>", "<Size>1")));
    case.fails(&["verify s3://", "bytes were sent, and the store lists 1"]);

    let case = Case::big("unlisted");
    case.rule(Rule::on(Op::List, Action::replace("<Key>", "<Key>elsewhere-")));
    case.fails(&["list s3://", &case.database, "the store lists a key that was not asked for"]);

    let case = Case::small("absent");
    case.rule(Rule::on(Op::List, Action::list_nothing()));
    case.fails(&["verify s3://", "does not list it"]);
}

#[test]
fn a_store_whose_etags_are_no_md5s_is_verified_by_size_and_checksum() {
    let case = Case::big("opaque");
    // Every answer and every listing, also of the canary, says the same.
    case.s3.proxy.add(Rule::any(Action::Etag(Etag::Replaced("no-md5-at-all".to_owned()))).when(|request| request.op() != Op::UploadPart));
    let outcome = case.job.run().expect(0);
    assert_eq!(outcome.item(&case.database)["verified"], Verified::SizeAndContentMd5.as_str());
    let sets = case.s3.committed();
    let (set, manifest) = sets.iter().find(|(_, manifest)| manifest.name == case.database).expect("it is committed");
    assert_eq!(manifest.payload.volumes[0].verified, Verified::SizeAndContentMd5);
    case.s3.prove(set, manifest, None);
}
