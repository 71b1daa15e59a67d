//! The way back: lists, checks, fetches and restores what the other jobs stored.

mod args;
mod check;
mod drill;
mod escrow;
mod fetch;
mod filestore;
mod globals;
mod keys;
mod list;
mod partition;
mod preflight;
mod restore;
mod seed;
mod tenant;

use std::process::ExitCode;

use args::SeedCommand;
pub use args::{Args, Command, JOB};
use plana_harness::Harness;
use plana_plan::Area;

/// Does what the command line says.
pub fn run(args: Args) -> ExitCode {
    let harness = Harness::new(JOB, &args.common).overrides(args.overrides());
    // Only drills are a schedule's work; the rest is a person's.
    let harness = match &args.command {
        Command::Drill(drill) if drill.only.is_none() => harness,
        _ => harness.by_hand(),
    };
    let (identity, format) = (args.identity.clone(), args.common.output);
    match args.command {
        Command::List(list) => harness.answer(move |context| list::list(context, list.clone(), format)),
        Command::Show { set } => harness.answer(move |context| list::show(context, set.clone())),
        Command::Check(check) if check.sets.is_empty() && check.latest.is_empty() => {
            harness.check(check.asked, move |context| preflight::preflight(context, identity.clone()))
        }
        Command::Check(check) => harness.run(move |context| check::check(context, check.clone(), identity.clone())),
        Command::Fetch { set, to } => harness.run(move |context| fetch::fetch(context, set.clone(), to.clone())),
        Command::Escrow(escrow) => harness.answer(move |context| escrow::escrow(context, escrow.clone().command, identity.clone())),
        Command::Drill(drill) if drill.area != Area::Pg => {
            harness.run(move |context| drill::drill_files(context, drill.clone(), identity.clone()))
        }
        Command::Drill(drill) => harness.run(move |context| drill::drill(context, drill.clone(), identity.clone())),
        Command::RestorePartition(partition) => {
            harness.run(move |context| partition::restore_partition(context, partition.clone(), identity.clone()))
        }
        Command::RestoreGlobals(globals) => {
            harness.run(move |context| globals::restore_globals(context, globals.clone(), identity.clone()))
        }
        Command::RestoreFilestore(files) => {
            harness.run(move |context| filestore::restore_filestore(context, files.clone(), identity.clone()))
        }
        Command::RestoreTenant(tenant) => harness.run(move |context| tenant::restore_tenant(context, tenant.clone(), identity.clone())),
        Command::Seed(SeedCommand::List { name }) => harness.answer(move |context| seed::list(context, name.clone())),
        Command::Seed(SeedCommand::Check { seeds }) => harness.run(move |context| seed::check(context, seeds.clone(), identity.clone())),
        Command::Seed(SeedCommand::Fetch { seed, to }) => harness.run(move |context| seed::fetch(context, seed.clone(), to.clone())),
        Command::Seed(SeedCommand::Restore(seed)) => {
            harness.run(move |context| seed::restore(context, seed.database.clone(), identity.clone()))
        }
        Command::Restore(restore) => harness.run(move |context| restore::restore(context, restore.clone(), identity.clone())),
    }
}
