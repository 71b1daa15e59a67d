//! Each fault of the request proxy, in front of the gateway and behind an SDK client: signatures stay valid, and
//! what the client sees and what the store then holds are as the action says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use plana_testkit::ceph::{Bucket, Gateway, User, client};
use plana_testkit::proxy::{Action, Answer, Etag, HttpProxy, Op, Rule};

struct Scene {
    proxy: HttpProxy,
    bucket: Bucket,
    s3: Client,
}

impl Scene {
    fn new() -> Self {
        let gateway = Gateway::shared();
        let proxy = HttpProxy::start(gateway.port()).unwrap();
        let s3 = client(&proxy.endpoint(), User::Backup);
        Self { bucket: gateway.bucket("proxy").unwrap(), s3, proxy }
    }

    /// Puts an object and says what came of it: the ETag, or the error in a word.
    async fn put(&self, key: &str, content: Vec<u8>) -> Result<String, String> {
        match self.s3.put_object().bucket(self.bucket.name()).key(key).body(ByteStream::from(content)).send().await {
            Ok(done) => Ok(done.e_tag.unwrap_or_default()),
            Err(error) => Err(error.code().unwrap_or("no answer").to_owned()),
        }
    }

    async fn upload(&self, key: &str, parts: i32, size: usize) -> Result<String, String> {
        let (s3, name) = (&self.s3, self.bucket.name());
        let id = s3.create_multipart_upload().bucket(name).key(key).send().await.unwrap().upload_id.unwrap();
        let mut done = Vec::new();
        for number in 1..=parts {
            let part = s3.upload_part().bucket(name).key(key).upload_id(&id).part_number(number).body(ByteStream::from(vec![7; size]));
            let tag = part.send().await.map_err(|error| format!("part {number}: {}", error.code().unwrap_or("no answer")))?.e_tag;
            done.push(CompletedPart::builder().part_number(number).set_e_tag(tag).build());
        }
        let all = CompletedMultipartUpload::builder().set_parts(Some(done)).build();
        match s3.complete_multipart_upload().bucket(name).key(key).upload_id(&id).multipart_upload(all).send().await {
            Ok(done) => Ok(done.e_tag.unwrap_or_default()),
            Err(error) => Err(error.code().unwrap_or("no answer").to_owned()),
        }
    }
}

#[tokio::test]
async fn forwards_large_bodies_untouched_and_remembers_requests() {
    let scene = Scene::new();
    let content: Vec<u8> = (0..64 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    scene.put("large %2F ü", content.clone()).await.unwrap();
    scene.upload("parts", 2, 5 << 20).await.unwrap();
    assert!(scene.bucket.get("large %2F ü").unwrap() == content);
    let seen = scene.proxy.requests();
    assert_eq!(
        seen.iter().map(plana_testkit::proxy::Seen::op).collect::<Vec<_>>(),
        [Op::PutObject, Op::CreateUpload, Op::UploadPart, Op::UploadPart, Op::CompleteUpload]
    );
    assert_eq!((seen[0].body_bytes, seen[0].status, seen[0].forwarded), (64 << 20, Some(200), true));
    assert_eq!(scene.proxy.count(Op::UploadPart), 2);
}

#[tokio::test]
async fn answers_errors_by_itself_for_the_matches_that_count() {
    let scene = Scene::new();
    let third = scene.proxy.add(Rule::on(Op::UploadPart, Action::error(403, "AccessDenied")).nth(3));
    assert_eq!(scene.upload("a", 4, 5 << 20).await, Err("part 3: AccessDenied".into()));
    assert_eq!(third.matched(), 3);
    let twice = scene.proxy.add(Rule::on(Op::PutObject, Action::error(503, "SlowDown")).from(2).times(2));
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        outcomes.push(scene.put("b", vec![1; 200_000]).await.map(|_| ()));
    }
    assert_eq!(outcomes, [Ok(()), Err("SlowDown".into()), Err("SlowDown".into()), Ok(())]);
    assert_eq!(twice.matched(), 4);
    scene.proxy.clear();
    scene.proxy.add(Rule::any(Action::error(404, "NoSuchBucket")).path("/other"));
    assert!(scene.put("b", vec![1]).await.is_ok());
    assert_eq!(scene.put("other", vec![1]).await, Err("NoSuchBucket".into()));
    assert_eq!(scene.bucket.keys().unwrap(), ["b"]);
}

#[tokio::test]
async fn drops_before_and_after_the_server_did_it() {
    let scene = Scene::new();
    scene.proxy.add(Rule::on(Op::PutObject, Action::Drop).nth(1));
    scene.proxy.add(Rule::on(Op::PutObject, Action::ForwardThenDrop).nth(2));
    scene.proxy.add(Rule::on(Op::PutObject, Action::ForwardThenAnswer(Answer::error(500, "InternalError"))).nth(3));
    assert_eq!(scene.put("before", vec![1; 9]).await, Err("no answer".into()));
    assert_eq!(scene.put("after", vec![1; 9]).await, Err("no answer".into()));
    assert_eq!(scene.put("but says no", vec![1; 9]).await, Err("InternalError".into()));
    assert_eq!(scene.bucket.keys().unwrap(), ["after", "but says no"]);
    assert_eq!(scene.proxy.requests().iter().map(|seen| seen.status).collect::<Vec<_>>(), [None, None, Some(500)]);
}

#[tokio::test]
async fn cuts_a_body_midway() {
    let scene = Scene::new();
    scene.proxy.add(Rule::on(Op::UploadPart, Action::CutBody(1 << 20)).query("partNumber=2&"));
    assert_eq!(scene.upload("a", 3, 5 << 20).await, Err("part 2: no answer".into()));
    let seen = scene.proxy.requests();
    assert!(seen[2].body_bytes < 2 << 20, "{}", seen[2].body_bytes);
    assert_eq!(scene.bucket.uploads().unwrap().len(), 1);
}

#[tokio::test]
async fn stalls_with_and_without_the_body() {
    let scene = Scene::new();
    scene.proxy.add(Rule::on(Op::PutObject, Action::Stall).nth(1));
    scene.proxy.add(Rule::on(Op::PutObject, Action::StallBody(1000)).nth(2));
    for _ in 0..2 {
        let waited = tokio::time::timeout(Duration::from_millis(500), scene.put("a", vec![1; 9_000_000])).await;
        assert!(waited.is_err(), "a stalled request was answered: {waited:?}");
    }
    assert!(scene.proxy.requests()[1].body_bytes < 1_000_000);
    assert_eq!(scene.bucket.keys().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_complete_can_answer_200_with_an_error_inside() {
    let scene = Scene::new();
    scene.proxy.add(Rule::on(Op::CompleteUpload, Action::error(200, "InternalError")));
    assert_eq!(scene.upload("a", 1, 1000).await, Err("InternalError".into()));
    assert_eq!(scene.bucket.keys().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn spoils_etags_in_headers_and_listings() {
    let scene = Scene::new();
    let right = scene.put("a", vec![1; 9]).await.unwrap();
    scene.proxy.add(Rule::on(Op::PutObject, Action::Etag(Etag::Empty)).nth(1));
    scene.proxy.add(Rule::on(Op::PutObject, Action::Etag(Etag::Missing)).nth(2));
    scene.proxy.add(Rule::on(Op::PutObject, Action::Etag(Etag::Replaced("0123".into()))).nth(3));
    let mut tags = Vec::new();
    for _ in 0..4 {
        tags.push(scene.put("a", vec![1; 9]).await.unwrap());
    }
    assert_eq!(tags, ["", "", "\"0123\"", right.as_str()]);
    scene.proxy.add(Rule::on(Op::List, Action::Etag(Etag::Replaced("4567".into()))).nth(1));
    let mut listed = Vec::new();
    for _ in 0..2 {
        let page = scene.s3.list_objects_v2().bucket(scene.bucket.name()).send().await.unwrap();
        listed.push(page.contents.unwrap()[0].e_tag.clone().unwrap());
    }
    assert_eq!(listed, ["\"4567\"", right.as_str()]);
}

#[tokio::test]
async fn corrupts_delays_slows_and_shifts() {
    let scene = Scene::new();
    scene.proxy.add(Rule::on(Op::PutObject, Action::CorruptBody(70_000)).nth(1));
    scene.proxy.add(Rule::on(Op::PutObject, Action::Delay(Duration::from_millis(300))).nth(2));
    scene.proxy.add(Rule::on(Op::PutObject, Action::SlowBody(1_000_000)).nth(3));
    // The SDK signs the body's hash over plain HTTP, so the gateway notices.
    assert_eq!(scene.put("a", vec![1; 100_000]).await, Err("XAmzContentSHA256Mismatch".into()));
    for _ in 0..2 {
        let begun = Instant::now();
        scene.put("a", vec![1; 300_000]).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(280), "{:?}", begun.elapsed());
    }
    scene.proxy.add(Rule::on(Op::List, Action::ShiftDate(-1200)));
    scene.proxy.add(Rule::on(Op::Head, Action::rewrite(|answer| answer.headers.push(("x-amz-meta-new".into(), "yes".into())))));
    let answer = raw_list(&scene).await;
    let sent = chrono::DateTime::parse_from_rfc2822(&answer).unwrap();
    let behind = chrono::Utc::now().signed_duration_since(sent).num_seconds();
    assert!((1198..=1210).contains(&behind), "{answer}");
    let restore = client(&scene.proxy.endpoint(), User::Restore);
    let head = restore.head_object().bucket(scene.bucket.name()).key("a").send().await.unwrap();
    assert_eq!((head.content_length, head.metadata.unwrap()["new"].as_str()), (Some(300_000), "yes"));
}

/// The Date of an anonymous listing.
async fn raw_list(scene: &Scene) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", scene.proxy.port())).await.unwrap();
    let request = format!("GET /{}?list-type=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", scene.bucket.name());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = vec![0; 2000];
    let count = stream.read(&mut text).await.unwrap();
    let text = String::from_utf8_lossy(&text[..count]).to_lowercase();
    text.lines().find_map(|line| line.strip_prefix("date: ")).unwrap().to_owned()
}

#[tokio::test]
async fn cuts_an_answer_midway_and_refuses_connections() {
    let scene = Scene::new();
    scene.bucket.put("a", vec![1; 100_000]).unwrap();
    scene.proxy.add(Rule::on(Op::Get, Action::CutAnswer(50_000)));
    let restore = client(&scene.proxy.endpoint(), User::Restore);
    let got = restore.get_object().bucket(scene.bucket.name()).key("a").send().await.unwrap();
    assert!(got.body.collect().await.is_err());
    scene.proxy.refuse(true);
    assert_eq!(scene.put("b", vec![1]).await, Err("no answer".into()));
    scene.proxy.refuse(false);
    assert!(scene.put("b", vec![1]).await.is_ok());
}
