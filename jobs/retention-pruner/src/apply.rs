//! Carrying a plan out, one name at a time.
//!
//! Just before sets are deleted they are listed again, and one that is not exactly what was planned is left alone: somebody has put
//! something into it, or a `hold`, or another run is at work on it. Manifests go first: a kill leaves what nobody takes for a
//! backup, and the next run sweeps it.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use plana_plan::{
    ObjectRole,
    retention::{GroupPlan, Keys, PlannedSet, SetFacts, SetId, Stock, keys::Known, plan::set_key},
};
use plana_storage::{DynStore, ObjectVersion, StoreError};
use tokio_util::sync::CancellationToken;

use crate::listing::{Listed, Mode, below};

/// Sets that are listed again and deleted together.
const CHUNK: usize = 250;
/// Errors that are told in full.
const TOLD: usize = 3;

/// What deletes, and how.
#[derive(Debug, Clone)]
pub struct Pruner {
    /// The store.
    pub store: DynStore,
    /// What is listed.
    pub mode: Mode,
    /// Whether versions are deleted by their ids.
    pub is_versioned: bool,
    /// What reads keys.
    pub keys: Keys,
}

/// What became of the sets of a group that were to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Backups that are gone.
    pub deleted: u64,
    /// Incomplete sets that are gone.
    pub swept: u64,
    /// Objects and versions that are gone.
    pub objects: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// Sets that were gone when their turn came.
    pub gone: u64,
    /// Sets that were not as they were planned, and are left alone.
    pub changed: Vec<String>,
    /// Objects that the store keeps locked.
    pub locked: u64,
    /// Objects that could not be deleted.
    pub failed: u64,
    /// Why, of the first of them.
    pub errors: Vec<String>,
    /// The run was cancelled before all of it was done.
    pub cancelled: bool,
}

impl Applied {
    /// Counts objects that could not be deleted, and keeps why.
    pub(crate) fn note_error(&mut self, objects: usize, error: &StoreError) {
        if matches!(error, StoreError::Locked(_)) {
            self.locked += objects as u64;
            return;
        }
        self.failed += objects as u64;
        let error = error.to_string();
        if self.errors.len() < TOLD && !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Counts what became of others too.
    pub(crate) fn add(&mut self, others: Applied) {
        let Applied { deleted, swept, objects, freed_bytes, gone, changed, locked, failed, errors, cancelled } = others;
        self.deleted += deleted;
        self.swept += swept;
        self.objects += objects;
        self.freed_bytes += freed_bytes;
        self.gone += gone;
        self.changed.extend(changed);
        self.locked += locked;
        self.failed += failed;
        let new: Vec<String> = errors.into_iter().filter(|error| !self.errors.contains(error)).collect();
        self.errors.extend(new);
        self.errors.truncate(TOLD);
        self.cancelled |= cancelled;
    }

    /// The errors in one sentence that completes "failed to …"; none where nothing failed.
    pub fn error(&self) -> Option<String> {
        let first = self.errors.first()?;
        let others: String = self.errors.iter().skip(1).map(|error| format!("; failed to {error}")).collect();
        Some(format!("delete {} objects: failed to {first}{others}", self.failed))
    }
}

/// A set as it is listed now, with its objects that may be deleted.
#[derive(Default)]
struct Now {
    facts: Option<SetFacts>,
    manifest: Vec<Listed>,
    rest: Vec<Listed>,
    markers: Vec<Listed>,
}

impl Pruner {
    /// Deletes the doomed sets of a group.
    pub async fn apply(&self, group: &GroupPlan, cancel: &CancellationToken) -> Applied {
        let mut applied = Applied::default();
        let doomed: Vec<&PlannedSet> = group.sets.iter().filter(|set| set.verdict.is_delete()).collect();
        for chunk in doomed.chunks(CHUNK) {
            if cancel.is_cancelled() {
                applied.cancelled = true;
                break;
            }
            match self.list_again(group, chunk).await {
                Ok(now) => self.delete_chunk(group, chunk, now, &mut applied).await,
                Err(error) => applied.note_error(chunk.iter().map(|set| set.facts.objects as usize).sum(), &error),
            }
        }
        applied
    }

    /// What is listed now of these sets.
    async fn list_again(&self, group: &GroupPlan, chunk: &[&PlannedSet]) -> Result<BTreeMap<SetId, Now>, StoreError> {
        let mut stock = Stock::new(self.keys.clone(), 0);
        let mut now: BTreeMap<SetId, Now> = BTreeMap::new();
        for prefix in prefixes(group, chunk) {
            let mut listing = below(&*self.store, self.mode, &prefix);
            while let Some(listed) = listing.try_next().await? {
                let (place, role) = match self.keys.read(&listed.key) {
                    Known::Ours(place, id, role) => ((place, id), Some(role)),
                    Known::Legacy(place, id) if listed.key == prefix => ((place, id), Some(ObjectRole::Payload)),
                    Known::Stranger(place, id) => ((place, id), None),
                    _ => continue,
                };
                if place.0 != group.key {
                    continue;
                }
                stock.add(listed.entry());
                let Some(role) = role else { continue };
                let set = now.entry(place.1).or_default();
                match role {
                    _ if listed.is_delete_marker() => set.markers.push(listed),
                    ObjectRole::Manifest => set.manifest.push(listed),
                    ObjectRole::Hold | ObjectRole::Payload => set.rest.push(listed),
                }
            }
        }
        for (id, facts) in stock.groups.remove(&group.key).unwrap_or_default() {
            now.entry(id).or_default().facts = Some(facts);
        }
        Ok(now)
    }

    async fn delete_chunk(&self, group: &GroupPlan, chunk: &[&PlannedSet], mut now: BTreeMap<SetId, Now>, applied: &mut Applied) {
        let mut agreed: Vec<(&PlannedSet, Now)> = Vec::new();
        for planned in chunk {
            match now.remove(&planned.id) {
                None => applied.gone += 1,
                Some(Now { facts: None, .. }) => applied.gone += 1,
                Some(set) if set.facts.as_ref().is_some_and(|facts| is_as_planned(planned, facts)) => agreed.push((planned, set)),
                Some(_) => applied.changed.push(planned.key(&group.key)),
            }
        }
        // Manifests first; what is left of a set whose manifest stayed stays too.
        let phases: [fn(&mut Now) -> Vec<Listed>; 3] =
            [|set| std::mem::take(&mut set.manifest), |set| std::mem::take(&mut set.rest), |set| std::mem::take(&mut set.markers)];
        for phase in phases {
            let batch: Vec<Listed> = agreed.iter_mut().flat_map(|(_, set)| phase(set)).collect();
            let left = self.delete(batch, applied).await;
            agreed.retain(|(planned, _)| !left.contains(&planned.id));
        }
        for (planned, _) in &agreed {
            let was_backup = planned.facts.is_committed() || planned.facts.is_removed();
            *(if was_backup { &mut applied.deleted } else { &mut applied.swept }) += 1;
        }
    }

    /// Deletes these, and gives the sets of which something stayed.
    async fn delete(&self, batch: Vec<Listed>, applied: &mut Applied) -> Vec<SetId> {
        if batch.is_empty() {
            return Vec::new();
        }
        let mut left = Vec::new();
        let mut stays = |listed: &Listed| left.extend(self.keys.place_of(&listed.key).map(|(_, id)| id));
        match delete_listed(&self.store, self.is_versioned, &batch).await {
            Ok(outcomes) => {
                for (listed, result) in batch.iter().zip(outcomes) {
                    match result {
                        Ok(()) => {
                            applied.objects += 1;
                            applied.freed_bytes += listed.size;
                        }
                        Err(error) => {
                            applied.note_error(1, &error);
                            stays(listed);
                        }
                    }
                }
            }
            Err(error) => {
                applied.note_error(batch.len(), &error);
                batch.iter().for_each(stays);
            }
        }
        left
    }
}

/// Deletes these, as the store keeps them, and tells what became of each.
pub async fn delete_listed(store: &DynStore, is_versioned: bool, batch: &[Listed]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let outcomes = if is_versioned {
        let version = |listed: &Listed| listed.version.as_ref().map(|(id, ..)| id.clone());
        let versions = batch.iter().map(|listed| ObjectVersion { key: listed.key.clone(), version: version(listed) });
        store.delete_versions(&versions.collect::<Vec<_>>()).await?
    } else {
        store.delete(&batch.iter().map(|listed| listed.key.clone()).collect::<Vec<_>>()).await?
    };
    Ok(outcomes.into_iter().map(|outcome| outcome.result).collect())
}

/// Whether a set is exactly what was planned, to the last object, byte and time.
fn is_as_planned(planned: &PlannedSet, now: &SetFacts) -> bool {
    let planned = &planned.facts;
    !now.presence.hold && (now.fingerprint, now.objects, now.bytes) == (planned.fingerprint, planned.objects, planned.bytes)
}

/// Prefixes under which all of these sets lie: for our own sets what all of them begin with, for older ones each key.
fn prefixes(group: &GroupPlan, chunk: &[&PlannedSet]) -> Vec<String> {
    let ours = chunk.iter().filter_map(|set| set_key(&group.key, &set.id)).map(|key| key.prefix());
    let common = ours.reduce(|common, next| {
        let same = common.bytes().zip(next.bytes()).take_while(|(a, b)| a == b).count();
        common.get(..same).unwrap_or_default().to_owned()
    });
    let older = chunk.iter().flat_map(|set| set.facts.legacy_keys.iter().map(ToString::to_string));
    common.into_iter().chain(older).collect()
}
