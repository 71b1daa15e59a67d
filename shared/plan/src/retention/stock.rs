//! A listing, folded into groups and sets.
//!
//! Each object changes only sums, maxima and flags, so the order of the listing cannot matter, and of a set with a hundred objects
//! no more is held than of one with two.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use chrono::{DateTime, Utc};

use super::{
    guard::{is_kept_key, is_seed},
    keys::{Keys, Known},
};
use crate::{
    Area, Label, ObjectRole, SetLabel, SetNonce, Stamp,
    name::{self, printable},
};

/// One version of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version<'a> {
    /// Its id; `null` for what was stored while the bucket was not versioned.
    pub id: &'a str,
    /// Whether it is what a reader gets who names no version.
    pub is_latest: bool,
    /// Whether it holds nothing and only says that the object was deleted.
    pub is_delete_marker: bool,
}

/// One object, or one version of it, as a listing gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry<'a> {
    /// Its key within the store.
    pub key: &'a str,
    /// Its size in bytes.
    pub size: u64,
    /// When the store last wrote it.
    pub last_modified: DateTime<Utc>,
    /// Its ETag, where the store has any.
    pub etag: Option<&'a str>,
    /// Which version, where versions were listed.
    pub version: Option<Version<'a>>,
}

impl Entry<'_> {
    /// Whether a reader who names no version gets it.
    pub(crate) fn is_visible(&self) -> bool {
        self.version.is_none_or(|version| version.is_latest && !version.is_delete_marker)
    }

    fn holds_data(&self) -> bool {
        self.version.is_none_or(|version| !version.is_delete_marker)
    }

    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }
}

/// An area with a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    /// The area.
    pub area: Area,
    /// The encoded name: one segment, or three joined by `/` for partitions.
    pub encoded_name: String,
}

impl GroupKey {
    /// The plain name; what is not UTF-8 stays encoded. For partitions the three parts joined by a dot.
    pub fn plain_name(&self) -> String {
        let parts: Vec<String> = self.encoded_name.split('/').map(|part| name::decode(part).unwrap_or_else(|_| part.to_owned())).collect();
        parts.join(".")
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.area, printable(&self.plain_name()))
    }
}

/// A set within its group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetId {
    /// When it was begun.
    pub stamp: Stamp,
    /// What decides how long it is kept.
    pub label: SetLabel,
    /// What makes its keys unused; `None` for a set that was there before this suite.
    pub nonce: Option<SetNonce>,
}

/// What of a set is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presence {
    /// A manifest that a reader gets.
    pub manifest: bool,
    /// A payload that a reader gets.
    pub payload: bool,
    /// The mark that keeps it.
    pub hold: bool,
    /// A manifest, if only as a version that a reader must name.
    pub any_manifest: bool,
    /// A payload, if only as a version that a reader must name.
    pub any_payload: bool,
    /// Anything that this suite wrote.
    pub ours: bool,
}

/// What a listing says of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetFacts {
    /// The latest change of anything in it.
    pub latest_change: DateTime<Utc>,
    /// Bytes of what this suite wrote in it, all versions together.
    pub bytes: u64,
    /// The same as the store bills it.
    pub billed_bytes: u64,
    /// How many objects and versions this suite wrote in it.
    pub objects: u32,
    /// The listing of it, condensed: two listings that differ in anything have other ones.
    pub fingerprint: u64,
    /// What of it is there.
    pub presence: Presence,
    /// The keys of a set that was there before this suite; those of our own follow from its name.
    pub legacy_keys: Vec<Box<str>>,
}

impl SetFacts {
    /// Payload and manifest are both there: it is a backup.
    pub fn is_committed(&self) -> bool {
        self.presence.manifest && self.presence.payload
    }

    /// It was a backup, and somebody deleted it; versions of it are left.
    pub fn is_removed(&self) -> bool {
        let Presence { manifest, payload, any_manifest, any_payload, .. } = self.presence;
        !self.is_committed() && (manifest || any_manifest) && (payload || any_payload)
    }

    /// What its age is counted from: the newer of its stamp and its latest change.
    pub fn aged_from(&self, stamp: Stamp) -> DateTime<Utc> {
        self.latest_change.max(stamp.instant())
    }
}

/// An object that nobody knows, or that `check` wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loose {
    /// The latest change of it.
    pub latest_change: DateTime<Utc>,
    /// Its bytes, all versions together.
    pub bytes: u64,
    /// The same as the store bills it.
    pub billed_bytes: u64,
}

/// An upload that was neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The key that it was begun for.
    pub key: String,
    /// The store's name for it.
    pub upload_id: String,
    /// When it was begun.
    pub initiated: DateTime<Utc>,
}

/// The sets of a group.
pub type Sets = BTreeMap<SetId, SetFacts>;

/// A listing, folded.
#[derive(Debug, Clone, Default)]
pub struct Stock {
    /// The sets by group.
    pub groups: BTreeMap<GroupKey, Sets>,
    /// What `check` wrote, by key.
    pub probes: BTreeMap<String, Loose>,
    /// What nobody knows, by key: kept and reported.
    pub unknown: BTreeMap<String, Loose>,
    /// Uploads that were neither completed nor aborted.
    pub uploads: Vec<Unfinished>,
    /// How many objects and versions were listed.
    pub listed: u64,
    /// The key of a template seed, where there is one.
    pub seed: Option<String>,
    /// The key of something that lies where keys are kept in escrow, where there is any.
    pub kept_key: Option<String>,
    keys: Keys,
    billed_at_least: u64,
}

impl Stock {
    /// An empty one. An object is billed as if it had `billed_at_least` bytes.
    pub fn new(keys: Keys, billed_at_least: u64) -> Self {
        Stock { keys, billed_at_least, ..Stock::default() }
    }

    /// What reads its keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Takes an object, or a version of one.
    pub fn add(&mut self, entry: Entry<'_>) {
        self.listed += 1;
        let billed = if entry.holds_data() { entry.size.max(self.billed_at_least) } else { 0 };
        match self.keys.read(entry.key) {
            Known::Ours(group, id, role) => {
                let facts = self.facts(group, id, &entry);
                facts.count(&entry, billed);
                facts.presence.note(role, &entry);
            }
            Known::Stranger(group, id) => {
                self.facts(group, id, &entry);
                self.take_unknown(entry, billed);
            }
            Known::Legacy(group, id) => {
                let facts = self.facts(group, id, &entry);
                facts.count(&entry, billed);
                // It has no manifest: who names a pattern says that what it matches is a backup.
                facts.presence.note(ObjectRole::Manifest, &entry);
                facts.presence.note(ObjectRole::Payload, &entry);
                if let Err(at) = facts.legacy_keys.binary_search_by(|key| (**key).cmp(entry.key)) {
                    facts.legacy_keys.insert(at, entry.key.into());
                }
            }
            Known::Probe => take_loose(&mut self.probes, entry, billed),
            Known::Nothing => self.take_unknown(entry, billed),
        }
    }

    /// The facts of a set, the entry's share in them counted.
    fn facts(&mut self, group: GroupKey, id: SetId, entry: &Entry<'_>) -> &mut SetFacts {
        let facts = self.groups.entry(group).or_default().entry(id).or_insert_with(|| SetFacts::of(entry));
        facts.take(entry);
        facts
    }

    /// What is hidden from readers is nobody's business.
    fn take_unknown(&mut self, entry: Entry<'_>, billed: u64) {
        if is_seed(entry.key) {
            self.seed.get_or_insert_with(|| entry.key.to_owned());
        }
        if is_kept_key(entry.key) {
            self.kept_key.get_or_insert_with(|| entry.key.to_owned());
        }
        if entry.is_visible() {
            take_loose(&mut self.unknown, entry, billed);
        }
    }

    /// How many sets are backups.
    pub fn committed(&self) -> u64 {
        self.groups.values().flat_map(BTreeMap::values).filter(|facts| facts.is_committed()).count() as u64
    }

    /// The labels of committed sets that have no window of their own, with how many sets have them.
    pub fn labels(&self) -> BTreeMap<&Label, u64> {
        let mut labels = BTreeMap::new();
        for (group, sets) in &self.groups {
            for (id, _) in sets.iter().filter(|(_, facts)| facts.is_committed() && group.area.has_tiers()) {
                *labels.entry(&id.label.label).or_default() += 1;
            }
        }
        labels
    }
}

fn take_loose(all: &mut BTreeMap<String, Loose>, entry: Entry<'_>, billed: u64) {
    let new = || Loose { latest_change: entry.last_modified, bytes: 0, billed_bytes: 0 };
    let loose = match all.get_mut(entry.key) {
        Some(loose) => loose,
        None => all.entry(entry.key.to_owned()).or_insert_with(new),
    };
    loose.latest_change = loose.latest_change.max(entry.last_modified);
    loose.bytes += entry.size;
    loose.billed_bytes += billed;
}

impl SetFacts {
    fn of(entry: &Entry<'_>) -> Self {
        SetFacts {
            latest_change: entry.last_modified,
            bytes: 0,
            billed_bytes: 0,
            objects: 0,
            fingerprint: 0,
            presence: Presence::default(),
            legacy_keys: Vec::new(),
        }
    }

    fn take(&mut self, entry: &Entry<'_>) {
        self.latest_change = self.latest_change.max(entry.last_modified);
        self.fingerprint = self.fingerprint.wrapping_add(entry.hash());
    }

    fn count(&mut self, entry: &Entry<'_>, billed: u64) {
        self.objects += 1;
        self.bytes += entry.size;
        self.billed_bytes += billed;
    }
}

impl Presence {
    fn note(&mut self, role: ObjectRole, entry: &Entry<'_>) {
        let (visible, removed) = (entry.is_visible(), entry.holds_data());
        self.ours = true;
        match role {
            ObjectRole::Manifest => {
                self.manifest |= visible;
                self.any_manifest |= removed;
            }
            ObjectRole::Payload => {
                self.payload |= visible;
                self.any_payload |= removed;
            }
            ObjectRole::Hold => self.hold |= visible,
        }
    }
}
