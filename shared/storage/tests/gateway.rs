//! What only an S3 store has: keys with few rights, versions, batches, reads that are cut off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use bytes::Bytes;

use common::{
    LIMITS, MIB, noise, options, read, settings,
    spoiled::{Spoiled, impatient},
};
use futures::TryStreamExt as _;
use plana_config::{Config, Environment, StoreAccess, StoreName, schema::S3Client};
use plana_storage::{OpenOptions, PutMode, Rights, S3Options, S3Store, Store as _, StoreError, Switch, open, verify};
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
