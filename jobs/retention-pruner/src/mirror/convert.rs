//! `ledger`: a registry's access log on stdin, lines of a ledger on stdout.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read as _, Write},
    process::ExitCode,
};

use chrono::{DateTime, TimeDelta, Utc};
use plana_harness::Exit;
use plana_plan::mirror::{
    access_log::{Logged, read},
    pulls::{LONGEST_LINE, Line, Pulled},
};

/// A pull of the same thing within this time is told once, at the end at the latest.
const ONCE_IN: TimeDelta = TimeDelta::hours(1);
/// A log that says nothing for longer may have lost lines, or its clock may have been wrong: what it covers before and after is told
/// apart, and a run judges what lies between (`mirror.ledger_gap`).
const SILENCE: TimeDelta = TimeDelta::hours(1);
/// Things that are remembered for that; beyond them each pull is told.
const MOST_REMEMBERED: usize = 100_000;

/// What a log held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Converted {
    /// Lines that were read.
    pub lines: u64,
    /// Pulls among them.
    pub pulls: u64,
    /// Lines that are nothing of a log that is known here.
    pub unreadable: u64,
}

struct Converter<W> {
    out: W,
    converted: Converted,
    /// When each thing was told last, and when it was pulled after that.
    told: BTreeMap<Pulled, (DateTime<Utc>, Option<DateTime<Utc>>)>,
    covers: Option<(DateTime<Utc>, DateTime<Utc>)>,
    covers_told: Option<DateTime<Utc>>,
}

/// Reads a log to its end, and writes a ledger of what was pulled.
///
/// # Errors
/// When the log cannot be read, or the ledger not written.
pub fn convert(mut log: impl BufRead, out: impl Write) -> io::Result<Converted> {
    let (told, converted) = (BTreeMap::new(), Converted::default());
    let mut converter = Converter { out, converted, told, covers: None, covers_told: None };
    let mut line = Vec::new();
    loop {
        line.clear();
        log.by_ref().take(LONGEST_LINE as u64).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        if !line.ends_with(b"\n") && line.len() == LONGEST_LINE {
            log.skip_until(b'\n')?;
        }
        converter.take(&String::from_utf8_lossy(&line))?;
    }
    converter.finish()
}

impl<W: Write> Converter<W> {
    fn take(&mut self, line: &str) -> io::Result<()> {
        if line.trim().is_empty() {
            return Ok(());
        }
        self.converted.lines += 1;
        let Logged::At(time, pulled) = read(line) else {
            self.converted.unreadable += 1;
            return Ok(());
        };
        self.cover(time)?;
        match pulled {
            None | Some(Pulled::Other) => Ok(()),
            Some(pulled) => self.pull(time, pulled),
        }
    }

    fn cover(&mut self, time: DateTime<Utc>) -> io::Result<()> {
        let (from, to) = match self.covers {
            Some((from, to)) if (from - SILENCE..=to + SILENCE).contains(&time) => (from.min(time), to.max(time)),
            Some((from, to)) => {
                self.covers_told = None;
                self.tell(&Line::Covers(from, to))?;
                (time, time)
            }
            None => (time, time),
        };
        self.covers = Some((from, to));
        let told = *self.covers_told.get_or_insert(from);
        if to - told >= ONCE_IN {
            self.covers_told = Some(to);
            self.tell(&Line::Covers(from, to))?;
            // Whoever follows the log as it grows has it at once.
            self.out.flush()?;
        }
        Ok(())
    }

    fn pull(&mut self, time: DateTime<Utc>, pulled: Pulled) -> io::Result<()> {
        self.converted.pulls += 1;
        let has_room = self.told.len() < MOST_REMEMBERED;
        match self.told.get_mut(&pulled) {
            Some((told, later)) if time < *told + ONCE_IN => {
                *later = (*later).max(Some(time).filter(|time| *time > *told));
                return Ok(());
            }
            Some(known) => *known = (time, None),
            None if has_room => drop(self.told.insert(pulled.clone(), (time, None))),
            None => {}
        }
        self.tell(&Line::Pull(time, pulled))
    }

    fn tell(&mut self, line: &Line) -> io::Result<()> {
        writeln!(self.out, "{}", line.write())
    }

    fn finish(mut self) -> io::Result<Converted> {
        for (pulled, (_, later)) in std::mem::take(&mut self.told) {
            if let Some(time) = later {
                self.tell(&Line::Pull(time, pulled))?;
            }
        }
        if let Some((from, to)) = self.covers {
            self.tell(&Line::Covers(from, to))?;
        }
        self.out.flush()?;
        Ok(self.converted)
    }
}

/// Converts stdin to stdout, and says on stderr what it was.
pub fn run() -> ExitCode {
    let out = io::BufWriter::new(io::stdout().lock());
    let exit = match convert(io::stdin().lock(), out) {
        Err(error) => say(Exit::Failed, &format!("failed to convert the log: {error}; what was written before is good")),
        Ok(Converted { lines, unreadable, .. }) if lines > 0 && unreadable == lines => {
            let known = "the combined format, and the Docker distribution's as JSON or text";
            say(Exit::Failed, &format!("failed to find a line of an access log among {lines}; known are {known}"))
        }
        Ok(Converted { lines, pulls, unreadable }) => {
            say(Exit::Done, &format!("{pulls} pulls in {lines} lines; {unreadable} lines were nothing of an access log"))
        }
    };
    exit.into()
}

/// There is no run, no configuration and no log around it: what it says goes to stderr as it is.
fn say(exit: Exit, text: &str) -> Exit {
    match writeln!(io::stderr(), "{text}") {
        Ok(()) => exit,
        Err(_) => Exit::Failed,
    }
}
