//! A listing of a registry, folded into repositories and blobs, whatever its order.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{
    digest::Digest,
    key::{MirrorKey, named_below_repositories, read},
};
use crate::retention::{Entry, Unfinished, guard::is_seed};

/// What a listing says of one key, or of all keys of a push: all versions together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The latest change.
    pub latest_change: DateTime<Utc>,
    /// Bytes, all versions together.
    pub bytes: u64,
    /// The listing of it, condensed: two listings that differ in anything have other ones.
    pub fingerprint: u64,
    /// Whether a reader who names no version gets it.
    pub is_visible: bool,
}

/// What a tag means, as its object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A manifest.
    Revision(Digest),
    /// It cannot be understood.
    Unclear(String),
}

/// A tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tag {
    /// Its object.
    pub current: Option<Facts>,
    /// What that says, once it was read.
    pub target: Option<Target>,
    /// What it has meant.
    pub index: BTreeMap<Digest, Facts>,
}

/// A repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// Its manifests.
    pub revisions: BTreeMap<Digest, Facts>,
    /// Its tags.
    pub tags: BTreeMap<String, Tag>,
    /// Its layers and configurations.
    pub layers: BTreeMap<Digest, Facts>,
    /// Pushes that were begun, by id.
    pub uploads: BTreeMap<String, Facts>,
    /// The key of something among its manifests or layers that is not understood.
    pub strange: Option<String>,
}

/// A listing of a registry, folded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MirrorStock {
    /// The repositories by name.
    pub repositories: BTreeMap<String, Repository>,
    /// The blobs.
    pub blobs: BTreeMap<Digest, Facts>,
    /// What nobody knows, by key: kept and reported.
    pub unknown: BTreeMap<String, Facts>,
    /// What those among the unknown name that lie below the repositories: nobody knows who gets it through them.
    pub named: BTreeSet<Digest>,
    /// Multipart uploads that were neither completed nor aborted.
    pub multipart: Vec<Unfinished>,
    /// How many objects and versions were listed.
    pub listed: u64,
    /// The key of a template seed, where there is one.
    pub seed: Option<String>,
}

impl Facts {
    fn of(entry: &Entry<'_>) -> Self {
        Facts { latest_change: entry.last_modified, bytes: 0, fingerprint: 0, is_visible: false }
    }

    fn take(&mut self, entry: &Entry<'_>) {
        self.latest_change = self.latest_change.max(entry.last_modified);
        self.bytes += entry.size;
        self.fingerprint = self.fingerprint.wrapping_add(entry.hash());
        self.is_visible |= entry.is_visible();
    }
}

fn note<K: Ord>(all: &mut BTreeMap<K, Facts>, key: K, entry: &Entry<'_>) {
    all.entry(key).or_insert_with(|| Facts::of(entry)).take(entry);
}

impl MirrorStock {
    /// Takes an object, or a version of one.
    pub fn add(&mut self, entry: Entry<'_>) {
        self.listed += 1;
        let Some(known) = read(entry.key) else {
            if is_seed(entry.key) {
                self.seed.get_or_insert_with(|| entry.key.to_owned());
            }
            if entry.is_visible() {
                self.named.extend(named_below_repositories(entry.key));
            }
            return note(&mut self.unknown, entry.key.to_owned(), &entry);
        };
        match known {
            MirrorKey::Blob(digest) => note(&mut self.blobs, digest, &entry),
            MirrorKey::Revision(name, digest) => note(&mut self.of(name).revisions, digest, &entry),
            MirrorKey::Layer(name, digest) => note(&mut self.of(name).layers, digest, &entry),
            MirrorKey::Upload(name, id) => note(&mut self.of(name).uploads, id.to_owned(), &entry),
            MirrorKey::Index(name, tag, digest) => note(&mut self.tag(name, tag).index, digest, &entry),
            MirrorKey::Current(name, tag) => {
                let tag = self.tag(name, tag);
                tag.current.get_or_insert_with(|| Facts::of(&entry)).take(&entry);
            }
            MirrorKey::Strange(name) => {
                // The first by key, so that the order of the listing cannot matter; what was deleted keeps nobody.
                let strange = &mut self.of(name).strange;
                if entry.is_visible() && strange.as_deref().is_none_or(|before| entry.key < before) {
                    *strange = Some(entry.key.to_owned());
                }
                note(&mut self.unknown, entry.key.to_owned(), &entry);
            }
        }
    }

    fn of(&mut self, name: &str) -> &mut Repository {
        if !self.repositories.contains_key(name) {
            self.repositories.insert(name.to_owned(), Repository::default());
        }
        self.repositories.entry(name.to_owned()).or_default()
    }

    fn tag(&mut self, name: &str, tag: &str) -> &mut Tag {
        self.of(name).tags.entry(tag.to_owned()).or_default()
    }

    /// How many manifests are in repositories.
    pub fn revisions(&self) -> u64 {
        self.repositories.values().map(|repository| repository.revisions.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::Version;

    const KEY: &str = "docker/registry/v2/repositories/a/_manifests/tags/1/current/link";

    fn facts(entry: Entry<'_>) -> Facts {
        let mut stock = MirrorStock::default();
        stock.add(entry);
        stock.repositories["a"].tags["1"].current.unwrap()
    }

    #[test]
    fn whatever_differs_in_a_listing_differs_in_its_facts() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let version = |id, is_latest, is_delete_marker| Some(Version { id, is_latest, is_delete_marker });
        let one =
            Entry { key: KEY, size: 71, last_modified: at("2026-11-23T03:15:00Z"), etag: Some("ab"), version: version("1", true, false) };
        for other in [
            Entry { size: 72, ..one },
            Entry { last_modified: at("2026-11-23T03:15:01Z"), ..one },
            Entry { last_modified: at("2026-11-23T03:14:59Z"), ..one },
            Entry { etag: Some("cd"), ..one },
            Entry { etag: None, ..one },
            Entry { version: version("2", true, false), ..one },
            Entry { version: version("1", false, false), ..one },
            Entry { version: version("1", true, true), ..one },
        ] {
            assert_ne!(facts(one), facts(other), "{other:?}");
        }
        assert_eq!(facts(one), facts(one));
    }

    #[test]
    fn what_was_deleted_is_not_strange_any_more() {
        let key = "docker/registry/v2/repositories/a/_layers/sha512/ab/link";
        let version = |is_latest| Some(Version { id: "1", is_latest, is_delete_marker: false });
        let strange = |is_latest| {
            let mut stock = MirrorStock::default();
            stock.add(Entry { key, size: 1, last_modified: DateTime::UNIX_EPOCH, etag: None, version: version(is_latest) });
            stock.repositories["a"].strange.is_some()
        };
        assert!(strange(true) && !strange(false));
    }
}
