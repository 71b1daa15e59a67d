//! Whole listings, a page in memory at a time.

use std::collections::VecDeque;

use futures::stream::{self, BoxStream, StreamExt as _};
use plana_plan::inventory::ObjectMeta;

use crate::{
    contract::{ListCursor, NamePage, Store, UploadMeta, VersionMeta},
    error::{Failure, Operation, StoreError},
};

/// Every object under `prefix`, in the byte order of keys. It ends early only with an error.
pub fn objects<'a>(store: &'a dyn Store, prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StoreError>> {
    pages(store, Operation::List, move |cursor| async move {
        let page = store.list(prefix, cursor.as_ref()).await?;
        Ok((page.objects, page.next))
    })
}

/// Every name that follows `prefix` up to the next `/`, whole and with it: `pg/acme/`.
pub fn prefixes<'a>(store: &'a dyn Store, prefix: &'a str) -> BoxStream<'a, Result<String, StoreError>> {
    pages(store, Operation::List, move |cursor| async move {
        let NamePage { prefixes, next, .. } = store.list_names(prefix, cursor.as_ref()).await?;
        Ok((prefixes, next))
    })
}

/// Every version of every object under `prefix`, delete markers too; in the order of [`Store::list_versions`].
pub fn versions<'a>(store: &'a dyn Store, prefix: &'a str) -> BoxStream<'a, Result<VersionMeta, StoreError>> {
    pages(store, Operation::ListVersions, move |cursor| async move {
        let page = store.list_versions(prefix, cursor.as_ref()).await?;
        Ok((page.versions, page.next))
    })
}

/// Every unfinished upload under `prefix`.
pub fn uploads<'a>(store: &'a dyn Store, prefix: &'a str) -> BoxStream<'a, Result<UploadMeta, StoreError>> {
    pages(store, Operation::ListUploads, move |cursor| async move {
        let page = store.list_uploads(prefix, cursor.as_ref()).await?;
        Ok((page.uploads, page.next))
    })
}

struct Walk<T> {
    page: VecDeque<T>,
    cursor: Option<ListCursor>,
    ended: bool,
}

fn pages<'a, T, F, P>(store: &'a dyn Store, operation: Operation, fetch: F) -> BoxStream<'a, Result<T, StoreError>>
where
    T: Send + 'a,
    F: Fn(Option<ListCursor>) -> P + Send + 'a,
    P: Future<Output = Result<(Vec<T>, Option<ListCursor>), StoreError>> + Send + 'a,
{
    let begin = Walk { page: VecDeque::new(), cursor: None, ended: false };
    stream::unfold((begin, fetch), move |(mut walk, fetch)| async move {
        loop {
            if let Some(item) = walk.page.pop_front() {
                return Some((Ok(item), (walk, fetch)));
            }
            if walk.ended {
                return None;
            }
            match fetch(walk.cursor.clone()).await {
                Ok((items, next)) => {
                    // A store that gives the same marker again would keep us here for ever.
                    if next.is_some() && next == walk.cursor {
                        walk.ended = true;
                        let cause = "the store gave the same page twice, so the listing cannot be completed";
                        return Some((Err(StoreError::Other(Failure::new(operation, store.url(), cause))), (walk, fetch)));
                    }
                    walk.ended = next.is_none();
                    walk.page = items.into();
                    walk.cursor = next;
                }
                Err(error) => {
                    walk.ended = true;
                    return Some((Err(error), (walk, fetch)));
                }
            }
        }
    })
    .boxed()
}
