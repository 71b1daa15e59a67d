//! Eight writers and a reader, by PostgreSQL's own pgbench.

use std::{
    process::{Child, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use plana_testkit::pg::PgCluster;

/// Sessions that insert.
pub const WRITERS: usize = 8;

/// Eight writers that insert as fast as they can, and a reader of transactions of 100 ms, all of them PostgreSQL's own pgbench:
/// eight sessions of psql with their threads take so much of two processors that an insert takes seconds by its client's clock
/// with nothing else going on.
struct Load<'a> {
    cluster: &'a PgCluster,
    home: tempfile::TempDir,
    clients: Vec<Child>,
}

impl<'a> Load<'a> {
    fn start(cluster: &'a PgCluster) -> Result<Self> {
        let mut load = Self { cluster, home: tempfile::Builder::new().prefix("plana-bench-").tempdir()?, clients: Vec::new() };
        load.client("writer", WRITERS, "INSERT INTO events (at, body) VALUES (now(), 'x');\n")?;
        let read = "SELECT count(*) FROM events WHERE at > now() - interval '1 hour';";
        load.client("reader", 1, &format!("BEGIN;\n{read}\n\\sleep 100 ms\nCOMMIT;\n"))?;
        // Until all are connected and have inserted something.
        thread::sleep(Duration::from_secs(2));
        Ok(load)
    }

    fn client(&mut self, name: &str, count: usize, script: &str) -> Result<()> {
        let file = self.home.path().join(name).with_extension("sql");
        std::fs::write(&file, script)?;
        let mut command = self.cluster.command("pgbench");
        command.current_dir(self.home.path()).args(["--no-vacuum", "--jobs=1", "--time=3600", "--log"]);
        command.arg(format!("--log-prefix={name}")).arg(format!("--client={count}")).arg("--file").arg(&file).arg("postgres");
        self.clients.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start pgbench")?);
        Ok(())
    }

    /// Waits until every insert that began before `moment` has ended, and ends the clients by their sessions: a pgbench that is
    /// killed loses the end of its log.
    fn end(&mut self, moment: SystemTime) -> Result<()> {
        let moment = since_epoch(moment).as_secs_f64();
        let older = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT INTO events%' AND query_start < to_timestamp({moment})"
        );
        while self.cluster.psql("postgres", &older)? != "0" {
            thread::sleep(Duration::from_millis(50));
        }
        // What has been answered is written into the log by then.
        thread::sleep(Duration::from_millis(200));
        self.cluster.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgbench'")?;
        for client in &mut self.clients {
            client.wait()?;
        }
        Ok(())
    }

    /// The longest insert by its client's clock, and the number of those, that were under way between the two moments.
    fn inserts(&self, began: SystemTime, ended: SystemTime) -> Result<(Duration, usize)> {
        let (began, ended) = (since_epoch(began), since_epoch(ended));
        let (mut longest, mut count) = (Duration::ZERO, 0);
        for entry in std::fs::read_dir(self.home.path())? {
            let path = entry?.path();
            if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("writer."))
                || path.extension().is_some_and(|end| end == "sql")
            {
                continue;
            }
            for line in std::fs::read_to_string(path)?.lines() {
                // client, number, microseconds that it took, number of the script, and when it ended: seconds, microseconds
                let fields: Vec<u64> =
                    line.split(' ').map(str::parse).collect::<Result<_, _>>().with_context(|| format!("pgbench's log: {line}"))?;
                let took = Duration::from_micros(fields[2]);
                let end = Duration::new(fields[4], 0) + Duration::from_micros(fields[5]);
                if end > began && end.saturating_sub(took) < ended {
                    (longest, count) = (longest.max(took), count + 1);
                }
            }
        }
        ensure!(count > 0, "nobody inserted anything");
        Ok((longest, count))
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        for client in &mut self.clients {
            client.kill().ok();
            client.wait().ok();
        }
    }
}

fn since_epoch(moment: SystemTime) -> Duration {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The longest of the inserts that were under way while `work` ran, how long it ran, and the number of those inserts.
pub fn longest_insert(cluster: &PgCluster, work: impl FnOnce() -> Result<()>) -> Result<(Duration, Duration, usize)> {
    let mut load = Load::start(cluster)?;
    let began = SystemTime::now();
    work()?;
    let ended = SystemTime::now();
    load.end(ended)?;
    let (longest, count) = load.inserts(began, ended)?;
    Ok((longest, ended.duration_since(began).unwrap_or_default(), count))
}
