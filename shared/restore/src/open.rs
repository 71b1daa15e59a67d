//! A set, opened: its manifest read and believed only as far as the listing bears it out.

use futures::TryStreamExt as _;
use plana_plan::{
    SetKey,
    inventory::{Inventory, ObjectMeta},
    manifest::{Manifest, Volume},
};
use plana_storage::{DynStore, ReadVolume, StoreError, VersionMeta, listing};

use crate::error::RestoreError;

/// No manifest is larger: a hundred bytes for each of half a million tables.
const MOST_MANIFEST_BYTES: u64 = 64 << 20;

/// A set whose manifest was read and whose objects were found.
#[derive(Debug, Clone)]
pub struct OpenSet {
    /// Where it lies.
    pub key: SetKey,
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its payload, each object in the version to read.
    pub volumes: Vec<ReadVolume>,
    /// What deserves attention, such as an object that was written over.
    pub warnings: Vec<String>,
}

/// Opens a set. Needs the right to list and to read, and to list versions where an object was written over.
///
/// # Errors
/// When the set is not committed, its manifest cannot be believed, or an object is not what the manifest says.
pub async fn open_set(store: &DynStore, key: &SetKey) -> Result<OpenSet, RestoreError> {
    let prefix = key.prefix();
    let inventory = Inventory::read_beside(key, listing::objects(&**store, &prefix).try_collect::<Vec<_>>().await?);
    let set = inventory.sets.get(key);
    let manifest = set.and_then(|set| set.manifest.as_ref());
    let Some((set, listed)) = set.zip(manifest).filter(|(set, _)| set.is_committed()) else {
        let (manifest, payload) = (manifest.is_some(), set.is_some_and(|set| !set.payload.is_empty()));
        return Err(RestoreError::NotCommitted { set: key.to_string(), manifest, payload });
    };
    let mut warnings = Vec::new();
    let versions = versions(store, &prefix).await?;
    let body = read_manifest(store, listed, &versions, &mut warnings).await?;
    let manifest =
        Manifest::parse(&body, key).map_err(|reason| RestoreError::Manifest { set: key.to_string(), reason: Box::new(reason) })?;
    let mut volumes = Vec::with_capacity(manifest.payload.volumes.len());
    for volume in &manifest.payload.volumes {
        let current = set.payload.iter().find(|object| object.key == volume.key);
        volumes.push(resolve(key, volume, current, &versions, &mut warnings)?);
    }
    Ok(OpenSet { key: key.clone(), manifest, volumes, warnings })
}

/// Every version of every object of the set; empty where the store keeps none, or does not let us see them.
async fn versions(store: &DynStore, prefix: &str) -> Result<Vec<VersionMeta>, RestoreError> {
    match listing::versions(&**store, prefix).try_collect().await {
        Ok(versions) => Ok(versions),
        Err(StoreError::Unsupported(_) | StoreError::AccessDenied(_)) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// The manifest as it was first written: keys are never used twice, so a later version is somebody else's.
async fn read_manifest(
    store: &DynStore,
    listed: &ObjectMeta,
    versions: &[VersionMeta],
    warnings: &mut Vec<String>,
) -> Result<Vec<u8>, RestoreError> {
    let ours: Vec<&VersionMeta> = versions.iter().filter(|version| version.key == listed.key && !version.is_delete_marker).collect();
    // Versions are listed newest first.
    let first = ours.last().filter(|_| ours.len() > 1);
    if let Some(first) = first {
        warnings.push(format!(
            "manifest.json was written {} times; the first version, of {}, is used: find out who else has a key to this bucket",
            ours.len(),
            first.last_modified
        ));
    }
    let size = first.map_or(listed.size, |first| first.size);
    if size > MOST_MANIFEST_BYTES {
        return Err(RestoreError::LargeManifest { key: listed.key.clone(), bytes: size });
    }
    let body = store.get(&listed.key, None, first.map(|first| first.version.as_str())).await?;
    let read = body.stream.try_fold(Vec::new(), |mut whole, piece| async move {
        whole.extend_from_slice(&piece);
        Ok(whole)
    });
    Ok(read.await?)
}

/// The version of an object that the manifest means.
fn resolve(
    set: &SetKey,
    volume: &Volume,
    current: Option<&ObjectMeta>,
    versions: &[VersionMeta],
    warnings: &mut Vec<String>,
) -> Result<ReadVolume, RestoreError> {
    let chosen = |version: Option<String>| ReadVolume { key: volume.key.clone(), version, bytes: volume.bytes, etag: volume.etag.clone() };
    let same = |size: u64, etag: &Option<String>| size == volume.bytes && (volume.etag.is_none() || etag.is_none() || *etag == volume.etag);
    if current.is_some_and(|object| same(object.size, &object.etag)) {
        return Ok(chosen(None));
    }
    let named = volume.version.as_ref();
    let kept =
        versions.iter().filter(|version| version.key == volume.key && !version.is_delete_marker && same(version.size, &version.etag));
    // The oldest that fits: keys are never used twice.
    let mut oldest_first = kept.rev();
    let kept = oldest_first.clone().find(|version| Some(&version.version) == named).or_else(|| oldest_first.next());
    let what = if current.is_some() { "was written over" } else { "is not listed" };
    match kept {
        Some(version) => {
            warnings.push(format!("{} {what}; the version that the manifest means, {}, is read instead", volume.key, version.version));
            Ok(chosen(Some(version.version.clone())))
        }
        // A copy of the bucket has other ETags for what was sent in parts: the SHA-256 decides what the bytes are worth.
        None if current.is_some_and(|object| object.size == volume.bytes) => {
            warnings.push(format!("{} has another ETag than when it was stored: a copy, or written over; its SHA-256 decides", volume.key));
            Ok(ReadVolume { etag: None, ..chosen(None) })
        }
        None => Err(RestoreError::Overwritten { set: set.to_string(), key: volume.key.clone(), what }),
    }
}
