//! What became of each item, and of the run.

mod json;
mod reporter;
mod table;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use plana_plan::{Area, Stamp};
use serde::Serialize;
use serde_json::Value;

use crate::exit::Exit;

pub(crate) use json::render as render_json;
pub(crate) use reporter::Recorded;
pub use reporter::Reporter;
pub(crate) use table::render as render_text;

/// What became of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done and committed.
    Done,
    /// Committed, and not all of it is in it as it was.
    Partial,
    /// Would be done: a dry run.
    Planned,
    /// Left out by `--missing-within`: a committed backup is young enough. A seed: its content is in the store already.
    Fresh,
    /// Left to another run that is at work on it.
    Locked,
    /// No longer there when its turn came.
    Gone,
    /// Failed.
    Failed,
    /// Not begun, or given up, because the run was cancelled.
    Cancelled,
}

impl Outcome {
    /// Every outcome, in the order in which people are told them.
    pub const ALL: [Outcome; 8] = [
        Outcome::Done,
        Outcome::Partial,
        Outcome::Planned,
        Outcome::Fresh,
        Outcome::Locked,
        Outcome::Gone,
        Outcome::Failed,
        Outcome::Cancelled,
    ];

    /// Whether this run committed something.
    pub const fn is_committed(self) -> bool {
        matches!(self, Outcome::Done | Outcome::Partial)
    }

    /// One word, such as `done`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Partial => "partial",
            Outcome::Planned => "planned",
            Outcome::Fresh => "fresh",
            Outcome::Locked => "locked",
            Outcome::Gone => "gone",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
        }
    }
}

/// A job's own column: a label for people, which is also the key in JSON, and a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Lower case; a space becomes `_` in JSON. The contract's own keys win over it there. One that ends in
    /// ` bytes` is shown to people as a size, without that ending.
    pub label: &'static str,
    /// A string, a number or a boolean; null is an empty cell.
    pub value: Value,
}

/// What was found among the files of a file store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Files in the tarball.
    pub files: u64,
    /// Of them, those whose content is not what their name says.
    pub damaged: u64,
    /// Files that the database names and the store lacks.
    pub missing: u64,
    /// Files that are not in the tarball as they were.
    pub not_whole: u64,
}

/// What a run did to a table's partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PartitionCounts {
    /// How long inserts of the present go on to find a partition, in seconds; infinite where the last one has no end.
    pub runway_seconds: f64,
    /// Partitions made.
    pub made: u64,
    /// Partitions retired: detached, whatever becomes of them then.
    pub retired: u64,
    /// Rows deleted by their deployment's own retention.
    pub deleted_rows: u64,
    /// Partitions that have expired and are still there.
    pub expired: u64,
}

/// What is kept of a name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// The oldest committed backup.
    pub oldest: Option<Stamp>,
    /// The newest committed backup.
    pub newest: Option<Stamp>,
    /// Whether everything is kept because no backup is fresh.
    pub frozen: bool,
    /// Bytes that are kept.
    pub kept_bytes: u64,
    /// Bytes that this run freed.
    pub freed_bytes: u64,
}

/// What kind of thing an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKind {
    /// What is backed up under that area.
    Area(Area),
    /// A repository of a registry's mirror.
    MirrorRepository,
    /// The blobs of a registry's mirror.
    MirrorBlobs,
}

impl ItemKind {
    /// One word, such as `pg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ItemKind::Area(area) => area.as_str(),
            ItemKind::MirrorRepository => "mirror",
            ItemKind::MirrorBlobs => "mirror-blobs",
        }
    }
}

impl From<Area> for ItemKind {
    fn from(area: Area) -> Self {
        ItemKind::Area(area)
    }
}

impl PartialEq<Area> for ItemKind {
    fn eq(&self, area: &Area) -> bool {
        *self == ItemKind::Area(*area)
    }
}

impl std::fmt::Display for ItemKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ItemKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemReport {
    /// The database's, tenant's or table's name, as it is.
    pub name: String,
    /// What kind of thing; told to programs as the area.
    pub area: ItemKind,
    /// What became of it.
    pub outcome: Outcome,
    /// The key of the set, or of its payload.
    pub key: Option<String>,
    /// Bytes stored.
    pub bytes: Option<u64>,
    /// Bytes before compression and encryption.
    pub content_bytes: Option<u64>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// Why it failed: completes the sentence "failed to …".
    pub error: Option<String>,
    /// What deserves attention although it is done.
    pub warnings: Vec<String>,
    /// The newest committed backup of this name that is known, by this run or by the listing. For metrics.
    pub newest: Option<Stamp>,
    /// When the backup of this name was proven by being restored. For metrics.
    pub proven: Option<DateTime<Utc>>,
    /// What was found among the files of a file store. For metrics.
    pub files: Option<FileCounts>,
    /// What was done to a table's partitions. For metrics.
    pub partitions: Option<Box<PartitionCounts>>,
    /// What is kept of the name. For metrics.
    pub retained: Option<Box<Retained>>,
    /// The job's own columns, in their order.
    pub fields: Vec<Field>,
}

impl ItemReport {
    /// An item about which nothing else is known yet.
    pub fn new(area: impl Into<ItemKind>, name: impl Into<String>, outcome: Outcome) -> Self {
        ItemReport {
            name: name.into(),
            area: area.into(),
            outcome,
            key: None,
            bytes: None,
            content_bytes: None,
            seconds: None,
            error: None,
            warnings: Vec::new(),
            newest: None,
            proven: None,
            files: None,
            partitions: None,
            retained: None,
            fields: Vec::new(),
        }
    }

    /// A failed item. The error completes the sentence "failed to …".
    pub fn failed(area: impl Into<ItemKind>, name: impl Into<String>, error: impl std::fmt::Display) -> Self {
        ItemReport { error: Some(error.to_string()), ..ItemReport::new(area, name, Outcome::Failed) }
    }

    /// With the key of the set.
    pub fn key(self, key: impl Into<String>) -> Self {
        ItemReport { key: Some(key.into()), ..self }
    }

    /// With the bytes stored, and those before compression and encryption.
    pub fn sizes(self, stored: u64, content: u64) -> Self {
        ItemReport { bytes: Some(stored), content_bytes: Some(content), ..self }
    }

    /// With the time it took.
    pub fn took(self, duration: std::time::Duration) -> Self {
        ItemReport { seconds: Some(duration.as_secs_f64()), ..self }
    }

    /// With the newest committed backup of this name that is known.
    pub fn newest(self, newest: impl Into<Option<Stamp>>) -> Self {
        ItemReport { newest: newest.into(), ..self }
    }

    /// With the time at which the backup was proven by being restored.
    pub fn proven(self, at: DateTime<Utc>) -> Self {
        ItemReport { proven: Some(at), ..self }
    }

    /// With what was found among its files.
    pub fn files(self, files: FileCounts) -> Self {
        ItemReport { files: Some(files), ..self }
    }

    /// With what was done to its partitions.
    pub fn partitions(self, partitions: PartitionCounts) -> Self {
        ItemReport { partitions: Some(Box::new(partitions)), ..self }
    }

    /// With what is kept of the name.
    pub fn retained(self, retained: Retained) -> Self {
        ItemReport { retained: Some(Box::new(retained)), ..self }
    }

    /// With something that deserves attention.
    pub fn warning(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }

    /// With a column of the job's own.
    pub fn field(mut self, label: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push(Field { label, value: value.into() });
        self
    }
}

/// How many items came to what, and how much they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Totals {
    /// All items.
    pub items: u64,
    /// Items done and committed.
    pub done: u64,
    /// Items committed that do not hold all they should.
    pub partial: u64,
    /// Items that would be done.
    pub planned: u64,
    /// Items left out by `--missing-within`.
    pub fresh: u64,
    /// Items left to another run.
    pub locked: u64,
    /// Items no longer there.
    pub gone: u64,
    /// Items that failed.
    pub failed: u64,
    /// Items not begun or given up.
    pub cancelled: u64,
    /// Warnings, of the run and of its items.
    pub warnings: u64,
    /// Bytes stored by this run.
    pub bytes: u64,
    /// The same before compression and encryption.
    pub content_bytes: u64,
    /// How long the run took.
    pub seconds: f64,
}

impl Totals {
    /// How many items came to this.
    pub fn of(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Done => self.done,
            Outcome::Partial => self.partial,
            Outcome::Planned => self.planned,
            Outcome::Fresh => self.fresh,
            Outcome::Locked => self.locked,
            Outcome::Gone => self.gone,
            Outcome::Failed => self.failed,
            Outcome::Cancelled => self.cancelled,
        }
    }

    fn count(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Done => &mut self.done,
            Outcome::Partial => &mut self.partial,
            Outcome::Planned => &mut self.planned,
            Outcome::Fresh => &mut self.fresh,
            Outcome::Locked => &mut self.locked,
            Outcome::Gone => &mut self.gone,
            Outcome::Failed => &mut self.failed,
            Outcome::Cancelled => &mut self.cancelled,
        }
    }

    /// `7 done, 1 failed`, or `nothing to do`.
    pub fn sentence(&self) -> String {
        let parts: Vec<String> = Outcome::ALL
            .into_iter()
            .filter(|outcome| self.of(*outcome) > 0)
            .map(|outcome| format!("{} {}", self.of(outcome), outcome.as_str()))
            .collect();
        if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") }
    }
}

/// A run that is over, as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The job's name.
    pub job: String,
    /// The run's id.
    pub run_id: String,
    /// The machine's name.
    pub host: String,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// Whether the job has `--missing-within`, by which a rerun does only what is missing.
    pub resumable: bool,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it was over.
    pub finished_at: DateTime<Utc>,
    /// How it ended.
    pub exit: Exit,
    /// What ended the whole run: completes the sentence "failed to …".
    pub error: Option<String>,
    /// What deserves attention and concerns no item alone.
    pub warnings: Vec<String>,
    /// How many seconds this host's clock and the store's were apart, where the store has one. For metrics.
    pub clock_seconds: Option<u64>,
    /// What became of each item, by area and name.
    pub items: Vec<ItemReport>,
    /// What the job's result holds besides.
    pub extra: Option<Extra>,
}

/// What a job's result holds besides its items.
#[derive(Debug, Clone, PartialEq)]
pub struct Extra {
    /// Its key in the JSON object, none of the contract's own.
    pub key: &'static str,
    /// Its value there.
    pub json: Value,
    /// The same for people.
    pub text: String,
}

impl Report {
    /// How many items came to what, and how much they are.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            items: self.items.len() as u64,
            warnings: (self.warnings.len() + self.items.iter().map(|item| item.warnings.len()).sum::<usize>()) as u64,
            seconds: (self.finished_at - self.started_at).as_seconds_f64().max(0.0),
            ..Totals::default()
        };
        for item in &self.items {
            *totals.count(item.outcome) += 1;
            if item.outcome.is_committed() {
                totals.bytes += item.bytes.unwrap_or(0);
                totals.content_bytes += item.content_bytes.unwrap_or(0);
            }
        }
        totals
    }
}
