//! Downloads from the gateway through a proxy that spoils them: what passes is gone on with, what stays is named, and
//! nothing false is handed over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    io::{self, Read as _},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use common::{
    MIB, noise, options, settings,
    spoiled::{KEY, Spoiled, impatient},
};
use plana_config::{HumanDuration, schema::S3Client};
use plana_storage::{
    Delivery, DynStore, MemoryBudget, PutMode, ReadVolume, ReaderOptions, S3Options, S3Store, Store as _, StoreError, VolumeReader, verify,
};
use plana_testkit::{
    ceph::{Bucket, Gateway, User},
    proxy::{Action, Answer, Direction, Etag, Op, Rule, TcpProxy, Toxic},
};

const CHUNK: u64 = MIB;
const CHUNKS: u64 = 6;

fn spoiled() -> Spoiled {
    let spoiled = Spoiled::of(CHUNKS * CHUNK - 777);
    spoiled.bucket.put(KEY, spoiled.content.to_vec()).expect("put");
    spoiled
}

/// As it lies in the bucket.
fn volume(bucket: &Bucket) -> ReadVolume {
    let listed = bucket.list().expect("a listing").into_iter().find(|object| object.key == KEY).expect("the object");
    ReadVolume { key: KEY.to_owned(), version: None, bytes: listed.size, etag: Some(listed.etag) }
}

fn reader(store: S3Store, volume: ReadVolume, in_flight: usize) -> VolumeReader {
    let budget = MemoryBudget::new((in_flight as u64 + 1) * CHUNK);
    let options = ReaderOptions { chunk_bytes: CHUNK, in_flight, ..ReaderOptions::new(budget, Arc::default()) };
    VolumeReader::new(Arc::new(store), vec![volume], 0, options).expect("a reader")
}

/// Reads on a blocking thread, as a restore does.
async fn read(reader: VolumeReader) -> (Result<Delivery, StoreError>, io::Result<Vec<u8>>) {
    let (feed, mut source) = reader.channel();
    let thread = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        source.read_to_end(&mut all).map(|_| all)
    });
    let delivered = tokio::time::timeout(Duration::from_secs(60), reader.read_all_into(feed)).await.expect("in time");
    (delivered, thread.await.expect("the thread"))
}

/// A fault that passes: every byte comes all the same, after so many requests.
macro_rules! passes {
    ($($name:ident: $client:expr, $rule:expr, $requests:expr;)*) => {
        mod passes {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let spoiled = spoiled();
                    let handle = spoiled.add($rule);
                    let store = spoiled.store_with(User::Restore, $client);
                    let (delivered, content) = read(reader(store, volume(&spoiled.bucket), 3)).await;
                    assert_eq!(delivered, Ok(Delivery::Whole));
                    assert!(content.expect("read") == spoiled.content, "the bytes differ");
                    assert!(handle.matched() > 0, "the fault was never met");
                    let requests = spoiled.proxy.count(Op::Get) as u64;
                    assert!($requests.contains(&requests), "{requests} requests");
                }
            )*
        }
    };
}

passes! {
    every_chunk_cut_at_nine_tenths: settings(), Rule::on(Op::Get, Action::CutAnswer(CHUNK * 9 / 10)), 2 * CHUNKS..=2 * CHUNKS;
    every_chunk_cut_again_and_again: settings(), Rule::on(Op::Get, Action::CutAnswer(CHUNK / 7)), 8 * CHUNKS - 1..=8 * CHUNKS;
    a_chunk_cut_before_its_first_byte: settings(), Rule::on(Op::Get, Action::CutAnswer(0)).times(3), CHUNKS + 3..=CHUNKS + 3;
    a_500_at_a_chunk: settings(), Rule::on(Op::Get, Action::error(500, "InternalError")).times(3), CHUNKS + 3..=CHUNKS + 3;
    a_503_at_a_chunk: settings(), Rule::on(Op::Get, Action::error(503, "SlowDown")).times(3), CHUNKS + 3..=CHUNKS + 3;
    a_502_without_a_code: settings(), Rule::on(Op::Get, Action::Answer(Answer { status: 502, headers: vec![], body: b"<html>".to_vec() })).times(2), CHUNKS + 2..=CHUNKS + 2;
    a_connection_closed_before_the_answer: settings(), Rule::on(Op::Get, Action::Drop).times(3), CHUNKS + 3..=CHUNKS + 3;
    a_chunk_that_is_never_answered: impatient(), Rule::on(Op::Get, Action::Stall).nth(2), CHUNKS + 1..=CHUNKS + 1;
    answers_that_take_their_time: settings(), Rule::on(Op::Get, Action::Delay(Duration::from_millis(200))), CHUNKS..=CHUNKS;
}

/// A fault that stays: its own error, in words, at both ends.
macro_rules! stays {
    ($($name:ident: $client:expr, $rule:expr => $error:pat, $words:expr;)*) => {
        mod stays {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let spoiled = spoiled();
                    spoiled.add($rule);
                    let store = spoiled.store_with(User::Restore, $client);
                    let url = format!("{}/{KEY}", store.url());
                    let (delivered, content) = read(reader(store, volume(&spoiled.bucket), 3)).await;
                    let error = delivered.expect_err("it cannot be read");
                    assert!(matches!(error, $error), "{error:?}");
                    let words = error.to_string();
                    assert!(words.contains($words) && words.contains(&format!("read {url}")), "{words}");
                    assert_eq!(StoreError::within(&content.expect_err("it cannot be read")), Some(&error));
                }
            )*
        }
    };
}

stays! {
    every_chunk_cut_before_its_first_byte: settings(), Rule::on(Op::Get, Action::CutAnswer(0)) => StoreError::Connection(_), "before its end";
    a_500_at_every_chunk: settings(), Rule::on(Op::Get, Action::error(500, "InternalError")) => StoreError::Unavailable(_), "through all retries";
    every_connection_closed: settings(), Rule::on(Op::Get, Action::Drop) => StoreError::Connection(_), "no connection";
    no_answer_at_all: S3Client { max_attempts: 2, ..impatient() }, Rule::on(Op::Get, Action::Stall) => StoreError::Timeout(_), "raise the timeouts";
    a_refused_chunk: settings(), Rule::on(Op::Get, Action::error(403, "AccessDenied")).nth(3) => StoreError::AccessDenied(_), "SOS: get-object";
    an_object_that_is_gone: settings(), Rule::on(Op::Get, Action::error(404, "NoSuchKey")).from(3) => StoreError::NotFound(_), "it is not there";
    another_etag: settings(), Rule::on(Op::Get, Action::Etag(Etag::Replaced("0123456789abcdef0123456789abcdef".into()))).from(4) =>
        StoreError::Corrupt(_), "0123456789abcdef";
    a_store_that_ignores_the_range: settings(), Rule::on(Op::Get, Action::rewrite(|answer| {
        answer.status = 200;
        answer.headers.retain(|(name, _)| name != "content-range");
    })) => StoreError::Other(_), "the whole object where a range was asked for";
    another_range: settings(), Rule::on(Op::Get, Action::rewrite(|answer| {
        for (_, value) in answer.headers.iter_mut().filter(|(name, _)| name == "content-range") {
            *value = format!("bytes 7-{}/{}", 6 + CHUNK, CHUNKS * CHUNK - 777);
        }
    })).nth(2) => StoreError::Corrupt(_), "were asked for";
    another_size: settings(), Rule::on(Op::Get, Action::rewrite(|answer| {
        for (_, value) in answer.headers.iter_mut().filter(|(name, _)| name == "content-range") {
            *value = value.replace(&format!("/{}", CHUNKS * CHUNK - 777), "/99999999");
        }
    })).nth(2) => StoreError::Corrupt(_), "99999999 bytes";
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_replaced_between_chunks_is_no_mixture() {
    for mid_chunk in [false, true] {
        let spoiled = spoiled();
        if mid_chunk {
            // The rest of a chunk would come from another object than its begin.
            spoiled.add(Rule::on(Op::Get, Action::CutAnswer(CHUNK / 2)).nth(2));
        }
        let store = spoiled.store_with(User::Restore, settings());
        let mut reading = reader(store, volume(&spoiled.bucket), 1);
        let first = reading.next().await.expect("a chunk").expect("a chunk");
        assert!(first == spoiled.content[..CHUNK as usize], "the bytes differ");
        spoiled.bucket.put(KEY, noise(CHUNKS * CHUNK - 777, 99).to_vec()).expect("replaced");
        let error = reading.next().await.expect_err("replaced");
        assert!(matches!(error, StoreError::Corrupt(_)) && error.to_string().contains("do not trust this object"), "{error}");
    }
    let spoiled = spoiled();
    let mut reading = reader(spoiled.store_with(User::Restore, settings()), volume(&spoiled.bucket), 1);
    reading.next().await.expect("a chunk");
    spoiled.bucket.delete(KEY).expect("deleted");
    assert!(matches!(reading.next().await, Err(StoreError::NotFound(_))));
}

/// Behind a proxy of bytes.
fn through(proxy: &TcpProxy, bucket: &Bucket, client: S3Client) -> S3Store {
    S3Store::new(S3Options { endpoint: Some(proxy.endpoint()), client, ..options(bucket, User::Restore) }).expect("a store")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_stalls_goes_on_over_other_connections() {
    let spoiled = spoiled();
    let proxy = TcpProxy::start(Gateway::shared().port()).expect("a proxy");
    let reading = reader(through(&proxy, &spoiled.bucket, impatient()), volume(&spoiled.bucket), 3);
    proxy.add(Toxic::Stall(Direction::Down, 2 * CHUNK + CHUNK / 2));
    let (feed, mut source) = reading.channel();
    let thread = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        source.read_to_end(&mut all).map(|_| all)
    });
    let driver = tokio::spawn(reading.read_all_into(feed));
    tokio::time::sleep(Duration::from_secs(2)).await;
    // What stalled stays so: only other connections get further.
    proxy.clear();
    proxy.cut();
    let delivered = tokio::time::timeout(Duration::from_secs(30), driver).await.expect("in time").expect("the driver");
    assert_eq!(delivered, Ok(Delivery::Whole));
    assert!(thread.await.expect("the thread").expect("read") == spoiled.content, "the bytes differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_stalls_for_good_ends_with_an_error() {
    let spoiled = spoiled();
    let proxy = TcpProxy::start(Gateway::shared().port()).expect("a proxy");
    let client = S3Client { max_attempts: 2, ..impatient() };
    let reading = reader(through(&proxy, &spoiled.bucket, client), volume(&spoiled.bucket), 3);
    proxy.add(Toxic::Stall(Direction::Down, 2 * CHUNK + CHUNK / 2));
    let (delivered, content) = read(reading).await;
    let error = delivered.expect_err("stalled");
    assert!(matches!(error, StoreError::Timeout(_) | StoreError::Connection(_)), "{error}");
    assert_eq!(StoreError::within(&content.expect_err("stalled")), Some(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_is_no_stall() {
    let spoiled = spoiled();
    let proxy = TcpProxy::start(Gateway::shared().port()).expect("a proxy");
    proxy.add(Toxic::Rate(Direction::Down, 700 << 10));
    let reading = reader(through(&proxy, &spoiled.bucket, impatient()), volume(&spoiled.bucket), 3);
    let (delivered, content) = read(reading).await;
    assert_eq!(delivered, Ok(Delivery::Whole));
    assert!(content.expect("read") == spoiled.content, "the bytes differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_its_time_keeps_no_connection_waiting() {
    let spoiled = spoiled();
    let reading = reader(spoiled.store_with(User::Restore, impatient()), volume(&spoiled.bucket), 2);
    let (feed, mut source) = reading.channel();
    let thread = tokio::task::spawn_blocking(move || {
        let mut begin = vec![0; CHUNK as usize + 1];
        source.read_exact(&mut begin)?;
        // Longer than any timeout: it builds an index, say.
        std::thread::sleep(Duration::from_secs(6));
        source.read_to_end(&mut begin).map(|_| begin)
    });
    assert_eq!(reading.read_all_into(feed).await, Ok(Delivery::Whole));
    let content = thread.await.expect("the thread").expect("read");
    assert!([&content[..CHUNK as usize], &content[CHUNK as usize..]].concat() == spoiled.content, "the bytes differ");
    assert_eq!(spoiled.proxy.count(Op::Get) as u64, CHUNKS, "nothing was asked for again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_and_comes_back_is_waited_for() {
    let gateway = Gateway::start().expect("a gateway of its own");
    let bucket = gateway.bucket("dies").expect("a bucket");
    let content = noise(CHUNKS * CHUNK, 4);
    bucket.put(KEY, content.to_vec()).expect("put");
    let client = S3Client { max_attempts: 12, max_backoff: HumanDuration(Duration::from_secs(2)), ..settings() };
    let store = S3Store::new(S3Options { client, ..options(&bucket, User::Restore) }).expect("a store");
    let mut reading = reader(store, volume(&bucket), 1);
    let mut all = reading.next().await.expect("a chunk").expect("a chunk").to_vec();
    gateway.pause().expect("paused");
    let going_on = tokio::spawn(async move {
        while let Some(chunk) = reading.next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok::<_, StoreError>(all)
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    gateway.resume().expect("resumed");
    assert!(going_on.await.expect("the task").expect("read") == content, "the bytes differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_that_is_named_is_read_though_a_newer_one_lies_over_it() {
    let bucket = Gateway::shared().bucket_builder("versions").versioned().create().expect("a bucket");
    let writer = S3Store::new(options(&bucket, User::Backup)).expect("a store");
    let store: DynStore = Arc::new(S3Store::new(options(&bucket, User::Restore)).expect("a store"));
    let content = noise(3 * CHUNK + 5, 1);
    let first = verify::put_verified(&writer, KEY, content.clone(), PutMode::IfAbsent).await.expect("put");
    let first = ReadVolume::from(&first);
    assert!(first.version.is_some());
    let read = async |volume: ReadVolume| {
        let options = ReaderOptions { chunk_bytes: CHUNK, ..ReaderOptions::new(MemoryBudget::new(8 * CHUNK), Arc::default()) };
        let mut reading = VolumeReader::new(Arc::clone(&store), vec![volume], 0, options).expect("a reader");
        let mut all = Vec::new();
        while let Some(chunk) = reading.next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok::<_, StoreError>(all)
    };
    let unnamed = ReadVolume { version: None, ..first.clone() };
    // Junk of the same size, then a deletion, then junk of no size.
    writer.put(KEY, noise(3 * CHUNK + 5, 2), PutMode::Overwrite).await.expect("overwritten");
    assert!(read(first.clone()).await.expect("the version") == content, "the bytes differ");
    assert!(matches!(read(unnamed.clone()).await, Err(StoreError::Corrupt(_))));
    bucket.delete(KEY).expect("deleted");
    assert!(read(first.clone()).await.expect("the version") == content, "the bytes differ");
    assert!(matches!(read(unnamed.clone()).await, Err(StoreError::NotFound(_))));
    writer.put(KEY, Bytes::new(), PutMode::Overwrite).await.expect("overwritten");
    assert!(read(first.clone()).await.expect("the version") == content, "the bytes differ");
    assert!(matches!(read(unnamed).await, Err(StoreError::Corrupt(_))));
    for version in ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "null", "none of ours"] {
        let error = read(ReadVolume { version: Some(version.to_owned()), ..first.clone() }).await.expect_err("no such version");
        assert!(matches!(error, StoreError::NotFound(_)) && error.to_string().contains(&format!("version {version}: ")), "{error}");
    }
}
