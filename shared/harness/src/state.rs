//! What a job likes to remember. Losing it costs a warning, never safety.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use plana_plan::name::encode;
use serde::{Serialize, de::DeserializeOwned};

/// JSON documents by name in the state directory. Reading what is not there, or is damaged, is `None`;
/// what cannot be written is warned of once and forgotten.
#[derive(Debug, Clone)]
pub struct State {
    dir: PathBuf,
    read_only: bool,
    warned: Arc<AtomicBool>,
}

impl State {
    /// The state in this directory, which is made when something is first written. Read-only where
    /// nothing is to be changed.
    pub fn new(dir: impl Into<PathBuf>, read_only: bool) -> Self {
        State { dir: dir.into(), read_only, warned: Arc::default() }
    }

    /// The directory: systemd's `$STATE_DIRECTORY` (the first, where there are several) over the
    /// configuration's, since under systemd's sandbox no other is writable.
    pub fn dir_of(configured: &Path, state_directory: Option<&str>) -> PathBuf {
        state_directory.and_then(|dirs| dirs.split(':').find(|dir| !dir.is_empty())).map_or_else(|| configured.to_path_buf(), PathBuf::from)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}.json", encode(name)))
    }

    /// The document of this name.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.path(name);
        let read = File::open(&path).and_then(|file| serde_json::from_reader(io::BufReader::new(file)).map_err(io::Error::from));
        match read {
            Ok(document) => Some(document),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.warn(&format!("failed to read what was remembered in {}: {error}; the run goes on without", path.display()));
                None
            }
        }
    }

    /// Puts the document of this name, whole or not at all.
    pub fn write<T: Serialize>(&self, name: &str, document: &T) {
        if self.read_only {
            return;
        }
        let path = self.path(name);
        if let Err(error) = self.replace(&path, document) {
            self.warn(&format!(
                "failed to remember something in {}: {error}; the run goes on. Set state_dir to a directory that this user may write",
                path.display()
            ));
        }
    }

    fn replace<T: Serialize>(&self, path: &Path, document: &T) -> io::Result<()> {
        let text = serde_json::to_vec(document)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        // The process's id in the name: two runs at once must not write into one temporary file.
        let temporary = path.with_extension(format!("json.{}.new", std::process::id()));
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        written.and_then(|()| std::fs::rename(&temporary, path)).inspect_err(|_| {
            if let Err(error) = std::fs::remove_file(&temporary) {
                tracing::debug!("{} stays behind: {error}", temporary.display());
            }
        })
    }

    fn warn(&self, text: &str) {
        if self.warned.swap(true, Ordering::Relaxed) {
            tracing::debug!("{text}");
        } else {
            tracing::warn!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn documents_come_back_and_the_directory_is_private() {
        let root = tempfile::tempdir().unwrap();
        let state = State::new(root.path().join("a/b"), false);
        assert_eq!(state.read::<Vec<u32>>("../inventory"), None);
        state.write("../inventory", &vec![1, 2]);
        state.write("../inventory", &vec![3]);
        assert_eq!(state.read::<Vec<u32>>("../inventory"), Some(vec![3]));
        assert_eq!(std::fs::metadata(state.dir()).unwrap().permissions().mode() & 0o777, 0o700);
        let files: Vec<_> = std::fs::read_dir(state.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, ["%2E.%2Finventory.json"]);
    }

    #[test]
    fn what_is_damaged_or_unwritable_costs_nothing_but_a_warning() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("x.json"), "{").unwrap();
        assert_eq!(State::new(root.path(), false).read::<u32>("x"), None);
        // A file where the directory should be: not even root can write there.
        let blocked = State::new(root.path().join("x.json"), false);
        blocked.write("y", &1);
        assert_eq!(blocked.read::<u32>("y"), None);
        assert!(blocked.warned.load(Ordering::Relaxed));
    }

    #[test]
    fn a_dry_run_remembers_nothing() {
        let root = tempfile::tempdir().unwrap();
        State::new(root.path().join("s"), true).write("x", &1);
        assert!(!root.path().join("s").exists());
    }

    #[test]
    fn systemds_directory_wins() {
        let configured = Path::new("/var/lib/plana-jobs");
        assert_eq!(State::dir_of(configured, Some("/run/a:/run/b")), Path::new("/run/a"));
        assert_eq!(State::dir_of(configured, Some("")), configured);
        assert_eq!(State::dir_of(configured, None), configured);
    }
}
