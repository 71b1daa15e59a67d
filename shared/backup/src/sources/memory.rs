//! What the job remembers of earlier runs. Losing it costs a warning, never safety.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, PoisonError},
};

use plana_harness::State;
use plana_plan::{Stamp, filestore::Remembered, name::path_text};
use serde::{Deserialize, Serialize};
use std::os::unix::ffi::OsStrExt;

/// Under which name it is remembered: that of the job that takes every file store.
const REMEMBERED_AS: &str = "filestore-tarball";

/// What is remembered of a file store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// The tarball's size.
    pub content_bytes: u64,
    /// The same as it was stored.
    pub stored_bytes: u64,
    /// The newest set, where not all was in it: a rerun makes a better one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Stamp>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Document {
    #[serde(default)]
    sources: BTreeMap<String, Remembered>,
    #[serde(default)]
    stores: BTreeMap<String, Store>,
}

/// What was remembered, and what is new.
#[derive(Debug, Default)]
pub struct Memory {
    before: Document,
    now: Mutex<Document>,
}

impl Memory {
    /// What earlier runs left.
    pub fn read(state: &State) -> Self {
        Memory { before: state.read(REMEMBERED_AS).unwrap_or_default(), now: Mutex::default() }
    }

    /// What a source held.
    pub fn source(&self, path: &Path) -> Option<Remembered> {
        self.before.sources.get(&key(path)).copied()
    }

    /// What a file store was.
    pub fn store(&self, name: &str) -> Option<Store> {
        self.before.stores.get(name).copied()
    }

    /// Notes what a source holds.
    pub fn note_source(&self, path: &Path, held: u64) {
        self.change(|now| now.sources.insert(key(path), Remembered { held }));
    }

    /// Notes what a file store is.
    pub fn note_store(&self, name: &str, store: Store) {
        self.change(|now| now.stores.insert(name.to_owned(), store));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Document) -> T) {
        change(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Puts what is new beside what other runs have put there meanwhile.
    pub fn keep(&self, state: &State) {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut document: Document = state.read(REMEMBERED_AS).unwrap_or_default();
        document.sources.extend(now.sources);
        document.stores.extend(now.stores);
        state.write(REMEMBERED_AS, &document);
    }
}

fn key(path: &Path) -> String {
    path_text(path.as_os_str().as_bytes())
}
