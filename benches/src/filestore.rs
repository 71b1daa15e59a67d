//! `filestore-tarball` against tar in a pipe, and restic.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use plana_testkit::{
    ceph::{Bucket, Gateway, User},
    spoiled::{Spoil, SpoilRule, SpoiledTree, Step},
};
use sha1::{Digest, Sha1};

use crate::{
    measure::{self, Cost, median, mib},
    tools::{job, with_remote},
};

const PIGZ: &str = r#"tar -C "$STORE" -c . | pigz -p "$CPUS" | "$RCLONE" rcat "remote:$BUCKET/pigz/x.tar.gz""#;
const CZF: &str = r#"tar -C "$STORE" -czf - . | "$RCLONE" rcat "remote:$BUCKET/czf/x.tar.gz""#;
const RESTIC: &str = r#"restic -q init && restic -q backup "$STORE""#;
const TENANT: &str = "bench.app";

/// Everything that the README's table says of file stores.
pub fn run(scale: f64, rounds: usize, wanted: impl Fn(&str) -> bool) -> Result<()> {
    if !["filestore-one", "filestore-memory", "filestore-many"].into_iter().any(&wanted) {
        return Ok(());
    }
    let gateway = Gateway::start()?;
    let bucket = gateway.bucket("benchfiles")?;
    let home = tempfile::Builder::new().prefix("plana-bench-").tempdir()?;
    if wanted("filestore-one") {
        one_store(home.path(), &bucket, scale, rounds)?;
    }
    if wanted("filestore-memory") {
        memory(home.path(), &bucket, scale)?;
    }
    if wanted("filestore-many") {
        many_files(home.path(), &bucket, scale)?;
    }
    Ok(())
}

/// Numbers that look random, the same in every run (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            (0..size.div_ceil(8)).flat_map(|_| self.next().wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()).collect();
        bytes.truncate(size);
        bytes
    }

    fn text(&mut self, size: usize) -> Vec<u8> {
        const WORDS: [&str; 12] =
            ["invoice", "partner", "amount", "delivery", "<div>", "</div>", "customer", "warehouse", "shipment", "EUR", "tax", "line"];
        let mut text = Vec::with_capacity(size + 64);
        while text.len() < size {
            for _ in 0..10 {
                text.extend_from_slice(WORDS[(self.next() % 12) as usize].as_bytes());
                text.push(b' ');
            }
            text.extend_from_slice(format!("{}\n", self.next() % 1_000_000).as_bytes());
        }
        text.truncate(size);
        text
    }
}

/// An Odoo-like store of about so many bytes: many small files, few large ones, three in five incompressible.
fn make_store(root: &Path, files: usize, bytes: f64) -> Result<PathBuf> {
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let mean = bytes / files as f64;
    for _ in 0..files {
        let share = (noise.next() % 1_000_000) as f64 / 1e6;
        let size = (-(1.0 - share).ln() * mean) as usize + 20;
        let content = if noise.next() % 5 < 3 { noise.bytes(size) } else { noise.text(size) };
        let name: String = Sha1::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = root.join(TENANT).join(&name[..2]);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(&name), content)?;
    }
    Ok(root.to_path_buf())
}

fn pipeline(script: &str, root: &Path, bucket: &Bucket) -> Result<Command> {
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", script]).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    with_remote(&mut command, bucket)?;
    let key = User::Admin.key();
    command.env("STORE", root.join(TENANT)).env("CPUS", std::thread::available_parallelism().map_or(1, usize::from).to_string());
    command.envs([("RESTIC_PASSWORD", "bench"), ("AWS_ACCESS_KEY_ID", &key.access), ("AWS_SECRET_ACCESS_KEY", &key.secret)]);
    command.env("RESTIC_REPOSITORY", format!("s3:{}/{}/restic", bucket.endpoint(), bucket.name()));
    command.env("RESTIC_CACHE_DIR", root.with_extension("cache"));
    Ok(command)
}

fn ours(root: &Path, bucket: &Bucket) -> Result<Command> {
    let mut command = Command::new(job("filestore-tarball")?);
    command.env_clear().envs(bucket.env(User::Backup)).env("PLANA_JOBS__STATE_DIR", root.with_extension("state"));
    command.args(["--quiet", "--store"]).arg(format!("s3://{}", bucket.name())).arg("--root").arg(root);
    Ok(command)
}

/// Runs it and gives what it took and stored, into an empty bucket.
fn measured(command: &mut Command, bucket: &Bucket) -> Result<(Cost, u64)> {
    let cost = measure::run(command)?;
    let stored = bucket.list()?.iter().filter(|object| !object.key.ends_with("manifest.json")).map(|object| object.size).sum();
    bucket.purge()?;
    Ok((cost, stored))
}

fn one_store(home: &Path, bucket: &Bucket, scale: f64, rounds: usize) -> Result<()> {
    let root = make_store(&home.join("one"), (15_000.0 * scale) as usize, 800e6 * scale)?;
    let mut costs: [Vec<Cost>; 4] = Default::default();
    let mut stored = [0; 4];
    // In turns, so that what else the machine does falls on all of them alike.
    for _ in 0..rounds {
        for (at, script) in [PIGZ, CZF, RESTIC].into_iter().enumerate() {
            let (cost, bytes) = measured(&mut pipeline(script, &root, bucket)?, bucket)?;
            costs[at].push(cost);
            stored[at] = bytes;
        }
        let (cost, bytes) = measured(&mut ours(&root, bucket)?, bucket)?;
        costs[3].push(cost);
        stored[3] = bytes;
    }
    let costs = costs.map(median);
    println!("\nan Odoo-like file store, {:.0} MB in {:.0} files (median of {rounds}):", 800.0 * scale, 15_000.0 * scale);
    for (name, at) in [
        ("tar | pigz | rclone rcat", 0),
        ("tar czf | rclone rcat", 1),
        ("restic backup, the first", 2),
        ("filestore-tarball (each file proven, verified)", 3),
    ] {
        let ratio = |own: f64, theirs: f64| own / theirs;
        println!(
            "  {name:<48} {:>7.2} s {:>7.2} s of CPU  {:>7.1} MiB   ours / this: time {:.2}, CPU {:.2}, size {:.3}",
            costs[at].wall.as_secs_f64(),
            costs[at].cpu.as_secs_f64(),
            mib(stored[at]),
            ratio(costs[3].wall.as_secs_f64(), costs[at].wall.as_secs_f64()),
            ratio(costs[3].cpu.as_secs_f64(), costs[at].cpu.as_secs_f64()),
            ratio(stored[3] as f64, stored[at] as f64),
        );
    }
    fs::remove_dir_all(root).context("remove the store")
}

fn memory(home: &Path, bucket: &Bucket, scale: f64) -> Result<()> {
    println!("\npeak memory of filestore-tarball:");
    for (label, factor) in [("80 MB", 0.1), ("800 MB", 1.0), ("8 GB", 10.0)] {
        let factor = factor * scale;
        let root = make_store(&home.join(format!("memory{factor}")), (15_000.0 * factor) as usize, 800e6 * factor)?;
        let (cost, _) = measured(&mut ours(&root, bucket)?, bucket)?;
        println!("  a file store of {label:<8} {:>6.1} MiB   {:>6.2} s", mib(cost.peak_bytes), cost.wall.as_secs_f64());
        fs::remove_dir_all(root).context("remove the store")?;
    }
    Ok(())
}

fn many_files(home: &Path, bucket: &Bucket, scale: f64) -> Result<()> {
    let files = (200_000.0 * scale) as usize;
    let root = make_store(&home.join("many"), files, 2000.0 * files as f64)?;
    println!("\n{files} files of 2 kB:");
    let show = |name: &str, count: usize, cost: Cost| {
        println!("  {name:<48} {:>7.2} s   {:>7.0} files/s", cost.wall.as_secs_f64(), count as f64 / cost.wall.as_secs_f64());
    };
    show("tar | pigz | rclone rcat", files, measured(&mut pipeline(PIGZ, &root, bucket)?, bucket)?.0);
    show("filestore-tarball", files, measured(&mut ours(&root, bucket)?, bucket)?.0);
    fs::remove_dir_all(root).context("remove the store")?;

    // As an NFS mount has it. Fewer files: one after the other they would take minutes.
    let few = files / 10;
    let (root, at) = (make_store(&home.join("slow"), few, 2000.0 * few as f64)?, home.join("mounted"));
    fs::create_dir(&at)?;
    let mounted = SpoiledTree::mount(&root, &at)?;
    mounted.add(SpoilRule::on(Step::Open, "", Spoil::Delay(Duration::from_millis(1))));
    println!("{few} files of 2 kB, each of which takes 1 ms to open:");
    show("tar | pigz | rclone rcat", few, measured(&mut pipeline(PIGZ, &at, bucket)?, bucket)?.0);
    show("filestore-tarball", few, measured(&mut ours(&at, bucket)?, bucket)?.0);
    Ok(())
}
