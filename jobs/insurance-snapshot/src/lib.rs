//! No destructive operation without a proven way back: a snapshot of a tenant's database and files, read to their ends and
//! compared with each other, before a command may begin.

mod args;
mod check;
mod gate;
mod journal;
mod keys;
mod prove;
mod receipt;
mod run;
mod shell;
mod snapshot;
mod wanted;

pub use args::{Args, Command, JOB};
pub use check::check;
pub use gate::Gate;
pub use journal::Journal;

use plana_harness::{Context, Exit, Failure};
use plana_plan::{
    insurance::{insured, operation_stamp},
    receipt::{RECEIPT_SCHEMA, Receipt},
};

use crate::{
    prove::Prover,
    run::Run,
    wanted::{Wanted, require_order},
};

/// Takes the snapshots, one name after the other, and writes the receipt where all of them stand.
///
/// # Errors
/// What ended the whole run; a failed half of a snapshot is an item of the report instead.
pub async fn execute(context: Context, args: Args, journal: Journal) -> Result<(), Failure> {
    let refused = |error| Failure::of(Exit::Refused, &error);
    let Some(operation) = args.operation.clone() else { return Err(Failure::usage("tell what is insured: give --operation")) };
    if !args.command.is_empty() && args.common.schedule.is_some() {
        return Err(Failure::usage("run a command on a schedule: a destructive operation is begun by somebody; leave --schedule out"));
    }
    let stamp = operation_stamp(args.stamp, context.now()).map_err(refused)?;
    let label = insured(operation.clone(), stamp, args.keep).map_err(refused)?;
    receipt::try_place(&args)?;
    // Until something is begun there is nothing to clean up: a signal need not wait for a server, a store or a mount.
    let prepared = async {
        let mut run = Run::open(&context, &args, stamp, label).await?;
        let wanted = Wanted::find(&run, &args).await?;
        require_order(&run, &args, &wanted).await?;
        run.escrow = Wanted::keys(&context, &wanted).await?;
        let prover = if args.prove && !context.dry_run() { Some(Prover::find(&context, &args).await?) } else { None };
        Ok::<_, Failure>((run, wanted, prover))
    };
    let Some(prepared) = context.cancel().run_until_cancelled(prepared).await else { return Ok(()) };
    let (run, wanted, prover) = prepared?;
    context.progress().expect("snapshots", wanted.len() as u64);
    if let Some(command) = args.quiesce.as_deref().filter(|_| !context.dry_run()) {
        journal.quiesced();
        shell::run(command, Some(context.cancel())).await.map_err(|reason| Failure::failed(format!("quiesce by `{command}`: {reason}")))?;
    }
    let mut snapshots = Vec::new();
    for wanted in &wanted {
        snapshots.extend(snapshot::take(&run, &args, wanted).await);
    }
    if snapshots.len() < wanted.len() || context.dry_run() {
        return Ok(());
    }
    if let Some(prover) = prover {
        prover.prove(&run, &mut snapshots).await?;
    }
    let receipt = Receipt {
        schema: RECEIPT_SCHEMA,
        operation,
        stamp,
        run_id: context.run_id().to_owned(),
        host: context.host().to_owned(),
        store: run.items.target.store.url().to_owned(),
        snapshots,
        command: None,
    };
    receipt::write(&args, &receipt)?;
    context.report().extra(receipt::extra(&receipt));
    journal.keep(receipt);
    Ok(())
}
