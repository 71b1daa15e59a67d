//! What `tools/install-deps.sh` fetched because Debian does not have it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A file or directory of the cache, such as `kubectl`.
///
/// # Errors
/// When it is in no cache.
pub fn cached(name: &str) -> Result<PathBuf> {
    let places: Vec<PathBuf> = directories().into_iter().map(|cache| cache.join(name)).collect();
    let found = places.iter().find(|place| place.exists()).cloned();
    found.with_context(|| format!("failed to find {name} in {places:?}: run tools/install-deps.sh test"))
}

/// Where it may have been put.
pub(crate) fn directories() -> Vec<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let repository = repository.canonicalize().unwrap_or(repository);
    std::env::var_os("PLANA_TEST_CACHE")
        .map(PathBuf::from)
        .into_iter()
        .chain([repository.join(".cache"), PathBuf::from("/var/tmp/plana-jobs-cache")])
        .collect()
}
