//! Listings: of objects, of their versions, of unfinished uploads.

use std::cmp::Reverse;

use aws_sdk_s3::{
    primitives,
    types::{DeleteMarkerEntry, Object, ObjectVersion},
};
use chrono::{DateTime, Utc};
use plana_plan::inventory::ObjectMeta;

use super::{Place, S3Store, instant, request::answered_etag};
use crate::{
    contract::{ListCursor, NamePage, UploadMeta, UploadPage, VersionMeta, VersionPage},
    error::{Operation, StoreError},
};

/// What a version is called that was stored while its bucket was not versioned. Some stores leave the name out.
const UNVERSIONED: &str = "null";

/// The objects, and with a delimiter the names up to it; at most so many.
pub(super) async fn objects(
    store: &S3Store,
    prefix: &str,
    page: Option<&ListCursor>,
    delimiter: Option<&str>,
    most: Option<i32>,
) -> Result<NamePage, StoreError> {
    let place = &store.0;
    let request = place.client.list_objects_v2().bucket(&place.bucket).prefix(place.full(prefix));
    let request = request.set_continuation_token(page.map(|page| page.marker.clone())).set_delimiter(delimiter.map(str::to_owned));
    let answer = request.set_max_keys(most).send().await.map_err(|error| place.name(Operation::List, prefix, error))?;
    let mut names = NamePage::default();
    for object in answer.contents.unwrap_or_default() {
        names.objects.push(place.listed(object)?);
    }
    for common in answer.common_prefixes.unwrap_or_default() {
        names.prefixes.extend(common.prefix.as_deref().and_then(|prefix| prefix.strip_prefix(&place.prefix)).map(str::to_owned));
    }
    if answer.is_truncated == Some(true) {
        let token = answer.next_continuation_token.filter(|token| !token.is_empty());
        let marker = token.ok_or_else(|| place.endless(Operation::List, prefix))?;
        names.next = Some(ListCursor { marker, minor: None });
    }
    Ok(names)
}

/// The versions. The SDK gives delete markers apart from the others, so the two are put into one order again.
pub(super) async fn versions(store: &S3Store, prefix: &str, page: Option<&ListCursor>) -> Result<VersionPage, StoreError> {
    let place = &store.0;
    let request = place.client.list_object_versions().bucket(&place.bucket).prefix(place.full(prefix));
    let request = request.set_key_marker(page.map(|page| place.full(&page.marker)));
    let request = request.set_version_id_marker(page.and_then(|page| page.minor.clone()));
    let answer = request.send().await.map_err(|error| place.name(Operation::ListVersions, prefix, error))?;
    let mut versions = Vec::new();
    for version in answer.versions.unwrap_or_default() {
        versions.push(place.version(version)?);
    }
    for marker in answer.delete_markers.unwrap_or_default() {
        versions.push(place.delete_marker(marker)?);
    }
    versions.sort_by(|a, b| order(a).cmp(&order(b)));
    let mut page = VersionPage { versions, next: None };
    if answer.is_truncated == Some(true) {
        let marker = answer.next_key_marker.filter(|marker| !marker.is_empty());
        let marker = marker.ok_or_else(|| place.endless(Operation::ListVersions, prefix))?;
        let marker = place.own(Operation::ListVersions, Some(marker))?;
        page.next = Some(ListCursor { marker, minor: answer.next_version_id_marker.filter(|id| !id.is_empty()) });
    }
    Ok(page)
}

fn order(version: &VersionMeta) -> (&str, bool, Reverse<DateTime<Utc>>) {
    (&version.key, !version.is_latest, Reverse(version.last_modified))
}

/// The uploads that were neither completed nor aborted.
pub(super) async fn uploads(store: &S3Store, prefix: &str, page: Option<&ListCursor>) -> Result<UploadPage, StoreError> {
    let place = &store.0;
    let request = place.client.list_multipart_uploads().bucket(&place.bucket).prefix(place.full(prefix));
    let request = request.set_key_marker(page.map(|page| place.full(&page.marker)));
    let request = request.set_upload_id_marker(page.and_then(|page| page.minor.clone()));
    let answer = request.send().await.map_err(|error| place.name(Operation::ListUploads, prefix, error))?;
    let mut uploads = UploadPage::default();
    for upload in answer.uploads.unwrap_or_default() {
        let key = place.own(Operation::ListUploads, upload.key)?;
        let (Some(upload_id), Some(initiated)) = (upload.upload_id, upload.initiated.as_ref().and_then(instant)) else {
            return Err(place.strange(Operation::ListUploads, &key, "the store lists an upload without its id or time"));
        };
        uploads.uploads.push(UploadMeta { key, upload_id, initiated });
    }
    if answer.is_truncated == Some(true) {
        let marker = place.own(Operation::ListUploads, answer.next_key_marker)?;
        uploads.next = Some(ListCursor { marker, minor: answer.next_upload_id_marker });
    }
    Ok(uploads)
}

/// Nothing is made up: a listing without size or time would make a deletion or a check go wrong.
impl Place {
    fn listed(&self, object: Object) -> Result<ObjectMeta, StoreError> {
        let key = self.own(Operation::List, object.key)?;
        let (size, last_modified) = self.size_and_time(Operation::List, &key, object.size, object.last_modified)?;
        Ok(ObjectMeta { key, size, last_modified, etag: answered_etag(object.e_tag) })
    }

    fn version(&self, version: ObjectVersion) -> Result<VersionMeta, StoreError> {
        let key = self.own(Operation::ListVersions, version.key)?;
        let (size, last_modified) = self.size_and_time(Operation::ListVersions, &key, version.size, version.last_modified)?;
        Ok(VersionMeta {
            version: self.version_id(version.version_id),
            is_latest: self.is_latest(&key, version.is_latest)?,
            is_delete_marker: false,
            size,
            last_modified,
            etag: answered_etag(version.e_tag),
            key,
        })
    }

    fn delete_marker(&self, marker: DeleteMarkerEntry) -> Result<VersionMeta, StoreError> {
        let key = self.own(Operation::ListVersions, marker.key)?;
        let (size, last_modified) = self.size_and_time(Operation::ListVersions, &key, Some(0), marker.last_modified)?;
        Ok(VersionMeta {
            version: self.version_id(marker.version_id),
            is_latest: self.is_latest(&key, marker.is_latest)?,
            is_delete_marker: true,
            size,
            last_modified,
            etag: None,
            key,
        })
    }

    fn version_id(&self, id: Option<String>) -> String {
        id.filter(|id| !id.is_empty()).unwrap_or_else(|| UNVERSIONED.to_owned())
    }

    /// What is deleted may depend on it, so it is not guessed.
    fn is_latest(&self, key: &str, told: Option<bool>) -> Result<bool, StoreError> {
        told.ok_or_else(|| self.strange(Operation::ListVersions, key, "the store does not tell which version is the latest"))
    }

    fn size_and_time(
        &self,
        operation: Operation,
        key: &str,
        size: Option<i64>,
        time: Option<primitives::DateTime>,
    ) -> Result<(u64, DateTime<Utc>), StoreError> {
        let size = size.and_then(|size| u64::try_from(size).ok());
        let told = size.zip(time.as_ref().and_then(instant));
        told.ok_or_else(|| self.strange(operation, key, "the store lists it without its size or time"))
    }

    fn endless(&self, operation: Operation, prefix: &str) -> StoreError {
        self.strange(operation, prefix, "the store says that its listing goes on, but not where")
    }
}
