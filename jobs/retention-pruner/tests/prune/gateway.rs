//! On a Ceph gateway, with the keys of the contract. What is stored there is as old as its stamp says: on its way to the job the
//! store's own times are moved into the past.

use chrono::{DateTime, Utc};
use plana_testkit::{
    ceph::{Bucket, Gateway, User},
    job::{Job, bucket::S3, expect_words},
    proxy::{Action, Op, Rule},
};

pub use plana_testkit::proxy::age;

use crate::{ago, allowed, keys};

/// A job on a bucket whose content looks old to it, with the pruner's key.
pub fn aged(bucket: Bucket) -> (Job, S3) {
    let s3 = S3::of(bucket);
    for op in [Op::List, Op::ListVersions, Op::ListUploads] {
        s3.proxy.add(Rule::on(op, Action::rewrite(age)));
    }
    let job = Job::of(env!("CARGO_BIN_EXE_retention-pruner")).into_bucket(&s3).envs(s3.bucket.env(User::Pruner));
    let job = job.env("AWS_ENDPOINT_URL_S3", s3.proxy.endpoint());
    (allowed(job, &s3.url()), s3)
}

/// Stores the objects of a set as a backup job does, with its key.
pub fn back_up(bucket: &Bucket, name: &str, label: &str, begun: DateTime<Utc>, nonce: u32) -> String {
    let keys = keys("pg", name, label, begun, nonce);
    for key in &keys {
        put(bucket, &format!("backups/{key}"));
    }
    keys[0].rsplit_once('/').unwrap().0.to_owned()
}

fn put(bucket: &Bucket, key: &str) {
    let (name, key, endpoint) = (bucket.name().to_owned(), key.to_owned(), bucket.endpoint().to_owned());
    let put = async move |client: aws_sdk_s3::Client| {
        client.put_object().bucket(name).key(key).body(vec![b'x'; 10].into()).send().await.map(drop)
    };
    bucket.as_owner(|_| put(plana_testkit::ceph::client(&endpoint, User::Backup))).unwrap();
}

pub fn nights(bucket: &Bucket, name: &str, days: &[i64]) -> Vec<String> {
    days.iter().map(|day| back_up(bucket, name, "starter", ago(*day), *day as u32)).collect()
}

fn left(bucket: &Bucket) -> Vec<String> {
    let keys = bucket.keys().unwrap().into_iter();
    keys.filter_map(|key| Some(key.strip_prefix("backups/")?.rsplit_once('/')?.0.to_owned())).collect()
}

#[test]
fn list_delete_and_abort_are_enough() {
    let (job, s3) = aged(Gateway::shared().bucket("prune").unwrap());
    let sets = nights(&s3.bucket, "acme.app", &[60, 50, 31, 2, 1, 0]);
    put(&s3.bucket, &format!("backups/{}", keys("pg", "acme.app", "starter", ago(9), 0xff)[0]));
    put(&s3.bucket, "backups/probe/01");
    put(&s3.bucket, "another/README");
    for key in [keys("pg", "acme.app", "starter", ago(8), 0xfe)[0].as_str(), "others/big.iso"] {
        let (name, key) = (s3.bucket.name().to_owned(), format!("backups/{key}"));
        s3.bucket.as_owner(|client| async move { client.create_multipart_upload().bucket(name).key(key).send().await.map(drop) }).unwrap();
    }
    let done = job.run().expect(0);
    assert_eq!((&done.item("acme.app")["deleted"], &done.item("acme.app")["swept"]), (&3.into(), &1.into()), "{}", done.done.stderr);
    let mut there = left(&s3.bucket);
    there.dedup();
    assert_eq!(there, sets[3..].iter().rev().cloned().rev().collect::<Vec<_>>());
    assert!(s3.bucket.keys().unwrap().contains(&"another/README".to_owned()), "another store in the same bucket");
    let uploads: Vec<_> = s3.bucket.uploads().unwrap().into_iter().map(|upload| upload.key).collect();
    assert_eq!(uploads, ["backups/others/big.iso"], "what nobody knows stays");
    assert!(s3.proxy.count(Op::Get) + s3.proxy.count(Op::PutObject) == 0, "nothing was read or written");
    job.run().expect(0);
}

#[test]
fn a_key_without_the_right_deletes_nothing_and_says_which_right() {
    let bucket = Gateway::shared().bucket_builder("prune").deny(User::Pruner, "s3:DeleteObject").create().unwrap();
    let (job, s3) = aged(bucket);
    nights(&s3.bucket, "acme.app", &[60, 2, 1, 0]);
    let done = job.run().expect(1);
    expect_words(done.error("acme.app"), &["delete 1 objects", "s3:DeleteObject"]);
    assert_eq!(left(&s3.bucket).len(), 8);
    let nobody = job.envs(s3.bucket.env(User::Nobody)).env("AWS_ENDPOINT_URL_S3", s3.proxy.endpoint()).run().expect(10);
    expect_words(nobody.run_error(), &["access denied", "s3:ListBucket"]);
}

#[test]
fn batches_that_are_refused_are_deleted_singly_and_what_fails_is_counted() {
    let (job, s3) = aged(Gateway::shared().bucket("prune").unwrap());
    nights(&s3.bucket, "acme.app", &[60, 50, 40, 2, 1, 0]);
    nights(&s3.bucket, "zoo.app", &[60, 50, 2, 1, 0]);
    s3.proxy.add(Rule::on(Op::DeleteMany, Action::error(403, "AccessDenied")));
    s3.proxy.add(Rule::on(Op::Delete, Action::error(403, "AccessDenied")).path("/zoo.app/").path(".0000003c"));
    let done = job.run().expect(3);
    assert_eq!((&done.item("acme.app")["deleted"], &done.item("acme.app")["outcome"]), (&3.into(), &"done".into()));
    let zoo = done.item("zoo.app");
    assert_eq!((&zoo["deleted"], &zoo["outcome"]), (&1.into(), &"partial".into()), "{zoo:#}");
    expect_words(zoo["error"].as_str().unwrap(), &["delete 1 objects", "manifest.json", "AccessDenied"]);
    assert_eq!(left(&s3.bucket).iter().filter(|set| set.ends_with(".0000003c")).count(), 2, "its payload stays with its manifest");
    s3.proxy.clear();
}

#[test]
fn a_listing_that_breaks_off_is_no_listing() {
    let (job, s3) = aged(Gateway::shared().bucket("prune").unwrap());
    nights(&s3.bucket, "acme.app", &[60, 2, 1, 0]);
    nights(&s3.bucket, "zoo.app", &[60, 2, 1, 0]);
    // Rules that age the listing come first otherwise, and the first that matches decides.
    s3.proxy.clear();
    let broken =
        Rule::any(Action::error(503, "SlowDown")).when(|request| request.query.replace("%2F", "/").contains("prefix=backups/filestore"));
    s3.proxy.add(broken);
    let done = job.run().expect(20);
    expect_words(done.run_error(), &["list all that is stored", "half a listing"]);
    assert!(s3.proxy.count(Op::ListVersions) > 3, "the others were listed");
    assert_eq!(left(&s3.bucket).len(), 16);
}

#[test]
fn a_clock_that_is_off_stops_the_run() {
    let (job, s3) = aged(Gateway::shared().bucket("prune").unwrap());
    nights(&s3.bucket, "acme.app", &[60, 2, 1, 0]);
    for seconds in [400, -400] {
        s3.proxy.clear();
        s3.proxy.add(Rule::any(Action::ShiftDate(seconds)));
        let done = job.run().expect(20);
        expect_words(done.run_error(), &["this host's clock and the store's differ", "chronyc"]);
    }
    assert_eq!(left(&s3.bucket).len(), 8);
}

#[test]
fn versions_and_delete_markers_go_by_their_ids() {
    let (job, s3) = aged(Gateway::shared().bucket_builder("prune").versioned().create().unwrap());
    nights(&s3.bucket, "acme.app", &[50, 2, 1, 0]);
    // Overwritten, and deleted by somebody. Of one moment: another second would make another set.
    let begun = ago(60);
    back_up(&s3.bucket, "acme.app", "starter", begun, 60);
    let old = back_up(&s3.bucket, "acme.app", "starter", begun, 60);
    let hidden = back_up(&s3.bucket, "acme.app", "starter", ago(70), 70);
    let kept = back_up(&s3.bucket, "acme.app", "starter", ago(10), 10);
    for set in [&hidden, &kept] {
        s3.bucket.delete(&format!("backups/{set}/manifest.json")).unwrap();
    }
    let done = job.run().expect(0);
    assert_eq!(done.item("acme.app")["deleted"], 3, "{}", done.done.stderr);
    let name = s3.bucket.name().to_owned();
    let versions = s3.bucket.as_owner(|client| async move { client.list_object_versions().bucket(name).send().await }).unwrap();
    let mut of_sets: Vec<String> = versions.versions().iter().filter_map(|one| one.key().map(str::to_owned)).collect();
    of_sets.extend(versions.delete_markers().iter().filter_map(|one| one.key().map(str::to_owned)));
    let count = |set: &str| of_sets.iter().filter(|key| key.contains(set)).count();
    assert_eq!((count(&old), count(&hidden), count(&kept), of_sets.len()), (0, 0, 3, 9), "{of_sets:#?}");
}

#[test]
fn a_manifest_that_somebody_deleted_is_not_seen_again_where_its_version_stays() {
    let (job, s3) = aged(Gateway::shared().bucket_builder("prune").versioned().create().unwrap());
    nights(&s3.bucket, "acme.app", &[2, 1, 0]);
    let hidden = back_up(&s3.bucket, "acme.app", "starter", ago(70), 70);
    let manifest = format!("backups/{hidden}/manifest.json");
    s3.bucket.delete(&manifest).unwrap();
    let (name, prefix) = (s3.bucket.name().to_owned(), manifest.clone());
    let listing = |client: aws_sdk_s3::Client| async move { client.list_object_versions().bucket(name).prefix(prefix).send().await };
    let id = s3.bucket.as_owner(listing).unwrap().versions()[0].version_id().unwrap().to_owned();
    s3.proxy.add(Rule::on(Op::DeleteMany, Action::error(403, "AccessDenied")));
    s3.proxy.add(Rule::on(Op::Delete, Action::error(403, "AccessDenied")).query(format!("versionId={id}")));
    let done = job.run().expect(1);
    expect_words(done.error("acme.app"), &["delete 1 objects", "manifest.json", "AccessDenied"]);
    let keys = s3.bucket.keys().unwrap();
    assert!(!keys.contains(&manifest) && keys.iter().any(|key| key.starts_with(&format!("backups/{hidden}/"))), "{keys:?}");
}

#[test]
fn locked_objects_are_reported_and_left() {
    let (job, s3) = aged(Gateway::shared().bucket_builder("prune").object_lock(Some(1)).create().unwrap());
    nights(&s3.bucket, "acme.app", &[60, 2, 1, 0]);
    let done = job.run().expect(0);
    expect_words(&done.warnings(), &["1 object locked by the store"]);
    assert_eq!((left(&s3.bucket).len(), &done.item("acme.app")["deleted"]), (8, &0.into()));
    s3.bucket.purge().unwrap();
}

#[test]
fn the_preflight_tells_rights_too_few_and_too_many() {
    let (job, s3) = aged(Gateway::shared().bucket("prune").unwrap());
    nights(&s3.bucket, "acme.app", &[1]);
    let check = |job: &Job| job.clone().arg("check").run().done;
    let good = check(&job).expect_code(0);
    expect_words(&good.stdout, &["may list the bucket", "may delete objects", "may abort uploads", "may list versions"]);
    assert!(!good.stdout.contains("which this job never does"), "{}", good.stdout);
    let owner = job.clone().envs(s3.bucket.env(User::Admin)).env("AWS_ENDPOINT_URL_S3", s3.proxy.endpoint());
    expect_words(&check(&owner).expect_code(0).stdout, &["may also read and put objects, which this job never does"]);
    let backup = job.clone().envs(s3.bucket.env(User::Backup)).env("AWS_ENDPOINT_URL_S3", s3.proxy.endpoint());
    expect_words(&check(&backup).expect_code(1).stdout, &["the key may not abort uploads"]);
    assert_eq!(left(&s3.bucket).len(), 2);
    // The same for alerts: how many rights are too many.
    let measured = |job: &Job, code| {
        let home = job.home().to_str().unwrap().to_owned();
        job.clone().set("metrics.textfile_dir", &home).args(["check", "--metrics"]).run().done.expect_code(code);
        let text = std::fs::read_to_string(job.home().join("plana_jobs_retention_pruner.prom")).unwrap();
        text.lines().find_map(|line| Some(line.strip_prefix("plana_jobs_key_needless_rights{")?.rsplit_once(' ')?.1.to_owned()))
    };
    assert_eq!(measured(&job, 0).as_deref(), Some("0"));
    assert_eq!(measured(&owner, 0).as_deref(), Some("2"));
    assert_eq!(measured(&backup, 1).as_deref(), Some("1"));
}
