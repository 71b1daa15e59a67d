//! Template seeds: a template's content, under the SHA-256 of that content.
//!
//! `{template}/{sha256}/{file}`, in a store of their own. Two publishers of one content write beside each other, since
//! the names of files hold an id of their own; each manifest stands for its own payload.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    SetKey,
    inventory::{Inventory, StoredSet},
};

/// The label of every seed.
pub const LABEL: &str = "template";

/// The SHA-256 of what a database holds, however it is written down: rows in any order, whatever their object ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentSha(pub [u8; 32]);

impl fmt::Display for ContentSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The text is not a SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256: 64 lower-case hex digits")]
pub struct ContentShaError(pub String);

impl FromStr for ContentSha {
    type Err = ContentShaError;

    fn from_str(text: &str) -> Result<Self, ContentShaError> {
        let mut digest = [0; 32];
        // One spelling only: keys are compared as texts.
        let fits = is_hex(text) && hex::decode_to_slice(text, &mut digest).is_ok();
        if fits { Ok(ContentSha(digest)) } else { Err(ContentShaError(text.to_owned())) }
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Serialize for ContentSha {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentSha {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which seed is meant: a template's newest, or one by its SHA or the beginning of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedName {
    /// The template's name.
    pub template: String,
    /// The beginning of the SHA; empty for the newest.
    pub sha: String,
}

/// The text names no seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no seed: write TEMPLATE or TEMPLATE@SHA")]
pub struct SeedNameError(pub String);

impl FromStr for SeedName {
    type Err = SeedNameError;

    /// What follows the last `@` is a SHA where it can be one; a name that ends like that is told with its SHA.
    fn from_str(text: &str) -> Result<Self, SeedNameError> {
        let (template, sha) = match text.rsplit_once('@') {
            Some((template, sha)) if (1..=64).contains(&sha.len()) && is_hex(sha) => (template, sha),
            _ => (text, ""),
        };
        if template.is_empty() {
            return Err(SeedNameError(text.to_owned()));
        }
        Ok(SeedName { template: template.to_owned(), sha: sha.to_owned() })
    }
}

impl fmt::Display for SeedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let template = crate::name::printable(&self.template);
        if self.sha.is_empty() { write!(f, "{template}") } else { write!(f, "{template}@{}", self.sha) }
    }
}

/// The committed copies of each content that a listing shows, the oldest copy first.
pub fn copies(inventory: &Inventory) -> BTreeMap<ContentSha, Vec<&StoredSet>> {
    let mut copies: BTreeMap<ContentSha, Vec<&StoredSet>> = BTreeMap::new();
    for set in inventory.committed() {
        if let Some(sha) = set.key.content() {
            copies.entry(sha).or_default().push(set);
        }
    }
    copies.values_mut().for_each(|copies| copies.sort_by_key(|set| (set.key.stamp, set.key.id)));
    copies
}

/// The keys of the copies that are meant, the oldest first; `None` where there is none.
///
/// The newest content is the one that was published last; a stamp after `now`, which a wrong clock or a stolen key can
/// write, never counts for newest.
///
/// # Errors
/// The contents that begin alike, where more than one does.
pub fn meant(inventory: &Inventory, wanted: &SeedName, now: chrono::DateTime<chrono::Utc>) -> Result<Option<Vec<SetKey>>, Vec<ContentSha>> {
    let copies = copies(inventory);
    let keys = |sets: &Vec<&StoredSet>| sets.iter().map(|set| set.key.clone()).collect::<Vec<_>>();
    if wanted.sha.is_empty() {
        let published = |sets: &Vec<&StoredSet>| sets.iter().map(|set| set.key.stamp).find(|stamp| stamp.instant() <= now);
        let newest = copies.values().filter_map(|sets| Some((published(sets)?, sets))).max_by_key(|(stamp, _)| *stamp);
        return Ok(newest.map(|(_, sets)| keys(sets)));
    }
    let fitting: Vec<_> = copies.iter().filter(|(sha, _)| sha.to_string().starts_with(&wanted.sha)).collect();
    match fitting.as_slice() {
        [] => Ok(None),
        [(_, sets)] => Ok(Some(keys(sets))),
        many => Err(many.iter().map(|(sha, _)| **sha).collect()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::{SetNonce, Stamp, inventory::ObjectMeta};

    fn sha(first: u8) -> ContentSha {
        let mut digest = [7; 32];
        digest[0] = first;
        ContentSha(digest)
    }

    fn seed(first: u8, stamp: &str, id: u32, committed: bool) -> Vec<ObjectMeta> {
        let set = SetKey::seed("basic-18", sha(first), stamp.parse::<Stamp>().expect("a stamp"), SetNonce(id));
        let files = [Some(set.object(&set.file_name(".dump.zst", 0))), committed.then(|| set.manifest())];
        files.into_iter().flatten().map(|key| ObjectMeta { key, size: 5, last_modified: DateTime::UNIX_EPOCH, etag: None }).collect()
    }

    fn inventory() -> Inventory {
        let objects = [
            seed(0xa1, "20261120T030000Z", 1, true),
            seed(0xa1, "20261120T030000Z", 2, true),
            seed(0xa2, "20261121T030000Z", 3, true),
            seed(0xb1, "20261122T030000Z", 4, false),
            seed(0xb2, "20271122T030000Z", 5, true),
        ];
        Inventory::read_seeds(objects.concat())
    }

    fn found(name: &str) -> Result<Option<Vec<u32>>, usize> {
        let now = "20261123T000000Z".parse::<Stamp>().expect("a stamp").instant();
        let meant = meant(&inventory(), &name.parse().expect("a name"), now);
        meant.map(|keys| keys.map(|keys| keys.iter().map(|key| key.id.0).collect())).map_err(|many| many.len())
    }

    #[test]
    fn seeds_are_found_by_name_by_sha_and_by_its_beginning() {
        // What is incomplete does not count, nor for newest what is of the future.
        assert_eq!(found("basic-18"), Ok(Some(vec![3])));
        assert_eq!(found("basic-18@a1"), Ok(Some(vec![1, 2])));
        assert_eq!(found(&format!("basic-18@{}", sha(0xa2))), Ok(Some(vec![3])));
        assert_eq!(found("basic-18@b2"), Ok(Some(vec![5])));
        assert_eq!(found("basic-18@b1"), Ok(None));
        assert_eq!(found("basic-18@c"), Ok(None));
        assert_eq!(found("basic-18@a"), Err(2));
    }

    #[test]
    fn an_at_sign_may_be_a_names_own() {
        let read = |text: &str| text.parse::<SeedName>().map(|name| (name.template, name.sha));
        let both = |template: &str, sha: &str| Ok((template.to_owned(), sha.to_owned()));
        assert_eq!(read("basic@shop"), both("basic@shop", ""));
        assert_eq!(read("basic@abc"), both("basic", "abc"));
        assert_eq!(read("basic@abc@d0"), both("basic@abc", "d0"));
        assert_eq!(read("basic@"), both("basic@", ""));
        assert!(read("").is_err() && read("@abc").is_err());
    }

    #[test]
    fn a_sha_has_one_spelling() {
        let text = sha(0xab).to_string();
        assert_eq!(text.parse(), Ok(sha(0xab)));
        assert!(text.to_uppercase().parse::<ContentSha>().is_err() && text[1..].parse::<ContentSha>().is_err());
    }
}
