//! `pg-dump-to-sos` against pg_dump in a pipe.

mod seed;

use anyhow::Result;
use plana_testkit::{
    ceph::{Bucket, Gateway},
    pg::{PgCluster, PgMajor},
};

use crate::{
    data,
    measure::{self, median, mib, row},
    tools::{ours, pipeline},
};

/// What no backup of the same server can be faster than.
const FLOOR: &str = r#"pg_dump -Fc -Z0 "$DB" | cat > /dev/null"#;
const PLAIN: &str = r#"pg_dump -Fc "$DB" | "$RCLONE" rcat "remote:$BUCKET/plain/$DB.dump""#;
const ZSTD: &str = r#"pg_dump -Fc -Z0 "$DB" | zstd -T0 -3 -q | "$RCLONE" rcat "remote:$BUCKET/zstd/$DB.dump.zst""#;
const XARGS: &str = r#"psql -Atc "SELECT datname FROM pg_database WHERE datname LIKE 'small%'" | xargs -P "$AT_ONCE" -I DB bash -o pipefail -c \
  'pg_dump -Fc -Z0 DB | zstd -T0 -3 -q | "$RCLONE" rcat "remote:$BUCKET/small/DB.dump.zst"'"#;

/// Everything that the README's table says of dumps.
pub fn run(scale: f64, rounds: usize, wanted: impl Fn(&str) -> bool) -> Result<()> {
    if !["dump-one", "dump-memory", "dump-many", "dump-seed"].into_iter().any(&wanted) {
        return Ok(());
    }
    let cluster = PgCluster::builder(PgMajor::V15).setting("shared_buffers = 512MB").setting("max_wal_size = 4GB").start()?;
    let gateway = Gateway::start()?;
    let bucket = gateway.bucket("bench")?;
    if wanted("dump-one") {
        one_database(&cluster, &bucket, scale, rounds)?;
    }
    if wanted("dump-memory") {
        memory(&cluster, &bucket, scale)?;
    }
    if wanted("dump-many") {
        many_databases(&cluster, &bucket, scale, rounds)?;
    }
    if wanted("dump-seed") {
        seed::run(&cluster, &bucket, scale, rounds)?;
    }
    Ok(())
}

fn one_database(cluster: &PgCluster, bucket: &Bucket, scale: f64, rounds: usize) -> Result<()> {
    data::erp(cluster, "erp", 1000.0 * scale)?;
    let (mut floor, mut plain, mut zstd, mut ours_) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // In turns, so that what else the machine does falls on all of them alike.
    for _ in 0..rounds {
        floor.push(measure::run(pipeline(FLOOR, cluster, bucket)?.env("DB", "erp"))?);
        plain.push(measure::run(pipeline(PLAIN, cluster, bucket)?.env("DB", "erp"))?);
        bucket.purge()?;
        zstd.push(measure::run(pipeline(ZSTD, cluster, bucket)?.env("DB", "erp"))?);
        let theirs = stored(bucket, ".dump.zst")?;
        bucket.purge()?;
        ours_.push(measure::run(&mut ours(&["--only", "erp"], cluster, bucket)?)?);
        let own = stored(bucket, ".dump.zst")?;
        bucket.purge()?;
        println!(
            "stored: {:.1} MiB by the zstd pipeline, {:.1} MiB by pg-dump-to-sos ({:+.2} %)",
            mib(theirs),
            mib(own),
            (own as f64 / theirs as f64 - 1.0) * 100.0
        );
    }
    let (floor, plain, zstd, ours_) = (median(floor), median(plain), median(zstd), median(ours_));
    println!("\none database, {:.0} MB of ERP-like rows (median of {rounds}):", 1000.0 * scale);
    row("pg_dump -Fc -Z0 alone, nothing kept", floor, ours_);
    row("pg_dump -Fc | rclone rcat", plain, ours_);
    row("pg_dump -Fc -Z0 | zstd -T0 -3 | rclone rcat", zstd, ours_);
    row("pg-dump-to-sos (verified)", ours_, ours_);
    Ok(())
}

fn stored(bucket: &Bucket, suffix: &str) -> Result<u64> {
    Ok(bucket.list()?.iter().filter(|object| object.key.ends_with(suffix)).map(|object| object.size).sum())
}

fn memory(cluster: &PgCluster, bucket: &Bucket, scale: f64) -> Result<()> {
    println!("\npeak memory of the job:");
    data::erp(cluster, "mem100", 100.0 * scale)?;
    data::erp(cluster, "mem1000", 1000.0 * scale)?;
    data::erp(cluster, "mem4000", 4000.0 * scale)?;
    for (label, database) in [("100 MB", "mem100"), ("1 GB", "mem1000"), ("4 GB", "mem4000")] {
        let cost = measure::run(&mut ours(&["--only", database], cluster, bucket)?)?;
        println!("  one database of {label:<8} {:>6.1} MiB   {:>6.2} s", mib(cost.peak_bytes), cost.wall.as_secs_f64());
        bucket.purge()?;
    }
    for database in ["mem100", "mem1000", "mem4000"] {
        cluster.psql("postgres", &format!("DROP DATABASE {database}"))?;
    }
    for number in 0..8 {
        data::erp(cluster, &format!("eight{number}"), 150.0 * scale)?;
    }
    let cost = measure::run(&mut ours(&["--only", "eight*", "--jobs", "8"], cluster, bucket)?)?;
    println!("  eight at once            {:>6.1} MiB   {:>6.2} s", mib(cost.peak_bytes), cost.wall.as_secs_f64());
    bucket.purge()?;
    for number in 0..8 {
        cluster.psql("postgres", &format!("DROP DATABASE eight{number}"))?;
    }
    Ok(())
}

fn many_databases(cluster: &PgCluster, bucket: &Bucket, scale: f64, rounds: usize) -> Result<()> {
    data::erp(cluster, "small0", 1.0)?;
    let count = (300.0 * scale).ceil() as u32;
    for number in 1..count {
        cluster.psql("postgres", &format!("CREATE DATABASE small{number} TEMPLATE small0"))?;
    }
    let at_once = "4";
    let (mut theirs, mut own) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        theirs.push(measure::run(pipeline(XARGS, cluster, bucket)?.env("AT_ONCE", at_once))?);
        bucket.purge()?;
        own.push(measure::run(&mut ours(&["--only", "small*", "--jobs", at_once], cluster, bucket)?)?);
        bucket.purge()?;
    }
    let (theirs, own) = (median(theirs), median(own));
    println!("\n{count} small databases, {at_once} at once (median of {rounds}):");
    row("xargs -P | pg_dump | zstd | rclone rcat", theirs, own);
    row("pg-dump-to-sos (verified)", own, own);
    println!("  peak memory {:.1} MiB", mib(own.peak_bytes));
    Ok(())
}
