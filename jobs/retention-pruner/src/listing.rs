//! Everything that the store lists, several prefixes at the same time.

use chrono::{DateTime, Utc};
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use plana_plan::{
    Area,
    inventory::ObjectMeta,
    retention::{Entry, Keys, Stock, Unfinished, Version},
    set::PROBE,
};
use plana_storage::{Store, StoreError, VersionMeta, listing};

/// Prefixes that are listed at the same time.
const AT_ONCE: usize = 16;
/// An area with more names than this is listed in one go: a request a name would take longer.
const MOST_NAMES: usize = 4_000;

/// What is listed: a bucket that keeps versions keeps them until they are deleted by their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Objects.
    Objects,
    /// Versions of objects, and delete markers.
    Versions,
}

/// An object, or a version of one.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size in bytes, 0 for a delete marker.
    pub size: u64,
    /// The version's id, whether it is the latest, and whether it is a delete marker.
    pub version: Option<(String, bool, bool)>,
    last_modified: DateTime<Utc>,
    etag: Option<String>,
}

/// What a version is called that was stored while its bucket was not versioned.
const UNVERSIONED: &str = "null";

impl Listed {
    /// As the plan takes it.
    pub fn entry(&self) -> Entry<'_> {
        let version = self.version.as_ref();
        let version =
            version.map(|(id, is_latest, is_delete_marker)| Version { id, is_latest: *is_latest, is_delete_marker: *is_delete_marker });
        Entry { key: &self.key, size: self.size, last_modified: self.last_modified, etag: self.etag.as_deref(), version }
    }

    /// Whether it is kept until it is deleted by its id.
    pub fn is_versioned(&self) -> bool {
        self.version.as_ref().is_some_and(|(id, ..)| id != UNVERSIONED)
    }

    /// Whether it is what stands for its key, a delete marker or not: there is no other, or it is the newest.
    pub fn is_latest(&self) -> bool {
        self.version.as_ref().is_none_or(|(_, is_latest, _)| *is_latest)
    }

    /// Whether it only says that the object was deleted.
    pub fn is_delete_marker(&self) -> bool {
        self.version.as_ref().is_some_and(|(_, _, is_marker)| *is_marker)
    }
}

impl From<ObjectMeta> for Listed {
    fn from(ObjectMeta { key, size, last_modified, etag }: ObjectMeta) -> Self {
        Listed { key, size, version: None, last_modified, etag }
    }
}

impl From<VersionMeta> for Listed {
    fn from(meta: VersionMeta) -> Self {
        let VersionMeta { key, version, is_latest, is_delete_marker, size, last_modified, etag } = meta;
        Listed { key, size, version: Some((version, is_latest, is_delete_marker)), last_modified, etag }
    }
}

/// What the key may list: versions where it may and the store has any.
///
/// # Errors
/// When the store does not answer.
pub async fn mode(store: &dyn Store) -> Result<Mode, StoreError> {
    match store.list_versions(&format!("{PROBE}/"), None).await {
        Ok(_) => Ok(Mode::Versions),
        Err(StoreError::Unsupported(_) | StoreError::AccessDenied(_)) => Ok(Mode::Objects),
        Err(error) => Err(error),
    }
}

/// What lies below a prefix, by key.
pub fn below<'a>(store: &'a dyn Store, mode: Mode, prefix: &'a str) -> BoxStream<'a, Result<Listed, StoreError>> {
    match mode {
        Mode::Objects => listing::objects(store, prefix).map_ok(Listed::from).boxed(),
        Mode::Versions => listing::versions(store, prefix).map_ok(Listed::from).boxed(),
    }
}

/// Hands over what lies below any of these prefixes, several of them at the same time.
///
/// # Errors
/// When any part of the listing fails.
pub async fn each_below(store: &dyn Store, mode: Mode, prefixes: &[String], mut take: impl FnMut(&Listed)) -> Result<(), StoreError> {
    let listings: Vec<BoxStream<'_, _>> = prefixes.iter().map(|prefix| below(store, mode, prefix)).collect();
    let mut found = stream::iter(listings).flatten_unordered(AT_ONCE);
    while let Some(listed) = found.try_next().await? {
        take(&listed);
    }
    Ok(())
}

/// The whole store.
#[derive(Debug, Default)]
pub struct Whole {
    /// What is in it.
    pub stock: Stock,
    /// Whether any version has an id of its own, so that deletions must name it.
    pub is_versioned: bool,
}

/// Lists everything.
///
/// # Errors
/// When any part of the listing fails: half a listing is none.
pub async fn list_all(store: &dyn Store, mode: Mode, keys: Keys, billed_at_least: u64) -> Result<Whole, StoreError> {
    let mut whole = Whole { stock: Stock::new(keys, billed_at_least), is_versioned: false };
    let (prefixes, loose) = places(store, mode).await?;
    let mut take = |listed: &Listed| {
        whole.is_versioned |= listed.is_versioned();
        whole.stock.add(listed.entry());
    };
    loose.iter().for_each(&mut take);
    each_below(store, mode, &prefixes, take).await?;
    whole.stock.uploads = unfinished(store).await?;
    Ok(whole)
}

/// The prefixes that together hold everything, and what lies beside them.
async fn places(store: &dyn Store, mode: Mode) -> Result<(Vec<String>, Vec<Listed>), StoreError> {
    let (top, objects) = names(store, "").await?;
    if mode == Mode::Versions {
        // Names under which a reader sees nothing may still hold versions.
        let known = Area::ALL.iter().map(|area| format!("{area}/")).chain([format!("{PROBE}/")]);
        let mut prefixes: Vec<String> = top.into_iter().chain(known).collect();
        prefixes.sort();
        prefixes.dedup();
        let mut loose = Vec::new();
        for object in objects {
            let mut versions = below(store, mode, &object.key).try_filter(|listed| std::future::ready(listed.key == object.key));
            while let Some(listed) = versions.try_next().await? {
                loose.push(listed);
            }
        }
        return Ok((prefixes, loose));
    }
    let (mut prefixes, mut loose) = (Vec::new(), objects);
    for area in top {
        let (names, objects) = names(store, &area).await?;
        if names.len() > MOST_NAMES {
            prefixes.push(area);
        } else {
            prefixes.extend(names);
            loose.extend(objects);
        }
    }
    Ok((prefixes, loose))
}

/// What follows a prefix up to the next `/`, and the objects beside that.
pub async fn names(store: &dyn Store, prefix: &str) -> Result<(Vec<String>, Vec<Listed>), StoreError> {
    let (mut prefixes, mut objects, mut cursor) = (Vec::new(), Vec::new(), None);
    loop {
        let page = store.list_names(prefix, cursor.as_ref()).await?;
        prefixes.extend(page.prefixes);
        objects.extend(page.objects.into_iter().map(Listed::from));
        if page.next.is_none() {
            return Ok((prefixes, objects));
        }
        cursor = page.next;
    }
}

/// Every unfinished upload; none where the key may not list them, which `check` tells.
pub async fn unfinished(store: &dyn Store) -> Result<Vec<Unfinished>, StoreError> {
    match listing::uploads(store, "").try_collect::<Vec<_>>().await {
        Ok(uploads) => Ok(uploads
            .into_iter()
            .map(|upload| Unfinished { key: upload.key, upload_id: upload.upload_id, initiated: upload.initiated })
            .collect()),
        Err(error @ (StoreError::AccessDenied(_) | StoreError::Unsupported(_))) => {
            tracing::warn!("unfinished uploads are not swept: failed to {error}");
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}
