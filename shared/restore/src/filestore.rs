//! One file store, from a set to its place on a disk.
//!
//! It is unpacked beside its target under a name of its own, and takes the target's name only when the archive has come to its
//! end, every file is proven and the bytes have the hashes of the manifest: whatever fails before leaves what was there as it was.

use std::path::Path;

use plana_plan::{
    Area, Stamp,
    manifest::{FileStoreFacts, PathList},
};
use plana_tree::extract::{ExtractError, Owner, Placed, Staging, TreeProof, read_tree, sweep_staging};

use crate::{
    error::RestoreError,
    open::OpenSet,
    read::{Reading, of_io, read_payload},
    space::{free_bytes, free_files},
};

/// What is restored, and whereto.
#[derive(Clone, Copy)]
pub struct FileStoreRestore<'a> {
    /// The set and how it is read.
    pub reading: Reading<'a>,
    /// The directory that will hold the files. Its parent must be there.
    pub to: &'a Path,
    /// Whether a directory that is there gives up its place; it is kept beside, under another name.
    pub replace: bool,
    /// Whose the files will be.
    pub owner: Owner,
}

/// A file store that is whole and proven, and not in its place yet. Dropped, it is removed.
#[derive(Debug)]
pub struct StagedFiles {
    staging: Staging,
    replace: bool,
    /// What it holds.
    pub proof: TreeProof,
    /// What deserves attention.
    pub warnings: Vec<String>,
}

/// What the manifest says of a file store. One that leaves it out would prove nothing, and look like proof.
///
/// # Errors
/// When the set is none of a file store.
pub fn filestore_facts(set: &OpenSet) -> Result<&FileStoreFacts, RestoreError> {
    if !matches!(set.key.area, Area::Filestore | Area::InsuranceFilestore) {
        return Err(RestoreError::Refused(format!("restore {}: it is no file store; use `restore` for a database", set.key)));
    }
    let what = || "its manifest does not say what its archive holds".to_owned();
    set.manifest.filestore.as_ref().ok_or_else(|| RestoreError::Mismatch { set: set.key.to_string(), what: what() })
}

/// What would keep a file store from being restored, each with what to do.
pub fn lacking_room(facts: &FileStoreFacts, to: &Path) -> Vec<String> {
    /// What a file takes at least, on most file systems.
    const BLOCK: u64 = 4096;
    let parent = parent(to);
    let entries = facts.files.saturating_add(facts.directories);
    let bytes = facts.bytes.saturating_add(entries.saturating_mul(BLOCK / 2));
    let mut lacking = Vec::new();
    if let Some(free) = free_bytes(parent).filter(|free| *free < bytes) {
        lacking.push(format!("it needs about {bytes} bytes, and {} has {free} left: free some, or use another --to", parent.display()));
    }
    if let Some(free) = free_files(parent).filter(|free| *free < entries) {
        lacking.push(format!("it needs {entries} inodes, and {} has {free} left: free some, or use another --to", parent.display()));
    }
    lacking
}

/// Unpacks a file store beside its target, and proves it. What killed restores have left there is removed before.
///
/// # Errors
/// Whatever failed first; nothing is left then.
pub async fn stage_filestore(restore: &FileStoreRestore<'_>) -> Result<StagedFiles, RestoreError> {
    let FileStoreRestore { reading, to, replace, owner } = *restore;
    let facts = filestore_facts(reading.set)?.clone();
    let random = getrandom::u32().map_err(|error| RestoreError::Internal(format!("no random number can be had: {error}")))?;
    let target = to.to_path_buf();
    let key = reading.set.key.to_string();
    let (begun, mut warnings) = blocking(move || {
        let swept = swept(&target);
        let lacking = lacking_room(&facts, &target);
        if !lacking.is_empty() {
            return Err(RestoreError::Unready { set: key, missing: lacking });
        }
        let staging = Staging::begin(&target, replace, owner, random).map_err(|reason| of_tree(&key, reason))?;
        Ok(((staging, facts, key), swept))
    })
    .await?;
    let (mut staging, facts, key) = begun;
    tracing::info!(directory = %staging.path().display(), "unpacking {key}");
    warnings.extend(known_gaps(&facts));
    let set = reading.set.key.clone();
    let (staging, proof) = read_payload(reading, move |content| {
        let proof = read_tree(content, &facts, &mut staging).map_err(|error| match error {
            ExtractError::Input(error) => of_io(&set, error),
            error => of_tree(&key, error),
        })?;
        Ok((staging, proof))
    })
    .await?;
    if proof.links.total > 0 {
        warnings.push(format!(
            "{} symbolic links were left out: {}",
            proof.links.total,
            names(proof.links.listed.iter().map(|l| &*l.path))
        ));
    }
    Ok(StagedFiles { staging, replace, proof, warnings })
}

impl StagedFiles {
    /// Puts it in its place.
    ///
    /// # Errors
    /// When it cannot be; what was there before is there still.
    pub async fn place(self, set: &OpenSet, stamp: Stamp) -> Result<Placed, RestoreError> {
        let StagedFiles { staging, replace, .. } = self;
        let key = set.key.to_string();
        blocking(move || staging.place(replace, stamp).map_err(|reason| of_tree(&key, reason))).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, RestoreError> + Send + 'static) -> Result<T, RestoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(RestoreError::Internal(error.to_string())))
}

/// What a killed restore has left beside the target.
fn swept(target: &Path) -> Vec<String> {
    let parent = parent(target);
    // A directory that cannot be read has its say when something is made in it.
    let swept = sweep_staging(parent).unwrap_or_default();
    swept.iter().map(|name| format!("{}, which a killed restore left, was removed", parent.join(name).display())).collect()
}

fn parent(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(crate) fn of_tree(set: &str, reason: ExtractError) -> RestoreError {
    match reason {
        ExtractError::Target { path, what } => RestoreError::Refused(format!("restore into {}: {what}", path.display())),
        reason @ ExtractError::Disk { .. } => RestoreError::Unpack(reason),
        reason => RestoreError::Tree { set: set.to_owned(), reason },
    }
}

/// What the manifest itself says is not as it should be: it was so when the backup was made.
pub fn known_gaps(facts: &FileStoreFacts) -> Vec<String> {
    let gaps = [
        (&facts.damaged, "damaged when they were backed up, and restored as they were"),
        (&facts.not_whole, "not whole when they were backed up"),
        (&facts.missing, "missing when they were backed up, although the database named them"),
        (&facts.growing, "growing when they were backed up, and ending where they ended then"),
    ];
    let told = |(list, what): &(&PathList, &str)| {
        (list.total > 0).then(|| format!("files {what}: {} ({})", list.total, names(list.listed.iter().map(|listed| &*listed.path))))
    };
    gaps.iter().filter_map(told).collect()
}

/// A few names, and how many more there are.
fn names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more; `show` lists them") }
}
