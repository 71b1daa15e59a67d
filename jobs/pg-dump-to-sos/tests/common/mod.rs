//! What the tests of this job share beside what the tests of all backup jobs do.

// Each test binary uses its own part of this.
#![allow(dead_code, unused_imports)]

pub mod rows;

use std::path::{Path, PathBuf};

pub use plana_testkit::job::{Job, Outcome, bucket, expect_no_backend_left, expect_words, faults, look, signal, store};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pg-dump-to-sos");

/// A call of the job, without a server.
pub fn job() -> Job {
    Job::of(PROGRAM)
}

/// The same, called by another program such as `faketime`.
pub fn job_under(wrapper: &[&str]) -> Job {
    Job::under(wrapper, PROGRAM)
}

/// The directory of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
