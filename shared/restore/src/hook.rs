//! The command between restore and rename, such as one that neutralises a copy of an Odoo database.

use std::{io, os::fd::AsRawFd as _, process::Stdio};

use plana_pg::server::Server;
use tokio::process::Command;

use crate::error::RestoreError;

/// Runs a command of the shell, with libpq's environment set to the restored database. Its output goes to stderr, as ours does.
///
/// # Errors
/// When it cannot be started, or ends with anything but 0.
pub async fn run_hook(command: &str, server: &Server, database: &str) -> Result<(), RestoreError> {
    let failed = |reason: String| RestoreError::Hook { command: command.to_owned(), reason };
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(io::stderr()).kill_on_drop(true);
    // Keys of object stores and connection strings may stand in our environment: they are none of the command's business.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("AWS_") || name.starts_with("PLANA_JOBS")) {
            shell.env_remove(name);
        }
    }
    let connection = server.settings().with_database(database).child_connection(&[]).map_err(|error| failed(error.to_string()))?;
    for name in &connection.remove {
        shell.env_remove(name);
    }
    shell.envs(connection.set.iter().map(|(name, value)| (name, value)));
    if let Some(password) = connection.passfile.as_ref().and_then(|file| file.descriptor()) {
        // It is in our memory alone, and only our own user can open it this way, for as long as the command runs.
        shell.env("PGPASSFILE", format!("/proc/{}/fd/{}", std::process::id(), password.as_raw_fd()));
    }
    let status = shell.status().await.map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(format!("it ended with {status}"))) }
}
