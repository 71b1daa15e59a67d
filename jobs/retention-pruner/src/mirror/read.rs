//! What manifests and tags say, read from the store. Whoever can push wrote it: its size is bounded, and it must be the content
//! of its digest.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use plana_plan::mirror::{
    Content, Digest, MirrorKey, MirrorStock, Target,
    manifest::{self, LARGEST},
};
use plana_storage::{Store, StoreError};
use sha2::{Digest as _, Sha256};

/// Objects that are read at the same time.
const AT_ONCE: usize = 16;
/// A tag's object holds a digest and nothing else.
const LARGEST_LINK: u64 = 256;

/// Reads every manifest and every tag of a listing; what the tags mean goes into the stock.
///
/// # Errors
/// When the store does not let one be read: what it refers to is then not known.
pub async fn read_all(store: &dyn Store, stock: &mut MirrorStock) -> Result<BTreeMap<Digest, Content>, StoreError> {
    read_tags(store, stock).await?;
    let revisions = stock.repositories.values().flat_map(|repository| &repository.revisions);
    let there: BTreeSet<Digest> = revisions.filter(|(_, facts)| facts.is_visible).map(|(digest, _)| *digest).collect();
    let mut contents = read_manifests(store, there).await?;
    // A store that loses track of an object for a while must not cost what that refers to.
    for (digest, content) in contents.iter_mut().filter(|(_, content)| **content == Content::Absent) {
        if stock.blobs.get(digest).is_some_and(|facts| facts.is_visible) {
            *content = Content::Unclear("it is listed, and the store says that it is not there".to_owned());
        }
    }
    Ok(contents)
}

/// Reads these manifests.
///
/// # Errors
/// As [`read_all`].
pub async fn read_manifests(store: &dyn Store, digests: BTreeSet<Digest>) -> Result<BTreeMap<Digest, Content>, StoreError> {
    let read = async |digest: Digest| Ok((digest, read_manifest(store, digest).await?));
    let reading: Vec<_> = digests.into_iter().map(read).collect();
    stream::iter(reading).buffer_unordered(AT_ONCE).try_collect().await
}

async fn read_manifest(store: &dyn Store, digest: Digest) -> Result<Content, StoreError> {
    let key = MirrorKey::Blob(digest).write().unwrap_or_default();
    let text = match read_bounded(store, &key, LARGEST).await {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(Content::Unclear(format!("it has more than {} MiB", LARGEST >> 20))),
        Err(StoreError::NotFound(_)) => return Ok(Content::Absent),
        Err(StoreError::Corrupt(failure)) => return Ok(Content::Unclear(failure.to_string())),
        Err(error) => return Err(error),
    };
    let found = Digest::new(Sha256::digest(&text).into());
    if found != digest {
        return Ok(Content::Unclear(format!("what is stored there is {found}")));
    }
    Ok(manifest::read(&text))
}

async fn read_tags(store: &dyn Store, stock: &mut MirrorStock) -> Result<(), StoreError> {
    let tags = stock.repositories.iter().flat_map(|(name, repository)| repository.tags.iter().map(move |(tag, found)| (name, tag, found)));
    let there = tags.filter(|(_, _, found)| found.current.is_some_and(|facts| facts.is_visible));
    let read = async |(name, tag): (String, String)| {
        let target = read_tag(store, &name, &tag).await?;
        Ok::<_, StoreError>((name, tag, target))
    };
    let reading: Vec<_> = there.map(|(name, tag, _)| read((name.clone(), tag.clone()))).collect();
    let targets: Vec<(String, String, Target)> = stream::iter(reading).buffer_unordered(AT_ONCE).try_collect().await?;
    for (name, tag, target) in targets {
        if let Some(tag) = stock.repositories.get_mut(&name).and_then(|repository| repository.tags.get_mut(&tag)) {
            tag.target = Some(target);
        }
    }
    Ok(())
}

async fn read_tag(store: &dyn Store, name: &str, tag: &str) -> Result<Target, StoreError> {
    let key = MirrorKey::Current(name, tag).write().unwrap_or_default();
    let unclear = |why: &str| Ok(Target::Unclear(why.to_owned()));
    match read_bounded(store, &key, LARGEST_LINK).await {
        Ok(Some(text)) => match std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok()) {
            Some(digest) => Ok(Target::Revision(digest)),
            None => unclear("what it means is no SHA-256 digest"),
        },
        Ok(None) => unclear("its object is too large for a digest"),
        Err(StoreError::NotFound(_)) => unclear("it was there a moment ago, and is gone"),
        Err(StoreError::Corrupt(failure)) => Ok(Target::Unclear(failure.to_string())),
        Err(error) => Err(error),
    }
}

/// An object's content; `None` where it is larger than that.
async fn read_bounded(store: &dyn Store, key: &str, most: u64) -> Result<Option<BytesMut>, StoreError> {
    let mut body = store.get(key, None, None).await?;
    if body.meta.size > most {
        return Ok(None);
    }
    let mut text = BytesMut::new();
    while let Some(chunk) = body.stream.try_next().await? {
        text.extend_from_slice(&chunk);
    }
    Ok(Some(text))
}
