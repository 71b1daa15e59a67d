//! `retention-pruner` against `rclone delete --min-age`, and how it plans a million objects.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use plana_testkit::ceph::{Bucket, Gateway, User, client};

use crate::{
    measure::{self, Cost, median, mib, row},
    tools::{job, root, with_remote},
};

/// Names in the bucket.
const NAMES: u32 = 10;

/// Everything that the README's table says of retention.
pub fn run(scale: f64, rounds: usize, wanted: impl Fn(&str) -> bool) -> Result<()> {
    if wanted("retention-plan") {
        plan((1_000_000.0 * scale) as u32)?;
    }
    if wanted("retention-delete") {
        delete((100_000.0 * scale) as u32 / (2 * NAMES), rounds)?;
    }
    Ok(())
}

fn plan(objects: u32) -> Result<()> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("release/examples/plan-a-million");
    ensure!(program.exists(), "{} is missing: cargo build --release -p plana-plan --example plan-a-million", program.display());
    let cost = measure::run(Command::new(program).arg(objects.to_string()))?;
    println!("planning {objects} objects: {:.2} s, {:.0} MiB at its peak", cost.wall.as_secs_f64(), mib(cost.peak_bytes));
    Ok(())
}

fn delete(sets: u32, rounds: usize) -> Result<()> {
    let gateway = Gateway::start()?;
    let objects = sets * NAMES * 2;
    println!("deleting {objects} objects:");
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let bucket = gateway.bucket("theirs")?;
        fill(&bucket, sets)?;
        let mut command = Command::new("bash");
        command.args(["-c", r#""$RCLONE" delete --min-age 1ms "remote:$BUCKET""#]);
        with_remote(&mut command, &bucket)?;
        theirs.push(emptied(&mut command, &bucket)?);
        let bucket = gateway.bucket("ours")?;
        fill(&bucket, sets)?;
        let state = tempfile::tempdir()?;
        ours.push(emptied(&mut pruner(&bucket, state.path())?, &bucket)?);
    }
    let ours = median(ours);
    row("rclone delete --min-age", median(theirs), ours);
    println!("  retention-pruner {:.2} s, {:.0} MiB at its peak", ours.wall.as_secs_f64(), mib(ours.peak_bytes));
    Ok(())
}

fn emptied(command: &mut Command, bucket: &Bucket) -> Result<Cost> {
    let cost = measure::run(command)?;
    ensure!(bucket.list()?.is_empty(), "something is left in {}", bucket.name());
    Ok(cost)
}

/// Names that were retired and are to be gone: what has just been stored has not outlived any window.
fn pruner(bucket: &Bucket, state: &std::path::Path) -> Result<Command> {
    let url = format!("s3://{}", bucket.name());
    let retired: Vec<String> =
        (0..NAMES).map(|name| format!(r#""t{name}": {{ "at": "2030-01-01T00:00:00Z", "by": "2020-01-01T00:00:00Z" }}"#)).collect();
    let document = state.join(format!("retention-pruner.s3%3A%2F%2F{}.json", bucket.name()));
    fs::write(&document, format!("{{ \"retired\": {{ {} }} }}", retired.join(", "))).context("write what was retired")?;
    let mut command = Command::new(job("retention-pruner")?);
    command.env_clear().envs(bucket.env(User::Pruner)).env("PLANA_JOBS__STATE_DIR", state).args(["--quiet", "--store", &url]);
    command.env("PLANA_JOBS__RETENTION__ENABLED", "true").env("PLANA_JOBS__RETENTION__STORES", format!("[\"{url}\"]"));
    command.env("PLANA_JOBS__RETENTION__MAX_SETS", "100000000");
    Ok(command)
}

/// So many sets of each name.
fn fill(bucket: &Bucket, sets: u32) -> Result<()> {
    let (name, endpoint) = (bucket.name().to_owned(), bucket.endpoint().to_owned());
    let keys = (0..NAMES).flat_map(|name| (0..sets).map(move |set| (name, set)));
    let keys: Vec<String> = keys
        .flat_map(|(name, set)| {
            let stamp = format!("2026{:02}{:02}T{:02}{:02}00Z", 1 + set / 40_320 % 10, 1 + set / 1440 % 28, set / 60 % 24, set % 60);
            let prefix = format!("pg/t{name}/{stamp}.starter.{set:08x}");
            [format!("{prefix}/t{name}_{stamp}.dump.zst"), format!("{prefix}/manifest.json")]
        })
        .collect();
    bucket.as_owner(|_| async move {
        let s3 = client(&endpoint, User::Backup);
        let mut tasks = tokio::task::JoinSet::new();
        for key in keys {
            if tasks.len() >= 32 {
                tasks.join_next().await;
            }
            let put = s3.put_object().bucket(&name).key(key).body(b"x".to_vec().into());
            tasks.spawn(async move { put.send().await.map(drop) });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("a put does not panic")?;
        }
        Ok::<_, aws_sdk_s3::error::SdkError<aws_sdk_s3::operation::put_object::PutObjectError>>(())
    })
}
