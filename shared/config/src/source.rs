//! Where a configuration comes from.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

/// The variables that a configuration and its secrets may come from. Handed in, and never read from
/// the process behind the caller's back: `std::env::vars_os().collect()` makes the real one.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The variable's value. An empty one counts as not set: Docker Compose and shells pass those on
    /// for what nobody gave.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|value| value.to_str()).filter(|value| !value.is_empty())
    }

    /// All variables that are set, by name; the value is `None` where it is not UTF-8.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.as_str(), value.to_str()))
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let named = |(name, value): (K, V)| Some((name.into().into_string().ok()?, value.into()));
        Environment(variables.into_iter().filter_map(named).collect())
    }
}

/// Names alone: values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A key that a flag sets.
#[derive(Clone)]
pub struct Override {
    /// The flag as it is typed, such as `--store`: named in errors.
    pub flag: String,
    /// The dotted key, such as `store.backups.url`.
    pub key: String,
    /// The value as text; the schema decides what it is read as.
    pub value: String,
}

impl Override {
    /// A key that a flag sets.
    pub fn new(flag: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        Override { flag: flag.into(), key: key.into(), value: value.into() }
    }
}

/// Without the value, which may be a secret.
impl std::fmt::Debug for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} → {}", self.flag, self.key)
    }
}

/// Where a configuration comes from. The default is nothing but the built-in defaults.
#[derive(Debug, Clone, Default)]
pub struct ConfigSource {
    /// A file that somebody named, and that must therefore exist; else `PLANA_JOBS_CONFIG` names it.
    pub file: Option<PathBuf>,
    /// The file that is read where none was named; it may be missing.
    pub default_file: Option<PathBuf>,
    /// The environment.
    pub env: Environment,
    /// What flags set; later ones win.
    pub overrides: Vec<Override>,
}

impl ConfigSource {
    /// The file that is read where none is named.
    pub const DEFAULT_FILE: &'static str = "/etc/plana-jobs/config.toml";

    /// What a job reads: the named file or the default one, the environment, and flags.
    pub fn new(file: Option<PathBuf>, env: Environment, overrides: Vec<Override>) -> Self {
        ConfigSource { file, default_file: Some(Self::DEFAULT_FILE.into()), env, overrides }
    }
}
