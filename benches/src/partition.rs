//! `partition-roller` against what a user would write, and pg_partman: how long inserts stand still, and how fast it plans.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use plana_testkit::pg::{PgCluster, PgMajor};

use crate::{measure, tools::job};

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

const WRITERS: usize = 8;

/// Everything that the README's table says of partitions.
pub fn run(rounds: usize, wanted: impl Fn(&str) -> bool) -> Result<()> {
    if wanted("partition-stall") {
        stall(rounds)?;
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

/// A session of psql that answers one statement after the other.
struct Session {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Session {
    fn open(cluster: &PgCluster) -> Result<Self> {
        let mut child = psql(cluster).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("an output")?);
        Ok(Session { child, output })
    }

    fn run(&mut self, sql: &str) -> Result<()> {
        writeln!(self.child.stdin.as_mut().context("an input")?, "{sql};\n\\echo --")?;
        let mut line = String::new();
        while line.trim_end() != "--" {
            line.clear();
            ensure!(self.output.read_line(&mut line)? > 0, "psql ended");
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The longest insert of eight writers that began while `work` ran, beside a reader of transactions of 100 ms; and how long it
/// took.
fn longest_insert(cluster: &PgCluster, work: impl FnOnce() -> Result<()>) -> Result<(Duration, Duration, usize)> {
    let (working, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (working, done) = (&working, &done);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(move || -> Result<(Duration, usize)> {
                    let (mut session, mut longest, mut count) = (Session::open(cluster)?, Duration::ZERO, 0);
                    while !done.load(Ordering::Relaxed) {
                        let (counts, began) = (working.load(Ordering::Relaxed), Instant::now());
                        session.run("INSERT INTO events (at, body) VALUES (now(), 'x')")?;
                        if counts {
                            longest = longest.max(began.elapsed());
                            count += 1;
                        }
                    }
                    Ok((longest, count))
                })
            })
            .collect();
        let reader = scope.spawn(move || -> Result<()> {
            let mut session = Session::open(cluster)?;
            while !done.load(Ordering::Relaxed) {
                session.run("BEGIN; SELECT count(*) FROM events WHERE at > now() - interval '1 hour'; SELECT pg_sleep(0.1); COMMIT")?;
            }
            Ok(())
        });
        // Until all are connected and have inserted something.
        thread::sleep(Duration::from_secs(2));
        working.store(true, Ordering::Relaxed);
        let began = Instant::now();
        let worked = work();
        let took = began.elapsed();
        done.store(true, Ordering::Relaxed);
        worked?;
        let (mut longest, mut count) = (Duration::ZERO, 0);
        for writer in writers {
            let (of_writer, inserts) = writer.join().map_err(|_| anyhow::anyhow!("a writer died"))??;
            longest = longest.max(of_writer);
            count += inserts;
        }
        reader.join().map_err(|_| anyhow::anyhow!("the reader died"))??;
        Ok((longest, took, count))
    })
}

fn stall(rounds: usize) -> Result<()> {
    // The server's own word on who waited for a lock for more than 5 ms, and how long: writers as fast as they can keep both
    // processors busy, and then a statement takes long by itself, or its psql waits for a processor.
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
            "  {name:<36} an insert waited {waited:>6.1} ms for a lock, and took {:>7.1} ms with its client at most   all of it {:>5.2} s   {inserts} inserts",
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
