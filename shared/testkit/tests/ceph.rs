//! The Ceph gateway starts, and its users have the rights of the contract's keys, no more and no less.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use plana_testkit::ceph::{Bucket, Gateway, User};

/// The outcome of a request in a word.
macro_rules! outcome {
    ($request:expr) => {
        match $request.send().await {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.code().map_or_else(|| error.raw_response().map_or("?".into(), |r| r.status().to_string()), Into::into),
        }
    };
}

async fn upload(s3: &Client, bucket: &str, key: &str) -> String {
    s3.create_multipart_upload().bucket(bucket).key(key).send().await.unwrap().upload_id.unwrap()
}

#[tokio::test]
async fn backup_puts_and_lists_and_nothing_else() {
    let bucket = Gateway::shared().bucket("rights").unwrap();
    bucket.put("theirs", "content").unwrap();
    let (s3, name) = (Gateway::shared().client(User::Backup), bucket.name());
    assert_eq!(outcome!(s3.put_object().bucket(name).key("mine").body(ByteStream::from_static(b"x"))), "ok");
    assert_eq!(outcome!(s3.list_objects_v2().bucket(name)), "ok");

    let id = upload(&s3, name, "large").await;
    let part = s3.upload_part().bucket(name).key("large").upload_id(&id).part_number(1).body(ByteStream::from(vec![7; 1000])).send().await;
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.unwrap().e_tag).build();
    let all = CompletedMultipartUpload::builder().parts(part).build();
    assert_eq!(outcome!(s3.complete_multipart_upload().bucket(name).key("large").upload_id(&id).multipart_upload(all)), "ok");

    for key in ["mine", "theirs", "large"] {
        assert_eq!(outcome!(s3.get_object().bucket(name).key(key)), "AccessDenied", "{key}");
        assert_eq!(outcome!(s3.head_object().bucket(name).key(key)), "403", "{key}");
        assert_eq!(outcome!(s3.delete_object().bucket(name).key(key)), "AccessDenied", "{key}");
    }
    // Where there is nothing, the right to list decides what the gateway answers, not the right to read.
    assert_eq!(outcome!(s3.get_object().bucket(name).key("absent")), "NoSuchKey");
    let id = upload(&s3, name, "open").await;
    assert_eq!(outcome!(s3.abort_multipart_upload().bucket(name).key("open").upload_id(&id)), "AccessDenied");
    assert_eq!(outcome!(s3.list_parts().bucket(name).key("open").upload_id(&id)), "AccessDenied");
    assert_eq!(outcome!(s3.list_multipart_uploads().bucket(name)), "AccessDenied");
    assert_eq!(outcome!(s3.list_object_versions().bucket(name)), "AccessDenied");
    assert_eq!(outcome!(s3.put_bucket_policy().bucket(name).policy("{}")), "AccessDenied");
    assert_eq!(bucket.uploads().unwrap().len(), 1);
    assert_eq!(bucket.keys().unwrap(), ["large", "mine", "theirs"]);
}

#[tokio::test]
async fn pruner_lists_deletes_and_aborts_and_cannot_read_or_write() {
    let bucket = Gateway::shared().bucket("rights").unwrap();
    for key in ["one", "two", "three"] {
        bucket.put(key, "content").unwrap();
    }
    let (s3, name) = (Gateway::shared().client(User::Pruner), bucket.name());
    let id = upload(&Gateway::shared().client(User::Backup), name, "open").await;
    assert_eq!(outcome!(s3.list_objects_v2().bucket(name)), "ok");
    assert_eq!(outcome!(s3.list_multipart_uploads().bucket(name)), "ok");
    assert_eq!(outcome!(s3.get_object().bucket(name).key("one")), "AccessDenied");
    assert_eq!(outcome!(s3.put_object().bucket(name).key("one").body(ByteStream::from_static(b"x"))), "AccessDenied");
    assert_eq!(outcome!(s3.delete_object().bucket(name).key("one")), "ok");
    let two = Delete::builder().objects(ObjectIdentifier::builder().key("two").build().unwrap()).build().unwrap();
    assert_eq!(outcome!(s3.delete_objects().bucket(name).delete(two)), "ok");
    assert_eq!(outcome!(s3.abort_multipart_upload().bucket(name).key("open").upload_id(&id)), "ok");
    assert_eq!(bucket.keys().unwrap(), ["three"]);
    assert_eq!(bucket.uploads().unwrap(), []);
}

#[tokio::test]
async fn restore_lists_and_reads_only_and_nobody_may_nothing() {
    let bucket = Gateway::shared().bucket("rights").unwrap();
    bucket.put("one", "content").unwrap();
    let name = bucket.name();
    let s3 = Gateway::shared().client(User::Restore);
    assert_eq!(outcome!(s3.list_objects_v2().bucket(name)), "ok");
    assert_eq!(outcome!(s3.get_object().bucket(name).key("one")), "ok");
    assert_eq!(outcome!(s3.get_object().bucket(name).key("absent")), "NoSuchKey");
    assert_eq!(outcome!(s3.put_object().bucket(name).key("one").body(ByteStream::from_static(b"x"))), "AccessDenied");
    assert_eq!(outcome!(s3.delete_object().bucket(name).key("one")), "AccessDenied");
    let s3 = Gateway::shared().client(User::Nobody);
    assert_eq!(outcome!(s3.list_objects_v2().bucket(name)), "AccessDenied");
    assert_eq!(outcome!(s3.get_object().bucket(name).key("one")), "AccessDenied");
    assert_eq!(outcome!(s3.put_object().bucket(name).key("one").body(ByteStream::from_static(b"x"))), "AccessDenied");
}

#[tokio::test]
async fn rights_can_be_given_and_taken() {
    let gateway = Gateway::shared();
    let bucket =
        gateway.bucket_builder("rights").allow(User::Backup, "s3:GetObject").deny(User::Pruner, "s3:DeleteObject").create().unwrap();
    bucket.put("one", "content").unwrap();
    let name = bucket.name();
    assert_eq!(outcome!(gateway.client(User::Backup).get_object().bucket(name).key("one")), "ok");
    assert_eq!(outcome!(gateway.client(User::Pruner).delete_object().bucket(name).key("one")), "AccessDenied");
    bucket.set_rights(&[(User::Backup, &["s3:ListBucket"])]).unwrap();
    assert_eq!(outcome!(gateway.client(User::Backup).get_object().bucket(name).key("one")), "AccessDenied");
    assert_eq!(outcome!(gateway.client(User::Backup).list_objects_v2().bucket(name)), "ok");
}

#[tokio::test]
async fn versions_are_kept_and_locked_objects_stay() {
    let gateway = Gateway::shared();
    let bucket = gateway.bucket_builder("versions").versioned().create().unwrap();
    bucket.put("one", "first").unwrap();
    bucket.put("one", "second").unwrap();
    let s3 = gateway.client(User::Restore);
    let versions = s3.list_object_versions().bucket(bucket.name()).send().await.unwrap().versions.unwrap();
    assert_eq!(versions.len(), 2);
    let oldest = versions.iter().find(|version| version.is_latest != Some(true)).unwrap().version_id.clone();
    let old = s3.get_object().bucket(bucket.name()).key("one").set_version_id(oldest).send().await.unwrap();
    assert_eq!(old.body.collect().await.unwrap().into_bytes().as_ref(), b"first");

    let locked = gateway.bucket_builder("locked").object_lock(Some(1)).create().unwrap();
    locked.put("one", "content").unwrap();
    let s3 = gateway.client(User::Pruner);
    let version = s3.list_object_versions().bucket(locked.name()).send().await.unwrap().versions.unwrap()[0].version_id.clone();
    assert_eq!(outcome!(s3.delete_object().bucket(locked.name()).key("one").set_version_id(version)), "AccessDenied");
    locked.remove().unwrap();
    assert_eq!(outcome!(gateway.client(User::Admin).list_objects_v2().bucket(locked.name())), "NoSuchBucket");
}

#[test]
fn the_owner_sees_content_and_purges_it() {
    let bucket: Bucket = Gateway::shared().bucket("content").unwrap();
    let content = vec![42; 3_000_000];
    bucket.put("a/b c%2F", content.clone()).unwrap();
    assert_eq!(bucket.get("a/b c%2F").unwrap(), content);
    let listed = bucket.list().unwrap();
    assert_eq!((listed[0].key.as_str(), listed[0].size, listed[0].etag.len()), ("a/b c%2F", 3_000_000, 32));
    bucket.delete("absent").unwrap();
    bucket.purge().unwrap();
    assert_eq!(bucket.list().unwrap(), []);
}

#[tokio::test]
async fn a_gateway_of_ones_own_pauses_stops_and_comes_back() {
    let gateway = Gateway::start().unwrap();
    let bucket = gateway.bucket("pause").unwrap();
    bucket.put("one", "content").unwrap();
    gateway.pause().unwrap();
    let s3 = gateway.client(User::Restore);
    let waiting = tokio::time::timeout(std::time::Duration::from_secs(1), s3.get_object().bucket(bucket.name()).key("one").send()).await;
    assert!(waiting.is_err(), "a paused gateway answered");
    gateway.resume().unwrap();
    assert_eq!(bucket.get("one").unwrap(), b"content");
    gateway.stop();
    assert!(!plana_testkit::process::accepts(gateway.port()));
    gateway.restart().unwrap();
    assert_eq!(bucket.get("one").unwrap(), b"content");
}
