//! `retention-pruner`: see the library for what it does.

use std::process::ExitCode;

use clap::Parser;
use retention_pruner::Args;

fn main() -> ExitCode {
    retention_pruner::run(Args::parse())
}
