//! A listing, read as backup sets.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    Area,
    set::{ObjectRole, SetKey},
};

/// One object as a listing gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its key within the store.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When the store last wrote it.
    pub last_modified: DateTime<Utc>,
    /// Its ETag without quotes, where the store has any.
    pub etag: Option<String>,
}

/// The objects of one set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSet {
    /// What its keys say.
    pub key: SetKey,
    /// Its manifest.
    pub manifest: Option<ObjectMeta>,
    /// Its payload's volumes, by key.
    pub payload: Vec<ObjectMeta>,
    /// The mark that keeps it.
    pub hold: Option<ObjectMeta>,
    /// Objects in it that this suite did not write: kept and reported.
    pub strangers: Vec<ObjectMeta>,
}

impl StoredSet {
    /// Payload and manifest are both listed: it is a backup.
    pub fn is_committed(&self) -> bool {
        self.manifest.is_some() && !self.payload.is_empty()
    }

    /// The payload's stored bytes.
    pub fn payload_bytes(&self) -> u64 {
        self.payload.iter().map(|object| object.size).sum()
    }
}

/// A listing, read as backup sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The sets by key, and so by area, name and stamp.
    pub sets: BTreeMap<SetKey, StoredSet>,
    /// Objects outside every set: kept and reported.
    pub unknown: Vec<ObjectMeta>,
}

/// How a store's keys are read.
type Parse = fn(&str) -> Option<(SetKey, ObjectRole, &str)>;

impl Inventory {
    /// Reads a listing, in any order.
    pub fn read(objects: impl IntoIterator<Item = ObjectMeta>) -> Self {
        Self::read_by(SetKey::parse_object, objects)
    }

    /// The same of a store of seeds.
    pub fn read_seeds(objects: impl IntoIterator<Item = ObjectMeta>) -> Self {
        Self::read_by(SetKey::parse_seed_object, objects)
    }

    /// The same of the store that this set belongs into.
    pub fn read_beside(set: &SetKey, objects: impl IntoIterator<Item = ObjectMeta>) -> Self {
        if set.area == Area::Seed { Self::read_seeds(objects) } else { Self::read(objects) }
    }

    fn read_by(parse: Parse, objects: impl IntoIterator<Item = ObjectMeta>) -> Self {
        let mut inventory = Inventory::default();
        for object in objects {
            inventory.add(parse, object);
        }
        for set in inventory.sets.values_mut() {
            set.payload.sort_by(|a, b| a.key.cmp(&b.key));
        }
        inventory
    }

    fn add(&mut self, parse: Parse, object: ObjectMeta) {
        let Some((key, role, file)) = parse(&object.key) else {
            self.unknown.push(object);
            return;
        };
        let ours = key.owns_file(file);
        let set = self.sets.entry(key).or_insert_with_key(|key| StoredSet {
            key: key.clone(),
            manifest: None,
            payload: Vec::new(),
            hold: None,
            strangers: Vec::new(),
        });
        match role {
            ObjectRole::Manifest => set.manifest = Some(object),
            ObjectRole::Hold => set.hold = Some(object),
            ObjectRole::Payload if ours => set.payload.push(object),
            ObjectRole::Payload => set.strangers.push(object),
        }
    }

    /// The committed sets, oldest first within each name.
    pub fn committed(&self) -> impl DoubleEndedIterator<Item = &StoredSet> {
        self.sets.values().filter(|set| set.is_committed())
    }

    /// The newest committed set that was begun no later than `now`. A stamp in the future, which a
    /// wrong clock or a stolen key can write, never counts as fresh.
    pub fn newest_committed(&self, now: DateTime<Utc>) -> Option<&StoredSet> {
        self.committed().filter(|set| set.key.stamp.instant() <= now).max_by_key(|set| set.key.stamp)
    }

    /// Whether a committed set younger than `within` is there, so that a rerun may leave the name out.
    pub fn is_fresh(&self, within: TimeDelta, now: DateTime<Utc>) -> bool {
        self.newest_committed(now).is_some_and(|set| now - set.key.stamp.instant() < within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stamp;

    fn object(key: &str) -> ObjectMeta {
        ObjectMeta { key: key.to_owned(), size: 5, last_modified: DateTime::UNIX_EPOCH, etag: None }
    }

    fn set_of(stamp: &str, files: &[&str]) -> Vec<ObjectMeta> {
        files.iter().map(|file| object(&format!("pg/acme/{stamp}.pro.00000001/{}", file.replace('*', &format!("acme_{stamp}"))))).collect()
    }

    const OLD: &str = "20261122T030000Z";
    const NEW: &str = "20261123T030000Z";
    const FUTURE: &str = "20271123T030000Z";

    fn now() -> DateTime<Utc> {
        "20261123T040000Z".parse::<Stamp>().expect("a stamp").instant()
    }

    #[test]
    fn only_payload_with_manifest_is_a_backup() {
        for (files, committed) in [
            (vec!["*.dump.zst", "manifest.json"], true),
            (vec!["*.dump.zst"], false),
            (vec!["manifest.json"], false),
            (vec!["manifest.json", "hold"], false),
            (vec!["manifest.json", "stranger.txt"], false),
        ] {
            let inventory = Inventory::read(set_of(NEW, &files));
            assert_eq!(inventory.committed().count() == 1, committed, "{files:?}");
            assert_eq!(inventory.sets.len(), 1);
        }
    }

    #[test]
    fn strangers_stay_visible() {
        let mut objects = set_of(NEW, &["*.dump.zst", "manifest.json", "notes.txt"]);
        objects.push(object("README"));
        let inventory = Inventory::read(objects);
        assert_eq!(inventory.unknown.len(), 1);
        assert_eq!(inventory.sets.values().map(|s| s.strangers.len()).sum::<usize>(), 1);
    }

    #[test]
    fn freshness_counts_committed_sets_that_are_not_from_the_future() {
        let whole = ["*.dump.zst", "manifest.json"];
        let fresh = |objects: Vec<ObjectMeta>| Inventory::read(objects).is_fresh(TimeDelta::hours(12), now());
        assert!(fresh(set_of(NEW, &whole)));
        assert!(!fresh(set_of(OLD, &whole)));
        assert!(!fresh(set_of(NEW, &["*.dump.zst"])));
        assert!(!fresh(set_of(FUTURE, &whole)));
        assert!(fresh([set_of(NEW, &whole), set_of(FUTURE, &whole)].concat()));
    }
}
