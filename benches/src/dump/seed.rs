//! What a template costs beside a plain dump of the same database: two passes and the hash of each row the first time, one pass
//! that is stored nowhere when its content is known.

use std::fs;

use anyhow::{Result, ensure};
use plana_testkit::{ceph::Bucket, pg::PgCluster};

use crate::{
    data,
    measure::{self, Cost, median, mib, row},
    tools::ours,
};

/// The fewest and the most rows of about the same bytes that a template may have: the hash is of rows.
const NARROW: &str = "CREATE TABLE narrow AS SELECT i, i % 7 AS j FROM generate_series(1::bigint, %ROWS%) i; VACUUM ANALYZE";

/// Everything that the README's table says of templates.
pub fn run(cluster: &PgCluster, bucket: &Bucket, scale: f64, rounds: usize) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("config.toml");
    fs::write(&config, "[rules.templates]\norder = 1\nclass = \"template\"\ndatabases = [\"seed_*\"]\n")?;
    let config = config.display().to_string();
    data::erp(cluster, "seed_erp", 500.0 * scale)?;
    cluster.psql("postgres", "CREATE DATABASE seed_narrow")?;
    // About 12 bytes each.
    cluster.psql("seed_narrow", &NARROW.replace("%ROWS%", &((10_000_000.0 * scale) as u64).to_string()))?;
    for database in ["seed_erp", "seed_narrow"] {
        let (mut plain, mut first, mut known) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            plain.push(dump(&["--only", database, "--no-globals"], &config, cluster, bucket)?);
            bucket.purge()?;
            let publish = ["--templates", "--only", database];
            first.push(dump(&publish, &config, cluster, bucket)?);
            let stored = bucket.keys()?;
            ensure!(stored.len() == 2, "one seed was to be published: {stored:?}");
            known.push(dump(&publish, &config, cluster, bucket)?);
            ensure!(bucket.keys()? == stored, "a known content was published again");
            bucket.purge()?;
        }
        let rows = cluster.psql(database, "SELECT to_char(sum(n_live_tup), 'FM999,999,999') FROM pg_stat_user_tables")?;
        let (plain, first, known) = (median(plain), median(first), median(known));
        println!("\none template, {database}, {rows} rows (median of {rounds}):");
        for (what, cost) in [("published for the first time", first), ("known, and so not published", known)] {
            row("pg-dump-to-sos of the same database", plain, cost);
            println!("  --templates, {what}: {}", told(cost));
        }
        println!("  pg-dump-to-sos: {}", told(plain));
        cluster.psql("postgres", &format!("DROP DATABASE {database}"))?;
    }
    Ok(())
}

fn told(cost: Cost) -> String {
    format!("{:.2} s, {:.2} s of processors, {:.1} MiB at its peak", cost.wall.as_secs_f64(), cost.cpu.as_secs_f64(), mib(cost.peak_bytes))
}

/// Into the bucket, which is the templates' store where templates are published.
fn dump(arguments: &[&str], config: &str, cluster: &PgCluster, bucket: &Bucket) -> Result<Cost> {
    let mut command = ours(&["--config", config], cluster, bucket)?;
    command.env("PLANA_JOBS__STORE__BACKUPS__URL", "file:///nonexistent").args(arguments);
    measure::run(&mut command)
}
