//! Where the servers of each major version stand.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// A major version of PostgreSQL that the tests know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PgMajor {
    /// 15, Debian's own.
    V15,
    /// 16.
    V16,
    /// 18.
    V18,
}

impl PgMajor {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V15, Self::V16, Self::V18];

    /// The number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::V15 => 15,
            Self::V16 => 16,
            Self::V18 => 18,
        }
    }

    /// The directory of its programs.
    pub fn bin_dir(self) -> Result<PathBuf> {
        let places = match self {
            Self::V15 => vec![PathBuf::from("/usr/lib/postgresql/15/bin")],
            _ => cache_directories().iter().map(|cache| cache.join(format!("pg{self}/bin"))).collect(),
        };
        match places.iter().find(|place| place.join("postgres").exists()) {
            Some(place) => Ok(place.clone()),
            None => bail!("failed to find PostgreSQL {self} in {places:?}: run tools/install-deps.sh test"),
        }
    }
}

impl fmt::Display for PgMajor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// Where tools/install-deps.sh may have put what Debian does not have.
pub(crate) fn cache_directories() -> Vec<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let repository = repository.canonicalize().unwrap_or(repository);
    std::env::var_os("PLANA_TEST_CACHE")
        .map(PathBuf::from)
        .into_iter()
        .chain([repository.join(".cache"), PathBuf::from("/var/tmp/plana-jobs-cache")])
        .collect()
}
