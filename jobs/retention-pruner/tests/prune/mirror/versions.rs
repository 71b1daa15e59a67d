//! A bucket that keeps versions: a deletion that names none leaves a marker, and all that it hides stays and is paid for.

use std::collections::BTreeMap;

use plana_testkit::{
    ceph::{Bucket, Gateway},
    job::{bucket::S3, expect_words},
    proxy::{Action, Op, Rule},
};

use super::{PULLED, REPOSITORIES, Tree, blob, deletions, digest, in_bucket, of_blobs, put};

/// Every version and delete marker: its key, its id, and whether it is a marker.
fn versions(bucket: &Bucket) -> Vec<(String, String, bool)> {
    let name = bucket.name().to_owned();
    let listed = bucket.as_owner(|client| async move { client.list_object_versions().bucket(name).send().await }).unwrap();
    assert_ne!(listed.is_truncated(), Some(true));
    let own = |key: Option<&str>| key.unwrap().strip_prefix("registry/").unwrap().to_owned();
    let of_data = listed.versions().iter().map(|one| (own(one.key()), one.version_id().unwrap().to_owned(), false));
    let markers = listed.delete_markers().iter().map(|one| (own(one.key()), one.version_id().unwrap().to_owned(), true));
    of_data.chain(markers).collect()
}

/// Puts this and deletes it, as a registry does that knows of no versions.
fn put_and_delete(s3: &S3, tree: &Tree) {
    put(s3, tree);
    tree.objects().iter().for_each(|(key, _)| s3.bucket.delete(&format!("registry/{key}")).unwrap());
}

#[test]
fn versions_and_delete_markers_go_by_their_ids() {
    let (mut tree, mut hidden, mut pulled) = (Tree::default(), Tree::default(), Tree::default());
    tree.index("library/nginx", "1.0", 60);
    pulled.index("library/nginx", "1.27", 60);
    // Of a name that no listing of what a reader sees shows.
    hidden.index("gone/app", "1", 60);
    hidden.put(format!("{REPOSITORIES}/gone/app/_uploads/abc/data"), "half", 60);
    hidden.0.retain(|(key, ..)| *key != blob(&digest("shared layer")));
    let (job, s3) = in_bucket(&tree, Gateway::shared().bucket_builder("mirror").versioned(), &[PULLED]);
    // Pushed twice, and deleted by somebody.
    put(&s3, &tree);
    put(&s3, &pulled);
    put_and_delete(&s3, &hidden);
    let before = versions(&s3.bucket);
    assert!(before.iter().any(|(_, _, is_marker)| *is_marker));
    let done = job.run().expect(0);
    assert_eq!(done.item("library/nginx")["deleted"], 3, "{}", done.done.stderr);
    assert_eq!(done.item("gone/app")["deleted"], 3, "{}", done.done.stderr);
    // Of blobs: those of the old index twice, and those that were hidden.
    let is_old = |key: &String| tree.0.iter().any(|(one, ..)| one == key) && !pulled.0.iter().any(|(one, ..)| one == key);
    let freed: usize = before
        .iter()
        .filter(|(key, _, is_marker)| key.contains("/blobs/") && !is_marker && !pulled.0.iter().any(|(one, ..)| one == key))
        .map(|(key, ..)| tree.0.iter().chain(&hidden.0).find(|(one, ..)| one == key).unwrap().1.len())
        .sum();
    assert_eq!((of_blobs(&done), &done.item("blobs")["freed_bytes"]), (7 + 7, &freed.into()), "{}", done.done.stderr);
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for (key, _, is_marker) in versions(&s3.bucket) {
        assert!(!is_marker && !is_old(&key), "{key} is left, a marker: {is_marker}");
        *left.entry(key).or_default() += 1;
    }
    let mut wanted: Vec<&String> = pulled.0.iter().map(|(key, ..)| key).collect();
    wanted.sort();
    assert_eq!(left.keys().collect::<Vec<_>>(), wanted);
    pulled.expect_whole(&s3.bucket.keys().unwrap());
    // The next run finds nothing.
    let requests = deletions(&s3);
    let again = job.run().expect(0);
    assert_eq!((&again.item("library/nginx")["deleted"], of_blobs(&again), deletions(&s3)), (&0.into(), 0, requests));
    let items = again.report["items"].as_array().unwrap();
    assert!(!items.iter().any(|item| item["name"] == "gone/app"), "nothing is left of it: {items:#?}");
}

#[test]
fn what_a_later_version_hides_or_replaces_is_never_seen_again() {
    let (mut tree, mut before, mut hidden) = (Tree::default(), Tree::default(), Tree::default());
    let old = tree.index("library/nginx", "1.0", 60);
    let first = before.image("library/nginx", "the first", 60);
    before.tag("library/nginx", "1.0", &first, 60);
    let gone = hidden.image("library/nginx", "gone", 60);
    hidden.0.retain(|(key, ..)| !key.contains(&digest("shared layer")));
    let (job, s3) = in_bucket(&before, Gateway::shared().bucket_builder("mirror").versioned(), &[PULLED]);
    put(&s3, &tree);
    put_and_delete(&s3, &hidden);
    // What is old may not be deleted, the newest version or a marker may.
    let current = format!("{REPOSITORIES}/library/nginx/_manifests/tags/1.0/current/link");
    let link = format!("{REPOSITORIES}/library/nginx/_manifests/revisions/sha256/{gone}/link");
    let of = |key: &str| versions(&s3.bucket).into_iter().filter(|(one, _, is_marker)| one == key && !is_marker).collect::<Vec<_>>();
    // Of several the store lists the newest first.
    let denied: Vec<String> = [&of(&current)[1], &of(&link)[0]].into_iter().map(|(_, id, _)| id.clone()).collect();
    s3.proxy.add(Rule::on(Op::DeleteMany, Action::error(403, "AccessDenied")));
    for id in &denied {
        s3.proxy.add(Rule::on(Op::Delete, Action::error(403, "AccessDenied")).query(format!("versionId={id}")));
    }
    let done = job.run().expect(3);
    expect_words(done.item("library/nginx")["error"].as_str().unwrap(), &["delete 2 objects", "AccessDenied"]);
    assert_eq!(s3.bucket.get(&format!("registry/{current}")).unwrap(), format!("sha256:{}", old[0]).into_bytes());
    let keys = s3.bucket.keys().unwrap();
    assert!(!keys.contains(&format!("registry/{link}")), "its blob is gone, and a registry would serve it");
    let mut all = Tree(before.0.into_iter().chain(hidden.0).collect());
    tree.0.into_iter().for_each(|(key, content, days)| all.put(key, &content, days));
    all.expect_whole(&keys);
    s3.proxy.clear();
    super::look_old(&s3);
    job.run().expect(0);
    assert!(versions(&s3.bucket).is_empty());
}
