//! Stores and how they are spoken to.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{ByteSize, HumanDuration, secret::Secret};

/// The stores, by purpose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stores {
    /// Where backups go.
    pub backups: Option<Store>,
    /// Where template seeds go: another place, in which nothing is ever pruned.
    pub templates: Option<Store>,
    /// Where keys are kept that backups need: never beside them.
    pub escrow: Option<Store>,
    /// Where a container registry keeps its mirror: pruned, and never backed up to.
    pub mirror: Option<Store>,
}

/// A store's place under `[store]`. A new store is a field of [`Stores`] and a name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreName {
    /// Where backups go.
    Backups,
    /// Where template seeds go.
    Templates,
    /// Where keys are kept that backups need.
    Escrow,
    /// Where a container registry keeps its mirror.
    Mirror,
}

impl StoreName {
    /// The name as the configuration has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            StoreName::Backups => "backups",
            StoreName::Templates => "templates",
            StoreName::Escrow => "escrow",
            StoreName::Mirror => "mirror",
        }
    }
}

impl Stores {
    /// All stores that the schema has, configured or not.
    pub fn all(&self) -> [(StoreName, Option<&Store>); 4] {
        [StoreName::Backups, StoreName::Templates, StoreName::Escrow, StoreName::Mirror].map(|name| (name, self.get(name)))
    }

    /// One store, where it is configured.
    pub fn get(&self, name: StoreName) -> Option<&Store> {
        match name {
            StoreName::Backups => self.backups.as_ref(),
            StoreName::Templates => self.templates.as_ref(),
            StoreName::Escrow => self.escrow.as_ref(),
            StoreName::Mirror => self.mirror.as_ref(),
        }
    }
}

/// One store. Credentials belong to the unit or pod that runs the job; here only where they are found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `s3://bucket/prefix` or `file:///directory`.
    pub url: String,
    /// The S3 endpoint, such as `https://sos-bg-sof-1.exo.io`; else `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
    /// The region, for Exoscale the zone; else `AWS_REGION`, `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// The access key; else the credential `store.backups.access_key_id` (or of another store), else `AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<Secret>,
    /// A file that holds the access key.
    pub access_key_id_file: Option<PathBuf>,
    /// The secret key; else the credential `store.backups.secret_access_key`, else `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<Secret>,
    /// A file that holds the secret key.
    pub secret_access_key_file: Option<PathBuf>,
    /// A session token, where the provider issues temporary keys; else `AWS_SESSION_TOKEN`.
    pub session_token: Option<Secret>,
    /// A file that holds the session token.
    pub session_token_file: Option<PathBuf>,
}

/// When checksums beyond Content-MD5 are sent and asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChecksumMode {
    /// Only where an operation requires one: what S3-compatible stores understand.
    WhenRequired,
    /// Wherever the operation supports one: for AWS itself.
    WhenSupported,
}

/// How every S3 client behaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Client {
    /// Bucket in the path and not in the host name.
    pub path_style: bool,
    /// When checksums beyond Content-MD5 are sent.
    pub checksums: ChecksumMode,
    /// How long a connection may take to open.
    pub connect_timeout: HumanDuration,
    /// How long a connection may stay silent while an answer is awaited.
    pub read_timeout: HumanDuration,
    /// How long one attempt at one request may take.
    pub attempt_timeout: HumanDuration,
    /// How long an attempt to complete a multipart upload may take: stores assemble the object then.
    pub complete_timeout: HumanDuration,
    /// Attempts at one request, the first included.
    pub max_attempts: u32,
    /// The longest pause between two attempts.
    pub max_backoff: HumanDuration,
}

/// How uploads use memory and bandwidth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// Memory for the parts of all uploads of a run together.
    pub memory: ByteSize,
    /// Parts of one object that are sent at the same time.
    pub parts_in_flight: u32,
    /// Bytes per second for the whole run; absent means no cap.
    pub bandwidth: Option<ByteSize>,
    /// The largest number of parts of one object.
    pub max_parts: u32,
    /// The largest object.
    pub max_object: ByteSize,
}
