//! Which template seeds there are, by the listing of their store alone.

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use plana_plan::{
    Area, SetKey,
    inventory::Inventory,
    name,
    seed::{SeedName, meant},
    select::NamePattern,
};
use plana_storage::{DynStore, listing};

use crate::error::RestoreError;

/// What the store lists of each template that is wanted, by name.
///
/// # Errors
/// When the store cannot be listed.
pub async fn seeds(store: &DynStore, wanted: Option<&NamePattern>) -> Result<Vec<(String, Inventory)>, RestoreError> {
    let prefixes: Vec<String> = listing::prefixes(&**store, "").try_collect().await?;
    let mut found = Vec::new();
    for prefix in prefixes {
        let Some(template) = prefix.strip_suffix('/').and_then(|segment| name::decode(segment).ok()) else { continue };
        if wanted.is_some_and(|pattern| !pattern.matches(&template)) {
            continue;
        }
        let inventory = Inventory::read_seeds(listing::objects(&**store, &prefix).try_collect::<Vec<_>>().await?);
        if !inventory.sets.is_empty() {
            found.push((template, inventory));
        }
    }
    Ok(found)
}

/// The copies of the seed that is meant, the oldest first; at least one.
///
/// # Errors
/// When the store cannot be listed, or there is none, or more than one content that could be meant.
pub async fn find_seed(store: &DynStore, wanted: &SeedName, at: DateTime<Utc>) -> Result<Vec<SetKey>, RestoreError> {
    let prefix = SetKey::group_prefix(Area::Seed, &wanted.template);
    let inventory = Inventory::read_seeds(listing::objects(&**store, &prefix).try_collect::<Vec<_>>().await?);
    match meant(&inventory, wanted, at) {
        Ok(Some(copies)) => Ok(copies),
        Ok(None) => Err(RestoreError::NoSeed(wanted.clone())),
        Err(fitting) => Err(RestoreError::ManySeeds { name: wanted.clone(), fitting }),
    }
}
