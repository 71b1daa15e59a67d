//! `restore-from-sos` against what one would do by hand.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use plana_testkit::{
    ceph::{Bucket, Gateway},
    pg::{PgCluster, PgMajor},
};

use crate::{
    data,
    measure::{self, Cost, median, mib, row},
    tools::{job, ours, pipeline, restorer},
};

const CHECK: &str = r#""$RCLONE" cat "remote:$BUCKET/$KEY" | zstd -dc -q | sha256sum"#;
const BY_HAND: &str = r#""$RCLONE" copyto "remote:$BUCKET/$KEY" "$SPOOL/x.dump.zst" && zstd -dq "$SPOOL/x.dump.zst" -o "$SPOOL/x.dump" &&
  createdb hand && pg_restore --exit-on-error --no-owner -j2 -d hand "$SPOOL/x.dump" && rm "$SPOOL/x.dump" "$SPOOL/x.dump.zst""#;
const BY_HAND_PROVEN: &str = r#""$RCLONE" copyto "remote:$BUCKET/$KEY" "$SPOOL/x.dump.zst" && sha256sum "$SPOOL/x.dump.zst" &&
  zstd -dq "$SPOOL/x.dump.zst" -o "$SPOOL/x.dump" && createdb hand && pg_restore --exit-on-error --no-owner -j2 -d hand "$SPOOL/x.dump" &&
  rm "$SPOOL/x.dump" "$SPOOL/x.dump.zst" && for t in account_move_line mail_message res_partner; do psql -Atqc "SELECT count(*) FROM $t" hand; done &&
  psql -qc ANALYZE hand"#;

/// Everything that the README's table says of checks and restores.
pub fn run(scale: f64, rounds: usize, wanted: impl Fn(&str) -> bool) -> Result<()> {
    if !["restore-check", "restore-one", "restore-memory", "restore-list"].into_iter().any(&wanted) {
        return Ok(());
    }
    let cluster = PgCluster::builder(PgMajor::V15).setting("shared_buffers = 512MB").setting("max_wal_size = 4GB").start()?;
    cluster.psql("postgres", "CREATE ROLE plana_restore LOGIN CREATEDB")?;
    let gateway = Gateway::start()?;
    let bucket = gateway.bucket("bench")?;
    if wanted("restore-check") || wanted("restore-one") {
        let key = stored(&cluster, &bucket, "erp", 1000.0 * scale)?;
        if wanted("restore-check") {
            check(&cluster, &bucket, &key, scale, rounds)?;
        }
        if wanted("restore-one") {
            restore(&cluster, &bucket, &key, scale, rounds)?;
        }
    }
    if wanted("restore-list") {
        list(&cluster, &gateway.bucket("many")?, scale)?;
    }
    if wanted("restore-memory") {
        memory(&cluster, &bucket, scale)?;
    }
    Ok(())
}

/// Backs a new database up; gives the payload's key.
fn stored(cluster: &PgCluster, bucket: &Bucket, name: &str, megabytes: f64) -> Result<String> {
    data::erp(cluster, name, megabytes)?;
    measure::run(&mut ours(&["--only", name], cluster, bucket)?)?;
    let key = bucket.keys()?.into_iter().find(|key| key.starts_with(&format!("pg/{name}/")) && key.ends_with(".dump.zst"));
    key.context("the backup is not listed")
}

fn set_of(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(set, _)| set)
}

fn check(cluster: &PgCluster, bucket: &Bucket, key: &str, scale: f64, rounds: usize) -> Result<()> {
    let (mut theirs, mut own) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        theirs.push(measure::run(pipeline(CHECK, cluster, bucket)?.env("KEY", key))?);
        own.push(measure::run(&mut restorer(&["check", set_of(key)], cluster, bucket)?)?);
    }
    let (theirs, own) = (median(theirs), median(own));
    println!("\nreading a backup of {:.0} MB to its end (median of {rounds}):", 1000.0 * scale);
    row("rclone cat | zstd -d | sha256sum", theirs, own);
    row("restore-from-sos check (hashes, archive, rows)", own, own);
    println!("  peak memory {:.1} MiB", mib(own.peak_bytes));
    Ok(())
}

fn restore(cluster: &PgCluster, bucket: &Bucket, key: &str, scale: f64, rounds: usize) -> Result<()> {
    let spool = tempfile::Builder::new().prefix("plana-bench-").tempdir_in("/var/tmp")?;
    let (mut hand, mut proven, mut spooled, mut streamed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let by_hand = |script: &str| -> Result<Cost> {
        settle(cluster)?;
        let cost = measure::run(pipeline(script, cluster, bucket)?.env("KEY", key).env("SPOOL", spool.path()))?;
        cluster.psql("postgres", "DROP DATABASE hand")?;
        Ok(cost)
    };
    for _ in 0..rounds {
        hand.push(by_hand(BY_HAND)?);
        proven.push(by_hand(BY_HAND_PROVEN)?);
        spooled.push(ours_restored(cluster, bucket, key, Some(spool.path()))?);
        streamed.push(ours_restored(cluster, bucket, key, None)?);
    }
    let (hand, proven, spooled, streamed) = (median(hand), median(proven), median(spooled), median(streamed));
    println!("\nrestoring a database of {:.0} MB (median of {rounds}; ours = with --spool):", 1000.0 * scale);
    row("rclone copy, zstd -d, pg_restore -j2", hand, spooled);
    row("the same, with sha256sum, count(*) and ANALYZE", proven, spooled);
    row("restore-from-sos restore, streamed (one job)", streamed, spooled);
    row("restore-from-sos restore --spool --jobs 2", spooled, spooled);
    println!("  peak memory {:.1} MiB spooled, {:.1} MiB streamed", mib(spooled.peak_bytes), mib(streamed.peak_bytes));
    Ok(())
}

/// What an earlier restore left to write falls on nobody.
fn settle(cluster: &PgCluster) -> Result<()> {
    cluster.psql("postgres", "CHECKPOINT").map(drop)
}

fn ours_restored(cluster: &PgCluster, bucket: &Bucket, key: &str, spool: Option<&Path>) -> Result<Cost> {
    settle(cluster)?;
    let mut command = restorer(&["restore", set_of(key), "--into", "own", "--no-owner", "--no-privileges"], cluster, bucket)?;
    if let Some(spool) = spool {
        command.args(["--jobs", "2", "--spool"]).arg(spool);
    }
    let cost = measure::run(&mut command)?;
    cluster.psql("postgres", "DROP DATABASE own")?;
    Ok(cost)
}

/// A store of a hundred thousand sets: five hundred names of two hundred.
fn list(cluster: &PgCluster, bucket: &Bucket, scale: f64) -> Result<()> {
    let directory = tempfile::Builder::new().prefix("plana-bench-").tempdir_in("/var/tmp")?;
    let names = (500.0 * scale).ceil() as u32;
    for name in 0..names {
        for day in 0..200 {
            let stamp = format!("2026{:02}{:02}T03{:02}00Z", 1 + day / 28, 1 + day % 28, name % 60);
            let set = directory.path().join(format!("pg/tenant-{name}.planapulse.app/{stamp}.pro.{:08x}", name * 1000 + day));
            fs::create_dir_all(&set)?;
            fs::write(set.join(format!("tenant-{name}.planapulse.app_{stamp}.dump.zst")), "x")?;
            fs::write(set.join("manifest.json"), "{}")?;
        }
    }
    println!("\nlisting {} sets of {names} names:", names * 200);
    let fill = r#""$RCLONE" copy --transfers 64 --checkers 4 --s3-no-head "$FROM" "remote:$BUCKET""#;
    let filled = measure::run(pipeline(fill, cluster, bucket)?.env("FROM", directory.path()))?;
    println!("  (the bucket was filled in {:.0} s)", filled.wall.as_secs_f64());
    let url = format!("file://{}", directory.path().display());
    let rclone = measure::run(&mut pipeline(
        r#""$RCLONE" lsf -R --fast-list --use-server-modtime --format tsp "remote:$BUCKET""#,
        cluster,
        bucket,
    )?)?;
    println!("  {:<40} {:>6.2} s", "rclone lsf -R of the bucket", rclone.wall.as_secs_f64());
    for (label, arguments) in [
        ("the bucket", vec!["list"]),
        ("the bucket, as JSON", vec!["list", "--output", "json"]),
        ("the bucket, one name", vec!["list", "tenant-7.planapulse.app"]),
        ("the bucket, --at", vec!["list", "--at", "2026-05-01"]),
        ("a directory", vec!["list", "--store", &url]),
        ("a directory, as JSON", vec!["list", "--output", "json", "--store", &url]),
    ] {
        let mut command = restorer(&[], cluster, bucket)?;
        // The directory's URL takes the place of the bucket's.
        if arguments.contains(&"--store") {
            command = lister(&arguments)?;
        } else {
            command.args(&arguments);
        }
        let cost = measure::run(&mut command)?;
        println!("  {label:<40} {:>6.2} s   {:>6.1} MiB", cost.wall.as_secs_f64(), mib(cost.peak_bytes));
    }
    Ok(())
}

fn lister(arguments: &[&str]) -> Result<std::process::Command> {
    let mut command = std::process::Command::new(job("restore-from-sos")?);
    command.env_clear().arg("--quiet").args(arguments);
    Ok(command)
}

fn memory(cluster: &PgCluster, bucket: &Bucket, scale: f64) -> Result<()> {
    println!("\npeak memory of restore-from-sos:");
    for (label, name, megabytes) in [("100 MB", "mem100", 100.0), ("1 GB", "mem1000", 1000.0), ("4 GB", "mem4000", 4000.0)] {
        let key = stored(cluster, bucket, name, megabytes * scale)?;
        cluster.psql("postgres", &format!("DROP DATABASE {name}"))?;
        let checked = measure::run(&mut restorer(&["check", set_of(&key)], cluster, bucket)?)?;
        let restored = ours_restored(cluster, bucket, &key, None)?;
        println!("  {label:<7} check {:>6.1} MiB, restore {:>6.1} MiB", mib(checked.peak_bytes), mib(restored.peak_bytes));
    }
    Ok(())
}
