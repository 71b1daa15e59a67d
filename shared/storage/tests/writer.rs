//! Uploads of unknown length: how they are cut, what they hold in memory, and how they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    io::Write as _,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use common::noise;
use futures::TryStreamExt as _;
use plana_plan::{manifest::Verified, parts::PartPlan};
use plana_storage::{
    DynStore, FaultyStore, Finished, MemoryBudget, MemoryStore, ObjectWriter, Pace, Store as _, StoreError, WriterOptions,
    faulty::{Call, Fault, Harm},
    listing,
};

const PART: u64 = 8 << 10;

fn options(parts_per_volume: u32) -> WriterOptions {
    WriterOptions {
        plan: PartPlan { part_bytes: PART, parts_per_volume },
        parts_in_flight: 3,
        budget: MemoryBudget::new(64 << 10),
        pace: Pace::default(),
        sent: Arc::new(AtomicU64::new(0)),
    }
}

fn writer(store: &DynStore, options: &WriterOptions) -> ObjectWriter {
    ObjectWriter::new(Arc::clone(store), |volume| format!("set/payload.{volume:03}"), options.clone())
}

/// Feeds `content` from a blocking thread in pieces that fit nothing, and finishes the sink.
async fn feed(writer: &mut ObjectWriter, content: Bytes) -> Result<(), StoreError> {
    let (mut sink, parts) = writer.channel();
    let feeder = tokio::task::spawn_blocking(move || {
        for piece in content.chunks(1237) {
            sink.write_all(piece)?;
        }
        sink.finish()
    });
    let taken = writer.write_all_from(parts).await;
    assert_eq!(feeder.await.expect("the feeder").is_ok(), taken.is_ok());
    taken
}

async fn uploads(store: &DynStore) -> usize {
    listing::uploads(&**store, "").try_collect::<Vec<_>>().await.expect("uploads").len()
}

fn check(memory: &MemoryStore, content: &[u8], parts_per_volume: u64, finished: &Finished, sent: &AtomicU64) {
    use sha2::{Digest as _, Sha256};
    let volume_bytes = PART * parts_per_volume;
    let volumes: Vec<&[u8]> = if content.is_empty() { vec![b""] } else { content.chunks(volume_bytes as usize).collect() };
    assert_eq!(finished.volumes.len(), volumes.len(), "{} bytes", content.len());
    for (at, (volume, expected)) in finished.volumes.iter().zip(volumes).enumerate() {
        assert_eq!(volume.key, format!("set/payload.{at:03}"));
        assert_eq!(memory.content(&volume.key).expect("the object"), expected);
        assert_eq!(volume.bytes, expected.len() as u64);
        assert_eq!(volume.sha256, hex::encode(Sha256::digest(expected)));
        assert_eq!(u64::from(volume.parts), volume.bytes.div_ceil(PART).max(1));
        assert_eq!((volume.part_bytes, volume.verified), (PART, Verified::EtagMd5));
    }
    assert_eq!(finished.sha256, hex::encode(Sha256::digest(content)));
    assert_eq!(finished.bytes, content.len() as u64);
    assert_eq!(sent.load(Ordering::Relaxed), content.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_length_is_cut_into_the_right_parts_and_volumes() {
    let edges = [0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART - 1, 3 * PART, 3 * PART + 1, 6 * PART, 6 * PART + 1, 10 * PART + 77];
    for parts_per_volume in [1, 2, 3, 10_000] {
        for bytes in edges {
            let content = noise(bytes, bytes);
            for by_thread in [true, false] {
                let memory = MemoryStore::default();
                let store: DynStore = Arc::new(memory.clone());
                let options = options(parts_per_volume);
                let mut writer = writer(&store, &options);
                if by_thread {
                    feed(&mut writer, content.clone()).await.expect("fed");
                } else {
                    for piece in content.chunks(3001) {
                        writer.write(Bytes::copy_from_slice(piece)).await.expect("written");
                    }
                }
                let finished = writer.finish().await.expect("finished");
                check(&memory, &content, parts_per_volume.into(), &finished, &options.sent);
                assert_eq!(uploads(&store).await, 0);
                assert_eq!(options.budget.available_bytes(), 64 << 10, "all memory came back");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_object_appears_in_finish_alone() {
    for bytes in [10, PART, 2 * PART, 3 * PART + 1] {
        let memory = MemoryStore::default();
        let store: DynStore = Arc::new(memory.clone());
        let mut one = writer(&store, &options(3));
        feed(&mut one, noise(bytes, 1)).await.expect("fed");
        let last = format!("set/payload.{:03}", (bytes - 1) / (3 * PART));
        assert_eq!(memory.content(&last), None, "{bytes} bytes, before finish");
        drop(one);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(memory.content(&last), None, "{bytes} bytes, dropped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_a_budget_of_one_part_without_deadlock() {
    let memory = MemoryStore::default();
    let slow = FaultyStore::new(Arc::new(memory.clone()));
    slow.inject(Fault::on(Call::PutPart, Harm::Delay(Duration::from_millis(2))));
    let store: DynStore = Arc::new(slow);
    let options = WriterOptions { budget: MemoryBudget::new(PART), ..options(4) };
    let content = noise(11 * PART + 5, 9);
    let upload = |n: u32| {
        let (store, options, content) = (Arc::clone(&store), options.clone(), content.clone());
        async move {
            let mut writer = ObjectWriter::new(store, move |volume| format!("{n}/{volume}"), options);
            feed(&mut writer, content).await.expect("fed");
            writer.finish().await.expect("finished")
        }
    };
    let all = futures::future::join_all((0..8).map(upload));
    let finished = tokio::time::timeout(Duration::from_secs(30), all).await.expect("no deadlock");
    assert!(finished.iter().all(|finished| finished.volumes.len() == 3 && finished.sha256 == finished_sha256(&content)));
    assert_eq!(options.budget.available_bytes(), PART);
}

fn finished_sha256(content: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    hex::encode(Sha256::digest(content))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_holds_its_parts_in_flight_and_one_more() {
    let stuck = FaultyStore::new(Arc::new(MemoryStore::default()));
    stuck.inject(Fault::on(Call::PutPart, Harm::Delay(Duration::from_secs(3600))));
    let options = WriterOptions { budget: MemoryBudget::new(1 << 20), parts_in_flight: 2, ..options(100) };
    let store: DynStore = Arc::new(stuck.clone());
    let mut stuck_writer = writer(&store, &options);
    let (mut sink, parts) = stuck_writer.channel();
    let feeder = tokio::task::spawn_blocking(move || sink.write_all(&noise(20 * PART, 1)));
    {
        let mut taking = std::pin::pin!(stuck_writer.write_all_from(parts));
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut taking).await.is_err(), "it waits");
        assert_eq!(stuck.calls(Call::PutPart), 2);
        assert_eq!(options.budget.available_bytes(), (1 << 20) - 3 * PART);
    }
    drop(stuck_writer);
    assert_eq!(feeder.await.expect("the feeder").expect_err("broken").kind(), std::io::ErrorKind::BrokenPipe);
    // As soon as the runtime has dropped the tasks.
    for _ in 0..200 {
        if options.budget.available_bytes() == 1 << 20 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a dropped writer has kept {:?}", options.budget);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_failed_part_fails_the_writer_at_once() {
    let memory = MemoryStore::default();
    let faulty = FaultyStore::new(Arc::new(memory.clone()));
    faulty.inject(Fault::on(Call::PutPart, Harm::Fail(StoreError::AccessDenied)).nth(2));
    let store: DynStore = Arc::new(faulty.clone());
    let mut broken = writer(&store, &options(100));
    // The source has nothing more to say for a long time: the failure must not wait for it.
    let (mut sink, parts) = broken.channel();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let feeder = tokio::task::spawn_blocking(move || {
        sink.write_all(&noise(3 * PART + 1, 1)).ok();
        wait.recv_timeout(Duration::from_secs(60)).ok();
        sink.write_all(&noise(3 * PART, 1))
    });
    let error = tokio::time::timeout(Duration::from_secs(5), broken.write_all_from(parts)).await.expect("promptly").expect_err("failed");
    assert!(matches!(error, StoreError::AccessDenied(_)), "{error}");
    assert!(error.to_string().contains("send part 2 of memory://test/set/payload.000"), "{error}");
    done.send(()).expect("the feeder");
    assert_eq!(feeder.await.expect("the feeder").expect_err("broken").kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(broken.write(Bytes::from_static(b"more")).await, Err(error.clone()), "and it stays failed");
    assert_eq!(broken.finish().await, Err(error));
    assert_eq!((memory.content("set/payload.000"), uploads(&store).await), (None, 0), "aborted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_abort_is_a_note() {
    let memory = MemoryStore::default();
    let faulty = FaultyStore::new(Arc::new(memory.clone()));
    faulty.inject(Fault::on(Call::Abort, Harm::Fail(StoreError::AccessDenied)));
    let store: DynStore = Arc::new(faulty.clone());
    let mut given_up = writer(&store, &options(2));
    given_up.write(noise(3 * PART + 1, 1)).await.expect("written");
    assert!(matches!(given_up.abort().await, Some(StoreError::AccessDenied(_))));
    assert_eq!(uploads(&store).await, 1, "for the pruner");
    assert_eq!(memory.content("set/payload.000").map(|first| first.len() as u64), Some(2 * PART), "an earlier volume stays, as debris");
    assert_eq!(memory.content("set/payload.001"), None);
    assert_eq!(writer(&store, &options(2)).abort().await, None, "nothing was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_dropped_unfinished_fails_the_upload() {
    for bytes in [0, 10, 2 * PART + 1] {
        let memory = MemoryStore::default();
        let store: DynStore = Arc::new(memory.clone());
        let mut cut = writer(&store, &options(100));
        let (mut sink, parts) = cut.channel();
        let feeder = tokio::task::spawn_blocking(move || sink.write_all(&noise(bytes, 1)));
        let error = cut.write_all_from(parts).await.expect_err("unfinished");
        assert!(error.to_string().contains("ended before it was finished"), "{error}");
        feeder.await.expect("the feeder").expect("written");
        assert!(cut.finish().await.is_err());
        assert_eq!((memory.content("set/payload.000"), uploads(&store).await), (None, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_listing_denies_is_not_finished() {
    let wrong = "00000000000000000000000000000000";
    for (bytes, etag) in [(10, wrong), (10, ""), (10, "opaque"), (3 * PART, wrong), (3 * PART, "0-3")] {
        let faulty = FaultyStore::new(Arc::new(MemoryStore::default()));
        faulty.inject(Fault::on(Call::List, Harm::Etag(etag)).key("set/"));
        let store: DynStore = Arc::new(faulty.clone());
        let mut doubted = writer(&store, &options(100));
        feed(&mut doubted, noise(bytes, 1)).await.expect("fed");
        let error = doubted.finish().await.expect_err("another ETag");
        assert!(matches!(error, StoreError::Corrupt(_)), "{etag:?}: {error}");
        assert_eq!(faulty.calls(Call::Canary), 1);

        // The canary shows that this store's ETags are no MD5s: size and Content-MD5 count, and are said to.
        faulty.inject(Fault::on(Call::Canary, Harm::Etag("opaque")));
        let mut trusted = ObjectWriter::new(Arc::clone(&store), |_| "set/other".to_owned(), options(100));
        feed(&mut trusted, noise(bytes, 1)).await.expect("fed");
        let trusted = trusted.finish().await;
        match etag {
            // What the store answered and what it lists are two objects.
            _ if !etag.is_empty() => assert!(matches!(trusted, Err(StoreError::Corrupt(_))), "{trusted:?}"),
            _ => assert_eq!(trusted.expect("finished").volumes[0].verified, Verified::SizeAndContentMd5),
        }
        faulty.inject(Fault::on(Call::Canary, Harm::Fail(StoreError::Unavailable)));
        let mut unknown = ObjectWriter::new(store, |_| "set/third".to_owned(), options(100));
        feed(&mut unknown, noise(bytes, 1)).await.expect("fed");
        assert!(matches!(unknown.finish().await, Err(StoreError::Unverifiable(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_completion_fails_the_upload_and_leaves_no_upload() {
    let memory = MemoryStore::default();
    let faulty = FaultyStore::new(Arc::new(memory.clone()));
    faulty.inject(Fault::on(Call::Complete, Harm::Fail(StoreError::Unavailable)));
    let store: DynStore = Arc::new(faulty);
    let mut failed = writer(&store, &options(100));
    feed(&mut failed, noise(3 * PART, 1)).await.expect("fed");
    assert!(matches!(failed.finish().await, Err(StoreError::Unavailable(_))));
    assert_eq!((memory.content("set/payload.000"), uploads(&store).await), (None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_on_bandwidth_holds_over_all_uploads() {
    let store: DynStore = Arc::new(MemoryStore::default());
    let capped = WriterOptions { pace: Pace::capped(100 * PART), ..options(100) };
    let begun = std::time::Instant::now();
    let upload = |key: &'static str| {
        let (store, capped) = (Arc::clone(&store), capped.clone());
        async move {
            let mut writer = ObjectWriter::new(store, move |_| key.to_owned(), capped);
            feed(&mut writer, noise(20 * PART, 1)).await.expect("fed");
            writer.finish().await.expect("finished")
        }
    };
    futures::join!(upload("a"), upload("b"));
    // 40 parts at 100 parts a second, the first of which begins at once.
    assert!((380..900).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_read_can_be_cut_off_in_tests() {
    let faulty = FaultyStore::new(Arc::new(MemoryStore::default()));
    faulty.put("k", noise(100, 1), plana_storage::PutMode::IfAbsent).await.expect("put");
    faulty.inject(Fault::on(Call::Get, Harm::CutAfter(60)));
    let chunks: Vec<_> = futures::StreamExt::collect(faulty.get("k", None, None).await.expect("the object").stream).await;
    assert_eq!(chunks[0].as_ref().map(Bytes::len), Ok(60));
    assert!(matches!(chunks[1], Err(StoreError::Connection(_))) && chunks.len() == 2);
}
