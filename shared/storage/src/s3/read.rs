//! Reading objects, through cut connections.

use std::{ops::Range, time::Duration};

use aws_sdk_s3::{operation::get_object::GetObjectOutput, primitives::ByteStream};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use plana_plan::inventory::ObjectMeta;

use super::{S3Store, errors::chain, instant, request::answered_etag};
use crate::{
    contract::GetBody,
    error::{Failure, Operation, StoreError},
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// One answer to a read.
struct Answer {
    meta: ObjectMeta,
    version: Option<String>,
    range: Range<u64>,
    body: ByteStream,
}

pub(super) async fn open(store: &S3Store, key: &str, range: Option<Range<u64>>, version: Option<&str>) -> Result<GetBody, StoreError> {
    let Answer { meta, version, range, body } = request(store, key, range, version).await?;
    let reader =
        Reader { store: store.clone(), meta: meta.clone(), version: version.clone(), left: range.clone(), body: Some(body), cuts: 0 };
    let stream = stream::try_unfold(reader, |mut reader| async move {
        let chunk = reader.next().await?;
        Ok(chunk.map(|chunk| (chunk, reader)))
    });
    Ok(GetBody { meta, version, range, stream: stream.boxed() })
}

struct Reader {
    store: S3Store,
    meta: ObjectMeta,
    version: Option<String>,
    left: Range<u64>,
    body: Option<ByteStream>,
    cuts: u32,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            if self.left.is_empty() {
                return Ok(None);
            }
            let body = match &mut self.body {
                Some(body) => body,
                None => self.reopen().await?,
            };
            match body.try_next().await {
                Ok(Some(chunk)) => {
                    let wanted = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
                    if chunk.len() > wanted {
                        return Err(StoreError::Corrupt(self.failure("the store sent more bytes than were asked for")));
                    }
                    self.left.start += chunk.len() as u64;
                    if chunk.is_empty() {
                        continue;
                    }
                    // It goes on: a large object may see many cuts on its way.
                    self.cuts = 0;
                    return Ok(Some(chunk));
                }
                Ok(None) => self.pause("it ended early".to_owned()).await?,
                Err(error) => self.pause(chain(&error)).await?,
            }
        }
    }

    fn failure(&self, cause: &str) -> Failure {
        let cause = format!("{cause}, {} bytes before its end", self.left.end - self.left.start);
        Failure::new(Operation::Get, self.store.0.object(&self.meta.key), cause)
    }

    /// Before the body is asked for again.
    async fn pause(&mut self, cause: String) -> Result<(), StoreError> {
        self.body = None;
        self.cuts += 1;
        if self.cuts >= self.store.0.settings.max_attempts {
            return Err(StoreError::Connection(self.failure(&cause)));
        }
        tracing::debug!(key = self.meta.key, cause, "a read was cut off and goes on");
        tokio::time::sleep((FIRST_PAUSE * 2u32.saturating_pow(self.cuts - 1)).min(self.store.0.settings.max_backoff.0)).await;
        Ok(())
    }

    async fn reopen(&mut self) -> Result<&mut ByteStream, StoreError> {
        let answer = request(&self.store, &self.meta.key, Some(self.left.clone()), self.version.as_deref()).await?;
        if answer.meta != self.meta || answer.range != self.left {
            return Err(StoreError::Corrupt(self.failure("it was replaced while it was read")));
        }
        Ok(self.body.insert(answer.body))
    }
}

async fn request(store: &S3Store, key: &str, range: Option<Range<u64>>, version: Option<&str>) -> Result<Answer, StoreError> {
    let place = &store.0;
    let unusable = |cause: &str| StoreError::Unusable(Failure::new(Operation::Get, place.object(key), cause));
    if range.as_ref().is_some_and(Range::is_empty) {
        return Err(unusable("no bytes were asked for"));
    }
    let header = range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end - 1));
    let get = place.client.get_object().bucket(&place.bucket).key(place.full(key)).set_version_id(version.map(str::to_owned));
    let answer = get.set_range(header).send().await.map_err(|error| match (place.name(Operation::Get, key, error), version) {
        // AWS does not allow a version that is a delete marker to be read, which says that nothing is there.
        (StoreError::NotFound(failure) | StoreError::Unsupported(failure), Some(version)) => {
            let cause = format!("{}, version {}", failure.cause, version.escape_debug());
            StoreError::NotFound(Failure { cause, ..failure })
        }
        (error, _) => error,
    })?;
    let strange = |cause: &str| place.strange(Operation::Get, key, cause);
    let length = answer.content_length.and_then(|length| u64::try_from(length).ok()).ok_or_else(|| strange("the store tells no size"))?;
    let (got, size) = match (range, answer.content_range.as_deref()) {
        (Some(_), Some(told)) => content_range(told).ok_or_else(|| strange("the store tells no range"))?,
        (Some(_), None) => return Err(strange("the store sends the whole object where a range was asked for")),
        (None, _) => (0..length, length),
    };
    if got.end - got.start != length {
        return Err(strange("the store tells a size that does not fit its range"));
    }
    let GetObjectOutput { body, e_tag, last_modified, version_id, .. } = answer;
    let last_modified = last_modified.as_ref().and_then(instant).ok_or_else(|| strange("the store tells no time"))?;
    let meta = ObjectMeta { key: key.to_owned(), size, last_modified, etag: answered_etag(e_tag) };
    Ok(Answer { meta, version: version_id, range: got, body })
}

/// `bytes 0-9/100`: the range and the whole size.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let (start, last, size): (u64, u64, u64) = (start.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (start <= last && last < size).then(|| (start..last + 1, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 0-9/100"), Some((0..10, 100)));
        for wrong in ["bytes 0-9/*", "bytes 9-0/100", "bytes 0-100/100", "0-9/100", "bytes */100"] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}
