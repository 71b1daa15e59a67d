//! A program at work on one database: started with its connection, ended with a verdict.

use std::{ffi::OsString, fs::File, path::Path};

use rustix::process::Signal;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{Child, ChildCommand, Exit, FailureKind, Input, Process, ProgramError};
use crate::{
    client::{Installed, LARGE_WRITES},
    dsn::ConnectionSettings,
};

/// How a program that succeeded ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// What it complained of all the same.
    pub warnings: Vec<String>,
}

/// A running program. Dropped, it is told to stop.
///
/// The exit status decides. A child that is killed, or that fails after it closed its pipe, looks
/// like success to whoever watches only the pipe: [`wait`](Self::wait) must say so before anybody
/// relies on what went through it.
#[derive(Debug)]
pub struct Running<K> {
    child: Child,
    steps: Option<UnboundedReceiver<String>>,
    what: String,
    user: String,
    outcome: Option<Result<Finished, ProgramError<K>>>,
}

/// What is started, and how.
pub(crate) struct Launch<'a> {
    pub(crate) client: &'a Installed,
    pub(crate) settings: &'a ConnectionSettings,
    /// Settings of its session.
    pub(crate) session: Vec<(String, String)>,
    /// The database's name as a connection string, for a program that wants one as an argument.
    pub(crate) conninfo: Option<String>,
    pub(crate) arguments: Vec<OsString>,
    /// The file that it works on.
    pub(crate) file: Option<&'a Path>,
    pub(crate) input: Input,
    pub(crate) nice: u8,
    /// Whether it was told to be verbose.
    pub(crate) tells_steps: bool,
    /// The database, or `the globals`.
    pub(crate) what: String,
}

impl<K: FailureKind> Running<K> {
    pub(crate) async fn start(launch: Launch<'_>) -> Result<Self, ProgramError<K>> {
        let Launch { client, settings, session, conninfo, mut arguments, file, input, nice, tells_steps, what } = launch;
        let failed = |reason: String| ProgramError::start(&what, client, &reason);
        let connection = settings.child_connection(&session).map_err(|error| failed(error.to_string()))?;
        let conninfo: Vec<_> = conninfo.iter().chain(&connection.conninfo).map(String::as_str).collect();
        if !conninfo.is_empty() {
            arguments.push(format!("--dbname={}", conninfo.join(" ")).into());
        }
        arguments.extend(file.into_iter().flat_map(|file| ["--".into(), file.into()]));
        let (mut program, stop) = (client.path.clone(), Signal::TERM);
        if let Some(launcher) = &client.launcher {
            arguments.splice(..0, [LARGE_WRITES.into(), program.into()]);
            program = launcher.clone();
        }
        let (tell, steps) = tells_steps.then(unbounded_channel).unzip();
        let command = ChildCommand { program, arguments, input, connection, nice, stop, account: None, steps: tell };
        let child = Child::start(command).await.map_err(|error| failed(error.to_string()))?;
        tracing::debug!(pid = child.pid(), program = %client.path.display(), what, doing = K::DOING, "child started");
        Ok(Running { child, steps, what, user: settings.user().to_owned(), outcome: None })
    }

    /// Its input, once, where it has one: for a thread that writes it. Closing it is the end that the program waits
    /// for. Writing fails when the program has ended: ask [`wait`](Self::wait) why, it may have had enough.
    pub fn take_stdin(&mut self) -> Option<File> {
        self.child.take_stdin()
    }

    /// Its stream, once: for a thread that reads it to the end.
    pub fn take_stdout(&mut self) -> Option<File> {
        self.child.take_stdout()
    }

    /// What it tells of its steps, once, where it does: the first line of each message, until it has ended.
    pub fn take_steps(&mut self) -> Option<UnboundedReceiver<String>> {
        self.steps.take()
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
    pub async fn wait(&mut self) -> Result<Finished, ProgramError<K>> {
        if self.outcome.is_none() {
            let exit = self.child.wait().await;
            self.outcome = Some(self.judge(exit));
        }
        self.outcome.clone().unwrap_or_else(|| Err(ProgramError::unknown(&self.what, "nobody waited for it")))
    }

    /// Tells it to stop, kills it when it does not within eight seconds, and waits for its end.
    pub async fn terminate(&mut self) {
        if self.outcome.is_none() {
            let exit = self.child.stop().await;
            self.outcome = Some(self.judge(exit));
        }
    }

    fn judge(&self, exit: std::io::Result<Exit>) -> Result<Finished, ProgramError<K>> {
        match exit {
            Ok(exit) if exit.status.success() => Ok(Finished { warnings: exit.stderr }),
            Ok(exit) => Err(ProgramError::from_exit(&self.what, &self.user, &exit)),
            Err(error) => Err(ProgramError::unknown(&self.what, &error.to_string())),
        }
    }
}
