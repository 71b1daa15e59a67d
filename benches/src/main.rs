//! `make bench`: the jobs side by side with the pipelines that a user would write, in one run, on one
//! machine, against one server and one gateway. Prints ratios; times alone say little on a shared machine.
//!
//! Arguments name the sections to run, by their beginning (`dump`, `dump-one`); none means all of them.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program for people, which may stop at the first surprise")]

mod data;
mod dump;
mod filestore;
mod measure;
mod partition;
mod restore;
mod retention;
mod tools;

use anyhow::Result;

fn main() -> Result<()> {
    let scale: f64 = std::env::var("PLANA_BENCH_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let rounds = std::env::var("PLANA_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let sections: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |section: &str| sections.is_empty() || sections.iter().any(|named| section.starts_with(named.as_str()));
    println!("{}", measure::machine());
    dump::run(scale, rounds, wanted)?;
    restore::run(scale, rounds, wanted)?;
    filestore::run(scale, rounds, wanted)?;
    partition::run(rounds, wanted)?;
    retention::run(scale, rounds, wanted)
}
