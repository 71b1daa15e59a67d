//! `restore-from-sos`: see the library for what it does.

use std::process::ExitCode;

use clap::Parser;
use restore_from_sos::Args;

fn main() -> ExitCode {
    restore_from_sos::run(Args::parse())
}
