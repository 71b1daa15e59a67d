//! The built job on real servers of three versions, with what stands in its way.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archives;
mod blocked;
mod command_line;
mod copied;
mod created;
mod default_rows;
mod deployments;
mod many;
mod retired;
mod strangers;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::Duration,
};

use plana_testkit::{
    bin::Running,
    job::{Job, Outcome},
    pg::{PgCluster, PgMajor, quote_identifier},
};

/// A database of its own on a server of that version, and the job that rolls its tables.
struct Place {
    cluster: &'static PgCluster,
    name: String,
    job: Job,
}

/// Six months of events, this one the last, by month in UTC.
const EVENTS: &str = "
    CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, deployment text, body text) PARTITION BY RANGE (at);
    SET TimeZone = 'UTC';
    DO $$ BEGIN FOR back IN 0..5 LOOP
      EXECUTE format('CREATE TABLE %I PARTITION OF events FOR VALUES FROM (%L) TO (%L)',
        to_char(date_trunc('month', now()) - back * interval '1 month', '\"events_\"YYYY_MM'),
        date_trunc('month', now()) - back * interval '1 month', date_trunc('month', now()) - (back - 1) * interval '1 month');
    END LOOP; END $$;
    INSERT INTO events (at, deployment, body)
      SELECT date_trunc('month', now()) - back * interval '1 month' + day * interval '1 day', 'd' || day % 3, repeat('x', 50)
      FROM generate_series(1, 5) back, generate_series(0, 19) day;";

/// A configuration of one table.
const TABLE: &str = "[partitions.tables.events]\ntable = \"public.events\"\n";

/// A table, the first by name, whose query for deployments answers when the gate is opened. By then the run has planned all
/// tables and made what they miss, and retires nothing yet.
const GATE: &str = "[partitions.tables.gate]\ntable = \"public.a_gate\"\n[partitions.tables.gate.deployments]\nquery = \"SELECT 'd0', 30 WHERE ready()\"\ncolumn = \"deployment\"\n";

impl Place {
    fn new(major: PgMajor) -> Self {
        let cluster = PgCluster::shared(major);
        let name = cluster.fresh_database("roll").unwrap();
        let job = Job::of(env!("CARGO_BIN_EXE_partition-roller"))
            .on(cluster)
            .env("PGDATABASE", &name)
            .set("partitions.lock_attempts", "2")
            .limit(Duration::from_secs(60));
        Place { cluster, name, job }
    }

    fn with_events(major: PgMajor) -> Self {
        let place = Place::new(major);
        place.sql(EVENTS);
        place
    }

    #[track_caller]
    fn sql(&self, sql: &str) -> String {
        self.cluster.psql(&self.name, sql).unwrap_or_else(|error| panic!("{error:#}\n{sql}"))
    }

    /// The job with that configuration.
    fn job(&self, config: &str) -> Job {
        self.job.clone().config(config)
    }

    #[track_caller]
    fn run(&self, config: &str, code: i32) -> Outcome {
        self.job(config).run().expect(code)
    }

    /// What `check` prints.
    #[track_caller]
    fn checked(&self, config: &str, code: i32) -> String {
        self.job(config).arg("check").run().done.expect_code(code).stdout
    }

    /// The partitions of a table with their bounds, a line each.
    fn partitions(&self, table: &str) -> Vec<String> {
        let lines = self.sql(&format!(
            "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SELECT c.relname || ' ' || pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent = '{table}'::regclass ORDER BY c.relname"
        ));
        lines.lines().map(str::to_owned).collect()
    }

    /// The name of the partition of so many months ago; negative for the future.
    fn month(&self, back: i32) -> String {
        self.sql(&format!(
            "SET TimeZone = 'UTC'; SELECT to_char(date_trunc('month', now()) - {back} * interval '1 month', '\"events_\"YYYY_MM')"
        ))
    }

    fn has(&self, table: &str) -> bool {
        self.sql(&format!("SELECT to_regclass('{table}') IS NOT NULL")) == "t"
    }

    fn is_attached(&self, partition: &str) -> bool {
        self.sql(&format!("SELECT EXISTS (SELECT FROM pg_class WHERE relname = '{partition}' AND relispartition)")) == "t"
    }

    /// A gate between a run's plan and what it does to tables behind `a_gate`: see [`GATE`].
    fn gate(&self) {
        self.sql(
            "CREATE TABLE a_gate (at timestamptz NOT NULL, deployment text) PARTITION BY RANGE (at); CREATE TABLE opened ();
             CREATE FUNCTION ready() RETURNS boolean LANGUAGE plpgsql VOLATILE AS
               'BEGIN WHILE NOT EXISTS (SELECT FROM opened) LOOP PERFORM pg_sleep(0.02); END LOOP; RETURN true; END'",
        );
    }

    /// Waits until a run stands at the gate.
    fn wait_at_gate(&self, running: &mut Running) {
        let there = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%WHERE ready()%' AND pid <> pg_backend_pid()";
        running.wait_until("the run at the gate", |_| self.sql(there) != "0").unwrap();
    }

    /// Lets it pass, and all that come later.
    fn open_gate(&self) {
        self.sql("INSERT INTO opened DEFAULT VALUES");
    }

    /// Leaves a detach of that partition half done, as a crash does.
    fn leave_half_detached(&self, partition: &str) {
        // A reader in whose way it waits; as the roller would not begin one then, it is begun by hand.
        let mut reader = self.session("BEGIN; SELECT count(*) FROM events");
        let mut detach = self.cluster.command("psql");
        detach.args(["-X", "-q", "-c", &format!("ALTER TABLE events DETACH PARTITION {partition} CONCURRENTLY")]);
        let mut detach = detach.env("PGDATABASE", &self.name).stderr(Stdio::null()).spawn().unwrap();
        while self.half_detached() == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%CONCURRENTLY' AND datname = current_database()");
        detach.wait().unwrap();
        reader.run("COMMIT");
        assert_eq!(self.half_detached(), 1);
    }

    /// How many partitions are half detached.
    fn half_detached(&self) -> u32 {
        self.sql("SELECT count(*) FROM pg_inherits WHERE inhdetachpending").parse().unwrap()
    }

    /// A session that stays open, after that statement.
    fn session(&self, sql: &str) -> Session {
        let mut session = Session::open(self);
        session.run(sql);
        session
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.cluster.psql("postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_identifier(&self.name))).ok();
    }
}

/// psql with an open transaction, say.
struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn open(place: &Place) -> Self {
        let mut command = place.cluster.command("psql");
        command.args(["-X", "-A", "-t", "-q"]).env("PGDATABASE", &place.name).env("PGAPPNAME", "in-the-way");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Session { child, input, output }
    }

    /// Runs statements to their end and gives the last line that they print.
    fn run(&mut self, sql: &str) -> String {
        writeln!(self.input, "{}\n\\echo ---", if sql.starts_with('\\') { sql.to_owned() } else { format!("{sql};") }).unwrap();
        let mut last = String::new();
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            match line.trim_end() {
                "---" => return last,
                text => text.clone_into(&mut last),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn each(test: impl Fn(PgMajor)) {
    PgMajor::ALL.into_iter().for_each(test);
}
