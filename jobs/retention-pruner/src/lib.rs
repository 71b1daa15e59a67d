//! Deletes what has outlived its tier, and cannot delete what you need.
//!
//! [`plana_plan::retention`] decides, from a listing alone; here is what lists, asks the guards, and carries a plan out.

mod alarms;
mod apply;
mod args;
mod check;
mod error;
mod hold;
mod listing;
mod memory;
mod mirror;
mod policy;
mod prune;
mod retire;
mod setup;
mod show;
mod uploads;

use std::process::ExitCode;

pub use apply::{Applied, Pruner};
pub use args::{Args, Command, JOB, PlanArgs};
pub use listing::{Listed, Mode, list_all};
pub use mirror::{Converted, MIRROR_JOB, MirrorArgs, MirrorCommand, MirrorPruner, convert, list_registry, read_all};
use plana_harness::{Failure, Harness};

/// Does what the command line says.
pub fn run(args: Args) -> ExitCode {
    let harness = Harness::new(JOB, &args.common).overrides(args.overrides());
    let (dry_run, plan) = (args.common.dry_run, args.plan.clone());
    match args.command.clone() {
        Some(Command::Mirror(mirror)) => run_mirror(&args, mirror),
        Some(Command::Ledger) => mirror::run_convert(),
        Some(Command::Check(asked)) => harness.check(asked, check::check),
        Some(Command::Hold { set }) => harness.by_hand().answer(move |context| hold::hold(context, set.clone())),
        Some(Command::Release { set }) => harness.by_hand().answer(move |context| hold::release(context, set.clone())),
        Some(Command::Retire { name, by, cancel }) => {
            harness.by_hand().answer(move |context| retire::retire(context, name.clone(), by, cancel))
        }
        None if plan.explain.is_some() => harness.answer(move |context| show::explain(context, plan.clone())),
        None if dry_run => harness.answer(move |context| show::plan(context, plan.clone())),
        None if plan.as_of.is_some() => harness.run(|_| async { Err(Failure::usage(AS_OF)) }),
        None => harness.run(move |context| prune::prune(context, plan.clone())),
    }
}

/// The same for a mirror, under a name of its own: its runs say nothing about those on backups.
fn run_mirror(args: &Args, mirror: MirrorArgs) -> ExitCode {
    let harness = Harness::new(MIRROR_JOB, &args.common).overrides(args.overrides());
    match mirror.command.clone() {
        Some(MirrorCommand::Check(asked)) => harness.check(asked, mirror::check),
        None if mirror.explain.is_some() => harness.answer(move |context| mirror::explain(context, mirror.clone())),
        None if args.common.dry_run => harness.answer(move |context| mirror::plan(context, mirror.clone())),
        None if mirror.as_of.is_some() => harness.run(|_| async { Err(Failure::usage(AS_OF)) }),
        None => harness.run(move |context| mirror::prune(context, mirror.clone())),
    }
}

const AS_OF: &str = "delete as of another day: --as-of only looks ahead; give it with --dry-run or --explain";
