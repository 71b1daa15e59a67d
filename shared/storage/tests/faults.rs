//! Uploads to the gateway through a proxy that spoils them: what passes is retried, what stays is named, and nothing
//! false is stored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{
    settings,
    spoiled::{KEY, PART, Spoiled, impatient},
};
use plana_config::{HumanDuration, Secret, schema::S3Client};
use plana_plan::manifest::Verified;
use plana_storage::{ObjectWriter, PutMode, S3Options, S3Store, Store as _, StoreError, verify};
use plana_testkit::{
    ceph::User,
    proxy::{Action, Answer, Direction, Etag, Op, Rule, TcpProxy, Toxic},
};

/// A fault that passes: the upload is whole and verified all the same, after as many requests as it takes.
macro_rules! passes {
    ($($name:ident: $client:expr, $rule:expr;)*) => {
        mod passes {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let spoiled = Spoiled::new();
                    let handle = spoiled.add($rule);
                    let finished = spoiled.upload(&spoiled.store_with(User::Backup, $client)).await;
                    let finished = finished.unwrap_or_else(|error| panic!("failed to {error}"));
                    assert!(handle.matched() > 0, "the fault was never met");
                    assert_eq!((finished.volumes.len(), finished.volumes[0].parts), (1, 3));
                    assert_eq!(finished.volumes[0].verified, Verified::EtagMd5);
                    spoiled.assert_whole();
                }
            )*
        }
    };
}

passes! {
    a_500_at_a_part: settings(), Rule::on(Op::UploadPart, Action::error(500, "InternalError")).times(3);
    a_503_at_a_part: settings(), Rule::on(Op::UploadPart, Action::error(503, "SlowDown")).times(3);
    a_429_at_a_part: settings(), Rule::on(Op::UploadPart, Action::error(429, "TooManyRequests")).times(3);
    a_502_without_a_code: settings(), Rule::on(Op::UploadPart, Action::Answer(Answer { status: 502, headers: vec![], body: b"<html>".to_vec() })).times(2);
    a_500_at_the_begin: settings(), Rule::on(Op::CreateUpload, Action::error(500, "InternalError")).times(2);
    a_503_at_the_listing: settings(), Rule::on(Op::List, Action::error(503, "SlowDown")).times(2);
    a_503_at_the_completion: settings(), Rule::on(Op::CompleteUpload, Action::error(503, "SlowDown")).times(2);
    an_error_inside_a_200: settings(), Rule::on(Op::CompleteUpload, Action::error(200, "InternalError")).times(2);
    a_slow_down_inside_a_200: settings(), Rule::on(Op::CompleteUpload, Action::error(200, "SlowDown")).times(2);
    an_error_inside_a_200_after_it_was_done: settings(), Rule::on(Op::CompleteUpload, Action::ForwardThenAnswer(Answer::error(200, "InternalError"))).nth(1);
    a_completion_whose_answer_is_lost: settings(), Rule::on(Op::CompleteUpload, Action::ForwardThenDrop).nth(1);
    no_upload_after_our_own_completion: settings(), Rule::on(Op::CompleteUpload, Action::ForwardThenAnswer(Answer::error(404, "NoSuchUpload"))).nth(1);
    a_completion_that_answers_no_etag: settings(), Rule::on(Op::CompleteUpload, Action::Etag(Etag::Missing));
    a_completion_that_answers_an_empty_etag: settings(), Rule::on(Op::CompleteUpload, Action::Etag(Etag::Empty));
    a_part_that_answers_no_etag: settings(), Rule::on(Op::UploadPart, Action::Etag(Etag::Missing));
    a_connection_closed_before_the_answer: settings(), Rule::on(Op::UploadPart, Action::Drop).times(3);
    a_part_whose_answer_is_lost: settings(), Rule::on(Op::UploadPart, Action::ForwardThenDrop).times(2);
    a_connection_cut_mid_part: settings(), Rule::on(Op::UploadPart, Action::CutBody(1 << 20)).times(3);
    a_part_damaged_on_its_way: settings(), Rule::on(Op::UploadPart, Action::CorruptBody(1 << 20)).times(2);
    a_part_that_stalls: impatient(), Rule::on(Op::UploadPart, Action::StallBody(1 << 20)).nth(1);
    a_part_that_is_never_answered: impatient(), Rule::on(Op::UploadPart, Action::Stall).nth(2);
    a_completion_that_is_never_answered: impatient(), Rule::on(Op::CompleteUpload, Action::Stall).nth(1);
    a_listing_that_is_never_answered: impatient(), Rule::on(Op::List, Action::Stall).nth(1);
    // Slower than the read timeout, and not silent.
    a_slow_line: slow(), Rule::on(Op::UploadPart, Action::SlowBody(2 << 20));
}

fn slow() -> S3Client {
    S3Client { attempt_timeout: HumanDuration(Duration::from_secs(20)), ..impatient() }
}

/// A fault that stays: its own error, in words, after that many requests of its kind; nothing is left.
macro_rules! stays {
    ($($name:ident: $client:expr, $rule:expr, $op:expr => $requests:expr, $error:pat, $words:expr;)*) => {
        mod stays {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let spoiled = Spoiled::of(PART + 12_345);
                    spoiled.add($rule);
                    let store = spoiled.store_with(User::Backup, $client);
                    let error = spoiled.upload(&store).await.expect_err("it cannot be stored");
                    assert!(matches!(error, $error), "{error:?}");
                    let words = error.to_string();
                    assert!(words.contains($words) && words.contains(&format!("{}/{KEY}", store.url())), "{words}");
                    let requests = spoiled.proxy.count($op);
                    assert!($requests.contains(&requests), "{requests} requests");
                    spoiled.assert_nothing_is_left();
                }
            )*
        }
    };
}

stays! {
    a_500_at_every_part: settings(), Rule::on(Op::UploadPart, Action::error(500, "InternalError")), Op::UploadPart => 5..=10,
        StoreError::Unavailable(_), "through all retries";
    a_503_at_every_part: settings(), Rule::on(Op::UploadPart, Action::error(503, "SlowDown")), Op::UploadPart => 5..=10,
        StoreError::Unavailable(_), "with fewer jobs at once";
    an_error_inside_every_200: settings(), Rule::on(Op::CompleteUpload, Action::error(200, "InternalError")), Op::CompleteUpload => 5..=5,
        StoreError::Unavailable(_), "complete the upload of";
    a_refused_part: settings(), Rule::on(Op::UploadPart, Action::error(403, "AccessDenied")).query("partNumber=2&"), Op::UploadPart => 1..=2,
        StoreError::AccessDenied(_), "send part 2 of";
    a_refused_begin: settings(), Rule::on(Op::CreateUpload, Action::error(403, "AccessDenied")), Op::CreateUpload => 1..=1,
        StoreError::AccessDenied(_), "s3:PutObject; SOS: put-object";
    a_refused_completion: settings(), Rule::on(Op::CompleteUpload, Action::error(403, "AccessDenied")), Op::CompleteUpload => 1..=1,
        StoreError::AccessDenied(_), "complete the upload of";
    every_connection_closed: settings(), Rule::on(Op::UploadPart, Action::Drop), Op::UploadPart => 5..=10,
        StoreError::Connection(_), "no connection";
    every_connection_cut_mid_part: settings(), Rule::on(Op::UploadPart, Action::CutBody(1 << 20)).query("partNumber=1&"), Op::UploadPart => 5..=10,
        StoreError::Connection(_), "send part 1 of";
    every_part_stalls: impatient(), Rule::on(Op::UploadPart, Action::StallBody(1 << 20)), Op::UploadPart => 5..=10,
        StoreError::Timeout(_), "raise the timeouts";
    every_part_is_damaged_on_its_way: settings(), Rule::on(Op::UploadPart, Action::CorruptBody(100)), Op::UploadPart => 5..=10,
        StoreError::Corrupt(_), "send part";
    a_part_answered_with_anothers_etag: settings(),
        Rule::on(Op::UploadPart, Action::Etag(Etag::Replaced("00000000000000000000000000000000".into()))), Op::CompleteUpload => 1..=1,
        StoreError::Corrupt(_), "InvalidPart";
    an_upload_that_somebody_aborted: settings(), Rule::on(Op::CompleteUpload, Action::error(404, "NoSuchUpload")), Op::CompleteUpload => 1..=1,
        StoreError::NotFound(_), "NoSuchUpload";
    a_bucket_that_is_gone: settings(), Rule::any(Action::error(404, "NoSuchBucket")).when(|request| request.op() == Op::UploadPart), Op::UploadPart => 1..=2,
        StoreError::NoSuchBucket(_), "check the store's URL";
    a_clock_that_is_off: settings(), Rule::on(Op::UploadPart, Action::error(403, "RequestTimeTooSkewed")), Op::UploadPart => 1..=10,
        StoreError::ClockSkew(_), "chrony";
    a_quota_that_is_used_up: settings(), Rule::on(Op::UploadPart, Action::error(403, "QuotaExceeded")), Op::UploadPart => 1..=2,
        StoreError::NoSpace(_), "no space is left";
}

const WRONG: &str = "0123456789abcdef0123456789abcdef";

fn listed_as(etag: &str) -> Action {
    Action::Etag(Etag::Replaced(format!("&quot;{etag}&quot;")))
}

/// Listings of the payload alone, so that the canary's is an honest one.
fn of_the_payload(action: Action) -> Rule {
    Rule::on(Op::List, action).query("prefix=pg")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_denies_what_was_sent_fails_the_upload() {
    for (etag, words) in [
        (format!("{WRONG}-3"), "should be"),
        (format!("{WRONG}-2"), "should be"),
        (WRONG.to_owned(), "should be"),
        (String::new(), "no ETag"),
    ] {
        let spoiled = Spoiled::new();
        let listed = if etag.is_empty() { Action::Etag(Etag::Missing) } else { listed_as(&etag) };
        spoiled.add(of_the_payload(listed));
        let error = spoiled.upload(&spoiled.store()).await.expect_err("another ETag");
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(words) && text.contains("do not trust this object"), "{text}");
        assert_eq!(spoiled.bucket.uploads().expect("uploads").len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_with_another_size_fails_the_upload() {
    let spoiled = Spoiled::new();
    spoiled.add(of_the_payload(Action::rewrite(|answer| {
        let text = String::from_utf8_lossy(&answer.body).replace("<Size>10498105</Size>", "<Size>10498104</Size>");
        answer.body = text.into_bytes();
    })));
    let error = spoiled.upload(&spoiled.store()).await.expect_err("another size");
    assert!(matches!(error, StoreError::Corrupt(_)) && error.to_string().contains("lists 10498104"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_never_shows_it_fails_the_upload_and_a_late_one_does_not() {
    let unlisted = || {
        Action::rewrite(|answer| {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let (begin, rest) = text.split_once("<Contents>").expect("an object");
            let (_, end) = rest.split_once("</Contents>").expect("its end");
            answer.body = format!("{begin}{end}").into_bytes();
        })
    };
    let spoiled = Spoiled::new();
    spoiled.add(of_the_payload(unlisted()));
    let error = spoiled.upload(&spoiled.store()).await.expect_err("not listed");
    assert!(matches!(error, StoreError::Corrupt(_)) && error.to_string().contains("does not list it"), "{error}");
    let late = Spoiled::new();
    late.add(of_the_payload(unlisted()).times(2));
    late.upload(&late.store()).await.expect("listed in the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_md5_etags_is_found_out_and_said_to_be_one() {
    let spoiled = Spoiled::new();
    spoiled.add(Rule::on(Op::List, listed_as(&format!("{WRONG}-9"))));
    let store = spoiled.store();
    let finished = spoiled.upload(&store).await.expect("size and Content-MD5");
    assert_eq!(finished.volumes[0].verified, Verified::SizeAndContentMd5);
    spoiled.assert_whole();
    let probes = spoiled.bucket.keys().expect("keys").len();
    spoiled.bucket.delete(KEY).expect("deleted");
    spoiled.upload(&store).await.expect("again");
    assert_eq!(spoiled.bucket.keys().expect("keys").len(), probes, "the store is asked once");

    // A small object's ETag was answered: what is listed now is another one.
    let put = verify::put_verified(&store, "pg/acme/manifest.json", Bytes::from_static(b"{}"), PutMode::IfAbsent).await;
    assert!(matches!(put, Err(StoreError::Corrupt(_))), "{put:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_proves_nothing_is_not_believed() {
    let spoiled = Spoiled::new();
    spoiled.add(Rule::on(Op::List, listed_as(&format!("{WRONG}-9"))));
    // It takes a body that does not match its Content-MD5.
    spoiled.add(
        Rule::on(
            Op::UploadPart,
            Action::rewrite(|answer| {
                answer.status = 200;
                answer.body.clear();
            }),
        )
        .path("probe")
        .nth(1),
    );
    let error = spoiled.upload(&spoiled.store()).await.expect_err("no proof");
    assert!(matches!(error, StoreError::Unverifiable(_)), "{error:?}");
    assert!(error.to_string().contains("does not match its Content-MD5"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_fails_leaves_it_unproven() {
    let spoiled = Spoiled::new();
    spoiled.add(of_the_payload(listed_as(&format!("{WRONG}-3"))));
    spoiled.add(Rule::on(Op::CreateUpload, Action::error(403, "AccessDenied")).path("probe"));
    let error = spoiled.upload(&spoiled.store()).await.expect_err("no proof");
    assert!(matches!(error, StoreError::Unverifiable(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_abort_leaves_parts_for_the_pruner_and_the_first_error() {
    let spoiled = Spoiled::new();
    spoiled.add(Rule::on(Op::UploadPart, Action::error(403, "AccessDenied")).query("partNumber=2&"));
    spoiled.add(Rule::on(Op::AbortUpload, Action::error(403, "AccessDenied")));
    let store = spoiled.store();
    let mut writer = spoiled.writer(&store);
    writer.write(spoiled.content.clone()).await.ok();
    let error = writer.finish().await.expect_err("refused");
    assert!(matches!(error, StoreError::AccessDenied(_)) && error.to_string().contains("send part 2"), "{error}");
    assert_eq!(spoiled.bucket.keys().expect("keys").len(), 0);
    let left = spoiled.bucket.uploads().expect("uploads");
    assert_eq!(left.len(), 1);
    let pruner = spoiled.store_with(User::Pruner, settings());
    spoiled.proxy.clear();
    pruner.abort_upload(&left[0].key, &left[0].id).await.expect("swept");
    spoiled.assert_nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_removed_meanwhile_is_named() {
    let spoiled = Spoiled::new();
    let store = spoiled.store();
    spoiled.bucket.remove().expect("removed");
    for error in [
        spoiled.upload(&store).await.expect_err("no bucket"),
        store.put(KEY, Bytes::new(), PutMode::IfAbsent).await.expect_err("no bucket"),
        store.list("", None).await.expect_err("no bucket"),
        store.rights(false).await.expect_err("no bucket"),
    ] {
        assert!(matches!(error, StoreError::NoSuchBucket(_)) && error.concerns_whole_store(), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_put_whose_answer_is_lost_is_known_as_ours() {
    let spoiled = Spoiled::new();
    let store = spoiled.store();
    let lost = spoiled.add(Rule::on(Op::PutObject, Action::ForwardThenDrop).nth(1));
    let put = verify::put_verified(&store, "set/manifest.json", Bytes::from_static(b"{}"), PutMode::IfAbsent).await.expect("ours");
    assert_eq!((put.verified, lost.matched()), (Verified::EtagMd5, 2));
    // The same, but what is there is another's.
    spoiled.bucket.put("set/hold", b"another's".to_vec()).expect("put");
    spoiled.proxy.clear();
    spoiled.add(Rule::on(Op::PutObject, Action::Drop).nth(1));
    let error = store.put("set/hold", Bytes::from_static(b"ours"), PutMode::IfAbsent).await.expect_err("in use");
    assert!(matches!(error, StoreError::AlreadyExists(_)), "{error:?}");
    assert_eq!(spoiled.bucket.get("set/hold").expect("the object"), b"another's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_conditional_puts_is_put_to_all_the_same() {
    let spoiled = Spoiled::new();
    let unknown = spoiled
        .add(Rule::on(Op::PutObject, Action::error(501, "NotImplemented")).when(|request| request.header("if-none-match").is_some()));
    let store = spoiled.store();
    for key in ["set/a", "set/b"] {
        verify::put_verified(&store, key, Bytes::from_static(b"{}"), PutMode::IfAbsent).await.expect("put");
    }
    assert_eq!(unknown.matched(), 1, "it is asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_what_compatible_stores_understand() {
    let spoiled = Spoiled::new();
    let store = spoiled.store();
    spoiled.upload(&store).await.expect("uploaded");
    verify::put_verified(&store, "set/%2Fa", Bytes::from_static(b"{}"), PutMode::IfAbsent).await.expect("put");
    let seen = spoiled.proxy.requests();
    for one in &seen {
        let request = &one.request;
        let with_body = matches!(one.op(), Op::UploadPart | Op::PutObject);
        assert_eq!(request.header("content-md5").is_some(), with_body, "{request:?}");
        assert!(
            !request
                .headers
                .iter()
                .any(|(name, _)| name.starts_with("x-amz-checksum") || name == "x-amz-trailer" || name == "x-amz-tagging"),
            "{request:?}"
        );
        assert_ne!(request.header("content-encoding"), Some("aws-chunked"), "{request:?}");
        assert!(!request.query.contains("encoding-type"), "{request:?}");
        assert!(request.path.starts_with(&format!("/{}", spoiled.bucket.name())), "path style: {request:?}");
    }
    assert_eq!(seen.len(), 1 + 3 + 1 + 1 + 1 + 1, "begin, parts, completion and a listing; a put and a listing");
    let with_checksums = S3Client { checksums: plana_config::schema::ChecksumMode::WhenSupported, ..settings() };
    spoiled.bucket.delete(KEY).expect("deleted");
    spoiled.upload(&spoiled.store_with(User::Backup, with_checksums)).await.expect("uploaded");
    let last = spoiled.proxy.requests();
    assert!(last[seen.len()..].iter().any(|one| one.request.headers.iter().any(|(name, _)| name.starts_with("x-amz-checksum"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_wrong_are_named_and_never_shown() {
    let spoiled = Spoiled::new();
    let known = common::options(&spoiled.bucket, User::Backup);
    let unknown = S3Options { access_key_id: Secret::new("AKIANOBODY"), ..known.clone() };
    let wrong = S3Options { secret_access_key: Secret::new("hunter2hunter2"), ..known };
    for options in [unknown, wrong] {
        assert!(!format!("{options:?}").contains("hunter2") && !format!("{options:?}").contains("AKIANOBODY"), "{options:?}");
        let store = S3Store::new(options).expect("a store");
        let error = store.list("", None).await.expect_err("refused");
        assert!(matches!(error, StoreError::BadCredentials(_)), "{error:?}");
        assert!(!format!("{store:?} {error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_where_nothing_listens_and_one_that_is_none() {
    let spoiled = Spoiled::new();
    let store = spoiled.store();
    spoiled.proxy.refuse(true);
    let error = store.list("", None).await.expect_err("refused");
    assert!(matches!(error, StoreError::Connection(_)) && error.to_string().contains("check the endpoint"), "{error:?}");
    spoiled.proxy.refuse(false);
    store.list("", None).await.expect("it goes on afterwards");
    for endpoint in ["sos.exo.io", "ftp://host", "https://host/bucket", "https://key:secret@host"] {
        let options = S3Options { endpoint: Some(endpoint.to_owned()), ..common::options(&spoiled.bucket, User::Backup) };
        let error = S3Store::new(options).expect_err("no endpoint");
        assert!(matches!(error, StoreError::Unusable(_)) && !error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_the_store_is_read() {
    let spoiled = Spoiled::new();
    spoiled.add(Rule::on(Op::List, Action::ShiftDate(-1200)));
    let time = spoiled.store().server_time().await.expect("a listing").expect("a date");
    assert!(((chrono::Utc::now() - time).num_seconds() - 1200).abs() < 30, "{time}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_go_astray_below_http_are_sent_again() {
    for toxic in
        [Toxic::Cut(Direction::Up, 3 << 20), Toxic::Cut(Direction::Down, 700), Toxic::Latency(Direction::Down, Duration::from_millis(30))]
    {
        let spoiled = Spoiled::new();
        let proxy = TcpProxy::start(plana_testkit::ceph::Gateway::shared().port()).expect("a proxy");
        let options = S3Options { endpoint: Some(proxy.endpoint()), ..common::options(&spoiled.bucket, User::Backup) };
        let store = S3Store::new(options).expect("a store");
        proxy.add(toxic);
        let finished = spoiled.upload(&store).await.unwrap_or_else(|error| panic!("{toxic:?}: failed to {error}"));
        assert_eq!(finished.volumes[0].verified, Verified::EtagMd5);
        spoiled.assert_whole();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_swallows_everything_times_out() {
    let spoiled = Spoiled::new();
    let proxy = TcpProxy::start(plana_testkit::ceph::Gateway::shared().port()).expect("a proxy");
    let options = S3Options {
        endpoint: Some(proxy.endpoint()),
        client: S3Client { max_attempts: 2, ..impatient() },
        ..common::options(&spoiled.bucket, User::Backup)
    };
    let store = S3Store::new(options).expect("a store");
    proxy.add(Toxic::Swallow(Direction::Up, 6 << 20));
    let error = tokio::time::timeout(Duration::from_secs(40), spoiled.upload(&store)).await.expect("in time").expect_err("swallowed");
    assert!(matches!(error, StoreError::Timeout(_)), "{error:?}");
    assert_eq!(spoiled.bucket.keys().expect("keys").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_and_comes_back_is_waited_for() {
    let gateway = plana_testkit::ceph::Gateway::start().expect("a gateway of its own");
    let bucket = gateway.bucket("dies").expect("a bucket");
    let client = S3Client { max_attempts: 12, max_backoff: HumanDuration(Duration::from_secs(2)), ..settings() };
    let store = S3Store::new(S3Options { client, ..common::options(&bucket, User::Backup) }).expect("a store");
    let spoiled = Spoiled::new();
    let mut writer: ObjectWriter = spoiled.writer(&store);
    writer.write(spoiled.content.slice(..PART as usize + 1)).await.expect("written");
    gateway.pause().expect("paused");
    let rest = spoiled.content.slice(PART as usize + 1..);
    let going_on = tokio::spawn(async move {
        writer.write(rest).await?;
        writer.finish().await
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    gateway.resume().expect("resumed");
    let finished = going_on.await.expect("the task").expect("finished");
    assert!(finished.bytes == spoiled.content.len() as u64 && bucket.get(KEY).expect("the object") == spoiled.content);
}
