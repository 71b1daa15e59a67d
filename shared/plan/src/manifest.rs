//! `manifest.json`: the last object of a set, and the one that makes it a backup.
//!
//! Readers ignore fields that they do not know and refuse a schema newer than their own. A manifest
//! that comes out of a store is input from outside: [`Manifest::parse`] checks what it says about
//! itself before anybody acts on it.

mod filestore;
mod partition;
mod seed;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    Area, Label, SetKey, SetLabel, SetNonce, Stamp,
    name::{self, NameError},
};

pub use filestore::{FileStoreFacts, FileStoreLayout, ListedPath, MOST_LISTED, PathList};
pub use partition::PartitionFacts;
pub use seed::SeedFacts;

/// The schema that this code writes, and the newest that it reads.
pub const SCHEMA: u32 = 1;

/// What a set holds, how it was made, and how it was verified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this layout.
    pub schema: u32,
    /// What kind of thing the set holds.
    pub area: Area,
    /// The plain name of the database, tenant or cluster.
    pub name: String,
    /// When the set was begun.
    pub stamp: Stamp,
    /// The tier, class or operation in the key.
    pub label: Label,
    /// Until when an insurance set is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Stamp>,
    /// The eight hex digits in the key.
    pub id: String,
    /// What the name was classified as, such as `tenant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The tenant's tier on that day, where one was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Which run made it.
    pub made_by: MadeBy,
    /// The payload.
    pub payload: Payload,
    /// What the dump holds, for databases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseFacts>,
    /// What the globals hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub globals: Option<GlobalsFacts>,
    /// What a file store's tarball holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filestore: Option<FileStoreFacts>,
    /// Where an archived partition comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<PartitionFacts>,
    /// What a template seed is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<SeedFacts>,
    /// To whom the payload is encrypted; absent when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Keys without which the content is unreadable: names and fingerprints, never the keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires_key: Vec<RequiredKey>,
}

/// Whose rules for sorting and case a database has, besides `LC_COLLATE` and `LC_CTYPE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocaleFacts {
    /// `libc`, `icu` or `builtin`.
    pub provider: String,
    /// The provider's name of the locale, such as `de-u-ks-level2`; absent for libc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Further ICU rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<String>,
    /// The version of the provider's rules when the database was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Which run of which job made the set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeBy {
    /// The job's name.
    pub job: String,
    /// The suite's version.
    pub version: String,
    /// The host it ran on.
    pub host: String,
    /// The run's id, as in its logs and events.
    pub run_id: String,
    /// When this set was begun.
    pub started_at: DateTime<Utc>,
    /// When its payload was verified.
    pub finished_at: DateTime<Utc>,
}

/// The payload: one stream, in one object or in volumes that are simply concatenated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// What the content is once decrypted and decompressed: `postgresql-custom`, `sql`, `tar`.
    pub format: String,
    /// How it is compressed: `zstd`, `gzip`, `none`.
    pub compression: String,
    /// SHA-256 of the content before compression and encryption, in hex.
    pub content_sha256: String,
    /// Bytes of the content before compression and encryption.
    pub content_bytes: u64,
    /// SHA-256 of the stored bytes of all volumes in order, in hex.
    pub stored_sha256: String,
    /// Stored bytes of all volumes.
    pub stored_bytes: u64,
    /// The objects, in order.
    pub volumes: Vec<Volume>,
}

/// One object of the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its full key within the store.
    pub key: String,
    /// Its stored bytes.
    pub bytes: u64,
    /// SHA-256 of its stored bytes, in hex.
    pub sha256: String,
    /// The ETag that the listing gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// How many parts it was uploaded in; 1 for a plain put.
    pub parts: u32,
    /// The size of every part but the last, in bytes.
    pub part_bytes: u64,
    /// The version that a versioned bucket gave it: what to go back to if it is overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How the stored bytes were proven to be the sent ones.
    pub verified: Verified,
}

/// How the stored bytes were proven to be the sent ones, with put and list rights alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verified {
    /// The listing's ETag equals the one computed from the MD5 of each part, and the size agrees.
    EtagMd5,
    /// The store's ETags are no MD5: the listing's size agrees, and the store accepted a Content-MD5 with each part.
    SizeAndContentMd5,
    /// A directory: the size agrees after fsync and rename.
    SizeAndFsync,
}

impl Verified {
    /// The name in manifests and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verified::EtagMd5 => "etag-md5",
            Verified::SizeAndContentMd5 => "size-and-content-md5",
            Verified::SizeAndFsync => "size-and-fsync",
        }
    }
}

/// What a dump holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// The server's version, such as `16.4`.
    pub server_version: String,
    /// The dumping program's version, such as `16.4`.
    pub pg_dump_version: String,
    /// The archive format's version, such as `1.15`.
    pub archive_version: String,
    /// The database's owner.
    pub owner: String,
    /// Its encoding, such as `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// Whose rules for sorting and case it has; absent where the server does not tell (before 15), or an older version of
    /// this suite did not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<LocaleFacts>,
    /// `pg_database_size` before the dump, in bytes.
    pub size_bytes: u64,
    /// `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`: role (empty for all) → settings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Vec<String>>,
    /// The database's grants as PostgreSQL writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
    /// Extensions and their versions, which a dump does not hold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, String>,
    /// Rows of all tables.
    pub rows: u64,
    /// Every table with data in the dump, in the archive's order.
    pub tables: Vec<TableFacts>,
    /// Large objects: data blocks' content in bytes; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_objects: Option<LargeObjectFacts>,
}

/// One table in a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Its rows, counted in the stream.
    pub rows: u64,
    /// Bytes of its COPY data.
    pub bytes: u64,
}

/// The large objects in a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObjectFacts {
    /// How many there are.
    pub count: u64,
    /// Their content in bytes.
    pub bytes: u64,
}

/// What a globals set holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalsFacts {
    /// The server's version.
    pub server_version: String,
    /// The dumping program's version.
    pub pg_dumpall_version: String,
    /// Whether the roles' password verifiers are in it.
    pub role_passwords: bool,
    /// Why they are not, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_passwords_omitted_because: Option<String>,
}

/// To whom a payload is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The method: `age`.
    pub method: String,
    /// The recipients' public keys.
    pub recipients: Vec<String>,
}

/// A key that the content needs and the set does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequiredKey {
    /// The key's name, such as `EXO_ENCRYPTION_KEY`.
    pub name: String,
    /// A keyed fingerprint that tells whether another key is the same.
    pub fingerprint: String,
}

/// Why a manifest cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON of this shape.
    #[error("it is not a manifest: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by a newer suite.
    #[error("its schema is {0}, and this version reads up to {SCHEMA}: use a newer plana-jobs")]
    NewerSchema(u32),
    /// It speaks of another set than the one it lies in.
    #[error("it lies in {lies_in} but describes {describes}: it was moved or tampered with")]
    OtherSet {
        /// The set it was read from.
        lies_in: String,
        /// The set it describes.
        describes: String,
    },
    /// Its numbers contradict each other.
    #[error("it contradicts itself: {0}")]
    Contradiction(String),
}

/// Only what decides whether the rest can be read.
#[derive(Deserialize)]
struct Envelope {
    schema: u32,
}

impl Manifest {
    /// The manifest of a set: what every kind has. The caller adds what is its own.
    pub fn new(set: &SetKey, plain_name: &str, made_by: MadeBy, payload: Payload) -> Self {
        Manifest {
            schema: SCHEMA,
            area: set.area,
            name: plain_name.to_owned(),
            stamp: set.stamp,
            label: set.label.label.clone(),
            until: set.label.until,
            id: set.id.to_string(),
            class: None,
            tier: None,
            made_by,
            payload,
            database: None,
            globals: None,
            filestore: None,
            partition: None,
            seed: None,
            encryption: None,
            requires_key: Vec::new(),
        }
    }

    /// The set that the manifest describes.
    ///
    /// # Errors
    /// When its id is not one.
    pub fn set(&self) -> Result<SetKey, ManifestError> {
        let id: SetNonce = self.id.parse().map_err(|e| ManifestError::Contradiction(format!("{e}")))?;
        let label = SetLabel { label: self.label.clone(), until: self.until };
        // A database's name may hold dots: only the facts tell where its part of the name ends.
        Ok(match (&self.partition, &self.seed) {
            (Some(facts), _) => SetKey::partition(facts.names(), self.stamp, label, id),
            (None, Some(facts)) => SetKey { label, ..SetKey::seed(&self.name, facts.sha256, self.stamp, id) },
            (None, None) => SetKey::new(self.area, &self.name, self.stamp, label, id),
        })
    }

    /// The manifest as it is stored: readable JSON with a final newline.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Only string keys and finite numbers are in it, so serialising cannot fail.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads the manifest of `set` and checks what it says about itself.
    ///
    /// # Errors
    /// When it is malformed, newer than this code, about another set, or contradicts itself.
    pub fn parse(bytes: &[u8], set: &SetKey) -> Result<Self, ManifestError> {
        let Envelope { schema } = serde_json::from_slice(bytes)?;
        if schema > SCHEMA {
            return Err(ManifestError::NewerSchema(schema));
        }
        let manifest: Manifest = serde_json::from_slice(bytes)?;
        let describes = manifest.set()?;
        if describes != *set {
            return Err(ManifestError::OtherSet { lies_in: set.to_string(), describes: describes.to_string() });
        }
        manifest.check_payload(set)?;
        Ok(manifest)
    }

    fn check_payload(&self, set: &SetKey) -> Result<(), ManifestError> {
        let wrong = |what: String| Err(ManifestError::Contradiction(what));
        let payload = &self.payload;
        if payload.volumes.is_empty() {
            return wrong("it names no object".to_owned());
        }
        let sum = payload.volumes.iter().try_fold(0u64, |sum, volume| sum.checked_add(volume.bytes));
        if sum != Some(payload.stored_bytes) {
            return wrong(format!("its volumes do not add up to {} bytes", payload.stored_bytes));
        }
        for (at, volume) in payload.volumes.iter().enumerate() {
            let file = volume.key.strip_prefix(&set.prefix()).unwrap_or_default();
            if !set.owns_file(file) {
                return wrong(format!("its volume {at}, `{}`, is not of its own set", name::printable(&volume.key)));
            }
        }
        let digests = payload.volumes.iter().map(|v| &v.sha256).chain([&payload.content_sha256, &payload.stored_sha256]);
        for digest in digests {
            if digest.len() != 64 || !digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return wrong(format!("`{}` is not a SHA-256", name::printable(digest)));
            }
        }
        if let Some(database) = &self.database {
            let rows = database.tables.iter().try_fold(0u64, |sum, table| sum.checked_add(table.rows));
            if rows != Some(database.rows) {
                return wrong(format!("its tables do not add up to {} rows", database.rows));
            }
        }
        if let Some(contradiction) = self.filestore.as_ref().and_then(FileStoreFacts::contradiction) {
            return wrong(contradiction);
        }
        if let Some(contradiction) = self.seed.as_ref().and_then(|facts| facts.contradiction(self)) {
            return wrong(contradiction);
        }
        if let Some(contradiction) = self.partition.as_ref().and_then(|facts| facts.contradiction(self)) {
            return wrong(contradiction);
        }
        Ok(())
    }
}

impl From<NameError> for ManifestError {
    fn from(error: NameError) -> Self {
        ManifestError::Contradiction(error.to_string())
    }
}

#[cfg(test)]
mod tests;
