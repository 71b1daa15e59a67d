//! The last steps of every set: the manifest, and one more look at the store's listing.

use bytes::Bytes;
use futures::TryStreamExt as _;
use plana_plan::{
    SetKey,
    inventory::{Inventory, ObjectMeta},
    manifest::{Manifest, Volume},
};
use plana_storage::{DynStore, PutMode, listing, verify};

use crate::error::BackupError;

/// A set that is a backup.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Where it lies.
    pub set: SetKey,
    /// What it holds and how it was verified.
    pub manifest: Manifest,
    /// What the dumping program complained of although it succeeded.
    pub warnings: Vec<String>,
}

/// Writes the manifest of a payload that is complete and verified, then checks by a fresh listing
/// that payload and manifest are there as they were written.
///
/// # Errors
/// When the manifest could not be written, or the listing shows something else.
pub async fn commit(store: &DynStore, set: SetKey, manifest: Manifest, warnings: Vec<String>) -> Result<Committed, BackupError> {
    let body = Bytes::from(manifest.to_bytes());
    // What we could not read back we must not write: the same reader checks it as a restore would.
    Manifest::parse(&body, &set).map_err(|error| BackupError::Internal(format!("its manifest is unsound: {error}")))?;
    let written = verify::put_verified(&**store, &set.manifest(), body, PutMode::IfAbsent).await?;
    let listed = listing::objects(&**store, &set.prefix()).try_collect().await?;
    confirm(&set, &manifest.payload.volumes, &written, listed).map_err(BackupError::Unconfirmed)?;
    Ok(Committed { set, manifest, warnings })
}

/// Whether the listing shows the set as it was written.
fn confirm(set: &SetKey, volumes: &[Volume], manifest: &Volume, listed: Vec<ObjectMeta>) -> Result<(), String> {
    let inventory = Inventory::read_beside(set, listed);
    let stored = inventory.sets.get(set).filter(|stored| stored.is_committed()).ok_or("the listing does not show it")?;
    for volume in volumes {
        same(volume, stored.payload.iter().find(|object| object.key == volume.key))?;
    }
    if stored.payload.len() != volumes.len() {
        return Err(format!("the listing shows {} payload objects and {} were written", stored.payload.len(), volumes.len()));
    }
    same(manifest, stored.manifest.as_ref())
}

fn same(written: &Volume, listed: Option<&ObjectMeta>) -> Result<(), String> {
    let listed = listed.ok_or_else(|| format!("the listing does not show {}", written.key))?;
    if listed.size != written.bytes || listed.etag != written.etag {
        let tag = |etag: &Option<String>| etag.clone().unwrap_or_else(|| "no ETag".to_owned());
        return Err(format!(
            "{} is listed with {} bytes and {}, and was written with {} bytes and {}",
            written.key,
            listed.size,
            tag(&listed.etag),
            written.bytes,
            tag(&written.etag)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use plana_plan::{Area, Label, SetNonce, Stamp, manifest::Verified};

    use super::*;

    fn written(key: String, bytes: u64) -> Volume {
        let etag = Some("e".to_owned());
        Volume { key, bytes, sha256: "0".repeat(64), etag, parts: 1, part_bytes: bytes, version: None, verified: Verified::EtagMd5 }
    }

    fn listed(volume: &Volume) -> ObjectMeta {
        ObjectMeta { key: volume.key.clone(), size: volume.bytes, last_modified: DateTime::UNIX_EPOCH, etag: volume.etag.clone() }
    }

    #[test]
    fn a_listing_that_shows_anything_else_is_no_confirmation() {
        let stamp = Stamp::new(DateTime::UNIX_EPOCH);
        let set = SetKey::new(Area::Pg, "acme", stamp, Label::unclassified(), SetNonce(1));
        let payload = vec![written(set.object(&set.file_name(".dump.zst", 0)), 5)];
        let manifest = written(set.manifest(), 9);
        let check = |objects: Vec<ObjectMeta>| confirm(&set, &payload, &manifest, objects);
        let (volume, mark) = (listed(&payload[0]), listed(&manifest));
        assert_eq!(check(vec![volume.clone(), mark.clone()]), Ok(()));
        let shorter = ObjectMeta { size: 4, ..volume.clone() };
        let changed = ObjectMeta { etag: Some("f".to_owned()), ..volume.clone() };
        let second = ObjectMeta { key: set.object(&set.file_name(".dump.zst", 1)), ..volume.clone() };
        let other_manifest = ObjectMeta { size: 8, ..mark.clone() };
        for objects in [
            vec![],
            vec![volume.clone()],
            vec![mark.clone()],
            vec![shorter, mark.clone()],
            vec![changed, mark.clone()],
            vec![volume.clone(), second, mark],
            vec![volume, other_manifest],
        ] {
            assert!(check(objects.clone()).is_err(), "{objects:?}");
        }
    }
}
