//! Keys without which a backup's content is unreadable, and where copies of them are kept.

use std::{collections::BTreeMap, path::PathBuf};

use plana_plan::select::NamePattern;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Which keys dumps need, and to whom copies of them are encrypted. The copies go into `[store.escrow]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escrow {
    /// age public keys (`age1…`), whose private keys are offline.
    pub recipients: Vec<String>,
    /// A file of age public keys, one a line.
    pub recipients_file: Option<PathBuf>,
    /// What becomes of a dump whose key is in no escrow.
    pub on_missing: OnMissing,
    /// The keys, by their names.
    pub keys: BTreeMap<String, EscrowKey>,
}

/// What becomes of a dump whose key is in no escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMissing {
    /// It is made, with a warning.
    Warn,
    /// It fails.
    Fail,
}

/// One key: where it is found, and what needs it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EscrowKey {
    /// The key itself; else the credential `escrow.keys.NAME.secret`, else the environment variable of the key's name.
    pub secret: Option<Secret>,
    /// A file that holds it.
    pub secret_file: Option<PathBuf>,
    /// The environment variable that holds it.
    pub secret_env: Option<String>,
    /// Names and globs of the databases that cannot be read without it.
    #[serde(default)]
    pub databases: Vec<NamePattern>,
    /// Names and globs of the file stores that cannot be read without it.
    #[serde(default)]
    pub filestores: Vec<NamePattern>,
}
