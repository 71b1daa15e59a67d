//! `partition-roller`: see the library for what it does.

use std::process::ExitCode;

use clap::Parser;
use partition_roller::{Args, Command, JOB, check, execute, show};
use plana_harness::Harness;

fn main() -> ExitCode {
    let args = Args::parse();
    let harness = Harness::new(JOB, &args.common).overrides(args.overrides());
    // A look at some tables says nothing of the schedule.
    let harness = if args.selection().is_partial() { harness.by_hand() } else { harness };
    match args.command {
        Some(Command::Check(asked)) => harness.check(asked, move |context| check(context, args.clone())),
        None if args.common.dry_run => harness.answer(move |context| show(context, args.clone())),
        None => harness.run(move |context| execute(context, args.clone())),
    }
}
