//! How long an insert stands still while partitions are made and retired.

use std::{collections::BTreeSet, io::Write as _, thread, time::Duration};

use anyhow::{Result, ensure};
use plana_testkit::pg::{PgCluster, PgMajor};

use super::{
    load::{WRITERS, longest_insert},
    psql, roller,
};
use crate::measure;

/// Three months that have expired, two that have not, and this one.
const EVENTS: &str = "
    SET TimeZone = 'UTC';
    DROP TABLE IF EXISTS events;
    CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, body text) PARTITION BY RANGE (at);
    DO $$ BEGIN FOR back IN 0..5 LOOP
      EXECUTE format('CREATE TABLE %I PARTITION OF events FOR VALUES FROM (%L) TO (%L)',
        to_char(date_trunc('month', now()) - back * interval '1 month', '\"events_\"YYYY_MM'),
        date_trunc('month', now()) - back * interval '1 month', date_trunc('month', now()) - (back - 1) * interval '1 month');
    END LOOP; END $$;
    INSERT INTO events (at, body) SELECT date_trunc('month', now()) - n * interval '3 hours', repeat('x', 100) FROM generate_series(1, 1200) n;";

/// The same three made and three retired, as a cron job would.
const PLAIN: &str = "
    SET TimeZone = 'UTC';
    SELECT format('CREATE TABLE %I PARTITION OF events FOR VALUES FROM (%L) TO (%L)', to_char(m, '\"events_\"YYYY_MM'), m, m + interval '1 month')
      FROM generate_series(1, 3) n, LATERAL (SELECT date_trunc('month', now()) + n * interval '1 month' AS m) x \\gexec
    SELECT format('ALTER TABLE events DETACH PARTITION %I', to_char(m, '\"events_\"YYYY_MM'))
      FROM generate_series(3, 5) n, LATERAL (SELECT date_trunc('month', now()) - n * interval '1 month' AS m) x \\gexec
    SELECT format('DROP TABLE %I', to_char(m, '\"events_\"YYYY_MM'))
      FROM generate_series(3, 5) n, LATERAL (SELECT date_trunc('month', now()) - n * interval '1 month' AS m) x \\gexec";

/// pg_partman with the same table: its own maintenance makes three and drops what has expired.
const PARTMAN: &str = "
    CREATE SCHEMA IF NOT EXISTS partman; CREATE EXTENSION IF NOT EXISTS pg_partman SCHEMA partman;
    DELETE FROM partman.part_config;";

/// Three partitions made and three retired: by hand, by pg_partman, by the roller, and with nothing going on.
pub fn stall(rounds: usize) -> Result<()> {
    // Beside the clients' clocks, the server's own word on who waited for a lock for more than 5 ms, and how long.
    let builder = PgCluster::builder(PgMajor::V15).setting("max_connections = 60").setting("log_lock_waits = on");
    let cluster = builder.setting("deadlock_timeout = 5ms").start()?;
    let home = tempfile::Builder::new().prefix("plana-bench-").tempdir()?;
    let config = home.path().join("roller.toml");
    // Whatever day it is, the third month before this one has expired, and the second has not.
    let days = "SELECT floor(extract(epoch FROM now() - (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '2 months') AT TIME ZONE 'UTC') / 86400)::int";
    let days = cluster.psql("postgres", days)?;
    let policy = format!("retention = \"{days}d\"\nkeep_at_least = 0\nretired = \"drop\"\n");
    std::fs::write(&config, format!("[partitions.tables.events]\ntable = \"public.events\"\n{policy}"))?;
    println!("\nthree partitions made and three retired beside {WRITERS} writers and a reader (worst of {rounds}):");
    let sql = |sql: &'static str| {
        let cluster = &cluster;
        move || measure::run(psql(cluster).args(["-c", "SELECT 1"]).arg("-f").arg("-").stdin(file_of(sql)?)).map(drop)
    };
    let show = |name: &str, changes: (usize, usize), work: &dyn Fn() -> Result<()>, prepare: &dyn Fn() -> Result<()>| -> Result<()> {
        let (mut worst, mut took, mut inserts, mut waited) = (Duration::ZERO, Duration::ZERO, 0, 0.0f64);
        for _ in 0..rounds {
            cluster.psql("postgres", EVENTS)?;
            prepare()?;
            let (before, partitions) = (log(&cluster)?.len(), partitions(&cluster)?);
            let (longest, round, count) = longest_insert(&cluster, work)?;
            let now = self::partitions(&cluster)?;
            let (made, gone) = (now.difference(&partitions).count(), partitions.difference(&now).count());
            // At the end of a month pg_partman makes one more.
            ensure!(made >= changes.0 && gone == changes.1, "{name} made {made} and retired {gone}");
            waited = waited.max(longest_lock_wait(&log(&cluster)?[before..]));
            (worst, took, inserts) = (worst.max(longest), took.max(round), inserts + count);
        }
        println!(
            "  {name:<36} an insert took {:>7.1} ms at most, and waited {waited:>6.1} ms for a lock at most   all of it {:>5.2} s   {inserts} inserts",
            worst.as_secs_f64() * 1e3,
            took.as_secs_f64()
        );
        Ok(())
    };
    let nothing = || Ok(());
    show(
        // What a saturated machine does to an insert by itself, in as long a time as the others take.
        "nothing at all, for ten seconds",
        (0, 0),
        &|| {
            thread::sleep(Duration::from_secs(10));
            Ok(())
        },
        &nothing,
    )?;
    show("CREATE … PARTITION OF, DETACH, DROP", (3, 3), &sql(PLAIN), &nothing)?;
    let partman = || {
        cluster.psql("postgres", PARTMAN)?;
        cluster.psql("postgres", &partman_config(&cluster)?).map(drop)
    };
    if cluster.psql("postgres", "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_partman'")? == "1" {
        show("pg_partman, run_maintenance", (3, 3), &sql("SELECT partman.run_maintenance();"), &partman)?;
    } else {
        println!("  pg_partman is not installed: run tools/install-deps.sh bench");
    }
    show("partition-roller", (3, 3), &|| measure::run(&mut roller(&cluster, &config)?).map(drop), &nothing)
}

/// The names of the table's partitions.
fn partitions(cluster: &PgCluster) -> Result<BTreeSet<String>> {
    let names = cluster.psql("postgres", "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'events'::regclass")?;
    Ok(names.lines().map(str::to_owned).collect())
}

fn log(cluster: &PgCluster) -> Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(cluster.socket_dir().join("postgres.log"))?).into_owned())
}

/// The longest time, in milliseconds, that an INSERT waited for a lock that a change of partitions may hold, by the server's
/// log. Writers also wait for each other, one after the other, to make a table's file longer.
fn longest_lock_wait(log: &str) -> f64 {
    let lines: Vec<&str> = log.lines().collect();
    let waits = lines.iter().enumerate().filter_map(|(at, line)| {
        let (_, rest) = line.split_once(" acquired ").filter(|(_, rest)| !rest.contains(" on extension of relation "))?;
        let wait: f64 = rest.rsplit_once(" after ")?.1.trim_end_matches(" ms").parse().ok()?;
        let of_insert = lines[at + 1..].iter().take(3).any(|next| next.contains("STATEMENT:  INSERT INTO events"));
        of_insert.then_some(wait)
    });
    waits.fold(0.0, f64::max)
}

/// The configuration by which pg_partman makes three and drops three.
fn partman_config(cluster: &PgCluster) -> Result<String> {
    let version = cluster.psql("postgres", "SELECT extversion FROM pg_extension WHERE extname = 'pg_partman'")?;
    ensure!(version.starts_with("4."), "pg_partman {version} is another than Debian's 4.7");
    Ok("SET TimeZone = 'UTC'; DROP TABLE IF EXISTS partman.template_public_events;
        DROP TABLE events; CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, body text) PARTITION BY RANGE (at);
        SELECT partman.create_parent('public.events', 'at', 'native', 'monthly', p_premake := 1,
          p_start_partition := (date_trunc('month', now()) - interval '5 months')::text);
        DROP TABLE IF EXISTS events_default;
        UPDATE partman.part_config SET premake = 4, retention = '2 months', retention_keep_table = false, infinite_time_partitions = true
          WHERE parent_table = 'public.events';
        INSERT INTO events (at, body) SELECT date_trunc('month', now()) - n * interval '3 hours', repeat('x', 100) FROM generate_series(1, 1200) n;"
        .to_owned())
}

fn file_of(sql: &str) -> Result<std::fs::File> {
    use std::io::{Seek as _, SeekFrom};
    let mut file = tempfile::tempfile()?;
    file.write_all(sql.as_bytes())?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}
