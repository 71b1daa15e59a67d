//! How others hear of a run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{HumanDuration, secret::Secret};

/// The event stream on Redis or Valkey. A job never depends on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// `redis://` or `rediss://`; else the credential `events.url`; without either there are no events.
    pub url: Option<Secret>,
    /// A file that holds the URL.
    pub url_file: Option<PathBuf>,
    /// The password, where the URL holds none; else the credential `events.password`.
    pub password: Option<Secret>,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// The stream's key.
    pub stream: String,
    /// About how many entries the stream keeps.
    pub max_len: u64,
    /// How long one event may take before the rest are left out.
    pub timeout: HumanDuration,
    /// Which events.
    pub detail: EventDetail,
}

/// Which events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventDetail {
    /// Runs, failures, and what changes what is kept.
    Summary,
    /// Also one per committed backup.
    All,
}

/// Prometheus.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// node_exporter's textfile directory.
    pub textfile_dir: Option<PathBuf>,
    /// A Pushgateway's URL, which may hold a password; else the credential `metrics.pushgateway`.
    pub pushgateway: Option<Secret>,
    /// A file that holds it.
    pub pushgateway_file: Option<PathBuf>,
}

/// URLs that are called when a job starts, succeeds and fails. They often hold a token: never logged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// Called when a run starts; else the credential `ping.{job}.start`.
    pub start: Option<Secret>,
    /// A file that holds it.
    pub start_file: Option<PathBuf>,
    /// Called when all of the work was done; else the credential `ping.{job}.success`.
    pub success: Option<Secret>,
    /// A file that holds it.
    pub success_file: Option<PathBuf>,
    /// Called otherwise; else the credential `ping.{job}.failure`.
    pub failure: Option<Secret>,
    /// A file that holds it.
    pub failure_file: Option<PathBuf>,
}
