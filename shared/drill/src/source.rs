//! What reading a set takes: the store, the private keys, and the memory that all reads share.

use std::{path::PathBuf, time::Duration};

use plana_archive::Identities;
use plana_backup::setup;
use plana_config::StoreName;
use plana_harness::{Context, Failure};
use plana_restore::{Memory, OpenSet, ReadMeter, Reading, RestoreError};
use plana_storage::DynStore;

use crate::error::{Refusal, failure};

/// What reading a set takes.
pub struct Source {
    /// The store.
    pub store: DynStore,
    identities: Identities,
    memory: Memory,
    stall_timeout: Duration,
}

impl Source {
    /// Opens the backups' store and reads the private keys.
    ///
    /// # Errors
    /// When either cannot be had.
    pub async fn open(context: &Context, identity: Option<PathBuf>) -> Result<Self, Failure> {
        Self::open_named(StoreName::Backups, context, identity).await
    }

    /// The same of one of the stores.
    ///
    /// # Errors
    /// When either cannot be had.
    pub async fn open_named(which: StoreName, context: &Context, identity: Option<PathBuf>) -> Result<Self, Failure> {
        let config = context.config();
        let store = setup::open_named_store(config, context.env(), which, false).await.map_err(Refusal::from).map_err(failure)?;
        let identities = match identity.or_else(|| config.restore.identity_file.clone()) {
            None => Identities::default(),
            Some(path) => identities(path).map_err(Refusal::from).map_err(failure)?,
        };
        let memory = Memory::new(config.upload.memory.0, config.upload.parts_in_flight);
        Ok(Source { store, identities, memory, stall_timeout: config.dump.stall_timeout.0 })
    }

    /// How a set is read.
    pub fn reading<'a>(&'a self, context: &'a Context, set: &'a OpenSet, meter: &'a ReadMeter) -> Reading<'a> {
        Reading {
            store: &self.store,
            set,
            identities: &self.identities,
            memory: &self.memory,
            meter,
            cancel: context.cancel(),
            stall_timeout: self.stall_timeout,
        }
    }
}

/// The private keys of a file.
///
/// # Errors
/// When it cannot be read, or holds none.
pub fn identities(path: PathBuf) -> Result<Identities, RestoreError> {
    let text = std::fs::read_to_string(&path).map_err(|error| RestoreError::Identity { path: path.clone(), reason: error.to_string() })?;
    Identities::parse_file(&text).map_err(|error| RestoreError::identity(path, &error))
}
