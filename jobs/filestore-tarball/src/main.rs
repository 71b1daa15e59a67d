//! `filestore-tarball`: see the library for what it does.

use std::process::ExitCode;

use clap::Parser;
use filestore_tarball::{Args, Command, JOB, check, execute};
use plana_harness::Harness;

fn main() -> ExitCode {
    let args = Args::parse();
    let harness = Harness::new(JOB, &args.common).backup(&args.backup, "filestore.jobs");
    match args.command {
        None => harness.run(move |context| execute(context, args.clone())),
        Some(Command::Check(asked)) => harness.check(asked, move |context| check(context, args.clone())),
    }
}
