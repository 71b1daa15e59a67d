//! What the store refuses in part, on the gateway.

use aws_sdk_s3::types::{ObjectLockRetention, ObjectLockRetentionMode};
use plana_testkit::{
    ceph::Gateway,
    job::expect_words,
    proxy::{Action, Op, Rule},
};

use super::{PULLED, REPOSITORIES, Tree, blob, digest, in_bucket, of_blobs, on_gateway};

#[test]
fn a_manifest_that_may_not_be_deleted_is_named_and_keeps_its_blobs() {
    let mut tree = Tree::default();
    let old = tree.index("library/nginx", "1.0", 60);
    tree.index("library/redis", "6", 60);
    let (job, s3) = on_gateway(&tree);
    s3.proxy.add(Rule::on(Op::DeleteMany, Action::error(403, "AccessDenied")));
    let denied = format!("/revisions/sha256/{}/", old[1]);
    s3.proxy.add(Rule::on(Op::Delete, Action::error(403, "AccessDenied")).path(&denied));
    let done = job.run().expect(3);
    let item = done.item("library/nginx");
    assert_eq!((&item["outcome"], &item["deleted"], &item["kept"]), (&"partial".into(), &2.into(), &1.into()), "{item:#}");
    expect_words(item["error"].as_str().unwrap(), &["delete 1 objects", &denied, "AccessDenied"]);
    assert_eq!(done.outcome("library/redis"), "done");
    let keys = s3.bucket.keys().unwrap();
    tree.expect_whole(&keys);
    let there = |hex: &str| keys.contains(&format!("registry/{}", blob(hex)));
    assert!(there(&old[1]) && there(&digest("layer of library/nginx 1.0 amd64")) && !there(&old[2]));
    assert_eq!(of_blobs(&done), 7 + 7 - 3);
}

#[test]
fn a_manifest_that_the_store_keeps_locked_is_named_and_keeps_its_blobs() {
    let mut tree = Tree::default();
    let old = tree.index("library/nginx", "1.0", 60);
    let (job, s3) = in_bucket(&tree, Gateway::shared().bucket_builder("mirror").object_lock(None), &[PULLED]);
    let link = format!("registry/{REPOSITORIES}/library/nginx/_manifests/revisions/sha256/{}/link", old[1]);
    let until = aws_sdk_s3::primitives::DateTime::from_secs(chrono::Utc::now().timestamp() + 3600);
    let lock = ObjectLockRetention::builder().mode(ObjectLockRetentionMode::Governance).retain_until_date(until).build();
    let bucket = s3.bucket.name().to_owned();
    let locking =
        |client: aws_sdk_s3::Client| async move { client.put_object_retention().bucket(bucket).key(link).retention(lock).send().await };
    s3.bucket.as_owner(locking).unwrap();
    // Of a batch that it refuses in part the gateway says no more than that access is denied.
    let done = job.run().expect(3);
    let item = done.item("library/nginx");
    expect_words(item["error"].as_str().unwrap(), &["delete 1 objects", &old[1], "AccessDenied"]);
    assert_eq!((&item["deleted"], &item["kept"], of_blobs(&done)), (&2.into(), &1.into(), 4), "{item:#}");
    tree.expect_whole(&s3.bucket.keys().unwrap());
    s3.bucket.purge().unwrap();
}

#[test]
fn a_listing_that_breaks_off_is_no_listing() {
    let mut tree = Tree::default();
    tree.index("library/nginx", "1.0", 60);
    let (job, s3) = on_gateway(&tree);
    let before = s3.bucket.keys().unwrap();
    // One of those that run side by side.
    let breaking = |part: &'static str, nth| {
        s3.proxy.clear();
        let concerns = move |query: &str| query.replace("%2F", "/").contains(part);
        s3.proxy.add(Rule::any(Action::error(503, "SlowDown")).when(move |request| concerns(&request.query)).from(nth));
        super::look_old(&s3);
    };
    breaking("blobs/sha256/7f/", 1);
    expect_words(job.run().expect(20).run_error(), &["list all that is stored", "half a listing"]);
    assert_eq!(s3.bucket.keys().unwrap(), before);
    // Just before it was to delete there.
    breaking("library/nginx/_layers/", 1);
    let done = job.run().expect(3);
    expect_words(done.error("library/nginx"), &["SlowDown", "_layers/"]);
    assert_eq!((s3.bucket.keys().unwrap(), of_blobs(&done)), (before, 0), "{}", done.done.stderr);
}
