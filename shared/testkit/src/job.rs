//! A backup job under test: its binary as a child with a home of its own, its report, and a look into what it stored.

pub mod age;
pub mod bucket;
pub mod faults;
pub mod look;
pub mod store;

use std::{
    ffi::OsStr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use store::FileStore;
use tempfile::TempDir;

use crate::{
    bin::{Bin, Done, Running},
    pg::PgCluster,
    process::{Signal, send},
};

/// Marks the children of one job's runs, so that one that is left over is found. They inherit little else than what begins with PG.
const MARK: &str = "PG_TEST_RUN_MARK";

/// A call of the job with a home of its own: state directory, file store, and a marked environment.
#[derive(Debug, Clone)]
pub struct Job {
    bin: Bin,
    home: Arc<TempDir>,
}

impl Job {
    /// The job of that binary, without a server: only the store and the state directory are set. Other settings are the
    /// defaults.
    pub fn of(program: &str) -> Self {
        Self::under(&[], program)
    }

    /// The same, called by another program such as `faketime`.
    pub fn under(wrapper: &[&str], program: &str) -> Self {
        let home = Arc::new(tempfile::Builder::new().prefix("plana-job-").tempdir().expect("a directory"));
        let at = |name: &str| home.path().join(name).display().to_string();
        std::fs::create_dir(at("state")).expect("a directory");
        let call: Vec<&str> = wrapper.iter().copied().chain([program]).collect();
        let bin = Bin::program(call[0])
            .args(&call[1..])
            .args(["--output", "json", "--log-format", "text"])
            .env("PLANA_JOBS__STATE_DIR", at("state"))
            .env("PLANA_JOBS__STORE__BACKUPS__URL", format!("file://{}", at("store")))
            .env("PATH", "/usr/bin:/bin")
            .env(MARK, home.path());
        Job { bin, home }
    }

    /// On that server over its socket, as the superuser, with the programs of its own version and no others.
    #[must_use]
    pub fn on(self, cluster: &PgCluster) -> Self {
        self.envs(cluster.env()).programs(cluster.bin_dir())
    }

    /// On the server of that connection string.
    #[must_use]
    pub fn at(self, dsn: &str, programs: &Path) -> Self {
        self.env("PLANA_JOBS__POSTGRES__DSN", dsn).programs(programs)
    }

    /// Looks for pg_dump and pg_dumpall there and nowhere else.
    pub fn programs(self, directory: &Path) -> Self {
        // Debian's /usr/bin has a pg_dump of its own: this one comes first, and zstd is not needed by the job.
        self.env("PLANA_JOBS__POSTGRES__BIN_DIRS", directory).env("PATH", directory)
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.bin = self.bin.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.bin = self.bin.args(arguments);
        self
    }

    /// Sets a variable; a later value wins.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.bin = self.bin.env(name, value);
        self
    }

    /// Sets variables.
    pub fn envs(mut self, variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Self {
        self.bin = self.bin.envs(variables);
        self
    }

    /// A setting by its key: `set("dump.stall_timeout", "2s")`.
    pub fn set(self, key: &str, value: &str) -> Self {
        self.env(format!("PLANA_JOBS__{}", key.to_uppercase().replace('.', "__")), value)
    }

    /// Writes a configuration file into the job's home and uses it.
    pub fn config(self, text: &str) -> Self {
        let path = self.home.path().join("config.toml");
        std::fs::write(&path, text).expect("writes the configuration");
        self.arg("--config").arg(path)
    }

    /// Only these databases, and no globals.
    pub fn only(self, names: &[&str]) -> Self {
        names.iter().fold(self, |job, name| job.arg(format!("--only={name}")))
    }

    /// Another store than the file store of its own.
    pub fn store_url(self, url: &str) -> Self {
        self.env("PLANA_JOBS__STORE__BACKUPS__URL", url)
    }

    /// How long it may take.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.bin = self.bin.limit(limit);
        self
    }

    /// The directory of its own, removed with the last clone of this.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its file store.
    pub fn store(&self) -> FileStore {
        FileStore::new(self.home().join("store"))
    }

    /// Runs it to its end.
    pub fn run(&self) -> Outcome {
        Outcome::of(self.bin.run().expect("the job ends in time"))
    }

    /// Starts it.
    pub fn spawn(&self) -> Running {
        self.bin.spawn().expect("the job starts")
    }

    /// The processes that this job's runs started and that still run, the job itself among them: id and command line.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let mark = format!("{MARK}={}", self.home().display());
        let holds = |pid: u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let all = std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let line =
            |pid: u32| String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ");
        // A zombie has no environment any more.
        all.filter(|pid| holds(*pid)).map(|pid| (pid, line(pid))).collect()
    }

    /// The pg_dump that dumps that database in one of this job's runs, if it runs just now.
    pub fn pg_dump_of(&self, database: &str) -> Option<u32> {
        let wanted = format!("PGDATABASE={database}");
        let dumps = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
        };
        self.processes().into_iter().find(|(pid, line)| line.contains("--format=custom") && dumps(pid)).map(|(pid, _)| pid)
    }

    /// Waits for the pg_dump of that database.
    pub fn wait_for_pg_dump(&self, running: &mut Running, database: &str) -> u32 {
        let mut found = None;
        running
            .wait_until("pg_dump at work", |_| {
                found = self.pg_dump_of(database);
                found.is_some()
            })
            .expect("pg_dump is started");
        found.expect("a process id")
    }

    /// Panics where a process that this job's runs started still runs; waits a moment for those that are just ending.
    #[track_caller]
    pub fn expect_no_process_left(&self) {
        let begun = Instant::now();
        while !self.processes().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(3), "still there: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Sends a signal to a process of which it does not matter whether it has just ended.
pub fn signal(pid: u32, signal: Signal) {
    send(pid, signal).ok();
}

/// Panics where a client of the server is still connected to that database; waits a moment for those that are just leaving.
#[track_caller]
pub fn expect_no_backend_left(cluster: &PgCluster, database: &str) {
    let query = format!(
        "SELECT string_agg(format('%s %s: %s', pid, application_name, query), E'\\n') FROM pg_stat_activity \
         WHERE datname = {} AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
        crate::pg::quote_literal(database)
    );
    let begun = Instant::now();
    loop {
        let left = cluster.psql("postgres", &query).expect("the server answers");
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "still connected:\n{left}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How a run ended, and what it reported.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The process's end.
    pub done: Done,
    /// The JSON on stdout; null where there is none.
    pub report: Value,
}

impl Outcome {
    /// Reads the report where there is one.
    pub fn of(done: Done) -> Self {
        let report = serde_json::from_str(&done.stdout).unwrap_or_default();
        Outcome { done, report }
    }

    /// Waits for the end of a run that was started.
    #[track_caller]
    pub fn wait(running: Running) -> Self {
        Self::of(running.wait().expect("the job ends in time"))
    }

    /// Panics with all that it said unless it ended with that code, and the report says the same.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        let Outcome { done, report } = self;
        let done = done.expect_code(code);
        assert_eq!(report["exit_code"], code, "the report must name the exit code too:\n{}\n{}", done.stdout, done.stderr);
        Outcome { done, report }
    }

    /// The item of that area and name.
    #[track_caller]
    pub fn item_in(&self, area: &str, name: &str) -> &Value {
        let items = self.report["items"].as_array().unwrap_or_else(|| panic!("no items:\n{}\n{}", self.done.stdout, self.done.stderr));
        let found = items.iter().find(|item| item["area"] == area && item["name"] == name);
        found.unwrap_or_else(|| panic!("no item {area}/{name:?}:\n{}\n{}", self.done.stdout, self.done.stderr))
    }

    /// The item of that name, which is not the globals'.
    #[track_caller]
    pub fn item(&self, name: &str) -> &Value {
        let items = self.report["items"].as_array().unwrap_or_else(|| panic!("no items:\n{}\n{}", self.done.stdout, self.done.stderr));
        let found = items.iter().find(|item| item["area"] != "globals" && item["name"] == name);
        found.unwrap_or_else(|| panic!("no item {name:?}:\n{}\n{}", self.done.stdout, self.done.stderr))
    }

    /// What became of a database: `done`, `failed`, …
    #[track_caller]
    pub fn outcome(&self, database: &str) -> &str {
        self.item(database)["outcome"].as_str().expect("an outcome")
    }

    /// Why a database has no backup.
    #[track_caller]
    pub fn error(&self, database: &str) -> &str {
        let item = self.item(database);
        assert_eq!(item["outcome"], "failed", "{item:#}\n{}", self.done.stderr);
        item["error"].as_str().expect("an error")
    }

    /// Why the whole run ended.
    #[track_caller]
    pub fn run_error(&self) -> &str {
        self.report["error"].as_str().unwrap_or_else(|| panic!("no error:\n{}\n{}", self.done.stdout, self.done.stderr))
    }

    /// The names of an outcome's items, the globals left aside, sorted.
    pub fn databases(&self, outcome: &str) -> Vec<String> {
        let items = self.report["items"].as_array().into_iter().flatten();
        let mut names: Vec<String> = items
            .filter(|item| item["area"] != "globals" && item["outcome"] == outcome)
            .filter_map(|item| item["name"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        names
    }

    /// The warnings of the run and of its items, a line each.
    pub fn warnings(&self) -> String {
        let of = |value: &Value| value["warnings"].as_array().cloned().unwrap_or_default();
        let items = self.report["items"].as_array().into_iter().flatten().flat_map(of);
        let all = of(&self.report).into_iter().chain(items);
        all.filter_map(|warning| warning.as_str().map(str::to_owned)).collect::<Vec<_>>().join("\n")
    }
}

/// Panics unless the text holds each of the parts.
#[track_caller]
pub fn expect_words(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}
