//! The gate: a command begins only under insurance, and its exit code is ours.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
    time::Instant,
};

use chrono::Utc;
use futures::FutureExt as _;
use plana_plan::{
    name::printable,
    receipt::{CommandRun, Receipt},
};
use rustix::{
    process::{Pid, Signal, getpgrp, kill_process},
    termios::tcgetpgrp,
};
use tokio::{
    process::Command,
    runtime::{Builder, Runtime},
    signal::unix::{Signal as Listener, SignalKind, signal},
};

use crate::{Args, Journal, receipt};

/// We failed, and the command never started.
const NEVER_STARTED: u8 = 125;
/// The command is there and could not be started; there is no such command.
const NOT_STARTED: u8 = 126;
const NOT_FOUND: u8 = 127;
/// A command that a signal ended has this and the signal's number, as in every shell.
const SIGNALLED: i32 = 128;

/// What is passed on to the command. A terminal gives the first two to all of its foreground, the command among them.
const FROM_TERMINAL: [Signal; 2] = [Signal::INT, Signal::QUIT];
const FORWARDED: [Signal; 6] = [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP, Signal::USR1, Signal::USR2];

/// A signal, and who waits for it.
type Listeners = Vec<(Signal, Listener)>;

/// Stands between a snapshot and the command that it insures.
pub struct Gate {
    listening: Option<io::Result<(Runtime, Listeners)>>,
}

impl Gate {
    /// Listens for signals from now on, where there is a command to guard.
    pub fn listen(args: &Args) -> Self {
        let listen = || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let listeners = {
                let _inside = runtime.enter();
                let listen = |number: Signal| Ok((number, signal(SignalKind::from_raw(number.as_raw()))?));
                FORWARDED.into_iter().map(listen).collect::<io::Result<Listeners>>()?
            };
            Ok((runtime, listeners))
        };
        Gate { listening: (!args.command.is_empty()).then(listen) }
    }

    /// Whether there is a command.
    pub fn is_wanted(&self) -> bool {
        self.listening.is_some()
    }

    /// Runs the command where every snapshot stands, and gives its exit code; without a command, that of the run.
    pub fn pass(self, snapshot: ExitCode, args: &Args, journal: &Journal) -> ExitCode {
        let Some(listening) = self.listening else { return snapshot };
        if args.common.dry_run {
            return snapshot;
        }
        let Some(receipt) = journal.receipt().filter(|_| snapshot == ExitCode::SUCCESS) else {
            tracing::error!("the command was not started: there is no insurance for it");
            return NEVER_STARTED.into();
        };
        match listening {
            Ok((runtime, mut listeners)) => runtime.block_on(guarded(args, receipt, &mut listeners)).into(),
            Err(error) => {
                tracing::error!("failed to listen for signals: {error}; the command was not started");
                NEVER_STARTED.into()
            }
        }
    }
}

async fn guarded(args: &Args, mut receipt: Receipt, listeners: &mut [(Signal, Listener)]) -> u8 {
    // What came while nobody could pass it on is delivered now.
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    if listeners.iter_mut().any(|(_, listener)| listener.recv().now_or_never().flatten().is_some()) {
        tracing::error!("the command was not started: a signal came before it");
        return NEVER_STARTED;
    }
    let Some((program, arguments)) = args.command.split_first() else { return NEVER_STARTED };
    let shown = printable(&program.to_string_lossy());
    let (started_at, began) = (Utc::now(), Instant::now());
    receipt.command = Some(CommandRun { program: shown.clone(), started_at, seconds: None, exit_code: None });
    if let Err(failure) = receipt::write(args, &receipt) {
        tracing::error!("failed to {}; the command was not started", failure.message);
        return NEVER_STARTED;
    }
    tracing::info!("under insurance: starting {shown}");
    let exit_code = match Command::new(program).args(arguments).spawn() {
        Ok(mut child) => match watched(&mut child, listeners).await {
            Ok(status) => code(status),
            Err(error) => {
                tracing::error!("failed to wait for {shown}: {error}; look whether it still runs");
                1
            }
        },
        Err(error) => {
            tracing::error!("failed to start {shown}: {error}");
            if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_STARTED }
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    tracing::info!("{shown} ended with {exit_code} after {seconds:.1} s; the snapshot stays");
    receipt.command = Some(CommandRun { program: shown, started_at, seconds: Some(seconds), exit_code: Some(exit_code) });
    if let Err(failure) = receipt::write(args, &receipt) {
        tracing::error!("failed to {}: it does not say how the command ended", failure.message);
    }
    exit_code
}

/// Waits for the command, and passes signals on to it.
async fn watched(child: &mut tokio::process::Child, listeners: &mut [(Signal, Listener)]) -> io::Result<ExitStatus> {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    loop {
        let heard = futures::future::select_all(listeners.iter_mut().map(|(number, listener)| {
            let number = *number;
            Box::pin(async move { listener.recv().await.map(|()| number) })
        }));
        let number = tokio::select! {
            status = child.wait() => return status,
            (number, _, _) = heard => number,
        };
        let Some((pid, number)) = pid.zip(number) else { continue };
        if FROM_TERMINAL.contains(&number) && is_in_foreground() {
            continue;
        }
        if let Err(error) = kill_process(pid, number) {
            tracing::warn!("failed to pass signal {} on to the command: {error}", number.as_raw());
        }
    }
}

/// Whether a terminal gives its signals to our process group, and so to the command's.
fn is_in_foreground() -> bool {
    tcgetpgrp(io::stdin()).or_else(|_none| tcgetpgrp(io::stderr())).is_ok_and(|foreground| foreground == getpgrp())
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
