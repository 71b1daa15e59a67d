//! `partition-roller` against what a user would write, and pg_partman: how long inserts stand still, and how fast it plans.

mod load;
mod stall;

use std::process::Command;

use anyhow::{Result, ensure};
use plana_testkit::pg::{PgCluster, PgMajor};

use crate::{measure, tools::job};

/// Everything that the README's table says of partitions.
pub fn run(rounds: usize, wanted: impl Fn(&str) -> bool) -> Result<()> {
    if wanted("partition-stall") {
        stall::stall(rounds)?;
    }
    if wanted("partition-plan") {
        plan()?;
    }
    Ok(())
}

fn psql(cluster: &PgCluster) -> Command {
    let mut command = cluster.command("psql");
    command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]).env("PGDATABASE", "postgres");
    command
}

fn roller(cluster: &PgCluster, config: &std::path::Path) -> Result<Command> {
    let mut command = Command::new(job("partition-roller")?);
    command.env_clear().envs(cluster.env()).env("PGDATABASE", "postgres").env("PLANA_JOBS__STATE_DIR", config.with_extension("state"));
    command.args(["--quiet", "--config"]).arg(config);
    Ok(command)
}

fn plan() -> Result<()> {
    let cluster = PgCluster::builder(PgMajor::V15).setting("max_locks_per_transaction = 4096").start()?;
    let (tables, partitions) = (500, 60);
    let make = format!(
        "SET TimeZone = 'UTC'; DO $$ BEGIN FOR t IN 1..{tables} LOOP
           EXECUTE format('CREATE TABLE t%s (at timestamptz NOT NULL, body text) PARTITION BY RANGE (at)', t);
           FOR back IN 0..{} LOOP
             EXECUTE format('CREATE TABLE t%s_%s PARTITION OF t%s FOR VALUES FROM (%L) TO (%L)', t, to_char(date_trunc('month', now()) + (3 - back) * interval '1 month', 'YYYY_MM'), t,
               date_trunc('month', now()) + (3 - back) * interval '1 month', date_trunc('month', now()) + (4 - back) * interval '1 month');
           END LOOP;
           IF t % 50 = 0 THEN COMMIT; END IF;
         END LOOP; END $$;",
        partitions - 1
    );
    cluster.psql("postgres", &make)?;
    let home = tempfile::Builder::new().prefix("plana-bench-").tempdir()?;
    let config = home.path().join("roller.toml");
    std::fs::write(&config, "[partitions.tables.all]\nschema = \"public\"\nretention = \"10y\"\n")?;
    println!("\n{tables} tables with {partitions} partitions each:");
    for (name, arguments) in [("partition-roller --dry-run", &["--dry-run"][..]), ("partition-roller, with nothing to do", &[])] {
        let cost = measure::run(roller(&cluster, &config)?.args(arguments))?;
        println!("  {name:<44} {:>7.2} s   {:>6.1} MiB", cost.wall.as_secs_f64(), measure::mib(cost.peak_bytes));
    }
    let done = roller(&cluster, &config)?.args(["--dry-run", "--output", "json"]).output()?;
    let planned = String::from_utf8_lossy(&done.stdout).matches("\"table\":").count();
    ensure!(planned == tables, "{planned} tables were planned");
    Ok(())
}
