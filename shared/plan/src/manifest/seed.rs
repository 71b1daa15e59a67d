//! What a template seed is of.

use serde::{Deserialize, Serialize};

use super::Manifest;
use crate::{Area, seed::ContentSha};

/// What a template seed is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedFacts {
    /// The SHA-256 of the template's content, which is the key's too.
    pub sha256: ContentSha,
    /// The way in which it was computed.
    pub identity: u32,
    /// The major version of the pg_dump that wrote the content: another may write it otherwise.
    pub pg_dump_major: u32,
}

impl SeedFacts {
    /// What its manifest says otherwise.
    pub(super) fn contradiction(&self, manifest: &Manifest) -> Option<String> {
        if manifest.area != Area::Seed {
            return Some(format!("it names a template's content and lies in {}", manifest.area));
        }
        manifest.database.is_none().then(|| "it does not say what its dump holds".to_owned())
    }
}
