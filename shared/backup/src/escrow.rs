//! Keys without which a backup's content is unreadable: named in its manifest by a fingerprint, and kept in a store of their
//! own, encrypted to people whose private keys are offline.
//!
//! A key is read once per run. What is put into escrow and what manifests of that run name is therefore the same key, whatever
//! is rotated meanwhile.

mod apart;
mod check;
mod keep;

use chrono::{DateTime, Utc};
use plana_harness::Context;
use plana_plan::{
    escrow::{EntryKey, Fingerprint},
    manifest::RequiredKey,
    name::printable,
};

use crate::{error::BackupError, setup::SetupError};
use keep::Keeper;

pub use apart::require_apart;
pub use check::check_escrow;
pub use keep::{list, take_fingerprint};

/// What a manifest says where the key itself could not be found.
const UNKNOWN: &str = "unknown";

/// What an item needs besides itself, and what is wrong with that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyNeeds {
    /// For the manifest.
    pub required: Vec<RequiredKey>,
    /// Why a key is in no escrow, one sentence each.
    pub complaints: Vec<String>,
    must_be_kept: bool,
}

impl KeyNeeds {
    /// Refuses where every needed key must be in escrow and one is not.
    ///
    /// # Errors
    /// [`BackupError::NoEscrow`].
    pub fn require_escrow(&self) -> Result<(), BackupError> {
        if self.must_be_kept && !self.complaints.is_empty() {
            return Err(BackupError::NoEscrow(self.complaints.join("; ")));
        }
        Ok(())
    }
}

/// A key as a run found it.
#[derive(Debug, Clone)]
pub struct FoundKey {
    /// Its name.
    pub name: String,
    /// Its fingerprint; `None` where the key itself was not found.
    pub fingerprint: Option<Fingerprint>,
    /// The entry that keeps it.
    pub kept: Result<Kept, String>,
}

/// That a key is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Since when.
    pub since: DateTime<Utc>,
    /// The entry that this run made.
    pub made: Option<EntryKey>,
}

/// The keys of a run.
#[derive(Debug, Clone, Default)]
pub struct Escrow {
    keys: Vec<FoundKey>,
}

impl Escrow {
    /// Reads the keys that any of these databases and file stores needs, and puts those into escrow that are not there. What
    /// cannot be read or kept is a complaint of what needs it. A dry run changes nothing, and knows nothing either.
    ///
    /// # Errors
    /// When the configuration is wrong: the escrow store is where backups are, or a recipient is no key.
    pub async fn prepare(context: &Context, databases: &[&str], filestores: &[&str]) -> Result<Self, SetupError> {
        let config = context.config();
        require_apart(config)?;
        let recipients = crate::setup::escrow_recipients(&config.escrow)?;
        let needed = config.escrow.keys.iter().filter(|(_, key)| {
            let any = |patterns: &[plana_plan::select::NamePattern], names: &[&str]| {
                names.iter().any(|name| patterns.iter().any(|pattern| pattern.matches(name)))
            };
            any(&key.databases, databases) || any(&key.filestores, filestores)
        });
        let names: Vec<&str> = needed.map(|(name, _)| name.as_str()).collect();
        if names.is_empty() || context.dry_run() {
            return Ok(Escrow::default());
        }
        let keeper = Keeper::open(context, recipients).await;
        let mut keys = Vec::with_capacity(names.len());
        for name in names {
            keys.push(keeper.keep(name).await);
        }
        Ok(Escrow { keys })
    }

    /// The same for all keys that are configured, whatever needs them.
    ///
    /// # Errors
    /// As [`Escrow::prepare`].
    pub async fn keep_all(context: &Context) -> Result<Vec<FoundKey>, SetupError> {
        let config = context.config();
        require_apart(config)?;
        let keeper = Keeper::open(context, crate::setup::escrow_recipients(&config.escrow)?).await;
        let mut keys = Vec::with_capacity(config.escrow.keys.len());
        for name in config.escrow.keys.keys() {
            keys.push(keeper.keep(name).await);
        }
        Ok(keys)
    }

    /// A key as this run found it; `None` for one that nothing of this run needs.
    pub fn found(&self, name: &str) -> Option<&FoundKey> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// What a database needs.
    pub fn of_database(&self, context: &Context, database: &str) -> KeyNeeds {
        self.needs(context, |key| key.databases.iter().any(|pattern| pattern.matches(database)))
    }

    /// What a file store needs.
    pub fn of_filestore(&self, context: &Context, name: &str) -> KeyNeeds {
        self.needs(context, |key| key.filestores.iter().any(|pattern| pattern.matches(name)))
    }

    fn needs(&self, context: &Context, needs: impl Fn(&plana_config::schema::EscrowKey) -> bool) -> KeyNeeds {
        let config = &context.config().escrow;
        let of_it = self.keys.iter().filter(|key| config.keys.get(&key.name).is_some_and(&needs));
        let must_be_kept = config.on_missing == plana_config::schema::OnMissing::Fail;
        let mut all = KeyNeeds { must_be_kept, ..KeyNeeds::default() };
        for key in of_it {
            let fingerprint = key.fingerprint.map_or_else(|| UNKNOWN.to_owned(), |fingerprint| fingerprint.to_string());
            all.required.push(RequiredKey { name: key.name.clone(), fingerprint });
            all.complaints.extend(key.kept.as_ref().err().map(|why| complaint(key, why)));
        }
        all
    }
}

/// Why a key is in no escrow.
pub fn complaint(key: &FoundKey, why: &str) -> String {
    let which = key.fingerprint.map_or_else(String::new, |fingerprint| format!(" ({})", fingerprint.short()));
    format!("the key {}{which}, without which it cannot be read, is in no escrow: {why}", printable(&key.name))
}
