//! What only an S3 store has: keys with few rights, versions, batches, reads that are cut off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use bytes::Bytes;

use common::{
    LIMITS, MIB, noise, options, read, settings,
    spoiled::{Spoiled, impatient},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use plana_config::{Config, Environment, StoreAccess, StoreName, schema::S3Client};
use plana_storage::{
    ObjectVersion, OpenOptions, PutMode, Rights, S3Options, S3Store, Store as _, StoreError, Switch, VersionMeta, listing, open, verify,
};
use plana_testkit::{
    ceph::{Bucket, Gateway, User},
    proxy::{Action, Answer, Direction, Op, Rule, TcpProxy, Toxic},
};

fn store(bucket: &Bucket, user: User) -> S3Store {
    S3Store::new(options(bucket, user)).expect("a store")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_jobs_key_is_told_its_rights() {
    let bucket = Gateway::shared().bucket("rights").expect("a bucket");
    bucket.put("pg/acme/x", b"x".to_vec()).expect("put");
    let (yes, no) = (Some(true), Some(false));
    let rights = store(&bucket, User::Backup).rights(false).await.expect("rights");
    let backup = Rights { put: yes, list: yes, read: no, delete: None, list_uploads: no, abort: no, list_versions: no };
    assert_eq!(rights, backup, "whether it may delete cannot be told where nobody says that there are no versions");
    let rights = store(&bucket, User::Restore).rights(false).await.expect("rights");
    assert_eq!(rights, Rights { put: no, list: yes, read: yes, delete: None, list_uploads: no, abort: no, list_versions: yes });
    let rights = store(&bucket, User::Pruner).rights(false).await.expect("rights");
    assert_eq!(rights, Rights { put: no, list: yes, read: no, delete: yes, list_uploads: yes, abort: yes, list_versions: yes });
    let rights = store(&bucket, User::Nobody).rights(false).await.expect("rights");
    assert_eq!(rights, Rights { put: no, list: no, read: no, delete: None, list_uploads: no, abort: no, list_versions: no });
    let rights = store(&bucket, User::Admin).rights(false).await.expect("rights");
    assert_eq!(rights, Rights { put: yes, list: yes, read: yes, delete: yes, list_uploads: yes, abort: yes, list_versions: yes });
    assert_eq!(bucket.keys().expect("keys"), ["pg/acme/x"], "nothing was written or deleted");
    assert_eq!(bucket.uploads().expect("uploads").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_may_put_tells_more() {
    // No object is there yet, on which the right to read could be seen.
    let bucket =
        Gateway::shared().bucket_builder("rights").allow(User::Backup, "s3:DeleteObject").allow(User::Backup, "s3:GetObject").create();
    let bucket = bucket.expect("a bucket");
    let backup = store(&bucket, User::Backup);
    let blind = backup.rights(false).await.expect("rights");
    assert_eq!((blind.put, blind.read, blind.delete), (Some(true), None, None));
    let seen = backup.rights(true).await.expect("rights");
    assert_eq!((seen.put, seen.read, seen.delete), (Some(true), Some(true), Some(true)), "too many rights are seen");
    let keys = bucket.keys().expect("keys");
    assert!(keys.len() == 1 && keys[0].starts_with("probe/"), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwritten_object_is_had_back_by_its_version() {
    let bucket = Gateway::shared().bucket_builder("versions").versioned().create().expect("a bucket");
    let (backup, restore) = (store(&bucket, User::Backup), store(&bucket, User::Restore));
    let first = verify::put_verified(&backup, "pg/acme/x", Bytes::from_static(b"the backup"), PutMode::IfAbsent).await.expect("put");
    let version = first.version.clone().expect("a version");
    backup.put("pg/acme/x", Bytes::from_static(b"junk"), PutMode::Overwrite).await.expect("overwritten");
    assert_eq!(read(restore.get("pg/acme/x", None, None).await.expect("the object")).await, b"junk");
    let got = restore.get("pg/acme/x", None, Some(&version)).await.expect("the version");
    assert_eq!((got.version.as_deref(), got.meta.size), (Some(version.as_str()), 10));
    assert_eq!(read(got).await, b"the backup");
    let none = restore.get("pg/acme/x", None, Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")).await;
    assert!(matches!(none, Err(StoreError::NotFound(_) | StoreError::Other(_))), "{none:?}");
    // Nor do questions about rights leave a delete marker.
    for user in [User::Backup, User::Pruner, User::Admin] {
        store(&bucket, user).rights(true).await.expect("rights");
    }
    let name = bucket.name().to_owned();
    let markers = bucket.as_owner(|client| async move {
        client.list_object_versions().bucket(name).send().await.map(|versions| versions.delete_markers.unwrap_or_default().len())
    });
    assert_eq!(markers.expect("versions"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_an_overwritten_object_could_be_had_back_is_told() {
    let gateway = Gateway::shared();
    let plain = gateway.bucket("safety").expect("a bucket");
    let versioned = gateway.bucket_builder("safety").versioned().create().expect("a bucket");
    let locked = gateway.bucket_builder("safety").object_lock(Some(1)).create().expect("a bucket");
    for (bucket, versioning, object_lock) in
        [(&plain, Switch::Off, Switch::Off), (&versioned, Switch::On, Switch::Off), (&locked, Switch::On, Switch::On)]
    {
        let safety = store(bucket, User::Admin).safety().await.expect("safety");
        assert_eq!((safety.versioning, safety.object_lock), (versioning, object_lock));
        let unknown = store(bucket, User::Backup).safety().await.expect("safety");
        assert_eq!((unknown.versioning, unknown.object_lock), (Switch::Unknown, Switch::Unknown));
    }
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("pg/{n}/x y%2F")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_batches_is_asked_one_by_one() {
    for answer in [
        Answer::error(403, "AccessDenied"),
        Answer::error(501, "NotImplemented"),
        Answer::error(400, "MissingContentMD5"),
        Answer::error(400, "MalformedXML"),
    ] {
        let spoiled = Spoiled::of(0);
        let batches = spoiled.add(Rule::on(Op::DeleteMany, Action::Answer(answer)));
        for key in keys(20) {
            spoiled.bucket.put(&key, b"x".to_vec()).expect("put");
        }
        let pruner = spoiled.store_with(User::Pruner, settings());
        for half in keys(20).chunks(10) {
            let outcomes = pruner.delete(half).await.expect("outcomes");
            assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
        }
        assert_eq!(spoiled.bucket.keys().expect("keys"), [""; 0]);
        assert_eq!(batches.matched(), 1, "it is asked once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_carry_a_content_md5() {
    // The owner may delete many; the pruner's key needs the right on the bucket itself for that.
    let spoiled = Spoiled::of(0);
    for key in keys(3) {
        spoiled.bucket.put(&key, b"x".to_vec()).expect("put");
    }
    let outcomes = spoiled.store_with(User::Admin, settings()).delete(&keys(3)).await.expect("outcomes");
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
    let seen = spoiled.proxy.requests();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].op() == Op::DeleteMany && seen[0].request.header("content-md5").is_some(), "{seen:?}");
    assert_eq!(spoiled.bucket.keys().expect("keys"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_does_not_say_is_not_deleted() {
    let spoiled = Spoiled::of(0);
    spoiled.add(Rule::on(
        Op::DeleteMany,
        Action::Answer(Answer {
            status: 200,
            headers: vec![],
            body: b"<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>InternalError</Code><Message>m</Message></Error>\
                <Error><Key>c</Key><Code>AccessDenied</Code></Error><Error><Key>d</Key><Code>NoSuchKey</Code></Error></DeleteResult>"
                .to_vec(),
        }),
    ));
    let asked: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
    let outcomes = spoiled.store_with(User::Pruner, settings()).delete(&asked).await.expect("outcomes");
    assert_eq!(outcomes[0].result, Ok(()));
    assert!(matches!(outcomes[1].result, Err(StoreError::Unavailable(_))), "{outcomes:?}");
    assert!(matches!(outcomes[2].result, Err(StoreError::AccessDenied(_))), "{outcomes:?}");
    assert_eq!(outcomes[3].result, Ok(()), "what is not there counts as deleted");
    assert!(outcomes[4].result.as_ref().is_err_and(|error| error.to_string().contains("what became of it")), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_that_are_refused_are_refused_one_by_one() {
    let bucket = Gateway::shared().bucket("refused").expect("a bucket");
    bucket.put("a", b"x".to_vec()).expect("put");
    let outcomes = store(&bucket, User::Backup).delete(&["a".to_owned(), "b".to_owned()]).await.expect("outcomes");
    assert!(outcomes.iter().all(|outcome| matches!(outcome.result, Err(StoreError::AccessDenied(_)))), "{outcomes:?}");
    assert_eq!(bucket.keys().expect("keys"), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_goes_on_where_it_was_cut_off() {
    let spoiled = Spoiled::of(9 * MIB);
    spoiled.bucket.put("k", spoiled.content.to_vec()).expect("put");
    let cuts = spoiled.add(Rule::on(Op::Get, Action::CutAnswer(2 * MIB + 17)));
    let restore = spoiled.store_with(User::Restore, settings());
    let whole = restore.get("k", None, None).await.expect("the object");
    assert!(read(whole).await == spoiled.content, "the bytes differ");
    assert_eq!(cuts.matched(), 5);
    let range = restore.get("k", Some(MIB..4 * MIB), None).await.expect("a range");
    assert!(read(range).await == spoiled.content[MIB as usize..4 * MIB as usize], "the bytes differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_never_gets_further_ends_with_an_error() {
    let spoiled = Spoiled::of(MIB);
    spoiled.bucket.put("k", spoiled.content.to_vec()).expect("put");
    spoiled.add(Rule::on(Op::Get, Action::CutAnswer(0)));
    let restore = spoiled.store_with(User::Restore, settings());
    let body = restore.get("k", None, None).await.expect("the object");
    let error = body.stream.try_collect::<Vec<_>>().await.expect_err("cut off");
    assert!(matches!(error, StoreError::Connection(_)) && error.to_string().contains("1048576 bytes before its end"), "{error:?}");
    assert_eq!(spoiled.proxy.count(Op::Get), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_what_is_replaced_meanwhile_is_not_a_mixture() {
    let spoiled = Spoiled::of(4 * MIB);
    spoiled.bucket.put("k", spoiled.content.to_vec()).expect("put");
    spoiled.add(Rule::on(Op::Get, Action::CutAnswer(MIB)).nth(1));
    let restore = spoiled.store_with(User::Restore, settings());
    let body = restore.get("k", None, None).await.expect("the object");
    spoiled.bucket.put("k", noise(4 * MIB, 99).to_vec()).expect("replaced");
    let error = body.stream.try_collect::<Vec<_>>().await.expect_err("replaced");
    assert!(matches!(error, StoreError::Corrupt(_)) && error.to_string().contains("replaced while it was read"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_marker_is_nothing_to_read_on_any_store() {
    let spoiled = Spoiled::of(0);
    spoiled.bucket.put("k", b"x".to_vec()).expect("put");
    // As AWS answers; Ceph says that it is not there.
    spoiled.add(Rule::on(Op::Get, Action::error(405, "MethodNotAllowed")));
    let restore = spoiled.store_with(User::Restore, settings());
    let error = restore.get("k", None, Some("a-version")).await.expect_err("nothing to read");
    assert!(matches!(error, StoreError::NotFound(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_without_the_right_is_refused() {
    let bucket = Gateway::shared().bucket("refused").expect("a bucket");
    bucket.put("a", b"x".to_vec()).expect("put");
    let error = store(&bucket, User::Backup).get("a", None, None).await.expect_err("refused");
    assert!(matches!(error, StoreError::AccessDenied(_)) && error.to_string().contains("s3:GetObject; SOS: get-object"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_are_opened_by_their_address() {
    let bucket = Gateway::shared().bucket("open").expect("a bucket");
    let parent = tempfile::tempdir().expect("a directory");
    let env: Environment = bucket.env(User::Backup).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let s3 = format!("s3://{}/a/b/", bucket.name());
    let file = format!("file://{}/backups", parent.path().display());
    for (text, url) in [(&s3, s3.trim_end_matches('/')), (&file, file.as_str())] {
        let config = Config::from_toml(&format!("[store.backups]\nurl = \"{text}\"")).expect("a configuration");
        let access = config.store_credentials(StoreName::Backups, &env).expect("access");
        let store = open(&access, &OpenOptions::new(&config.s3, &config.upload, true)).await.expect("a store");
        assert_eq!(store.url(), url);
        assert_eq!(store.limits(), LIMITS);
        verify::put_verified(&*store, "probe/x", Bytes::from_static(b"x"), PutMode::IfAbsent).await.expect("put");
    }
    assert_eq!(bucket.keys().expect("keys"), ["a/b/probe/x"]);
    assert!(parent.path().join("backups/probe/x").exists());

    let config = Config::from_toml("").expect("the defaults");
    let access = StoreAccess { access_key_id: None, ..config_access(&s3, &env) };
    let error = open(&access, &OpenOptions::new(&config.s3, &config.upload, false)).await.expect_err("no key");
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
}

fn config_access(url: &str, env: &Environment) -> StoreAccess {
    let config = Config::from_toml(&format!("[store.backups]\nurl = \"{url}\"")).expect("a configuration");
    config.store_credentials(StoreName::Backups, env).expect("access")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_stalled_goes_on_over_another_connection() {
    let spoiled = Spoiled::of(9 * MIB);
    spoiled.bucket.put("k", spoiled.content.to_vec()).expect("put");
    let proxy = TcpProxy::start(Gateway::shared().port()).expect("a proxy");
    let options = S3Options { endpoint: Some(proxy.endpoint()), client: impatient(), ..options(&spoiled.bucket, User::Restore) };
    let restore = S3Store::new(options).expect("a store");
    let body = restore.get("k", None, None).await.expect("the object");
    proxy.add(Toxic::Stall(Direction::Down, 3 * MIB));
    let reading = tokio::spawn(read(body));
    tokio::time::sleep(Duration::from_secs(2)).await;
    // What stalled stays so: only another connection gets further.
    proxy.clear();
    proxy.cut();
    assert!(tokio::time::timeout(Duration::from_secs(30), reading).await.expect("in time").expect("read") == spoiled.content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_stalls_for_good_ends_with_an_error() {
    let spoiled = Spoiled::of(9 * MIB);
    spoiled.bucket.put("k", spoiled.content.to_vec()).expect("put");
    let proxy = TcpProxy::start(Gateway::shared().port()).expect("a proxy");
    let client = S3Client { max_attempts: 2, ..impatient() };
    let options = S3Options { endpoint: Some(proxy.endpoint()), client, ..options(&spoiled.bucket, User::Restore) };
    let restore = S3Store::new(options).expect("a store");
    proxy.add(Toxic::Stall(Direction::Down, 3 * MIB));
    let body = restore.get("k", None, None).await.expect("the object");
    let ended = tokio::time::timeout(Duration::from_secs(40), body.stream.try_collect::<Vec<_>>()).await.expect("in time");
    assert!(matches!(ended, Err(StoreError::Timeout(_) | StoreError::Connection(_))), "{ended:?}");
}

async fn versions(store: &S3Store, prefix: &str) -> Vec<VersionMeta> {
    listing::versions(store, prefix).try_collect().await.unwrap_or_else(|error| panic!("failed to {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_delete_markers_are_listed_from_the_newest_on() {
    let bucket = Gateway::shared().bucket_builder("versions").versioned().create().expect("a bucket");
    for prefix in ["", "a place/in it"] {
        let store = |user| S3Store::new(S3Options { prefix: prefix.to_owned(), ..options(&bucket, user) }).expect("a store");
        let (backup, pruner) = (store(User::Backup), store(User::Pruner));
        assert_eq!(versions(&pruner, "pg/").await, []);
        let first = backup.put("pg/%2Eacme/x", Bytes::from_static(b"the backup"), PutMode::IfAbsent).await.expect("put");
        let second = backup.put("pg/%2Eacme/x", Bytes::from_static(b"junk"), PutMode::Overwrite).await.expect("put");
        pruner.delete(&["pg/%2Eacme/x".to_owned()]).await.expect("outcomes").remove(0).result.expect("deleted");
        let other = backup.put("pg/%2Eacme/x y", Bytes::new(), PutMode::IfAbsent).await.expect("put");
        backup.put("probe/1", Bytes::new(), PutMode::IfAbsent).await.expect("put");
        for reader in [&pruner, &store(User::Restore)] {
            let listed = versions(reader, "pg/").await;
            let told: Vec<_> = listed.iter().map(|one| (&*one.key, one.is_latest, one.is_delete_marker, one.size)).collect();
            assert_eq!(
                told,
                [
                    ("pg/%2Eacme/x", true, true, 0),
                    ("pg/%2Eacme/x", false, false, 4),
                    ("pg/%2Eacme/x", false, false, 10),
                    ("pg/%2Eacme/x y", true, false, 0),
                ]
            );
            let ids: Vec<_> = listed.iter().map(|one| Some(one.version.clone())).collect();
            assert_eq!(ids[1..], [second.version.clone(), first.version.clone(), other.version.clone()]);
            assert_eq!(listed[2].etag.as_deref(), first.etag.as_deref());
            assert!(listed[0].etag.is_none() && !listed[0].version.is_empty());
            assert!(listed.iter().all(|one| (chrono::Utc::now() - one.last_modified).num_seconds().abs() < 60), "{listed:?}");
            assert_eq!(versions(reader, "pg/%2Eacme/x y").await.len(), 1);
            assert_eq!(versions(reader, "none/").await, []);
        }
        // A delete marker is no object that could be read.
        let marker = versions(&pruner, "pg/").await.remove(0);
        let error = store(User::Restore).get(&marker.key, None, Some(&marker.version)).await.expect_err("nothing to read");
        assert!(matches!(error, StoreError::NotFound(_)), "{error:?}");
        let error = listing::versions(&backup, "").try_collect::<Vec<_>>().await.expect_err("refused");
        assert!(matches!(error, StoreError::AccessDenied(_)) && error.to_string().contains("s3:ListBucketVersions"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_listed_page_by_page() {
    let bucket = Gateway::shared().bucket_builder("versions").versioned().create().expect("a bucket");
    let store = |user| S3Store::new(S3Options { prefix: "a place".to_owned(), ..options(&bucket, user) }).expect("a store");
    let (backup, pruner) = (&store(User::Backup), store(User::Pruner));
    // Three of each, the last of which deletes it: pages end in the middle of a key.
    let all: Vec<String> = (0..410).map(|n| format!("pg/{n:03}%2F ö")).collect();
    for round in 0..2_u8 {
        let puts = stream::iter(&all).map(|key| backup.put(key, Bytes::from(vec![round; usize::from(round)]), PutMode::Overwrite));
        puts.buffer_unordered(16).try_for_each(|_| async { Ok(()) }).await.expect("put");
    }
    let outcomes = pruner.delete(&all).await.expect("outcomes");
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
    let first = pruner.list_versions("pg/", None).await.expect("a page");
    // Fewer than were asked for: the gateway ends a page where it likes.
    assert!((1..=1000).contains(&first.versions.len()), "{}", first.versions.len());
    assert!(first.next.is_some_and(|next| next.marker.starts_with("pg/") && next.minor.is_some()));
    let listed = versions(&pruner, "pg/").await;
    let told: Vec<_> = listed.iter().map(|one| (one.key.clone(), one.is_latest, one.is_delete_marker, one.size)).collect();
    let expected: Vec<_> = all
        .iter()
        .flat_map(|key| [(true, true, 0), (false, false, 1), (false, false, 0)].map(|(a, b, c)| (key.clone(), a, b, c)))
        .collect();
    assert!(told == expected, "{told:?}");
    let mut ids: Vec<_> = listed.into_iter().map(|one| one.version).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3 * 410, "none comes twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_versions_lists_its_objects_as_such() {
    let bucket = Gateway::shared().bucket("unversioned").expect("a bucket");
    let backup = &store(&bucket, User::Backup);
    let all: Vec<String> = (0..1100).map(|n| format!("pg/{n:04}/x")).collect();
    let puts = stream::iter(&all).map(|key| backup.put(key, Bytes::from_static(b"x"), PutMode::IfAbsent));
    puts.buffer_unordered(16).try_for_each(|_| async { Ok(()) }).await.expect("put");
    let listed = versions(&store(&bucket, User::Pruner), "").await;
    assert_eq!(listed.iter().map(|one| &one.key).collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
    assert!(listed.iter().all(|one| one.version == "null" && one.is_latest && !one.is_delete_marker && one.size == 1));
    let got = store(&bucket, User::Restore).get(&all[7], None, Some(&listed[7].version)).await.expect("by that name");
    assert_eq!(read(got).await, b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_was_versioned_late_lists_both() {
    let bucket = Gateway::shared().bucket("versioned-late").expect("a bucket");
    let (backup, pruner) = (store(&bucket, User::Backup), store(&bucket, User::Pruner));
    for key in ["pg/a", "pg/b"] {
        backup.put(key, Bytes::from_static(b"before"), PutMode::IfAbsent).await.expect("put");
    }
    let name = bucket.name().to_owned();
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let switched = bucket.as_owner(|s3| async move { s3.put_bucket_versioning().bucket(name).versioning_configuration(on).send().await });
    switched.expect("versioned");
    backup.put("pg/a", Bytes::from_static(b"after"), PutMode::Overwrite).await.expect("put");
    let listed = versions(&pruner, "pg/").await;
    let told: Vec<_> = listed.iter().map(|one| (&*one.key, one.version == "null", one.is_latest, one.size)).collect();
    assert_eq!(told, [("pg/a", false, true, 5), ("pg/a", true, false, 6), ("pg/b", true, true, 6)]);
    let restore = store(&bucket, User::Restore);
    assert_eq!(read(restore.get("pg/a", None, Some("null")).await.expect("the one before")).await, b"before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_versions_that_makes_no_sense_is_no_listing() {
    let spoiled = Spoiled::of(0);
    spoiled.bucket.put("pg/a", b"x".to_vec()).expect("put");
    let pruner = spoiled.store_with(User::Pruner, settings());
    for (from, to, words) in [
        ("<IsLatest>true</IsLatest>", "", "which version is the latest"),
        ("<Size>1</Size>", "", "without its size or time"),
        ("<IsTruncated>false</IsTruncated>", "<IsTruncated>true</IsTruncated>", "but not where"),
        (
            "<IsTruncated>false</IsTruncated>",
            "<IsTruncated>true</IsTruncated><NextKeyMarker>pg/a</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker>",
            "same page twice",
        ),
    ] {
        spoiled.proxy.clear();
        spoiled.add(Rule::on(
            Op::ListVersions,
            Action::rewrite(move |answer| {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                assert!(text.contains(from), "{text}");
                answer.body = text.replace(from, to).into_bytes();
            }),
        ));
        let error = listing::versions(&pruner, "").try_collect::<Vec<_>>().await.expect_err("no listing");
        assert!(error.to_string().contains(words) && error.to_string().starts_with("list the versions of s3://"), "{error}");
    }
    assert!(spoiled.proxy.requests().iter().all(|seen| !seen.request.query.contains("encoding-type")));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_deleted_for_good_and_a_locked_one_stays() {
    let bucket = Gateway::shared().bucket_builder("versions").versioned().create().expect("a bucket");
    let (backup, pruner) = (store(&bucket, User::Backup), store(&bucket, User::Pruner));
    for body in ["one", "two"] {
        backup.put("pg/%2Eacme/x", Bytes::from(body), PutMode::Overwrite).await.expect("put");
    }
    backup.put("pg/stays", Bytes::new(), PutMode::IfAbsent).await.expect("put");
    pruner.delete(&["pg/%2Eacme/x".to_owned()]).await.expect("outcomes").remove(0).result.expect("a delete marker");
    let all = |listed: Vec<VersionMeta>| -> Vec<ObjectVersion> {
        listed.into_iter().map(|one| ObjectVersion { key: one.key, version: Some(one.version) }).collect()
    };
    let doomed = all(versions(&pruner, "pg/%2Eacme/").await);
    assert_eq!(doomed.len(), 3, "two versions and a marker");
    let outcomes = pruner.delete_versions(&doomed).await.expect("outcomes");
    assert!(outcomes.len() == 3 && outcomes.iter().all(|one| one.result.is_ok()), "{outcomes:?}");
    assert_eq!(versions(&pruner, "").await.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), ["pg/stays"]);

    let bucket = Gateway::shared().bucket_builder("locked").object_lock(Some(1)).create().expect("a bucket");
    let (backup, pruner) = (store(&bucket, User::Backup), store(&bucket, User::Pruner));
    for key in ["pg/acme/x", "pg/acme/y"] {
        backup.put(key, Bytes::from_static(b"the backup"), PutMode::IfAbsent).await.expect("put");
    }
    let doomed = all(versions(&pruner, "").await);
    for several in [&doomed[..1], &doomed] {
        let outcomes = pruner.delete_versions(several).await.expect("outcomes");
        let error = outcomes[0].result.clone().expect_err("locked");
        assert!(matches!(error, StoreError::Locked(_)), "{error:?}");
    }
    assert_eq!(versions(&pruner, "").await.len(), 2);
}
