//! `insurance-snapshot`: see the library for what it does.

use std::process::ExitCode;

use clap::Parser;
use insurance_snapshot::{Args, Command, Gate, JOB, Journal, check, execute};
use plana_harness::Harness;

fn main() -> ExitCode {
    let args = Args::parse();
    let harness = Harness::new(JOB, &args.common).overrides(args.overrides()).by_hand();
    if let Some(Command::Check(asked)) = args.action {
        return harness.check(asked, move |context| check(context, args.clone()));
    }
    let journal = Journal::default();
    // It listens from now on: a signal between the snapshot and the command must not go unheard.
    let gate = Gate::listen(&args);
    let harness = if gate.is_wanted() { harness.result_on_stderr() } else { harness };
    let (snapshot, told) = (args.clone(), journal.clone());
    let ended = harness.run(move |context| execute(context, snapshot.clone(), told.clone()));
    let exit = gate.pass(ended, &args, &journal);
    journal.resume(&args, exit)
}
