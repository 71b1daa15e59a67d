//! One suite over every store: a directory, memory, and a Ceph gateway with each job's own key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use bytes::Bytes;
use common::{MIB, Stores, contract, noise, read};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use plana_plan::inventory::ObjectMeta;
use plana_storage::{ETag, ObjectVersion, PartReceipt, PutMode, Store, StoreError, Stored, listing, verify};

contract!(directory, memory, gateway, gateway_root; [
    small_objects_come_back_as_they_were_sent,
    a_key_in_use_is_left_alone_where_asked,
    parts_become_one_object_at_once,
    what_is_aborted_leaves_nothing,
    a_pruner_finds_and_aborts_the_uploads_of_others,
    listings_are_whole_and_in_the_order_of_keys,
    names_are_listed_up_to_the_next_slash,
    uploads_are_listed_page_by_page,
    every_deletion_has_its_own_outcome,
    hostile_keys_are_never_written,
    what_was_replaced_is_found_out,
    the_clock_is_the_stores,
    rights_are_told_without_harm,
    versions_are_listed_or_said_not_to_be,
    versions_are_deleted_by_their_ids_or_said_not_to_be,
]);

async fn put(store: &dyn Store, key: &str, body: &'static [u8]) -> Stored {
    store.put(key, Bytes::from_static(body), PutMode::IfAbsent).await.unwrap_or_else(|error| panic!("failed to {error}"))
}

async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    listing::objects(store, prefix).map_ok(|object| object.key).try_collect().await.unwrap_or_else(|error| panic!("failed to {error}"))
}

async fn content(stores: &Stores, key: &str) -> Vec<u8> {
    read(stores.reader.get(key, None, None).await.unwrap_or_else(|error| panic!("failed to {error}"))).await
}

async fn small_objects_come_back_as_they_were_sent(stores: Stores) {
    let body = b"manifest\n\x00\xff";
    let key = "pg/%2Eacme/2026 'x\" ö.json";
    let stored = put(&*stores.writer, key, body).await;
    let (listed, _) = verify::verify(&*stores.writer, key, &stored).await.expect("verified");
    assert_eq!((listed.key.as_str(), listed.size), (key, body.len() as u64));
    assert!((chrono::Utc::now() - listed.last_modified).num_seconds().abs() < 60, "{listed:?}");

    let got = stores.reader.get(key, None, None).await.expect("the object");
    assert_eq!((got.range.clone(), got.meta.size), (0..11, 11));
    assert_eq!(read(got).await, body);
    for (range, expected) in [(2..5, &body[2..5]), (0..1, &body[..1]), (9..500, &body[9..])] {
        let got = stores.reader.get(key, Some(range), None).await.expect("a range");
        assert_eq!(got.meta.size, 11);
        assert_eq!(read(got).await, expected);
    }
    assert!(matches!(stores.reader.get(key, Some(11..12), None).await, Err(StoreError::Unusable(_))));
    assert!(matches!(stores.reader.get("pg/none", None, None).await, Err(StoreError::NotFound(_))));
    assert_eq!(stores.writer.find("pg/none").await, Ok(None));
    assert_eq!(stores.writer.find("pg").await, Ok(None), "a prefix is no object");

    let empty = verify::put_verified(&*stores.writer, "empty", Bytes::new(), PutMode::IfAbsent).await.expect("an empty object");
    assert_eq!((empty.bytes, empty.parts), (0, 1));
    assert_eq!(content(&stores, "empty").await, b"");
}

async fn a_key_in_use_is_left_alone_where_asked(stores: Stores) {
    put(&*stores.writer, "set/manifest.json", b"first").await;
    let again = stores.writer.put("set/manifest.json", Bytes::from_static(b"second"), PutMode::IfAbsent).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists(_))), "{again:?}");
    assert_eq!(content(&stores, "set/manifest.json").await, b"first");
    stores.writer.put("set/manifest.json", Bytes::from_static(b"third"), PutMode::Overwrite).await.expect("replaced");
    assert_eq!(content(&stores, "set/manifest.json").await, b"third");
    assert_eq!(keys(&*stores.writer, "").await, ["set/manifest.json"], "nothing temporary is left");
}

async fn parts_become_one_object_at_once(stores: Stores) {
    let whole = noise(12 * MIB + 345, 1);
    let key = "filestore/acme/payload.tar.gz";
    let upload = stores.writer.begin(key, 5 * MIB).await.expect("begun");
    let part = |number: u32| {
        let begin = (number as usize - 1) * 5 * MIB as usize;
        whole.slice(begin..whole.len().min(begin + 5 * MIB as usize))
    };
    // The last first, the others at the same time, one of them twice.
    let third = upload.put_part(3, part(3)).await.expect("part 3");
    let (second, first) = futures::join!(upload.put_part(2, part(2)), upload.put_part(1, part(1)));
    let again = upload.put_part(2, part(2)).await.expect("part 2 again");
    assert_eq!(keys(&*stores.writer, "").await, [""; 0], "nothing is visible before it is complete");
    let parts: Vec<PartReceipt> = vec![first.expect("part 1"), again, third];
    assert_eq!(second.expect("part 2").bytes, 5 * MIB);
    let stored = upload.complete(&parts).await.expect("complete");
    assert_eq!((stored.bytes, stored.parts), (whole.len() as u64, 3));
    verify::verify(&*stores.writer, key, &stored).await.expect("verified");
    assert_eq!(content(&stores, key).await, whole);
    // As after an answer that was lost.
    let repeated = upload.complete(&parts).await.expect("complete again");
    assert_eq!((repeated.bytes, repeated.expected), (stored.bytes, stored.expected));
    let range = stores.reader.get(key, Some(5 * MIB - 2..5 * MIB + 3), None).await.expect("a range over a part's end");
    assert_eq!(read(range).await, whole[5 * MIB as usize - 2..5 * MIB as usize + 3]);
    assert_eq!(keys(&*stores.writer, "").await, [key]);
}

async fn what_is_aborted_leaves_nothing(stores: Stores) {
    let upload = stores.writer.begin("pg/acme/x", 5 * MIB).await.expect("begun");
    upload.put_part(1, noise(5 * MIB, 2)).await.expect("part");
    match upload.abort().await {
        Ok(()) => {
            upload.abort().await.expect("aborted again");
            assert!(upload.complete(&[]).await.is_err(), "what is aborted cannot be completed");
        }
        // A key that may only put and list.
        Err(error) => assert!(matches!(error, StoreError::AccessDenied(_)), "{error}"),
    }
    assert_eq!(keys(&*stores.writer, "").await, [""; 0]);
}

async fn a_pruner_finds_and_aborts_the_uploads_of_others(stores: Stores) {
    for key in ["pg/acme/a", "pg/acme/b", "pg/zoo/a"] {
        let upload = stores.writer.begin(key, 5 * MIB).await.expect("begun");
        upload.put_part(1, noise(1000, 3)).await.expect("part");
    }
    let found: Vec<_> = listing::uploads(&*stores.pruner, "pg/acme/").try_collect().await.expect("uploads");
    assert_eq!(found.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["pg/acme/a", "pg/acme/b"]);
    for upload in found {
        assert!((chrono::Utc::now() - upload.initiated).num_seconds().abs() < 60, "{upload:?}");
        stores.pruner.abort_upload(&upload.key, &upload.upload_id).await.expect("aborted");
        stores.pruner.abort_upload(&upload.key, &upload.upload_id).await.expect("aborted again");
    }
    let left: Vec<_> = listing::uploads(&*stores.pruner, "").try_collect().await.expect("uploads");
    assert_eq!(left.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["pg/zoo/a"]);
}

async fn fill(store: &dyn Store, keys: &[String]) {
    stream::iter(keys).map(|key| async move { put(store, key, b"x").await }).buffer_unordered(16).collect::<Vec<_>>().await;
}

async fn listings_are_whole_and_in_the_order_of_keys(stores: Stores) {
    // More than a page, and names that a careless walk or decoder puts elsewhere.
    let mut all: Vec<String> = (0..1050).map(|n| format!("many/{:02}/{n}%2F", n % 7)).collect();
    all.extend(["a-b", "a.b", "a/b", "a0", "a/b.c/d", "a/b-c", "a b", "%25", "%2F+", "ö/ä", "Z"].map(|key| format!("odd/{key}")));
    fill(&*stores.writer, &all).await;
    all.sort();
    assert_eq!(keys(&*stores.reader, "").await, all);
    for prefix in ["odd/a", "odd/a/", "odd/a/b", "many/03/1", "odd/%2", "none/", "odd/a-b"] {
        let expected: Vec<_> = all.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(keys(&*stores.writer, prefix).await, expected, "{prefix}");
    }
}

async fn names_are_listed_up_to_the_next_slash(stores: Stores) {
    let mut all: Vec<String> = (0..1020).map(|n| format!("pg/db{n}/x/manifest.json")).collect();
    all.extend(["pg/db7/y", "pg/hold", "pg-x/a", "top"].map(str::to_owned));
    fill(&*stores.writer, &all).await;
    let store = &*stores.writer;
    let names = async |prefix: &str| listing::prefixes(store, prefix).try_collect::<Vec<String>>().await.expect("names");
    let mut expected: Vec<String> = (0..1020).map(|n| format!("pg/db{n}/")).collect();
    expected.sort();
    assert_eq!(names("pg/").await, expected);
    assert_eq!(names("").await, ["pg-x/", "pg/"]);
    assert_eq!(names("pg/db7/").await, ["pg/db7/x/"]);
    assert_eq!(
        names("pg/db101").await,
        [
            "pg/db101/",
            "pg/db1010/",
            "pg/db1011/",
            "pg/db1012/",
            "pg/db1013/",
            "pg/db1014/",
            "pg/db1015/",
            "pg/db1016/",
            "pg/db1017/",
            "pg/db1018/",
            "pg/db1019/"
        ]
    );
    for nothing in ["none/", "top/", "../", "pg/../", "/", "//"] {
        assert_eq!(names(nothing).await, [""; 0], "{nothing}");
    }
    let page = store.list_names("pg/db7/", None).await.expect("a page");
    assert_eq!(page.objects.iter().map(|object: &ObjectMeta| object.key.as_str()).collect::<Vec<_>>(), ["pg/db7/y"]);
}

async fn uploads_are_listed_page_by_page(stores: Stores) {
    let all: Vec<String> = (0..1010).map(|n| format!("pg/{:03}%2F/x", n / 2)).collect();
    let store = &stores.writer;
    let begun = stream::iter(&all).map(|key| async move { store.begin(key, 5 * MIB).await.expect("begun") });
    let begun: Vec<_> = begun.buffer_unordered(16).collect().await;
    let mut expected: Vec<_> = begun.iter().map(|upload| upload.id().to_owned()).collect();
    let found: Vec<_> = listing::uploads(&*stores.pruner, "").try_collect().await.expect("uploads");
    assert!(found.is_sorted_by_key(|upload| &upload.key));
    assert_eq!(found.iter().map(|upload| &upload.key).collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
    let mut ids: Vec<_> = found.into_iter().map(|upload| upload.upload_id).collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
}

async fn every_deletion_has_its_own_outcome(stores: Stores) {
    let all: Vec<String> = (0..1005).map(|n| format!("pg/{n}/%2Fx y")).collect();
    fill(&*stores.writer, &all).await;
    put(&*stores.writer, "pg/stays", b"x").await;
    let mut doomed = all.clone();
    doomed.insert(3, "pg/was never there".to_owned());
    let outcomes = stores.pruner.delete(&doomed).await.expect("deleted");
    assert_eq!(outcomes.iter().map(|outcome| outcome.key.clone()).collect::<Vec<_>>(), doomed);
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{:?}", outcomes.iter().find(|outcome| outcome.result.is_err()));
    assert_eq!(keys(&*stores.writer, "").await, ["pg/stays"]);
    assert_eq!(listing::prefixes(&*stores.writer, "pg/").try_collect::<Vec<_>>().await, Ok(vec![]), "no empty prefix is left");
    assert_eq!(stores.pruner.delete(&[]).await, Ok(vec![]));
}

async fn hostile_keys_are_never_written(stores: Stores) {
    for key in ["", "/etc/passwd", "../x", "a/../../x", "a/..", "./a", "a//b", "a/", "a\0b", "a\nb", &"x/".repeat(600)] {
        let put = stores.writer.put(key, Bytes::from_static(b"x"), PutMode::Overwrite).await;
        assert!(matches!(put, Err(StoreError::Unusable(_))), "{key:?}: {put:?}");
        assert!(matches!(stores.writer.begin(key, MIB).await, Err(StoreError::Unusable(_))), "{key:?}");
    }
    assert_eq!(keys(&*stores.writer, "").await, [""; 0]);
}

async fn what_was_replaced_is_found_out(stores: Stores) {
    let key = "pg/acme/payload";
    let stored = put(&*stores.writer, key, b"what was sent").await;
    stores.writer.put(key, Bytes::from_static(b"another"), PutMode::Overwrite).await.expect("replaced");
    let error = verify::verify(&*stores.writer, key, &stored).await.expect_err("another size");
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    assert!(error.to_string().contains("13 bytes were sent, and the store lists 7"), "{error}");
    if stored.expected.is_some() {
        stores.writer.put(key, Bytes::from_static(b"WHAT WAS SENT"), PutMode::Overwrite).await.expect("replaced");
        let error = verify::verify(&*stores.writer, key, &stored).await.expect_err("another content");
        assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
        let other = Stored { expected: Some(ETag { md5: [7; 16], parts: Some(2) }), ..stored.clone() };
        assert!(matches!(verify::verify(&*stores.writer, key, &other).await, Err(StoreError::Corrupt(_))));
    }
    stores.pruner.delete(&[key.to_owned()]).await.expect("deleted");
    let error = verify::verify(&*stores.writer, key, &stored).await.expect_err("gone");
    assert!(matches!(error, StoreError::Corrupt(_)) && error.to_string().contains("does not list it"), "{error}");
}

async fn the_clock_is_the_stores(stores: Stores) {
    if let Some(time) = stores.writer.server_time().await.expect("a clock") {
        assert!((chrono::Utc::now() - time).num_seconds().abs() < 60, "{time}");
    }
}

async fn rights_are_told_without_harm(stores: Stores) {
    put(&*stores.writer, "pg/acme/x", b"x").await;
    let rights = stores.writer.rights(false).await.expect("rights");
    assert_eq!((rights.put, rights.list), (Some(true), Some(true)), "{rights:?}");
    assert_eq!(stores.reader.rights(false).await.expect("rights").read, Some(true));
    let rights = stores.pruner.rights(false).await.expect("rights");
    assert_eq!((rights.delete, rights.abort, rights.list_uploads), (Some(true), Some(true), Some(true)), "{rights:?}");
    assert_eq!(keys(&*stores.writer, "").await, ["pg/acme/x"], "nothing was written or deleted");
    stores.writer.safety().await.expect("safety");
}

async fn versions_are_listed_or_said_not_to_be(stores: Stores) {
    put(&*stores.writer, "pg/acme/x", b"x").await;
    match listing::versions(&*stores.pruner, "pg/").try_collect::<Vec<_>>().await {
        Ok(versions) => assert_eq!(versions.iter().map(|version| version.key.as_str()).collect::<Vec<_>>(), ["pg/acme/x"]),
        Err(error) => {
            assert!(matches!(error, StoreError::Unsupported(_)), "{error}");
            assert!(error.to_string().starts_with(&format!("list the versions of {}: ", stores.pruner.url())), "{error}");
        }
    }
}

async fn versions_are_deleted_by_their_ids_or_said_not_to_be(stores: Stores) {
    for key in ["pg/acme/x", "pg/acme/y", "pg/acme/z"] {
        put(&*stores.writer, key, b"x").await;
    }
    let doomed: Vec<_> = match listing::versions(&*stores.pruner, "pg/").try_collect::<Vec<_>>().await {
        Ok(versions) => versions.into_iter().map(|one| ObjectVersion { key: one.key, version: Some(one.version) }).collect(),
        Err(_) => vec![ObjectVersion { key: "pg/acme/x".to_owned(), version: Some("null".to_owned()) }],
    };
    match stores.pruner.delete_versions(&doomed[..1]).await {
        Ok(outcomes) => {
            assert!(outcomes[0].result.is_ok(), "{outcomes:?}");
            assert_eq!(keys(&*stores.writer, "").await, ["pg/acme/y", "pg/acme/z"]);
            let outcomes = stores.pruner.delete_versions(&doomed).await.expect("deleted");
            assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
            assert_eq!(keys(&*stores.writer, "").await, [""; 0]);
        }
        Err(error) => {
            assert!(matches!(error, StoreError::Unsupported(_)), "{error}");
            assert_eq!(keys(&*stores.writer, "").await.len(), 3, "nothing was deleted");
        }
    }
}
