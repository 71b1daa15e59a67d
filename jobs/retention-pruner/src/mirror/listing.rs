//! A registry's store, listed by repositories and by the first two digits of blobs, side by side.

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

/// Prefixes that are looked into instead of being listed in one go.
fn is_opened(prefix: &str) -> bool {
    let digests = format!("{BLOBS}sha256/");
    [ROOT, REPOSITORIES, BLOBS, digests.as_str()].contains(&prefix) || ROOT.starts_with(prefix)
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
    let (mut open, mut closed, mut registry) = (vec![root.to_owned()], Vec::new(), Registry::default());
    while let Some(prefix) = open.pop() {
        let (below, beside) = names(store, &prefix).await?;
        // Nothing of the layout lies on these levels: whatever it is, it is nobody's.
        beside.iter().for_each(|listed| registry.stock.add(listed.entry()));
        for prefix in below {
            if is_opened(&prefix) { &mut open } else { &mut closed }.push(prefix);
        }
    }
    let Registry { stock, is_versioned } = &mut registry;
    let take = |listed: &Listed| {
        *is_versioned |= listed.is_versioned();
        stock.add(listed.entry());
    };
    each_below(store, mode, &closed, take).await?;
    Ok(registry)
}
