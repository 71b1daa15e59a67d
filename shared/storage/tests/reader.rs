//! Volumes read in order: what comes back, what it holds in memory, and how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    io::{self, Read as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use common::{Stores, contract, noise};
use plana_plan::parts::PartPlan;
use plana_storage::{
    Delivery, DynStore, FaultyStore, MemoryBudget, MemoryStore, ObjectWriter, Pace, PutMode, ReadVolume, ReaderOptions, StoreError,
    VolumeReader, VolumeSource, WriterOptions,
    faulty::{Call, Fault, Harm},
    verify,
};

const CHUNK: u64 = 64 << 10;

contract!(directory, memory, gateway; [
    every_byte_comes_back_from_wherever_it_begins,
    what_a_writer_has_stored_is_read_back,
    what_is_not_as_it_was_stored_is_found_out,
    what_is_replaced_meanwhile_is_no_mixture,
    little_memory_is_enough,
]);

fn options(in_flight: usize) -> ReaderOptions {
    ReaderOptions {
        chunk_bytes: CHUNK,
        in_flight,
        budget: MemoryBudget::new((in_flight as u64 + 1) * CHUNK),
        read: Arc::new(AtomicU64::new(0)),
    }
}

fn reader(store: &DynStore, volumes: &[ReadVolume], from: u64, options: &ReaderOptions) -> VolumeReader {
    VolumeReader::new(Arc::clone(store), volumes.to_vec(), from, options.clone()).unwrap_or_else(|error| panic!("failed to {error}"))
}

async fn put(store: &DynStore, key: &str, content: Bytes) -> ReadVolume {
    let stored = verify::put_verified(&**store, key, content, PutMode::IfAbsent).await;
    ReadVolume::from(&stored.unwrap_or_else(|error| panic!("failed to {error}")))
}

/// All that the source gives, in pieces of this size.
fn drain(mut source: VolumeSource, piece: usize) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; piece]);
    loop {
        match source.read(&mut buffer)? {
            0 => break,
            read => all.extend_from_slice(&buffer[..read]),
        }
    }
    assert_eq!(source.read(&mut buffer)?, 0, "the end is the end");
    Ok(all)
}

async fn by_thread(reader: VolumeReader, piece: usize) -> (Result<Delivery, StoreError>, io::Result<Vec<u8>>) {
    let (feed, source) = reader.channel();
    let thread = tokio::task::spawn_blocking(move || drain(source, piece));
    let delivered = reader.read_all_into(feed).await;
    (delivered, thread.await.expect("the thread"))
}

async fn by_task(mut reader: VolumeReader) -> Result<Vec<u8>, StoreError> {
    let mut all = Vec::new();
    while let Some(chunk) = reader.next().await? {
        assert!(!chunk.is_empty());
        all.extend_from_slice(&chunk);
    }
    assert_eq!(reader.next().await, Ok(None), "the end is the end");
    Ok(all)
}

async fn comes_back(budget: &MemoryBudget) {
    // As soon as the runtime has dropped the tasks.
    for _ in 0..500 {
        if budget.available_bytes() == budget.total_bytes() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("kept: {budget:?}");
}

async fn every_byte_comes_back_from_wherever_it_begins(stores: Stores) {
    let sizes = [0, 1, CHUNK - 1, CHUNK, 0, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 77, 0];
    let (mut volumes, mut whole) = (Vec::new(), Vec::new());
    for (at, bytes) in sizes.into_iter().enumerate() {
        let content = noise(bytes, at as u64);
        whole.extend_from_slice(&content);
        volumes.push(put(&stores.writer, &format!("set/payload.{at:03}"), content).await);
    }
    let all = whole.len() as u64;
    for from in [0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 1, 5 * CHUNK, all - 77, all - 1, all] {
        for in_flight in [1, 4] {
            let options = options(in_flight);
            let expected = &whole[from as usize..];
            let reading = reader(&stores.reader, &volumes, from, &options);
            assert_eq!(reading.bytes(), all - from);
            assert!(by_task(reading).await.expect("read") == expected, "from {from}");
            assert_eq!(options.read.load(Ordering::Relaxed), all - from);
            let (delivered, read) = by_thread(reader(&stores.reader, &volumes, from, &options), 10_007).await;
            assert_eq!(delivered, Ok(Delivery::Whole));
            assert!(read.expect("read") == expected, "from {from}");
            comes_back(&options.budget).await;
        }
    }
    let error = VolumeReader::new(Arc::clone(&stores.reader), volumes, all + 1, options(1)).expect_err("behind the end");
    assert!(matches!(error, StoreError::Unusable(_)), "{error}");
    assert_eq!(by_thread(reader(&stores.reader, &[], 0, &options(2)), 10).await.1.expect("nothing"), b"");
}

async fn what_a_writer_has_stored_is_read_back(stores: Stores) {
    let part_bytes = 5 << 20;
    let content = noise(2 * part_bytes * 2 + 99, 3);
    let written = WriterOptions {
        plan: PartPlan { part_bytes, parts_per_volume: 2 },
        parts_in_flight: 2,
        budget: MemoryBudget::new(4 * part_bytes),
        pace: Pace::default(),
        sent: Arc::default(),
    };
    let mut writer = ObjectWriter::new(Arc::clone(&stores.writer), |volume| format!("set/payload.{volume:03}"), written);
    writer.write(content.clone()).await.expect("written");
    let finished = writer.finish().await.expect("finished");
    let volumes: Vec<ReadVolume> = finished.volumes.iter().map(ReadVolume::from).collect();
    assert_eq!(volumes.len(), 3);
    let options = ReaderOptions { chunk_bytes: 3 << 20, ..options(3) };
    let (_, read) = by_thread(reader(&stores.reader, &volumes, 0, &options), 1 << 20).await;
    assert!(read.expect("read") == content, "the bytes differ");
    assert_eq!(options.read.load(Ordering::Relaxed), content.len() as u64);
}

async fn what_is_not_as_it_was_stored_is_found_out(stores: Stores) {
    let content = noise(3 * CHUNK, 1);
    let good = put(&stores.writer, "set/payload", content).await;
    let read = async |volume: ReadVolume, from| by_task(reader(&stores.reader, &[volume], from, &options(4))).await.expect_err("wrong");
    for bytes in [3 * CHUNK - 1, 3 * CHUNK + 1, 5 * CHUNK, 0] {
        let error = read(ReadVolume { bytes, ..good.clone() }, 0).await;
        assert!(matches!(error, StoreError::Corrupt(_)), "{bytes}: {error}");
        assert!(error.to_string().contains(&format!("has {} bytes, and {bytes} were stored", 3 * CHUNK)), "{error}");
    }
    // The object ends before the first byte that is asked for.
    let error = read(ReadVolume { bytes: 9 * CHUNK, ..good.clone() }, 7 * CHUNK).await;
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    let error = read(ReadVolume { key: "set/none".to_owned(), ..good.clone() }, 0).await;
    assert!(matches!(error, StoreError::NotFound(_)) && error.to_string().contains("set/none"), "{error}");
    if let Some(etag) = good.etag.clone() {
        let quoted = ReadVolume { etag: Some(format!("\"{}\"", etag.to_uppercase())), ..good.clone() };
        by_task(reader(&stores.reader, &[quoted], 0, &options(4))).await.expect("the same");
        let error = read(ReadVolume { etag: Some("0123\u{1b}[2J".to_owned()), ..good.clone() }, CHUNK).await;
        assert!(
            matches!(error, StoreError::Corrupt(_)) && error.to_string().contains(&format!("{etag}, and was 0123\\u{{1b}}[2J")),
            "{error}"
        );
    }
    by_task(reader(&stores.reader, &[ReadVolume { etag: None, ..good }], 0, &options(4))).await.expect("any ETag");
}

async fn what_is_replaced_meanwhile_is_no_mixture(stores: Stores) {
    for expected in [true, false] {
        let key = format!("set/{expected}");
        let volume = put(&stores.writer, &key, noise(4 * CHUNK, 1)).await;
        let volume = ReadVolume { etag: volume.etag.filter(|_| expected), version: None, ..volume };
        let mut reading = reader(&stores.reader, &[volume], 0, &options(1));
        assert!(reading.next().await.expect("a chunk").is_some());
        // A file's time moves on in steps of some milliseconds.
        tokio::time::sleep(Duration::from_millis(50)).await;
        stores.writer.put(&key, noise(4 * CHUNK, 2), PutMode::Overwrite).await.expect("replaced");
        let error = reading.next().await.expect_err("replaced");
        assert!(matches!(error, StoreError::Corrupt(_)) && error.to_string().contains("do not trust"), "{error}");
        assert_eq!(reading.next().await, Err(error), "and it stays failed");
    }
}

async fn little_memory_is_enough(stores: Stores) {
    let content = noise(40 * CHUNK + 5, 8);
    let volume = put(&stores.writer, "set/payload", content.clone()).await;
    // Of one chunk, of less than one, of a few for many readers.
    for budget in [CHUNK, CHUNK / 4, 3 * CHUNK] {
        let options = ReaderOptions { budget: MemoryBudget::new(budget), ..options(4) };
        let all = (0..3).map(|_| by_thread(reader(&stores.reader, std::slice::from_ref(&volume), 0, &options), 50_000));
        let all = tokio::time::timeout(Duration::from_secs(120), futures::future::join_all(all)).await.expect("no deadlock");
        for (delivered, read) in all {
            assert_eq!(delivered, Ok(Delivery::Whole));
            assert!(read.expect("read") == content, "the bytes differ");
        }
        comes_back(&options.budget).await;
    }
}

/// A store of one volume of so many chunks, that fails on demand.
async fn faulty(chunks: u64) -> (FaultyStore, DynStore, ReadVolume, Bytes) {
    let store = FaultyStore::new(Arc::new(MemoryStore::default()));
    let shared: DynStore = Arc::new(store.clone());
    let content = noise(chunks * CHUNK, 5);
    let volume = put(&shared, "set/payload", content.clone()).await;
    (store, shared, volume, content)
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_fetched_at_once_and_given_in_order() {
    let (store, shared, volume, content) = faulty(12).await;
    // The first of each four comes last.
    for nth in [1, 5, 9] {
        store.inject(Fault::on(Call::Get, Harm::Delay(Duration::from_millis(200))).nth(nth));
    }
    let options = ReaderOptions { budget: MemoryBudget::new(1 << 20), ..options(4) };
    let begun = std::time::Instant::now();
    assert!(by_task(reader(&shared, &[volume], 0, &options)).await.expect("read") == content, "the bytes differ");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(store.calls(Call::Get), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_holds_its_chunks_in_flight_and_one_more() {
    let (store, shared, volume, _) = faulty(20).await;
    let options = ReaderOptions { budget: MemoryBudget::new(1 << 20), ..options(3) };
    let reading = reader(&shared, &[volume], 0, &options);
    let (feed, mut source) = reading.channel();
    let driver = tokio::spawn(reading.read_all_into(feed));
    // The thread reads a byte and is busy with it for long.
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = tokio::task::spawn_blocking(move || {
        source.read_exact(&mut [0]).expect("a byte");
        wait.recv().ok();
        drain(source, 1 << 16)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(store.calls(Call::Get), 4);
    assert_eq!(options.budget.available_bytes(), (1 << 20) - 4 * CHUNK);
    assert_eq!(options.read.load(Ordering::Relaxed), 4 * CHUNK, "they arrive while nobody asks for them");
    done.send(()).expect("the thread");
    assert_eq!(thread.await.expect("the thread").expect("read").len() as u64, 20 * CHUNK - 1);
    assert_eq!(driver.await.expect("the driver"), Ok(Delivery::Whole));
    comes_back(&options.budget).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_store_comes_out_at_both_ends() {
    let (store, shared, volume, content) = faulty(8).await;
    store.inject(Fault::on(Call::Get, Harm::Fail(StoreError::AccessDenied)).nth(4));
    // One at a time, so that the requests are counted in the order of the chunks.
    let options = options(1);
    let reading = reader(&shared, &[volume], 0, &options);
    let (feed, mut source) = reading.channel();
    let driver = tokio::spawn(reading.read_all_into(feed));
    let begun = tokio::task::spawn_blocking(move || {
        let mut begin = vec![0; 2 * CHUNK as usize];
        source.read_exact(&mut begin).map(|()| (begin, source))
    });
    let (begin, mut source) = begun.await.expect("the thread").expect("what came before");
    assert!(begin == content[..2 * CHUNK as usize], "the bytes differ");
    // Whoever drives it learns of it, though the thread does not read on.
    let ended = tokio::time::timeout(Duration::from_secs(5), driver).await.expect("promptly");
    let error = ended.expect("the driver").expect_err("refused");
    assert!(matches!(error, StoreError::AccessDenied(_)) && error.to_string().contains("read memory://test/set/payload"), "{error}");
    let (third, again) = tokio::task::spawn_blocking(move || {
        source.read_exact(&mut vec![0; CHUNK as usize]).expect("what had arrived");
        (source.read(&mut [0; 9]).expect_err("refused"), source.read(&mut [0; 9]).expect_err("refused"))
    })
    .await
    .expect("the thread");
    assert_eq!((third.kind(), StoreError::within(&third)), (io::ErrorKind::Other, Some(&error)));
    assert_eq!(StoreError::within(&again), Some(&error), "and it stays failed");
    comes_back(&options.budget).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_an_error() {
    let (store, shared, volume, _) = faulty(3).await;
    store.inject(Fault::on(Call::Get, Harm::CutAfter(CHUNK / 2)).nth(2));
    let error = by_task(reader(&shared, std::slice::from_ref(&volume), 0, &options(1))).await.expect_err("cut");
    assert!(matches!(error, StoreError::Connection(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_drops_the_source_ends_the_download() {
    let (store, shared, volume, _) = faulty(8).await;
    // While it waits for the store, and while it waits for the thread.
    for stuck in [true, false] {
        if stuck {
            store.inject(Fault::on(Call::Get, Harm::Delay(Duration::from_secs(3600))).from(2));
        }
        // One at a time, so that the requests are counted in the order of the chunks.
        let options = options(1);
        let reading = reader(&shared, std::slice::from_ref(&volume), 0, &options);
        let (feed, mut source) = reading.channel();
        let thread = tokio::task::spawn_blocking(move || source.read_exact(&mut [0; 10]));
        let delivered = tokio::time::timeout(Duration::from_secs(5), reading.read_all_into(feed)).await;
        assert_eq!(delivered.expect("promptly"), Ok(Delivery::Dropped));
        thread.await.expect("the thread").expect("ten bytes");
        comes_back(&options.budget).await;
        store.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_knows_the_size_need_not_look_for_the_end() {
    let (_, shared, volume, content) = faulty(3).await;
    let reading = reader(&shared, &[volume], 0, &options(1));
    let (feed, mut source) = reading.channel();
    let thread = tokio::task::spawn_blocking(move || {
        let mut all = vec![0; 3 * CHUNK as usize];
        source.read_exact(&mut all).map(|()| all)
    });
    assert_eq!(reading.read_all_into(feed).await, Ok(Delivery::Whole));
    assert!(thread.await.expect("the thread").expect("read") == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_drops_the_driver_fails_the_source() {
    let (store, shared, volume, content) = faulty(8).await;
    store.inject(Fault::on(Call::Get, Harm::Delay(Duration::from_secs(3600))).from(3));
    // One at a time, so that the requests are counted in the order of the chunks.
    let options = options(1);
    let reading = reader(&shared, &[volume], 0, &options);
    let (feed, mut source) = reading.channel();
    let thread = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        source.read_to_end(&mut all).map_err(|error| (error, all))
    });
    // As a watchdog or a cancellation does.
    assert!(tokio::time::timeout(Duration::from_millis(300), reading.read_all_into(feed)).await.is_err());
    let (error, read) = thread.await.expect("the thread").expect_err("given up");
    assert_eq!((error.kind(), StoreError::within(&error)), (io::ErrorKind::BrokenPipe, None), "it must not look like the end");
    assert!(read == content[..2 * CHUNK as usize], "what had arrived");
    comes_back(&options.budget).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_share_a_budget_of_one_chunk_without_deadlock() {
    let (store, shared, volume, content) = faulty(11).await;
    store.inject(Fault::on(Call::Get, Harm::Delay(Duration::from_millis(2))));
    let options = ReaderOptions { budget: MemoryBudget::new(CHUNK), ..options(4) };
    let all = (0..8).map(|_| by_thread(reader(&shared, std::slice::from_ref(&volume), 0, &options), 999));
    let all = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(all)).await.expect("no deadlock");
    assert!(all.into_iter().all(|(_, read)| read.expect("read") == content));
    comes_back(&options.budget).await;
}

#[test]
fn a_manifest_of_any_size_takes_no_memory() {
    let volume = ReadVolume { key: "k".to_owned(), version: None, bytes: u64::MAX / 2, etag: None };
    let store: DynStore = Arc::new(MemoryStore::default());
    let usual = || ReaderOptions::new(MemoryBudget::new(1 << 30), Arc::default());
    let reading = VolumeReader::new(Arc::clone(&store), vec![volume.clone(); 2], 7, usual()).expect("a reader");
    assert_eq!(reading.bytes(), u64::MAX - 1 - 7);
    assert!(matches!(VolumeReader::new(store, vec![volume; 3], 0, usual()), Err(StoreError::Unusable(_))));
}
