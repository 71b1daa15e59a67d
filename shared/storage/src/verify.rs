//! Proves, with put and list rights alone, that what is stored is what was sent.
//!
//! The listing's ETag must equal the one computed from the MD5 of what was sent, and its size must agree. A store whose
//! ETags are something else (server-side encryption, some gateways) is found out by a canary: a small object sent in
//! the same way, whose MD5 is known. Only when the canary's ETag is not its MD5 either, *and* the store refuses a body
//! that does not match its Content-MD5, do size and Content-MD5 count as proof. Everything else is an error: a backup
//! that is wrongly called broken is made again, one that is wrongly called good is lost.

use std::time::Duration;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use plana_plan::{
    inventory::ObjectMeta,
    manifest::{Verified, Volume},
};
use sha2::Sha256;

use crate::{
    contract::{Canary, ETag, PartReceipt, PutMode, Shape, Store, Stored},
    error::{Failure, Operation, StoreError},
};

/// How long a store may take to list what it has stored, in tries.
const LISTING_PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(3)];

/// The ETag of a plain put of this body.
pub fn etag_of_body(body: &[u8]) -> ETag {
    ETag { md5: Md5::digest(body).into(), parts: None }
}

/// The ETag of an upload in these parts; none when a part's MD5 is not known.
pub fn etag_of_parts(parts: &[PartReceipt]) -> Option<ETag> {
    let mut whole = Md5::new();
    for part in parts {
        whole.update(part.md5?);
    }
    Some(ETag { md5: whole.finalize().into(), parts: u32::try_from(parts.len()).ok() })
}

/// Whether a listed ETag is the expected one, quotes and case aside.
pub fn etag_matches(expected: &ETag, listed: Option<&str>) -> bool {
    listed.is_some_and(|listed| listed.trim_matches('"').eq_ignore_ascii_case(&expected.to_string()))
}

/// What a canary says about the ETags of its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtagWorth {
    /// They are MD5s, so one that differs means other content.
    Md5,
    /// They are not, but the store checks what it receives.
    Opaque,
    /// They are not, and the store does not check what it receives: nothing is proof.
    Worthless,
}

/// Reads a canary.
pub fn judge(canary: &Canary) -> EtagWorth {
    match (etag_matches(&canary.expected, canary.listed.as_deref()), canary.refuses_wrong_md5) {
        (true, _) => EtagWorth::Md5,
        (false, true) => EtagWorth::Opaque,
        (false, false) => EtagWorth::Worthless,
    }
}

/// Compares what was sent under `key` with a fresh listing.
///
/// # Errors
/// [`StoreError::Corrupt`] when it is not listed, or with another size or ETag; [`StoreError::Unverifiable`] when the
/// store gives nothing that proves it; else what kept it from being listed.
pub async fn verify(store: &dyn Store, key: &str, sent: &Stored) -> Result<(ObjectMeta, Verified), StoreError> {
    let failure = |cause: String| Failure::new(Operation::Verify, object_url(store, key), cause);
    let Some(listed) = find(store, key).await? else {
        return Err(StoreError::Corrupt(failure("the store accepted it but does not list it".to_owned())));
    };
    if listed.size != sent.bytes {
        let cause = format!("{} bytes were sent, and the store lists {}", sent.bytes, listed.size);
        return Err(StoreError::Corrupt(failure(cause)));
    }
    let Some(expected) = &sent.expected else {
        return Ok((listed, Verified::SizeAndFsync));
    };
    if etag_matches(expected, listed.etag.as_deref()) {
        return Ok((listed, Verified::EtagMd5));
    }
    let shape = if expected.parts.is_some() { Shape::Multipart } else { Shape::Plain };
    let found = listed.etag.as_deref().unwrap_or("no ETag");
    let canary = store.canary(shape).await.map_err(|error| {
        StoreError::Unverifiable(failure(format!(
            "the store lists {found} where {expected} was expected, and a probe of its ETags failed: {error}"
        )))
    })?;
    match judge(&canary) {
        EtagWorth::Md5 => Err(StoreError::Corrupt(failure(format!(
            "its MD5 ETag should be {expected}, and the store lists {found}: it was changed on the way, or overwritten"
        )))),
        EtagWorth::Worthless => Err(StoreError::Unverifiable(failure(
            "the store's ETags are not MD5s, and it accepts a body that does not match its Content-MD5".to_owned(),
        ))),
        // What the store answered to us and what it lists must at least be the same object.
        EtagWorth::Opaque => match (&sent.etag, &listed.etag) {
            (Some(answered), Some(listed)) if !answered.is_empty() && answered != listed => {
                Err(StoreError::Corrupt(failure(format!("the store answered the ETag {answered} and lists {listed}: it was overwritten"))))
            }
            _ => {
                tracing::warn!(key, found, %expected, "the store's ETags are not MD5s: verified by size and Content-MD5");
                Ok((listed, Verified::SizeAndContentMd5))
            }
        },
    }
}

/// Puts a small object, verifies it, and gives it as a manifest names it.
///
/// # Errors
/// As [`Store::put`] and [`verify`].
pub async fn put_verified(store: &dyn Store, key: &str, body: Bytes, mode: PutMode) -> Result<Volume, StoreError> {
    let sha256 = hex::encode(Sha256::digest(&body));
    let part_bytes = body.len() as u64;
    let stored = store.put(key, body, mode).await?;
    let (listed, verified) = verify(store, key, &stored).await?;
    Ok(volume(listed, stored, sha256, part_bytes, verified))
}

pub(crate) fn volume(listed: ObjectMeta, stored: Stored, sha256: String, part_bytes: u64, verified: Verified) -> Volume {
    Volume {
        key: listed.key,
        bytes: listed.size,
        sha256,
        etag: listed.etag,
        parts: stored.parts,
        part_bytes,
        version: stored.version,
        verified,
    }
}

async fn find(store: &dyn Store, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
    for pause in LISTING_PAUSES {
        if let Some(found) = store.find(key).await? {
            return Ok(Some(found));
        }
        tokio::time::sleep(pause).await;
    }
    store.find(key).await
}

pub(crate) fn object_url(store: &dyn Store, key: &str) -> String {
    format!("{}/{key}", store.url().trim_end_matches('/'))
}
