//! Eight thousand objects of a registry, and two runs at once.

use std::time::Duration;

use plana_testkit::{
    ceph::Gateway,
    job::{Job, bucket::S3},
    proxy::{Action, Op, Rule},
};

use super::{Tree, blob, digest, in_bucket, of_blobs};

/// So many images in each of so many repositories, each image under a tag of its own.
fn images(repositories: usize, tags: usize) -> Tree {
    let mut objects = Vec::new();
    for repository in 0..repositories {
        let name = format!("team{}/app{repository}", repository % 7);
        for number in 0..tags {
            let mut one = Tree::default();
            let manifest = one.image(&name, &format!("{name} {number}"), 60);
            one.tag(&name, &format!("v{number}"), &manifest, 60);
            objects.extend(one.0.into_iter().filter(|(key, ..)| *key != blob(&digest("shared layer"))));
        }
    }
    objects.push((blob(&digest("shared layer")), "shared layer".to_owned(), 60));
    let mut seen = std::collections::BTreeSet::new();
    objects.retain(|(key, ..)| seen.insert(key.clone()));
    Tree(objects)
}

/// A mirror of which every fourth image is pulled.
fn filled(repositories: usize, tags: usize) -> (Tree, Job, S3) {
    let tree = images(repositories, tags);
    let pulled: Vec<String> = tree.pulled_every_fourth();
    let pulls: Vec<(&str, i64)> = pulled.iter().map(|path| (path.as_str(), 5)).collect();
    let (job, s3) = in_bucket(&tree, Gateway::shared().bucket_builder("mirror-many"), &pulls);
    (tree, job.set("mirror.max_manifests", "100000").set("mirror.max_blobs", "100000"), s3)
}

impl Tree {
    fn pulled_every_fourth(&self) -> Vec<String> {
        let tags = self.0.iter().filter_map(|(key, ..)| {
            let (name, tag) =
                key.strip_prefix(super::REPOSITORIES)?.strip_prefix('/')?.strip_suffix("/current/link")?.split_once("/_manifests/tags/")?;
            let number: usize = tag.strip_prefix('v')?.parse().ok()?;
            number.is_multiple_of(4).then(|| format!("{name}:{tag}"))
        });
        tags.collect()
    }
}

#[test]
fn eight_thousand_objects_of_a_mirror_are_pruned_in_bounded_memory() {
    let (repositories, tags) = (25, 40);
    let (tree, job, s3) = filled(repositories, tags);
    let all = tree.0.len();
    assert!(all >= 8_000, "{all}");
    let done = job.run().expect(0);
    let images = repositories * tags;
    let (gone, kept) = (images * 3 / 4, images / 4);
    let count = |field: &str| {
        let items = done.report["items"].as_array().unwrap();
        items.iter().filter(|item| item["name"] != "blobs").map(|item| item[field].as_u64().unwrap() as usize).sum::<usize>()
    };
    assert_eq!([count("deleted"), count("kept"), count("tags")], [gone, kept, gone]);
    assert_eq!((of_blobs(&done) as usize, &done.item("blobs")["kept"]), (gone * 3, &(kept * 3 + 1).into()));
    let keys = s3.bucket.keys().unwrap();
    tree.expect_whole(&keys);
    // Of each image its link, two of its tag, two to what only it has, and three blobs; of each repository one to what all have.
    assert_eq!(keys.len(), kept * 8 + repositories + 1);
    assert!(done.done.peak_rss_bytes < 150 << 20, "{} MiB", done.done.peak_rss_bytes >> 20);
    let (batches, single) = (s3.proxy.count(Op::DeleteMany), s3.proxy.count(Op::Delete));
    assert!(batches <= 256 + repositories * 4 && single <= 10, "in batches: {batches}, and {single} singly");
    s3.bucket.purge().unwrap();
}

#[test]
fn two_runs_at_once_do_no_harm() {
    let (tree, job, s3) = filled(10, 20);
    let left = |s3: &S3| {
        let keys = s3.bucket.keys().unwrap();
        tree.expect_whole(&keys);
        keys.len()
    };
    // On another host there is another state directory, and no lock is shared.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = job.clone().env("PLANA_JOBS__STATE_DIR", elsewhere.path());
    let (one, two) = (job.spawn(), other.spawn());
    let (one, two) = (one.wait().unwrap().expect_code(0), two.wait().unwrap().expect_code(0));
    let whole = 10 * 5 * 8 + 10 + 1;
    assert_eq!(left(&s3), whole, "{}\n{}", one.stderr, two.stderr);
    // On the same host the second leaves it to the first.
    super::put(&s3, &tree);
    s3.proxy.add(Rule::on(Op::ListUploads, Action::Delay(Duration::from_secs(3))));
    let before = s3.proxy.count(Op::ListUploads);
    let mut first = job.spawn();
    first.wait_until("the first run at work", |_| s3.proxy.count(Op::ListUploads) > before).unwrap();
    let second = job.run().expect(11);
    assert!(second.run_error().contains("another run prunes it"), "{}", second.run_error());
    first.wait().unwrap().expect_code(0);
    assert_eq!(left(&s3), whole);
    s3.bucket.purge().unwrap();
}
