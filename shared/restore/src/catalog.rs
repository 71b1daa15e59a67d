//! Which sets there are, by the store's listing alone.

use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use plana_plan::{
    Area, SetKey,
    inventory::{Inventory, StoredSet},
    name,
    select::NamePattern,
};
use plana_storage::{DynStore, StoreError, listing};

use crate::error::RestoreError;

/// Names that are listed at the same time.
const AT_ONCE: usize = 16;

/// Which groups are of interest.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The areas.
    pub areas: Vec<Area>,
    /// A name or a glob; none means all names.
    pub name: Option<NamePattern>,
}

/// The sets of one name in one area.
#[derive(Debug, Clone)]
pub struct Group {
    /// The area.
    pub area: Area,
    /// The name as it is.
    pub name: String,
    /// What is listed of it.
    pub inventory: Inventory,
}

/// Every group that is wanted, several names listed at the same time, in no order. One name's listing is in memory at a time
/// for each of them.
pub fn groups<'a>(store: &'a DynStore, wanted: &'a Wanted) -> BoxStream<'a, Result<Group, StoreError>> {
    let areas = stream::iter(&wanted.areas).map(move |area| names(store, *area, wanted)).flatten();
    areas
        .map_ok(move |(area, prefix, name)| async move {
            let objects: Vec<_> = listing::objects(&**store, &prefix).try_collect().await?;
            Ok(Group { area, name, inventory: Inventory::read(objects) })
        })
        .try_buffer_unordered(AT_ONCE)
        .try_filter(|group| std::future::ready(!group.inventory.sets.is_empty()))
        .boxed()
}

type Named = (Area, String, String);

/// The names of an area: prefix and plain name.
fn names<'a>(store: &'a DynStore, area: Area, wanted: &'a Wanted) -> BoxStream<'a, Result<Named, StoreError>> {
    let takes = move |name: &str| wanted.name.as_ref().is_none_or(|pattern| pattern.matches(name));
    // A name that is spelled out needs no listing of all the others.
    if let Some(pattern) = wanted.name.as_ref().filter(|pattern| area.name_segments() == 1 && !has_wildcard(pattern.as_str())) {
        let name = pattern.as_str().to_owned();
        return stream::iter([Ok((area, SetKey::group_prefix(area, &name), name))]).boxed();
    }
    deeper(store, format!("{area}/"), area.name_segments())
        .try_filter_map(move |prefix| {
            let name = plain_name(area, &prefix).filter(|name| takes(name));
            std::future::ready(Ok(name.map(|name| (area, prefix, name))))
        })
        .boxed()
}

/// The prefixes that lie so many segments below.
fn deeper<'a>(store: &'a DynStore, prefix: String, segments: usize) -> BoxStream<'a, Result<String, StoreError>> {
    stream::once(async move {
        let found: Vec<String> = listing::prefixes(&**store, &prefix).try_collect().await?;
        Ok::<_, StoreError>(stream::iter(found.into_iter().map(Ok)))
    })
    .try_flatten()
    .map(move |found| match found {
        Ok(prefix) if segments > 1 => deeper(store, prefix, segments - 1),
        other => stream::once(std::future::ready(other)).boxed(),
    })
    .flatten()
    .boxed()
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// The name that a prefix means; `None` for what is not ours.
fn plain_name(area: Area, prefix: &str) -> Option<String> {
    let encoded = prefix.strip_prefix(area.as_str())?.strip_prefix('/')?.strip_suffix('/')?;
    let parts: Result<Vec<_>, _> = encoded.split('/').map(name::decode).collect();
    Some(parts.ok()?.join("."))
}

/// The newest committed set of a name at a moment.
///
/// # Errors
/// When the store fails, or there is none: the error says what there is instead.
pub async fn find_set(
    store: &DynStore,
    area: Area,
    name: &str,
    at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<StoredSet, RestoreError> {
    let prefix = SetKey::group_prefix(area, name);
    let inventory = Inventory::read(listing::objects(&**store, &prefix).try_collect::<Vec<_>>().await?);
    let moment = at.map_or(now, |at| at.min(now));
    match inventory.newest_committed(moment) {
        Some(set) => Ok(set.clone()),
        None => Err(RestoreError::NoSet {
            area,
            name: name.to_owned(),
            at,
            oldest: inventory.committed().map(|set| set.key.stamp).min(),
            incomplete: inventory.sets.values().filter(|set| !set.is_committed()).count(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use plana_storage::{MemoryStore, PutMode, Store as _};

    use super::*;

    async fn store(keys: &[&str]) -> DynStore {
        let store = MemoryStore::default();
        for key in keys {
            store.put(key, Bytes::from_static(b"x"), PutMode::IfAbsent).await.expect("puts");
        }
        Arc::new(store)
    }

    const KEYS: [&str; 8] = [
        "pg/acme/20261122T030000Z.pro.00000001/acme_20261122T030000Z.dump.zst",
        "pg/acme/20261122T030000Z.pro.00000001/manifest.json",
        "pg/acme/20261123T030000Z.pro.00000002/acme_20261123T030000Z.dump.zst",
        "pg/acme/20261123T030000Z.pro.00000002/manifest.json",
        "pg/acme/20261124T030000Z.pro.00000003/acme_20261124T030000Z.dump.zst",
        "pg/%2Eodd%2Fname/20261122T030000Z.pro.00000001/manifest.json",
        "partition/exo/public/events/20261122T030000Z.events.00000001/manifest.json",
        "notes.txt",
    ];

    async fn found(areas: &[Area], name: Option<&str>) -> Vec<(String, usize)> {
        let store = store(&KEYS).await;
        let wanted = Wanted { areas: areas.to_vec(), name: name.map(|name| name.parse().expect("a pattern")) };
        let mut found: Vec<_> =
            groups(&store, &wanted).map_ok(|group| (group.name, group.inventory.sets.len())).try_collect().await.expect("lists");
        found.sort();
        found
    }

    #[tokio::test]
    async fn groups_are_found_by_name_by_glob_and_all() {
        let group = |name: &str, sets| (name.to_owned(), sets);
        assert_eq!(found(&[Area::Pg], None).await, [group(".odd/name", 1), group("acme", 3)]);
        assert_eq!(found(&[Area::Pg], Some("acme")).await, [group("acme", 3)]);
        assert_eq!(found(&[Area::Pg], Some("*odd*")).await, [group(".odd/name", 1)]);
        assert_eq!(found(&[Area::Pg], Some(".odd/name")).await, [group(".odd/name", 1)]);
        assert_eq!(found(&[Area::Pg], Some("acm")).await, []);
        assert_eq!(found(&[Area::Partition, Area::Globals], None).await, [group("exo.public.events", 1)]);
    }

    #[tokio::test]
    async fn the_newest_committed_set_at_a_moment_is_found() {
        let store = store(&KEYS).await;
        let time = |text: &str| text.parse::<plana_plan::moment::Moment>().expect("a moment").instant();
        let now = time("2026-11-24 12:00");
        let found = async |at: Option<&str>| find_set(&store, Area::Pg, "acme", at.map(time), now).await.map(|set| set.key.id.0);
        assert_eq!(found(None).await.ok(), Some(2), "the newest is incomplete");
        assert_eq!(found(Some("2026-11-22")).await.ok(), Some(1));
        assert_eq!(found(Some("2030-01-01")).await.ok(), Some(2));
        let before = found(Some("2026-11-21")).await.expect_err("there was none").to_string();
        assert!(before.contains("oldest") && before.contains("20261122T030000Z"), "{before}");
    }
}
