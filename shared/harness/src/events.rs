//! CloudEvents onto a Redis stream. A job never depends on it.

mod sender;
#[cfg(test)]
mod tests;

use chrono::{DateTime, SecondsFormat, Utc};
use plana_config::schema::EventDetail;
use serde_json::{Value, json};

use crate::report::{ItemReport, Report};

pub use sender::Events;
pub(crate) use sender::{Sender, Target, probe};

/// The prefix of every event's type.
const TYPE_PREFIX: &str = "app.plana.jobs.";

/// Something that happened: what it is, to what, and data.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The type after `app.plana.jobs.`, such as `partition.made`.
    pub kind: &'static str,
    /// What it concerns, such as `pg/acme`; none means the run.
    pub subject: Option<String>,
    /// A JSON object.
    pub data: Value,
}

impl Event {
    /// An event that concerns the run.
    pub fn new(kind: &'static str, data: Value) -> Self {
        Event { kind, subject: None, data }
    }

    /// An event that concerns one thing.
    pub fn about(kind: &'static str, subject: impl Into<String>, data: Value) -> Self {
        Event { kind, subject: Some(subject.into()), data }
    }
}

/// Who says it: what all events of a run have in common.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub job: String,
    pub host: String,
    pub run_id: String,
}

impl Origin {
    /// The event in CloudEvents 1.0's structured JSON. The id is unique within the source, as the specification asks.
    fn cloud_event(&self, event: &Event, number: u64, time: DateTime<Utc>) -> Value {
        let mut whole = json!({
            "specversion": "1.0",
            "id": format!("{}-{number}", self.run_id),
            "source": format!("/plana-jobs/{}/{}", plana_plan::name::encode(&self.host), self.job),
            "type": format!("{TYPE_PREFIX}{}", event.kind),
            "time": time.to_rfc3339_opts(SecondsFormat::Millis, true),
            "datacontenttype": "application/json",
            "data": event.data,
        });
        if let Some(subject) = &event.subject {
            whole["subject"] = json!(subject);
        }
        if let Some(data) = whole["data"].as_object_mut() {
            data.insert("run_id".to_owned(), json!(self.run_id));
            data.insert("job".to_owned(), json!(self.job));
        }
        whole
    }
}

/// Whether each committed backup is an event of its own.
pub(crate) fn wants_detail(detail: EventDetail) -> bool {
    detail == EventDetail::All
}

/// A run began.
pub(crate) fn run_started(version: &str) -> Event {
    Event::new("run.started", json!({ "version": version }))
}

/// A run is over.
pub(crate) fn run_finished(report: &Report) -> Event {
    Event::new(
        "run.finished",
        json!({ "outcome": report.exit, "exit_code": report.exit.code(), "error": report.error, "totals": report.totals() }),
    )
}

/// An item failed.
pub(crate) fn item_failed(item: &ItemReport) -> Event {
    Event::about("item.failed", subject(item), json!({ "area": item.area, "name": item.name, "error": item.error }))
}

/// A backup was committed.
pub(crate) fn item_committed(item: &ItemReport) -> Event {
    Event::about(
        "backup.committed",
        subject(item),
        json!({
            "area": item.area, "name": item.name, "key": item.key, "bytes": item.bytes,
            "content_bytes": item.content_bytes, "seconds": item.seconds,
        }),
    )
}

fn subject(item: &ItemReport) -> String {
    format!("{}/{}", item.area, plana_plan::name::encode(&item.name))
}
