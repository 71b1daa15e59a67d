//! A registry's store, listed by repositories and by the first two digits of blobs, side by side.
//!
//! Where versions are listed, repositories are listed in one go, and blobs under all digits that there can be: of what was deleted
//! there, names show nothing.

use plana_plan::mirror::{
    MirrorStock,
    key::{BLOBS, REPOSITORIES, ROOT},
};
use plana_storage::{Store, StoreError};

use crate::listing::{Listed, Mode, each_below, names, unfinished};

/// What is listed, and whether deletions must name versions.
#[derive(Debug, Default)]
pub struct Registry {
    /// What is in it.
    pub stock: MirrorStock,
    /// Whether any version has an id of its own.
    pub is_versioned: bool,
}

const DIGESTS: &str = "docker/registry/v2/blobs/sha256/";

/// Prefixes that are looked into instead of being listed in one go.
fn is_opened(prefix: &str, mode: Mode) -> bool {
    let is_listed_by_name = mode == Mode::Objects && prefix == REPOSITORIES;
    [ROOT, BLOBS, DIGESTS].contains(&prefix) || is_listed_by_name || ROOT.starts_with(prefix)
}

/// Prefixes below `root` that hold versions though names may not show them.
fn hidden(root: &str) -> Vec<String> {
    let digits = (0..=255u8).map(|byte| format!("{DIGESTS}{byte:02x}/"));
    digits.chain([REPOSITORIES.to_owned()]).filter(|prefix| prefix.starts_with(root)).collect()
}

/// Lists everything.
///
/// # Errors
/// When any part of the listing fails: half a listing is none.
pub async fn list_registry(store: &dyn Store, mode: Mode) -> Result<Registry, StoreError> {
    let mut registry = list_part(store, mode, "").await?;
    registry.stock.multipart = unfinished(store).await?;
    Ok(registry)
}

/// Lists what lies below a prefix.
///
/// # Errors
/// As [`list_registry`].
pub async fn list_part(store: &dyn Store, mode: Mode, root: &str) -> Result<Registry, StoreError> {
    let (mut open, mut closed, mut registry) = (Vec::new(), Vec::new(), Registry::default());
    if is_opened(root, mode) { &mut open } else { &mut closed }.push(root.to_owned());
    while let Some(prefix) = open.pop() {
        let (below, beside) = names(store, &prefix).await?;
        // Nothing of the layout lies on these levels: whatever it is, it is nobody's.
        beside.iter().for_each(|listed| registry.stock.add(listed.entry()));
        for prefix in below {
            if is_opened(&prefix, mode) { &mut open } else { &mut closed }.push(prefix);
        }
    }
    if mode == Mode::Versions {
        closed.extend(hidden(root));
        closed.sort();
        closed.dedup();
    }
    let Registry { stock, is_versioned } = &mut registry;
    let take = |listed: &Listed| {
        *is_versioned |= listed.is_versioned();
        stock.add(listed.entry());
    };
    each_below(store, mode, &closed, take).await?;
    Ok(registry)
}
