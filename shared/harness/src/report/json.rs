//! A run as one JSON object. Keys keep their order, for people who look at it unformatted.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{ItemReport, Report};

/// The version of the object's form.
const SCHEMA: u32 = 1;

/// Keys that the contract gives to items: a job's own fields never take their place.
const ITEM_KEYS: [&str; 9] = ["name", "area", "outcome", "key", "bytes", "content_bytes", "seconds", "error", "warnings"];

/// The object, in one line or spread out for reading.
pub(crate) fn render(report: &Report, spread: bool) -> serde_json::Result<String> {
    if spread { serde_json::to_string_pretty(report) } else { serde_json::to_string(report) }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Milliseconds are as fine as anybody reads; longer tails are noise.
fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut totals = self.totals();
        totals.seconds = millis(totals.seconds);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", &SCHEMA)?;
        map.serialize_entry("job", &self.job)?;
        map.serialize_entry("version", crate::VERSION)?;
        map.serialize_entry("run_id", &self.run_id)?;
        map.serialize_entry("host", &self.host)?;
        map.serialize_entry("dry_run", &self.dry_run)?;
        map.serialize_entry("started_at", &instant(self.started_at))?;
        map.serialize_entry("finished_at", &instant(self.finished_at))?;
        map.serialize_entry("outcome", &self.exit)?;
        map.serialize_entry("exit_code", &self.exit.code())?;
        map.serialize_entry("error", &self.error)?;
        map.serialize_entry("warnings", &self.warnings)?;
        map.serialize_entry("totals", &totals)?;
        map.serialize_entry("items", &self.items)?;
        if let Some(extra) = &self.extra {
            map.serialize_entry(extra.key, &extra.json)?;
        }
        map.end()
    }
}

impl Serialize for ItemReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("area", &self.area)?;
        map.serialize_entry("outcome", &self.outcome)?;
        map.serialize_entry("key", &self.key)?;
        map.serialize_entry("bytes", &self.bytes)?;
        map.serialize_entry("content_bytes", &self.content_bytes)?;
        map.serialize_entry("seconds", &self.seconds.map(millis))?;
        map.serialize_entry("error", &self.error)?;
        map.serialize_entry("warnings", &self.warnings)?;
        for field in &self.fields {
            let key = field.label.replace(' ', "_");
            if !ITEM_KEYS.contains(&key.as_str()) {
                map.serialize_entry(&key, &field.value)?;
            }
        }
        map.end()
    }
}
