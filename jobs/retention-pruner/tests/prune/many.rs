//! Twenty thousand objects, and two runs at once.

use futures::{StreamExt as _, stream};
use plana_testkit::{
    ceph::{Bucket, Gateway, User, client},
    proxy::Op,
};

use crate::{ago, gateway::aged, keys};

/// Stores so many nights of so many names, with the key of a backup job.
fn fill(bucket: &Bucket, names: u32, nights: u32) {
    let all = (0..names).flat_map(|name| (0..nights).map(move |night| (format!("t{name}.app"), night)));
    let all: Vec<String> = all.flat_map(|(name, night)| keys("pg", &name, "starter", ago(night.into()), night)).collect();
    put_all(bucket, User::Backup, all.into_iter().map(|key| (format!("backups/{key}"), "x".to_owned())).collect());
}

/// Stores objects, many at the same time.
pub fn put_all(bucket: &Bucket, user: User, objects: Vec<(String, String)>) {
    let (endpoint, name) = (bucket.endpoint().to_owned(), bucket.name().to_owned());
    let put = |client: aws_sdk_s3::Client, (key, content): (String, String)| {
        let put = client.put_object().bucket(&name).key(key).body(content.into_bytes().into());
        async move { put.send().await.map(drop) }
    };
    let storing = async |_| {
        let client = client(&endpoint, user);
        let puts: Vec<_> = objects.into_iter().map(|object| put(client.clone(), object)).collect();
        stream::iter(puts).buffer_unordered(32).collect::<Vec<_>>().await.into_iter().collect::<Result<(), _>>()
    };
    bucket.as_owner(storing).unwrap();
}

#[test]
fn twenty_thousand_objects_are_planned_and_pruned_page_by_page() {
    let (job, s3) = aged(Gateway::shared().bucket("prune-many").unwrap());
    let job = job.set("retention.max_sets", "100000");
    fill(&s3.bucket, 100, 100);
    let done = job.run().expect(0);
    assert_eq!(done.report["totals"]["done"], 100);
    let keys = s3.bucket.keys().unwrap();
    assert_eq!(keys.len(), 100 * 30 * 2, "thirty nights of each");
    assert!(done.done.peak_rss_bytes < 150 << 20, "{} MiB", done.done.peak_rss_bytes >> 20);
    assert!(s3.proxy.count(Op::DeleteMany) <= 200 && s3.proxy.count(Op::Delete) == 0, "in batches: {}", s3.proxy.count(Op::DeleteMany));
    s3.bucket.purge().unwrap();
}

#[test]
fn two_runs_at_once_do_no_harm() {
    let (job, s3) = aged(Gateway::shared().bucket("prune-two").unwrap());
    fill(&s3.bucket, 40, 40);
    // On another host there is another state directory, and no lock is shared.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = job.clone().env("PLANA_JOBS__STATE_DIR", elsewhere.path());
    let (one, two) = (job.spawn(), other.spawn());
    let (one, two) = (one.wait().unwrap().expect_code(0), two.wait().unwrap().expect_code(0));
    assert_eq!(s3.bucket.keys().unwrap().len(), 40 * 30 * 2, "{}\n{}", one.stderr, two.stderr);
    s3.bucket.purge().unwrap();
    // On the same host the second leaves it to the first.
    fill(&s3.bucket, 40, 40);
    s3.proxy.add(plana_testkit::proxy::Rule::on(Op::ListUploads, plana_testkit::proxy::Action::Delay(std::time::Duration::from_secs(3))));
    let before = s3.proxy.count(Op::ListUploads);
    let mut first = job.clone().arg("--accept-shrink").spawn();
    first.wait_until("the first run at work", |_| s3.proxy.count(Op::ListUploads) > before).unwrap();
    job.clone().arg("--accept-shrink").run().expect(11);
    first.wait().unwrap().expect_code(0);
    s3.bucket.purge().unwrap();
}
