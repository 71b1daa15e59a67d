//! Ended at any moment, by a signal that it can answer or one that it cannot: what has a manifest is whole, nothing else looks like
//! a backup, nothing is left running, and the next run makes what is missing, and only that.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod moments;
mod sweep;
mod together;

use std::time::{Duration, Instant};

use common::{
    Job, Outcome, expect_words,
    faults::fill,
    look::{Look, expect_resumable},
};
use plana_plan::Area;
use plana_testkit::{
    bin::Done,
    pg::{PgCluster, PgMajor},
    process::Signal,
};

/// How long a run may take to end after it was told to.
const SOON: Duration = Duration::from_secs(8);

/// A server of its own, so that whatever is connected to it belongs to the job under test.
struct Platform {
    cluster: PgCluster,
    /// In the order of their names.
    databases: Vec<String>,
}

impl Platform {
    /// A database of two parts of 5 MiB, and some of one put.
    fn new() -> Self {
        let cluster = PgCluster::start(PgMajor::V16).unwrap();
        let databases = [("alpha", 21 << 18), ("beta", 256 << 10), ("gamma", 64 << 10), ("delta", 16 << 10)];
        for (name, bytes) in databases {
            cluster.psql("postgres", &format!("CREATE DATABASE {name}")).unwrap();
            fill(&cluster, name, bytes);
        }
        let mut databases: Vec<String> = databases.iter().map(|(name, _)| (*name).to_owned()).collect();
        databases.sort();
        Platform { cluster, databases }
    }

    /// All of them and the globals, two at a time, in parts of 5 MiB.
    fn job(&self) -> Job {
        crate::common::job()
            .on(&self.cluster)
            .args(["--exclude", "postgres", "--exclude", "template1", "--jobs", "2"])
            .set("upload.memory", "25MiB")
            .limit(Duration::from_secs(60))
    }

    /// What a complete store holds.
    fn items(&self) -> Vec<(Area, &str)> {
        let databases = self.databases.iter().map(|name| (Area::Pg, name.as_str()));
        databases.chain([(Area::Globals, "cluster")]).collect()
    }

    /// Nothing that the job started still runs, here or on the server.
    #[track_caller]
    fn expect_nobody_left(&self, job: &Job) {
        job.expect_no_process_left();
        let query = "SELECT string_agg(format('%s %s: %s', pid, application_name, query), E'\\n') FROM pg_stat_activity \
                     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let begun = Instant::now();
        loop {
            let left = self.cluster.psql("postgres", query).unwrap();
            if left.is_empty() {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "still connected:\n{left}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// After a run that was ended early: everything that has a manifest is a backup; the next run makes the rest, once each.
    #[track_caller]
    fn expect_resumable(&self, job: &Job, store: &impl Look, ended: Option<&Outcome>) {
        self.expect_nobody_left(job);
        expect_resumable(job, store, &self.items(), Some(&self.cluster), ended);
    }
}

/// The code after a signal that the job can answer, with a result that says the same; nothing at all after one that it cannot.
#[track_caller]
fn expect_end(done: Done, signal: Signal) -> Outcome {
    let outcome = Outcome::of(done);
    match signal {
        Signal::KILL => assert_eq!(outcome.done.signal(), Some(9), "{}", outcome.done.stderr),
        // Before the handlers stand, a signal ends it as it ends any program.
        _ if outcome.done.signal() == Some(signal.as_raw()) => {
            assert!(outcome.done.elapsed < Duration::from_secs(2), "too late to be unprepared")
        }
        _ => {
            let code = 128 + signal.as_raw();
            let outcome = outcome.clone().expect(code);
            assert_eq!(outcome.report["outcome"], "cancelled");
            expect_words(&outcome.done.stderr, &["cancelled"]);
        }
    }
    outcome
}
