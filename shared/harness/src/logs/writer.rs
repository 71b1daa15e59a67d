//! Where lines go: stderr, past the bars.

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
};

use indicatif::MultiProgress;
use tracing_subscriber::fmt::MakeWriter;

/// Writes each line to stderr while the bars stand aside.
#[derive(Clone)]
pub(super) struct StderrWriter {
    bars: Option<MultiProgress>,
}

impl StderrWriter {
    pub(super) fn new(bars: Option<MultiProgress>) -> Self {
        StderrWriter { bars }
    }
}

impl<'a> MakeWriter<'a> for StderrWriter {
    type Writer = StderrWriter;

    fn make_writer(&'a self) -> StderrWriter {
        self.clone()
    }
}

impl Write for StderrWriter {
    // The subscriber hands over each line whole, in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().lock().write_all(line);
        match &self.bars {
            Some(bars) => bars.suspend(write)?,
            None => write()?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Whether stderr goes to the journal: systemd says so by device and inode in `$JOURNAL_STREAM`, since
/// the variable is inherited also where stderr was redirected.
pub(super) fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    if io::stderr().is_terminal() {
        return false;
    }
    rustix::fs::fstat(io::stderr().as_fd()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}
