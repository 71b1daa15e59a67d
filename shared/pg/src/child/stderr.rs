//! A child's standard error: logged as it comes, its first error and its end kept.

use std::{
    collections::VecDeque,
    io::Read,
    process::ChildStderr,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::failure::is_error;

/// How much is kept of the lines before the first error, and of those after it.
const KEPT_BYTES: usize = 64 << 10;
/// How much is kept of one line.
const LINE_BYTES: usize = 8 << 10;
/// How many lines are kept from the first error on, whatever follows: pg_restore quotes the statement that failed, and a
/// function's text would push the error out.
const ERROR_LINES: usize = 8;
/// How long to wait for the rest after the child's end; a process that it left behind may hold the pipe open.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Kept {
    before: Tail,
    error: Vec<String>,
    after: Tail,
}

/// The last lines of many.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

/// Collects in a thread of its own.
pub(super) struct Lines {
    kept: Arc<Mutex<Kept>>,
    reader: Option<JoinHandle<()>>,
}

pub(super) fn collect(stderr: Option<ChildStderr>) -> Lines {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let shared = kept.clone();
    let reader = stderr.map(|stderr| std::thread::Builder::new().name("child-stderr".to_owned()).spawn(move || read(stderr, &shared)));
    let reader = match reader.transpose() {
        Ok(reader) => reader,
        Err(error) => {
            tracing::warn!(%error, "what a child complains of is lost");
            None
        }
    };
    Lines { kept, reader }
}

impl Lines {
    /// The first error and the last lines.
    pub(super) fn finish(self) -> Vec<String> {
        let deadline = Instant::now() + GRACE;
        while self.reader.as_ref().is_some_and(|reader| !reader.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { before, error, after } = std::mem::take(&mut *kept);
        before.lines.into_iter().chain(error).chain(after.lines).collect()
    }
}

fn read(mut stderr: ChildStderr, kept: &Mutex<Kept>) {
    let mut buffer = [0u8; 4096];
    let mut line = Vec::new();
    loop {
        let count = match stderr.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        for byte in buffer.iter().take(count) {
            match byte {
                b'\n' => keep(kept, &mut line),
                byte if line.len() < LINE_BYTES => line.push(*byte),
                _ => {}
            }
        }
    }
    if !line.is_empty() {
        keep(kept, &mut line);
    }
}

fn keep(kept: &Mutex<Kept>, line: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(line).trim_end().to_owned();
    line.clear();
    // What it quotes after its own words may be a row, or a statement with a password.
    if text.starts_with("pg_") {
        tracing::debug!(line = %text, "child");
    }
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(text);
}

impl Kept {
    fn push(&mut self, line: String) {
        if self.error.is_empty() && !is_error(&line) {
            self.before.push(line);
        } else if self.error.len() < ERROR_LINES {
            self.error.push(line);
        } else {
            self.after.push(line);
        }
    }
}

impl Tail {
    fn push(&mut self, line: String) {
        self.bytes += weight(&line);
        self.lines.push_back(line);
        while self.bytes > KEPT_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= weight(&oldest);
        }
    }
}

/// An empty line takes memory too.
fn weight(line: &str) -> usize {
    line.len() + size_of::<String>()
}
