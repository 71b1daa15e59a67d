//! A program of PostgreSQL as a child process.
//!
//! A thread of its own starts the child, waits for it, and ends only after it: the kernel sends the
//! death signal when the *thread* that started a child ends, so a short-lived one would kill its own
//! dump. The child is told to stop by SIGTERM first, because a killed pg_dump leaves its backend
//! behind, and it is told so by the kernel too when this process is killed.

mod failure;
mod running;
mod start;
mod stderr;

use std::{
    fs::File,
    io,
    process::ExitStatus,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::oneshot;

pub use failure::{ConnectionFailure, FailureKind, ProgramError, Sign, Subject};
pub(crate) use running::Launch;
pub use running::{Finished, Running};
pub use start::{Account, ChildCommand, Input};

/// How long a child may take to stop before it is killed. A server that is told to stop at once kills its own children
/// after five seconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// How a child ended.
#[derive(Debug)]
pub struct Exit {
    /// Its status.
    pub status: ExitStatus,
    /// The last lines of its standard error.
    pub stderr: Vec<String>,
}

/// A running child. Dropped, it is told to stop.
#[derive(Debug)]
pub struct Child {
    process: Process,
    stdin: Option<File>,
    stdout: Option<File>,
    ended: oneshot::Receiver<io::Result<Exit>>,
}

impl Child {
    /// Starts it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub async fn start(command: ChildCommand) -> io::Result<Self> {
        start::start(command).await
    }

    /// Its input, once, where it was piped: for a thread that writes it. Closing it is the end that the child waits for.
    pub fn take_stdin(&mut self) -> Option<File> {
        self.stdin.take()
    }

    /// Its output, once: for a thread that reads it.
    pub fn take_stdout(&mut self) -> Option<File> {
        self.stdout.take()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// A handle to stop it from anywhere.
    pub fn process(&self) -> Process {
        self.process.clone()
    }

    /// Waits until it has ended. Input and output that nobody took are closed first, so that it cannot wait for us.
    ///
    /// # Errors
    /// When its status cannot be known.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        self.close();
        let gone = || io::Error::other("its status was asked for before, or the thread that waits for it is gone");
        (&mut self.ended).await.map_err(|_| gone())?
    }

    /// Tells it to stop, kills it when it does not within eight seconds, and waits for its end.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn stop(&mut self) -> io::Result<Exit> {
        self.process.terminate();
        self.close();
        match tokio::time::timeout(PATIENCE, self.wait()).await {
            Ok(exit) => exit,
            Err(_) => {
                self.process.kill();
                self.wait().await
            }
        }
    }

    fn close(&mut self) {
        drop(self.stdin.take());
        drop(self.stdout.take());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.process.has_ended() {
            self.process.stop_in_background();
        }
    }
}

/// A handle to a child's process group; harmless once the child has ended.
#[derive(Debug, Clone)]
pub struct Process {
    pid: Pid,
    stop: Signal,
    /// Whether the child was reaped: from then on its number may belong to somebody else.
    reaped: Arc<Mutex<bool>>,
}

impl Process {
    fn new(pid: Pid, stop: Signal) -> Self {
        Process { pid, stop, reaped: Arc::new(Mutex::new(false)) }
    }

    /// Tells it to stop, also where it is stopped (SIGSTOP) and would not hear.
    pub fn terminate(&self) {
        self.signal(self.stop);
        self.signal(Signal::CONT);
    }

    /// Kills it.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        *self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped && let Err(error) = kill_process_group(self.pid, signal) {
            tracing::debug!(pid = ?self.pid, %error, "a child could not be signalled");
        }
    }

    fn stop_in_background(&self) {
        self.terminate();
        let process = self.clone();
        let killer = move || {
            std::thread::sleep(PATIENCE);
            process.kill();
        };
        if let Err(error) = std::thread::Builder::new().name("stop-child".to_owned()).spawn(killer) {
            tracing::warn!(%error, "a child may outlive its work: killing it at once");
            self.kill();
        }
    }
}
