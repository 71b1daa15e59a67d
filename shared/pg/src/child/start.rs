//! Starting a child, and the thread that stays with it.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Stdio},
    sync::PoisonError,
};

use plana_plan::pgclient::is_of_postgres;
use rustix::{
    io::{FdFlags, fcntl_setfd},
    pipe::fcntl_setpipe_size,
    process::{Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, nice, set_parent_process_death_signal, waitid},
};
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::{Child, Exit, Process, stderr};
use crate::dsn::ChildConnection;

/// A dump comes in bursts: a larger pipe keeps pg_dump going while the reader is busy, and pg_restore while the writer
/// is. The most that an unprivileged process may ask for.
const PIPE_BYTES: usize = 1 << 20;

/// What a child reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    #[default]
    Null,
    /// What is written into [`Child::take_stdin`].
    Piped,
}

/// What to start.
#[derive(Debug)]
pub struct ChildCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; nothing secret.
    pub arguments: Vec<OsString>,
    /// What it reads.
    pub input: Input,
    /// How it reaches the server.
    pub connection: ChildConnection,
    /// How far it stands back for others, 0 to 19.
    pub nice: u8,
    /// What tells it to stop, also when this process is killed.
    pub stop: Signal,
    /// As whom it runs, where that is not us.
    pub account: Option<Account>,
    /// Where the messages go of a program that was told to be verbose, each one's first line; only its complaints are kept.
    pub steps: Option<UnboundedSender<String>>,
}

/// A user of this system, and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// What the thread tells once the child runs.
type Started = io::Result<(Process, Option<File>, File)>;

pub(super) async fn start(command: ChildCommand) -> io::Result<Child> {
    let (tell_started, started) = oneshot::channel::<Started>();
    let (tell_ended, ended) = oneshot::channel();
    std::thread::Builder::new().name("wait-child".to_owned()).spawn(move || stay_with(command, tell_started, tell_ended))?;
    let (process, stdin, stdout) = started.await.map_err(|_| io::Error::other("the thread that starts it is gone"))??;
    Ok(Child { process, stdin, stdout: Some(stdout), ended })
}

fn stay_with(command: ChildCommand, tell_started: oneshot::Sender<Started>, tell_ended: oneshot::Sender<io::Result<Exit>>) {
    let mut child = match spawn(&command) {
        Ok(child) => child,
        Err(error) => {
            // Whoever asked is gone: then nobody wants to know.
            tell_started.send(Err(error)).ok();
            return;
        }
    };
    let lines = stderr::collect(child.stderr.take(), command.steps.clone());
    let Some((pid, stdout)) = Pid::from_raw(child.id().cast_signed()).zip(child.stdout.take()) else {
        tell_started.send(Err(io::Error::other("it has no output"))).ok();
        return;
    };
    let stdin = child.stdin.take().map(|stdin| pipe(stdin.into()));
    let process = Process::new(pid, command.stop);
    if tell_started.send(Ok((process.clone(), stdin, pipe(stdout.into())))).is_err() {
        process.stop_in_background();
    }
    let status = reap(&mut child, &process);
    // The passfile may be opened until now: pg_dumpall connects more than once.
    drop(command);
    tell_ended.send(status.map(|status| Exit { status, stderr: lines.finish() })).ok();
}

/// Our end of a pipe, enlarged.
fn pipe(end: OwnedFd) -> File {
    if let Err(error) = fcntl_setpipe_size(&end, PIPE_BYTES) {
        tracing::debug!(%error, "the pipe keeps its size");
    }
    File::from(end)
}

/// Waits for the end without reaping, so that the number stays ours until `reaped` says that it is not.
fn reap(child: &mut std::process::Child, process: &Process) -> io::Result<std::process::ExitStatus> {
    loop {
        match waitid(WaitId::Pid(process.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::debug!(%error, "a child's end could not be awaited");
                break;
            }
            Ok(_) => break,
        }
    }
    let mut reaped = process.reaped.lock().unwrap_or_else(PoisonError::into_inner);
    let status = child.wait();
    *reaped = true;
    status
}

fn spawn(command: &ChildCommand) -> io::Result<std::process::Child> {
    let mut process = Command::new(&command.program);
    process.args(&command.arguments);
    // Keys of object stores and connection strings may stand in our environment: they are none of the child's business.
    process.env_clear().envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_inherited)));
    for name in &command.connection.remove {
        process.env_remove(name);
    }
    process.envs(command.connection.set.iter().map(|(name, value)| (name, value)));
    // Failures are told apart by their words.
    process.env("LC_ALL", "C");
    let stdin = match command.input {
        Input::Null => Stdio::null(),
        Input::Piped => Stdio::piped(),
    };
    process.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own: Ctrl-C reaches us, and we stop it in our own order; what a wrapper starts is stopped with it.
    process.process_group(0);
    let inherited = command.connection.passfile.as_ref().and_then(|file| file.descriptor()).map(|fd| fd.as_raw_fd());
    if let Some(Account { uid, gid }) = command.account {
        // Our other groups are given up with it.
        process.uid(uid).gid(gid);
    }
    prepare(&mut process, inherited, command.nice, command.stop);
    process.spawn()
}

/// What a program of PostgreSQL needs of our environment.
fn is_inherited(name: &str) -> bool {
    const NAMES: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LD_LIBRARY_PATH"];
    NAMES.contains(&name) || is_of_postgres(name)
}

/// Runs between fork and exec, where only system calls are allowed: no allocation, no locks.
#[allow(unsafe_code)]
fn prepare(process: &mut Command, inherited: Option<RawFd>, niceness: u8, stop: Signal) {
    let parent = getpid();
    let prepare = move || {
        set_parent_process_death_signal(Some(stop))?;
        // The parent may have died just before: then nobody will send the signal.
        if getppid() != Some(parent) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if niceness > 0 {
            // A sandbox may forbid it; a dump that stands back for nobody is better than none.
            nice(niceness.into()).ok();
        }
        if let Some(fd) = inherited {
            // SAFETY: the descriptor belongs to `ChildCommand`, which outlives the call to spawn.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            fcntl_setfd(fd, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: the closure makes plain system calls and touches no memory but its own copies.
    unsafe { process.pre_exec(prepare) };
}
