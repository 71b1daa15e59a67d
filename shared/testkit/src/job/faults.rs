//! Means to make things go wrong at a known moment.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::{Child, ChildStdin, Stdio},
    sync::Mutex,
};

use super::Job;
use crate::{
    bin::Running,
    pg::{PgCluster, PgMajor, quote_identifier},
};

/// What [`big_database`] holds, in bytes: in a dump, as hexadecimal, it is twice as much, and no compressor makes that
/// smaller than this again.
pub const BIG_BYTES: u64 = 32 << 20;

/// A new database of [`BIG_BYTES`] that no compressor makes smaller.
pub fn big_database(cluster: &PgCluster, prefix: &str) -> String {
    static MADE: Mutex<Vec<(PgMajor, u16)>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap();
    if !made.contains(&(cluster.major(), cluster.port())) {
        cluster.psql("postgres", "CREATE DATABASE big_template").expect("a database");
        fill(cluster, "big_template", BIG_BYTES);
        made.push((cluster.major(), cluster.port()));
    }
    // Under the lock: a template must not be copied twice at the same time.
    let name = cluster.fresh_database(prefix).expect("a database");
    let quoted = quote_identifier(&name);
    cluster.psql("postgres", &format!("DROP DATABASE {quoted}")).expect("drops");
    cluster.psql("postgres", &format!("CREATE DATABASE {quoted} TEMPLATE big_template")).expect("a copy");
    name
}

/// Fills a table `big` with about so many bytes that no compressor makes smaller.
pub fn fill(cluster: &PgCluster, database: &str, bytes: u64) {
    const ROW: u64 = 128 * 64;
    let rows = bytes / ROW;
    let sql = format!(
        "CREATE TABLE big (id bigint, noise bytea);
         ALTER TABLE big ALTER noise SET STORAGE EXTERNAL;
         INSERT INTO big SELECT i, (SELECT string_agg(sha512(convert_to(i || ' ' || j, 'UTF8')), '') FROM generate_series(1, 128) AS j)
           FROM generate_series(1, {rows}) AS i"
    );
    cluster.psql(database, &sql).expect("fills");
}

impl Job {
    /// So slow an upload that a dump of [`big_database`] is certainly cut in its middle by whatever happens within ten seconds:
    /// pg_dump waits for the pipe then.
    pub fn slow(self) -> Self {
        self.set("upload.bandwidth", "1MiB").set("upload.memory", "15MiB").set("upload.parts_in_flight", "1")
    }

    /// Starts it and waits until pg_dump is in the middle of that database's data.
    pub fn spawn_into_the_middle(&self, database: &str) -> (Running, u32) {
        let mut running = self.spawn();
        let pid = self.wait_for_pg_dump(&mut running, database);
        running.wait_until("data from pg_dump", |_| written_by(pid) > 4 << 20).expect("pg_dump writes");
        (running, pid)
    }

    /// Puts a pg_dump of our own in front of the cluster's: a shell script in which `"$real"` is that one.
    pub fn pg_dump_script(self, cluster: &PgCluster, script: &str) -> Self {
        let directory: PathBuf = self.home().join("programs");
        std::fs::create_dir(&directory).expect("a directory");
        let (real, path) = (cluster.bin_dir().join("pg_dump"), directory.join("pg_dump"));
        let text = format!("#!/bin/sh\nreal='{}'\n[ \"$1\" = --version ] && exec \"$real\" --version\n{script}\n", real.display());
        std::fs::write(&path, text).expect("a script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        symlink(cluster.bin_dir().join("pg_dumpall"), directory.join("pg_dumpall")).expect("a link");
        self.programs(&directory)
    }
}

/// How many bytes a process has written, to files and pipes.
pub fn written_by(pid: u32) -> u64 {
    let counts = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    counts.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap_or(0)
}

/// A session that holds a table's strongest lock until it is dropped.
pub struct HeldLock {
    child: Child,
    _input: ChildStdin,
}

impl HeldLock {
    /// Takes the lock.
    pub fn on(cluster: &PgCluster, database: &str, table: &str) -> Self {
        let mut command = cluster.command("psql");
        command.args(["-X", "-q", "-A", "-t"]).env("PGDATABASE", database).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("psql");
        let mut input = child.stdin.take().expect("an input");
        writeln!(input, "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'locked';").expect("psql reads");
        input.flush().expect("psql reads");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("an output")).read_line(&mut line).expect("psql answers");
        assert_eq!(line.trim(), "locked");
        HeldLock { child, _input: input }
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
