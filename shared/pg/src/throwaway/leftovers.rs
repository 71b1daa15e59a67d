//! Directories of servers whose makers were killed.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fs::OFlags,
    process::{Pid, Signal, kill_process},
};

use super::{LOCK, PREFIX};

/// One that is being made has no lock file for a moment.
const YOUNG: Duration = Duration::from_secs(600);
/// How long a server may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the file and locks it, until it is closed or this process ends.
pub(super) fn lock_new(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.try_lock().map_err(io::Error::from)?;
    Ok(file)
}

/// Removes what servers of killed processes have left in a directory: ends those that still run, and gives the
/// directories that are gone. What is not ours, or in use, stays. What cannot be removed is logged.
pub fn sweep(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let named = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)));
    let mut swept = Vec::new();
    for path in named.map(|entry| entry.path()) {
        match sweep_one(&path) {
            Ok(true) => swept.push(path),
            Ok(false) => {}
            Err(error) => tracing::warn!(directory = %path.display(), %error, "what a killed drill left stays behind; remove it by hand"),
        }
    }
    swept
}

fn sweep_one(path: &Path) -> io::Result<bool> {
    let facts = fs::symlink_metadata(path)?;
    let us = rustix::process::geteuid();
    // A link, or somebody else's: anybody may write into such directories.
    if !facts.is_dir() || !(us.is_root() || facts.uid() == us.as_raw()) {
        return Ok(false);
    }
    // No link is followed, and no pipe waited for, that somebody put there.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let lock = match OpenOptions::new().read(true).custom_flags(flags).open(path.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let age = SystemTime::now().duration_since(facts.modified()?).unwrap_or_default();
            return if age > YOUNG { fs::remove_dir_all(path).map(|()| true) } else { Ok(false) };
        }
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    end_server(&path.join("data"));
    fs::remove_dir_all(path).map(|()| true)
}

/// Ends the server of a data directory, where one still runs. It is known by its working directory, not by its number alone.
fn end_server(data: &Path) {
    let Some(pid) = postmaster(data) else { return };
    let begun = Instant::now();
    while is_at(pid, data) {
        let signal = if begun.elapsed() < PATIENCE { Signal::QUIT } else { Signal::KILL };
        if kill_process(pid, signal).is_err() || begun.elapsed() > PATIENCE * 2 {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn postmaster(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

fn is_at(pid: Pid, data: &Path) -> bool {
    let Ok(data) = data.canonicalize() else { return false };
    fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).is_ok_and(|directory| directory == data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(parent: &Path, name: &str) -> PathBuf {
        let path = parent.join(name);
        fs::create_dir(&path).expect("a directory");
        path
    }

    #[test]
    fn only_what_nobody_uses_is_removed() {
        let parent = tempfile::tempdir().expect("a directory");
        let used = made(parent.path(), "plana-drill-used");
        let held = lock_new(&used.join(LOCK)).expect("a lock");
        let left = made(parent.path(), "plana-drill-left");
        drop(lock_new(&left.join(LOCK)).expect("a lock"));
        let young = made(parent.path(), "plana-drill-young");
        let other = made(parent.path(), "somebody-elses");
        let elsewhere = tempfile::tempdir().expect("a directory");
        drop(lock_new(&elsewhere.path().join(LOCK)).expect("a lock"));
        let link = parent.path().join("plana-drill-link");
        std::os::unix::fs::symlink(elsewhere.path(), &link).expect("a link");
        assert_eq!(sweep(parent.path()), std::slice::from_ref(&left));
        assert!(used.exists() && young.exists() && other.exists() && link.exists() && elsewhere.path().exists() && !left.exists());
        drop(held);
        assert_eq!(sweep(parent.path()), [used]);
    }
}
