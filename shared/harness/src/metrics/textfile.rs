//! A file for node_exporter's textfile collector.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::{Metrics, Update, merge};

/// How long another run of the same job may hold the file; it holds it for milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Merges what the run changes into the job's file: read, merged and renamed into place under a lock,
/// so that shards which end at the same moment do not lose each other's series.
///
/// # Errors
/// When the directory cannot be written, or another process holds the lock.
pub(crate) fn write(dir: &Path, update: &Update) -> io::Result<()> {
    let path = file_of(dir, &update.job);
    // node_exporter reads `*.prom` only, so neither the lock nor the temporary file is taken for metrics.
    let lock = open_lock(&path.with_extension("lock"))?;
    wait_for(&lock)?;
    let old = match fs::read(&path) {
        Ok(bytes) => Metrics::parse(&String::from_utf8_lossy(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Metrics::default(),
        Err(error) => return Err(error),
    };
    let temporary = path.with_extension("prom.new");
    // What a killed run left may be another user's.
    fs::remove_file(&temporary).ok();
    let mut file = File::create(&temporary)?;
    file.write_all(merge(old, update).render().as_bytes())?;
    // Whatever the umask: node_exporter runs as another user.
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.sync_all()?;
    fs::rename(&temporary, &path)
}

/// The lock file, to be read only where it is there: a person may have called the job as root once, and the file is root's then.
fn open_lock(path: &Path) -> io::Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).open(path)
        }
        opened => opened,
    }
}

/// The job's file.
fn file_of(dir: &Path, job: &str) -> PathBuf {
    dir.join(format!("plana_jobs_{}.prom", job.replace('-', "_")))
}

/// Polls, since a lock that blocks could outlast the run behind a process that was stopped.
fn wait_for(lock: &File) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < LOCK_PATIENCE => std::thread::sleep(Duration::from_millis(20)),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(io::Error::new(io::ErrorKind::TimedOut, "another run holds the file's lock")),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LAST_RUN, labels};
    use super::*;

    fn shard(text: &str) -> Update {
        let mut set = Metrics::default();
        set.set(LAST_RUN, &labels(&[("plana_job", "a-job"), ("shard", text)]), 1.0);
        Update { job: "a-job".to_owned(), shard: Some(text.to_owned()), set, all_names: None }
    }

    #[test]
    fn shards_that_end_at_once_do_not_lose_each_others_series() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for index in 0..16 {
                let dir = dir.path();
                scope.spawn(move || write(dir, &shard(&format!("{index}/16"))).unwrap());
            }
        });
        let text = fs::read_to_string(dir.path().join("plana_jobs_a_job.prom")).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with(LAST_RUN)).count(), 16, "{text}");
    }

    #[test]
    fn node_exporter_may_read_it_and_finds_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &shard("0/1")).unwrap();
        let file = dir.path().join("plana_jobs_a_job.prom");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        let metrics = fs::read_dir(dir.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().extension() == Some("prom".as_ref()));
        assert_eq!(metrics.count(), 1);
    }

    #[test]
    fn a_damaged_file_is_written_anew_and_a_missing_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plana_jobs_a_job.prom");
        fs::write(&file, b"\xff\x00 nonsense {{{").unwrap();
        write(dir.path(), &shard("0/1")).unwrap();
        assert!(fs::read_to_string(&file).unwrap().ends_with("shard=\"0/1\"} 1\n"));
        assert_eq!(write(&dir.path().join("none"), &shard("0/1")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
