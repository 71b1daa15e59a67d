//! Commands of the shell around a snapshot.

use std::{io, process::ExitStatus};

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// Runs a command of the shell; a cancelled run ends it. Its output goes to stderr, as ours does.
///
/// # Errors
/// Why it was no success.
pub async fn run(command: &str, cancel: Option<&CancellationToken>) -> Result<(), String> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(std::process::Stdio::null()).stdout(io::stderr()).kill_on_drop(true);
    // Keys of object stores and connection strings may stand in our environment: they are none of the command's business.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("AWS_") || name.starts_with("PLANA_JOBS")) {
            shell.env_remove(name);
        }
    }
    let status = match cancel {
        None => shell.status().await,
        Some(cancel) => cancel.run_until_cancelled(shell.status()).await.ok_or("the run was cancelled")?,
    };
    success(status)
}

/// The same after the run, when nothing cancels any more.
///
/// # Errors
/// As [`run`].
pub fn run_to_its_end(command: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(run(command, None))
}

fn success(status: io::Result<ExitStatus>) -> Result<(), String> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("it ended with {status}")),
        Err(error) => Err(error.to_string()),
    }
}
