//! What is shipped beside the binaries is true: Kubernetes objects, image, alert rules, dashboard, documents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod cron_jobs;
mod documents;
mod image;
mod jobs;
mod monitoring;
mod network;
mod pods;
mod rendered;
mod scale_out;
mod schedule;
mod settings;

use std::path::{Path, PathBuf};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

/// A file of the repository.
#[track_caller]
pub fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
