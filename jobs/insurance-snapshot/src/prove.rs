//! `--prove`: what was stored is read back, and the dump restored, before anybody says that it is insurance.

use std::collections::BTreeSet;

use plana_drill::{Means, Place, Refusal, Source, failure, prove_database};
use plana_harness::{Context, Failure, State};
use plana_plan::{SetKey, name::printable, receipt::Snapshot};
use plana_restore::{ReadMeter, RestoreError, check_set, open_set};
use serde::{Deserialize, Serialize};

use crate::{Args, run::Run};

/// What a proof takes, found before the snapshot is begun.
pub struct Prover {
    means: Means,
    source: Source,
}

impl Prover {
    /// Finds a scratch server or the programs for a throwaway one, and tells whether the key may read.
    pub async fn find(context: &Context, args: &Args) -> Result<Self, Failure> {
        let means = Means::find(context, args.scratch_dsn.as_deref()).await?;
        let source = Source::open(context, None).await?;
        // In an empty bucket only an object that was just put there tells whether it can be read.
        let rights = source.store.rights(true).await.map_err(Refusal::from).map_err(failure)?;
        if rights.read == Some(false) {
            return Err(Failure::bad_config(
                "prove a snapshot by restoring it: the store's key may not read; give this run a key that may, as restores have, or leave \
                 --prove out",
            ));
        }
        Ok(Prover { means, source })
    }

    /// Restores every dump and reads every file store to its end. The first that is not whole ends it.
    pub async fn prove(self, run: &Run<'_>, snapshots: &mut [Snapshot]) -> Result<(), Failure> {
        let context = run.items.context;
        let version = run.server().map(|server| server.facts().version);
        let place = Place::open(context, self.means, false, version).await.map_err(failure)?;
        let mut proven = Ok(());
        for snapshot in snapshots {
            proven = one(context, &self.source, &place, snapshot).await;
            if proven.is_err() {
                Refuted::note(context.state(), snapshot);
            }
            if proven.is_err() {
                break;
            }
        }
        place.close(context).await;
        proven
    }
}

/// Sets that did not stand their proof: no later call on this host uses them again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Refuted(BTreeSet<String>);

impl Refuted {
    const REMEMBERED_AS: &str = "insurance-refuted";

    /// What is remembered.
    pub fn read(state: &State) -> Self {
        state.read(Self::REMEMBERED_AS).unwrap_or_default()
    }

    /// Whether it is one of them.
    pub fn holds(&self, key: &SetKey) -> bool {
        self.0.contains(&key.to_string())
    }

    fn note(state: &State, snapshot: &Snapshot) {
        let mut refuted = Self::read(state);
        refuted.0.extend(snapshot.sets.iter().map(|set| set.set.clone()));
        state.write(Self::REMEMBERED_AS, &refuted);
    }
}

async fn one(context: &Context, source: &Source, place: &Place, snapshot: &mut Snapshot) -> Result<(), Failure> {
    for set in &snapshot.sets {
        let proven = of_set(context, source, place, &set.set).await;
        proven.map_err(|error| {
            let (name, set) = (printable(&snapshot.name), &set.set);
            Failure::failed(format!(
                "prove the snapshot of {name} by its set {set}: failed to {error}; it is no insurance: look at the store"
            ))
        })?;
    }
    snapshot.proven_by_restore = true;
    Ok(())
}

async fn of_set(context: &Context, source: &Source, place: &Place, key: &str) -> Result<(), RestoreError> {
    let key: SetKey = key.parse().map_err(|error| RestoreError::Internal(format!("{error}")))?;
    let set = open_set(&source.store, &key).await?;
    if set.manifest.database.is_some() {
        let restored = prove_database(context, source, place, &set).await?;
        tracing::info!(rows = restored.rows, tables = restored.tables, "{key} was restored, and every table has its rows");
    } else {
        let meter = ReadMeter::default();
        let checked = check_set(source.reading(context, &set, &meter)).await?;
        tracing::info!(files = checked.files, "{key} was read to its end, and every file compared with its name");
    }
    Ok(())
}
