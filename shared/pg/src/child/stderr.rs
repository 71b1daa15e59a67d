//! A child's standard error: logged as it comes, its first error and its end kept.

use std::{
    collections::VecDeque,
    io::Read,
    process::ChildStderr,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedSender;

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

/// Of a program that tells its steps, those go to `steps` and only complaints are kept.
pub(super) fn collect(stderr: Option<ChildStderr>, steps: Option<UnboundedSender<String>>) -> Lines {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let mut sieve = Sieve { kept: kept.clone(), steps, passing: false };
    let reader = stderr.map(|stderr| std::thread::Builder::new().name("child-stderr".to_owned()).spawn(move || read(stderr, &mut sieve)));
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

fn read(mut stderr: ChildStderr, sieve: &mut Sieve) {
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
                b'\n' => sieve.take(&mut line),
                byte if line.len() < LINE_BYTES => line.push(*byte),
                _ => {}
            }
        }
    }
    if !line.is_empty() {
        sieve.take(&mut line);
    }
}

/// Keeps what a child complains of, and passes on what it tells of its steps.
struct Sieve {
    kept: Arc<Mutex<Kept>>,
    steps: Option<UnboundedSender<String>>,
    /// Whether the last message was a step: a name with a line break goes on in the next line.
    passing: bool,
}

impl Sieve {
    fn take(&mut self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        line.clear();
        let message = text.starts_with("pg_");
        if let Some(steps) = &self.steps {
            if message {
                self.passing = !is_complaint(&text);
            }
            if self.passing {
                // Whoever no longer listens need not know.
                message.then(|| steps.send(text).ok());
                return;
            }
        }
        // What it quotes after its own words may be a row, or a statement with a password.
        if message {
            tracing::debug!(line = %text, "child");
        }
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

/// Whether a verbose program says it in earnest.
fn is_complaint(message: &str) -> bool {
    const COMPLAINTS: &[&str] =
        &["error: ", "warning: ", "detail: ", "hint: ", "fatal: ", "from TOC entry ", "while ", "terminated by user"];
    let said = message.split_once(": ").map_or(message, |(_, said)| said);
    COMPLAINTS.iter().any(|complaint| said.starts_with(complaint))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_passed_on_and_complaints_are_kept() {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (steps, mut told) = tokio::sync::mpsc::unbounded_channel();
        let mut sieve = Sieve { kept: kept.clone(), steps: Some(steps), passing: false };
        let said = "ld.so: odd\npg_restore: launching item 7 TABLE DATA a\nb\npg_restore: warning: w\nof two lines\n\
            pg_restore: creating TABLE \"public.a\nb\"\npg_restore: from TOC entry 3; 0 0 X y\npg_restore: error: e\nCommand was: SELECT 1\n";
        said.lines().for_each(|line| sieve.take(&mut line.as_bytes().to_vec()));
        drop(sieve);
        let kept = std::mem::take(&mut *kept.lock().unwrap());
        let kept: Vec<_> = kept.before.lines.into_iter().chain(kept.error).collect();
        let complaints = [
            "ld.so: odd",
            "pg_restore: warning: w",
            "of two lines",
            "pg_restore: from TOC entry 3; 0 0 X y",
            "pg_restore: error: e",
            "Command was: SELECT 1",
        ];
        assert_eq!(kept, complaints);
        let told: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        assert_eq!(told, ["pg_restore: launching item 7 TABLE DATA a", "pg_restore: creating TABLE \"public.a"]);
    }
}
