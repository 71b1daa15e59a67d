//! What happens while a template is published: changes, other publishers, kills.

use std::time::Duration;

use plana_testkit::{
    pg::PgMajor,
    process::Signal,
    proxy::{Action, Op, Rule},
};

use crate::{
    Site, TEMPLATE, between, committed,
    common::{Outcome, bucket::S3, expect_no_backend_left, expect_words, faults::HeldLock},
    content, seeds,
};

#[test]
fn the_snapshot_holds_while_rows_change() {
    for major in PgMajor::ALL {
        let site = Site::new(major);
        let before = site.job().arg("--dry-run").run().expect(0);
        let job =
            between(site.job(), &site.cluster, "{psql} -c \"UPDATE partner SET name = 'changed'\" -c 'SELECT lo_unlink(4711)' >/dev/null");
        let outcome = job.run().expect(0);
        assert_eq!((outcome.outcome(TEMPLATE), content(&outcome)), ("done", content(&before)), "PostgreSQL {major}");
        let after = site.job().set("store.templates.url", &format!("file://{}", seeds(&job).root().display())).run().expect(0);
        assert_eq!(after.outcome(TEMPLATE), "done", "PostgreSQL {major}: what it is now is another content");
        assert_ne!(content(&after), content(&before));
    }
}

#[test]
fn what_a_snapshot_does_not_hold_back_is_noticed() {
    for (major, change) in [
        (PgMajor::V15, "TRUNCATE partner"),
        (PgMajor::V16, "ALTER TABLE partner ALTER name TYPE varchar(100)"),
        (PgMajor::V18, "DROP TABLE partner"),
    ] {
        let site = Site::new(major);
        let job = between(site.job(), &site.cluster, &format!("{{psql}} -c '{change}'"));
        let outcome = job.run().expect(1);
        let error = outcome.error(TEMPLATE);
        assert!(error.contains("dump the same content twice") || error.contains("does not exist"), "{change}: {error}");
        assert_eq!(seeds(&job).files(), [], "{change}");
        expect_no_backend_left(&site.cluster, TEMPLATE);
    }
}

#[test]
fn two_publishers_at_once_do_no_harm() {
    // Two servers with the same content know nothing of each other's locks. Both have found that the store lacks it.
    let (one, two) = (Site::new(PgMajor::V16), Site::new(PgMajor::V16));
    // Both begin in the same second, so that nothing but the random id keeps their keys apart.
    let s3 = S3::new("publishers");
    let meeting = tempfile::tempdir().unwrap();
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M:%S").to_string();
    let job = |site: &Site, me: &str, other: &str| {
        let at = meeting.path().display();
        let wait = format!(": >'{at}/{me}'\nwhile [ ! -e '{at}/{other}' ]; do sleep 0.05; done");
        between(site.job_at(&now).into_bucket(&s3).set("store.templates.url", &s3.url_of("seeds")), &site.cluster, &wait)
            .env("PATH", "/usr/bin:/bin")
    };
    let (first, second) = (job(&one, "one", "two"), job(&two, "two", "one"));
    let (first, second) = (first.spawn(), second.spawn());
    let (first, second) = (Outcome::wait(first).expect(0), Outcome::wait(second).expect(0));
    assert_eq!((first.outcome(TEMPLATE), second.outcome(TEMPLATE)), ("done", "done"));
    assert_eq!(content(&first), content(&second));
    // Each has a payload and a manifest of its own below the same SHA, and neither wrote over anything.
    let keys = s3.bucket.keys().unwrap();
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert_eq!(keys.iter().filter(|key| key.ends_with(".manifest.json")).count(), 2);
    let stamp = |key: &String| key.rsplit_once('_').unwrap().1.split_once('.').unwrap().0.to_owned();
    assert!(keys.iter().all(|key| stamp(key) == stamp(&keys[0])), "they were to begin in the same second: {keys:?}");
    let third = one.job().into_bucket(&s3).set("store.templates.url", &s3.url_of("seeds")).run().expect(0);
    assert_eq!((third.outcome(TEMPLATE), content(&third)), ("fresh", content(&first)));
    assert_eq!(s3.bucket.keys().unwrap(), keys);
}

#[test]
fn two_runs_on_one_server_leave_it_to_one() {
    let site = Site::new(PgMajor::V16);
    let held = HeldLock::on(&site.cluster, TEMPLATE, "partner");
    let job = site.job();
    let mut first = job.spawn();
    job.wait_for_pg_dump(&mut first, TEMPLATE);
    let second = site.job().run().expect(11);
    assert_eq!(second.outcome(TEMPLATE), "locked");
    drop(held);
    assert_eq!(Outcome::wait(first).expect(0).outcome(TEMPLATE), "done");
}

#[test]
fn killed_between_payload_and_manifest_nothing_counts() {
    let site = Site::new(PgMajor::V16);
    for signal in [Signal::KILL, Signal::TERM] {
        let s3 = S3::new("killed-seed");
        let job = site.job().into_bucket(&s3).set("store.templates.url", &s3.url_of("seeds"));
        let held = Rule::on(Op::PutObject, Action::Delay(Duration::from_secs(20))).path(".manifest.json").times(1);
        let handle = s3.proxy.add(held);
        let mut running = job.spawn();
        running.wait_until("the manifest", |_| handle.matched() > 0).unwrap();
        running.signal(signal).unwrap();
        running.wait().unwrap();
        job.expect_no_process_left();
        expect_no_backend_left(&site.cluster, TEMPLATE);
        let left = s3.bucket.keys().unwrap();
        assert_eq!(left.len(), 1, "the payload alone: {left:?}");
        // It is never taken for known, and never written over.
        let again = job.run().expect(0);
        assert_eq!(again.outcome(TEMPLATE), "done");
        let keys = s3.bucket.keys().unwrap();
        assert_eq!(keys.len(), 3, "{keys:?}");
        assert_eq!(job.run().expect(0).outcome(TEMPLATE), "fresh");
    }
}

#[test]
fn a_dump_that_fails_leaves_nothing() {
    let site = Site::new(PgMajor::V16);
    let job = between(site.job(), &site.cluster, "\"$real\" \"$@\" | head -c 3000; exit 3");
    let outcome = job.run().expect(1);
    expect_words(outcome.error(TEMPLATE), &[TEMPLATE]);
    assert!(committed(&seeds(&job)).is_empty() && seeds(&job).files().is_empty());
}
