//! A large row set that no compressor makes smaller: memory does not grow with it, and nothing but the payload is written.

use std::time::{Duration, Instant};

use plana_testkit::{
    bin::Running,
    pg::{PgCluster, PgMajor},
    process::Signal,
};

use crate::common::{
    Outcome,
    faults::{fill, written_by},
};

/// The most that the job may hold for one database, whatever its size.
const MOST_MEMORY: u64 = 128 << 20;

/// In megabytes: a quarter of a gigabyte, unless the variable says otherwise. CI runs it with `PLANA_TEST_BIG_MIB=2048`, which
/// takes a minute or two and 7 GB of disk.
fn size_mib() -> u64 {
    std::env::var("PLANA_TEST_BIG_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(256)
}

#[test]
fn memory_stays_bounded() {
    // Further away from each other than any window that zstd has at this level.
    const BLOCK_MIB: u64 = 16;
    let cluster = PgCluster::start(PgMajor::V15).unwrap();
    let name = "large";
    cluster.psql("postgres", "CREATE DATABASE large").unwrap();
    fill(&cluster, name, BLOCK_MIB << 20);
    let copies = size_mib() / BLOCK_MIB - 1;
    cluster
        .psql(name, &format!("INSERT INTO big SELECT b.id + n * 1000000, b.noise FROM generate_series(1, {copies}) AS n, big AS b"))
        .unwrap();
    let rows: u64 = cluster.psql(name, "SELECT count(*) FROM big").unwrap().parse().unwrap();

    a_slow_store_holds_pg_dump_back(&cluster, name);
    let job = crate::common::job().on(&cluster).only(&[name]).limit(Duration::from_secs(1200));
    let outcome = job.run().expect(0);
    let set = job.store().set(name);
    let (facts, payload) = (set.manifest.database.as_ref().unwrap(), &set.manifest.payload);
    assert_eq!(facts.rows, rows);
    assert!(payload.content_bytes > 2 * (size_mib() << 20), "{}", payload.content_bytes);
    assert!(payload.stored_bytes > size_mib() << 20, "it was meant to be incompressible: {}", payload.stored_bytes);
    let peak = outcome.done.peak_rss_bytes;
    println!("{} MiB stored in {:.1?}, peak memory {} MiB", payload.stored_bytes >> 20, outcome.done.elapsed, peak >> 20);
    assert!(peak > 0 && peak <= MOST_MEMORY, "peak memory: {} MiB", peak >> 20);
    // Nothing on the disk but the set itself.
    let written: u64 = job.store().files().iter().map(|(_, size)| size).sum();
    assert!(written - payload.stored_bytes < 64 << 10, "{:?}", job.store().files());
    assert_eq!(set.content_sha256(), payload.content_sha256);
}

/// What the store cannot take in time waits in pg_dump's pipe, not in our memory.
fn a_slow_store_holds_pg_dump_back(cluster: &PgCluster, name: &str) {
    let job = crate::common::job().on(cluster).only(&[name]).set("upload.bandwidth", "1MiB");
    let (mut running, pid) = job.spawn_into_the_middle(name);
    let mut seen = (written_by(pid), Instant::now());
    let stands_still = |_: &Running| {
        let written = written_by(pid);
        if written != seen.0 {
            seen = (written, Instant::now());
        }
        seen.1.elapsed() > Duration::from_secs(3)
    };
    running.wait_until("pg_dump waiting", stands_still).unwrap();
    let peak = running.peak_rss_bytes();
    println!("held back after {} MiB, peak memory {} MiB", seen.0 >> 20, peak >> 20);
    assert!(peak > 0 && peak <= MOST_MEMORY, "peak memory: {} MiB", peak >> 20);
    assert!(seen.0 < 2 * (size_mib() << 20), "pg_dump got rid of everything");
    running.signal(Signal::TERM).unwrap();
    Outcome::wait(running).expect(143);
    job.store().expect_nothing_of(name);
    job.expect_no_process_left();
}
