//! The ledger of pulls, read from its files.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use plana_config::schema::{Mirror, WithoutLedger};
use plana_plan::{
    mirror::{
        Coverage, Pulls,
        pulls::{LONGEST_LINE, Line},
    },
    retention::guard::Refusal,
};

use crate::error::RunError;

/// What the ledger's files say.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The pulls, of all sources together.
    pub pulls: Pulls,
    /// What each entry of the configuration covers: each is the log of a registry of its own, and one that has fallen silent is not
    /// made good by another.
    sources: Vec<(PathBuf, Coverage)>,
    /// The files.
    pub files: Vec<PathBuf>,
    /// How many lines were read.
    pub lines: u64,
    /// Where the first line stands that is none, and how many there are.
    bad: Option<(String, u64)>,
}

impl Ledger {
    /// Reads all files of the configuration.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(mirror: &Mirror, now: DateTime<Utc>) -> Result<Self, RunError> {
        let mut ledger = Ledger::default();
        for path in &mirror.ledger {
            let cannot = |source| RunError::Ledger { path: path.display().to_string(), source };
            let mut coverage = Coverage::new(mirror.window, now);
            for file in files(path).map_err(cannot)? {
                ledger.take(&file, &mut coverage).map_err(cannot)?;
                ledger.files.push(file);
            }
            ledger.sources.push((path.clone(), coverage));
        }
        Ok(ledger)
    }

    fn take(&mut self, path: &Path, coverage: &mut Coverage) -> io::Result<()> {
        let mut lines = BufReader::with_capacity(1 << 16, File::open(path)?);
        let (mut line, mut number) = (Vec::new(), 0u64);
        loop {
            line.clear();
            lines.by_ref().take(LONGEST_LINE as u64).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(());
            }
            number += 1;
            self.lines += 1;
            let is_whole = line.ends_with(b"\n");
            let text = std::str::from_utf8(&line).unwrap_or("?").trim();
            match Line::parse(text) {
                Some(line) => {
                    coverage.add(&line);
                    self.pulls.add(line);
                }
                None if text.is_empty() => {}
                // Somebody may be writing it just now.
                None if !is_whole && line.len() < LONGEST_LINE => {}
                None => {
                    let place = || format!("line {number} of {}", path.display());
                    self.bad.get_or_insert_with(|| (place(), 0)).1 += 1;
                    if !is_whole {
                        lines.skip_until(b'\n')?;
                    }
                }
            }
        }
    }

    /// Whether it shows all that was pulled within the window. What it does not show, where the configuration lets the store's times
    /// decide alone, is a warning.
    ///
    /// # Errors
    /// What is missing, where a run needs it.
    pub fn require_cover(&self, mirror: &Mirror) -> Result<Option<String>, Refusal> {
        match (self.judge(mirror), mirror.without_ledger) {
            (Ok(()), _) => Ok(None),
            (Err(refusal), WithoutLedger::Refuse) => Err(refusal),
            (Err(Refusal::NoLedger { why }), WithoutLedger::LastModified) => Ok(Some(format!(
                "{why}: pulls that it does not show count for nothing, and the store's times decide (mirror.without_ledger)"
            ))),
            (Err(other), WithoutLedger::LastModified) => Ok(Some(format!("failed to {other}"))),
        }
    }

    fn judge(&self, mirror: &Mirror) -> Result<(), Refusal> {
        if let Some((place, count)) = &self.bad {
            return Err(Refusal::BadLedger { place: place.clone(), count: *count });
        }
        let refused = |why: String| Err(Refusal::NoLedger { why });
        if self.sources.is_empty() {
            return refused("there is no ledger of pulls (mirror.ledger)".to_owned());
        }
        for (path, coverage) in &self.sources {
            if let Err(uncovered) = coverage.require(mirror.ledger_gap.span()) {
                return refused(format!("the ledger of pulls {} does not show them: {uncovered}", path.display()));
            }
        }
        if !self.sources.iter().any(|(_, coverage)| coverage.has_pulls()) {
            let window = mirror.window;
            return refused(format!("the ledger of pulls shows none at all within {window}; look whether it is of this registry's log"));
        }
        Ok(())
    }
}

/// A file, or of a directory all that end in `.jsonl`, by name.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        files.extend(Some(path).filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")));
    }
    files.sort();
    Ok(files)
}
