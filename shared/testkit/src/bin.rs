//! Our own binaries as child processes: their output, exit codes, signals and memory.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::{Signal, clean, lock, send};

/// A call of a binary, with an environment that holds nothing of PostgreSQL's, AWS's or ours but what is given here.
#[derive(Debug, Clone)]
pub struct Bin {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    limit: Duration,
}

impl Bin {
    /// One of the workspace's binaries, from the target directory in which this test stands.
    pub fn new(name: &str) -> Result<Self> {
        let test = std::env::current_exe().context("failed to find the target directory")?;
        let directory = test.ancestors().nth(2).context("failed to find the target directory")?;
        let program = directory.join(name);
        ensure!(program.exists(), "failed to find {}: run cargo build -p {name}", program.display());
        Ok(Self::program(program))
    }

    /// Any program, by its path: `env!("CARGO_BIN_EXE_…")`, or one of the system's.
    pub fn program(program: impl Into<PathBuf>) -> Self {
        let limit = Duration::from_secs(120);
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new(), directory: None, limit }
    }

    /// The same, called by another program: `["/bin/sh", "-c", "umask 0; exec \"$@\"", "sh"]`.
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        if let [program, arguments @ ..] = wrapper {
            let called = std::mem::replace(&mut self.program, program.into()).into_os_string();
            let words: Vec<OsString> = arguments.iter().map(OsString::from).chain([called]).collect();
            self.arguments.splice(0..0, words);
        }
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|one| one.as_ref().to_owned()));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets variables, such as [`PgCluster::env`](crate::pg::PgCluster::env) or [`Bucket::env`](crate::ceph::Bucket::env).
    #[must_use]
    pub fn envs(mut self, variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Self {
        self.environment.extend(variables.into_iter().map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned())));
        self
    }

    /// Runs it in that directory.
    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// How long it may take (two minutes unless set): then it is killed and the test fails.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end.
    pub fn run(&self) -> Result<Done> {
        self.spawn()?.wait()
    }

    /// Starts it.
    pub fn spawn(&self) -> Result<Running> {
        let mut command = Command::new(&self.program);
        clean(&mut command);
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name);
        }
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("failed to start {}", self.program.display()))?;
        let stdout = Capture::of(child.stdout.take());
        let stderr = Capture::of(child.stderr.take());
        Ok(Running { child, stdout, stderr, begun: Instant::now(), limit: self.limit, peak: 0 })
    }
}

#[derive(Debug)]
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Capture {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let shared = Arc::clone(&bytes);
        let reader = pipe.map(|mut pipe| {
            std::thread::spawn(move || {
                let mut buffer = [0; 8192];
                while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                    lock(&shared).extend_from_slice(&buffer[..count]);
                }
            })
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.bytes)).into_owned()
    }

    /// All of it: waits for the end, but not for a grandchild that keeps the pipe open.
    fn finish(&mut self) -> String {
        let begun = Instant::now();
        while self.reader.as_ref().is_some_and(|reader| !reader.is_finished()) && begun.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.text()
    }
}

/// A binary that runs; killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Capture,
    stderr: Capture,
    begun: Instant,
    limit: Duration,
    peak: u64,
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid(), signal)
    }

    /// What it has written to standard error up to now.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// What it has written to standard output up to now.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits until `holds` does, for instance until a line stands in its log; an error when it ends before.
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> Result<()> {
        while !holds(self) {
            self.sample();
            if let Some(status) = self.child.try_wait()? {
                // What it wrote last may be what was waited for.
                self.stderr.finish();
                self.stdout.finish();
                ensure!(holds(self), "failed to see {what}: the program ended before with {status}:\n{}", self.stderr());
                break;
            }
            ensure!(self.begun.elapsed() < self.limit, "failed to see {what} in {:?}:\n{}", self.limit, self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Its largest resident memory up to now, in bytes, without that of its children.
    pub fn peak_rss_bytes(&mut self) -> u64 {
        self.sample();
        self.peak
    }

    fn sample(&mut self) {
        // The mark only rises, so the last look before the end is all but exact.
        let mark = peak_rss_bytes(self.pid()).unwrap_or(0);
        self.peak = self.peak.max(mark);
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Result<Done> {
        let status = loop {
            self.sample();
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if self.begun.elapsed() > self.limit {
                let (limit, stderr) = (self.limit, self.stderr());
                bail!("failed to wait for the program: it still runs after {limit:?}:\n{stderr}");
            }
            std::thread::sleep(Duration::from_millis(if self.begun.elapsed().as_millis() < 200 { 1 } else { 5 }));
        };
        let elapsed = self.begun.elapsed();
        Ok(Done { status, stdout: self.stdout.finish(), stderr: self.stderr.finish(), elapsed, peak_rss_bytes: self.peak })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// A binary that has ended.
#[derive(Debug, Clone)]
pub struct Done {
    /// How.
    pub status: ExitStatus,
    /// All that it wrote to standard output.
    pub stdout: String,
    /// All that it wrote to standard error.
    pub stderr: String,
    /// How long it took.
    pub elapsed: Duration,
    /// Its largest resident memory in bytes, without that of its children.
    pub peak_rss_bytes: u64,
}

impl Done {
    /// Its exit code; none where a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Panics with all that it said unless it ended with that code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{}\nstdout:\n{}\nstderr:\n{}", self.status, self.stdout, self.stderr);
        self
    }

    /// Its standard output as JSON; panics where it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON: {error}\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }
}

/// The largest resident memory of a process up to now, in bytes; none when it is gone.
#[must_use]
pub fn peak_rss_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
