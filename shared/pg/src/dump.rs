//! pg_dump and pg_dumpall as children that stream.
//!
//! The exit status decides. A child that is killed, or that fails after it closed its pipe, looks
//! like success to whoever reads only the pipe: [`DumpChild::wait`] must say so before anybody
//! commits what was read.

mod failure;

use std::{ffi::OsString, fs::File, time::Duration};

use plana_plan::pgclient::PgVersion;

use crate::{
    child::{Child, ChildCommand, Exit, Process},
    client::Installed,
    dsn::ConnectionSettings,
};
pub use failure::{DumpError, DumpFailure};

/// How a dump is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpOptions {
    /// How long it waits for a table's lock.
    pub lock_wait_timeout: Duration,
    /// How far it stands back for others, 0 to 19.
    pub nice: u8,
    /// Further arguments.
    pub extra_args: Vec<String>,
    /// Further settings of its session, such as (`timezone`, `UTC`).
    pub session: Vec<(String, String)>,
}

impl Default for DumpOptions {
    fn default() -> Self {
        DumpOptions { lock_wait_timeout: Duration::from_secs(300), nice: 0, extra_args: Vec::new(), session: Vec::new() }
    }
}

/// How a dump that succeeded ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// What it complained of all the same.
    pub warnings: Vec<String>,
}

/// A running dump. Dropped, it is told to stop.
#[derive(Debug)]
pub struct DumpChild {
    child: Child,
    what: String,
    user: String,
    outcome: Option<Result<Finished, DumpError>>,
}

/// Starts `pg_dump -Fc -Z0` of the settings' database.
///
/// # Errors
/// When it cannot be started.
pub async fn start_dump(
    client: &Installed,
    server: PgVersion,
    settings: &ConnectionSettings,
    options: &DumpOptions,
) -> Result<DumpChild, DumpError> {
    let arguments = ["--format=custom", "--compress=0", "--no-password"].map(OsString::from);
    start(client, server, settings, options, arguments.into(), settings.database().to_owned()).await
}

/// Starts `pg_dumpall --globals-only`: roles, tablespaces and their settings, as SQL.
///
/// # Errors
/// When it cannot be started.
pub async fn start_globals(
    client: &Installed,
    server: PgVersion,
    settings: &ConnectionSettings,
    role_passwords: bool,
    options: &DumpOptions,
) -> Result<DumpChild, DumpError> {
    let mut arguments = vec![OsString::from("--globals-only"), OsString::from("--no-password")];
    if !role_passwords {
        arguments.push("--no-role-passwords".into());
    }
    // pg_dumpall takes no PGDATABASE, and reads this argument as a connection string where it can.
    let database = settings.database().replace('\\', r"\\").replace('\'', r"\'");
    arguments.push(format!("--database=dbname='{database}'").into());
    start(client, server, settings, options, arguments, "the globals".to_owned()).await
}

async fn start(
    client: &Installed,
    server: PgVersion,
    settings: &ConnectionSettings,
    options: &DumpOptions,
    mut arguments: Vec<OsString>,
    what: String,
) -> Result<DumpChild, DumpError> {
    arguments.push(format!("--lock-wait-timeout={}", options.lock_wait_timeout.as_millis()).into());
    arguments.extend(options.extra_args.iter().map(OsString::from));
    let failed = |reason: String| DumpError::start(&what, client, &reason);
    let connection = settings.child_connection(&session(server, options)).map_err(|error| failed(error.to_string()))?;
    if let Some(conninfo) = &connection.conninfo {
        arguments.push(format!("--dbname={conninfo}").into());
    }
    let command = ChildCommand { program: client.path.clone(), arguments, connection, nice: options.nice };
    let child = Child::start(command).await.map_err(|error| failed(error.to_string()))?;
    tracing::debug!(pid = child.pid(), program = %client.path.display(), what, "dump started");
    Ok(DumpChild { child, what, user: settings.user().to_owned(), outcome: None })
}

/// Timeouts that are meant for applications must not end a dump, and a server whose client was killed
/// must notice that even while it waits for a lock.
fn session(server: PgVersion, options: &DumpOptions) -> Vec<(String, String)> {
    let mut session = vec![("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "0"), ("lock_timeout", "0")];
    if server.major >= 14 {
        session.extend([("idle_session_timeout", "0"), ("client_connection_check_interval", "500")]);
    }
    if server.major >= 17 {
        session.push(("transaction_timeout", "0"));
    }
    let fixed = session.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    fixed.chain(options.session.iter().cloned()).collect()
}

impl DumpChild {
    /// Its stream, once: for a thread that reads it to the end.
    pub fn take_stdout(&mut self) -> Option<File> {
        self.child.take_stdout()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// A handle to stop it from anywhere.
    pub fn process(&self) -> Process {
        self.child.process()
    }

    /// Waits for its end and says whether it succeeded; call it when the stream has ended and before
    /// anything is committed. A later call answers the same.
    ///
    /// # Errors
    /// When its exit status is anything but 0.
    pub async fn wait(&mut self) -> Result<Finished, DumpError> {
        if self.outcome.is_none() {
            let exit = self.child.wait().await;
            self.outcome = Some(self.judge(exit));
        }
        self.outcome.clone().unwrap_or_else(|| Err(DumpError::unknown(&self.what, "nobody waited for it")))
    }

    /// Tells it to stop, kills it when it does not within five seconds, and waits for its end.
    pub async fn terminate(&mut self) {
        if self.outcome.is_none() {
            let exit = self.child.stop().await;
            self.outcome = Some(self.judge(exit));
        }
    }

    fn judge(&self, exit: std::io::Result<Exit>) -> Result<Finished, DumpError> {
        match exit {
            Ok(exit) if exit.status.success() => Ok(Finished { warnings: exit.stderr }),
            Ok(exit) => Err(DumpError::from_exit(&self.what, &self.user, &exit)),
            Err(error) => Err(DumpError::unknown(&self.what, &error.to_string())),
        }
    }
}
