//! The templates' store: one of its own, with a key that may put and list.

use plana_testkit::{
    ceph::User,
    pg::PgMajor,
    proxy::{Action, Op, Rule},
};

use crate::{
    Site, TEMPLATE,
    common::{bucket::S3, expect_words},
    content, seeds,
};

#[test]
fn the_backups_store_is_refused() {
    let site = Site::new(PgMajor::V16);
    let job = site.job();
    let backups = job.store().root().display().to_string();
    for url in [format!("file://{backups}"), format!("file://{backups}/seeds"), format!("file://{}", job.home().display())] {
        let refused = job.clone().set("store.templates.url", &url).run().expect(10);
        expect_words(refused.run_error(), &["store.templates.url", "lies in the backups' store, or around it", "of their own"]);
    }
    let none = job.clone().set("store.templates.url", "").run().expect(10);
    expect_words(none.run_error(), &["store.templates.url"]);
    assert!(job.store().files().is_empty());
}

#[test]
fn without_a_rule_nothing_can_be_a_template() {
    let site = Site::new(PgMajor::V16);
    let job = crate::common::job().on(&site.cluster).arg("--templates").arg("--store").arg("file:///nowhere/seeds");
    expect_words(job.run().expect(10).run_error(), &["no rule gives the class template"]);
    let tenant = site.job().only(&["tenant"]).run().expect(1);
    expect_words(tenant.error("tenant"), &["no such template", "--only"]);
    let usage = site.job().args(["--missing-within", "12h"]).run();
    assert_eq!(usage.done.code(), Some(2));
}

#[test]
fn with_put_and_list_alone_it_publishes_and_checks() {
    let site = Site::new(PgMajor::V16);
    let s3 = S3::new("templates");
    let job = site.job().into_bucket(&s3).set("store.templates.url", &s3.url_of("seeds"));
    let check = job.clone().arg("check").run();
    expect_words(&check.done.stdout, &[TEMPLATE, "the key may put objects", "the key may list the bucket"]);
    assert_eq!(s3.bucket.keys().unwrap().iter().filter(|key| !key.contains("probe/")).count(), 0);
    let (read, deleted) = (s3.proxy.count(Op::Get), s3.proxy.count(Op::Delete));
    let first = job.run().expect(0);
    assert_eq!((first.outcome(TEMPLATE), job.run().expect(0).outcome(TEMPLATE)), ("done", "fresh"));
    assert_eq!((s3.proxy.count(Op::Get), s3.proxy.count(Op::Delete)), (read, deleted), "nothing is read or deleted");
    assert!(!content(&first).is_empty());
}

#[test]
fn a_store_that_fails_leaves_nothing_that_counts() {
    let site = Site::new(PgMajor::V16);
    let s3 = S3::new("templates-down");
    let job = site.job().into_bucket(&s3).set("store.templates.url", &s3.url_of("seeds"));
    let missing = job.clone().set("store.templates.url", "s3://no-such-bucket-of-seeds/x").run().expect(10);
    expect_words(missing.run_error(), &["no-such-bucket-of-seeds"]);
    // No listing, no decision: neither that it is known nor that it is not.
    let handle = s3.proxy.add(Rule::on(Op::List, Action::error(500, "InternalError")).when(|request| request.query.contains("basic")));
    let outcome = job.run().expect(1);
    expect_words(outcome.error(TEMPLATE), &["InternalError"]);
    assert!(handle.matched() > 0 && s3.bucket.keys().unwrap().is_empty());
    s3.proxy.clear();
    s3.bucket.set_rights(&[(User::Backup, &["s3:ListBucket"])]).unwrap();
    expect_words(job.run().expect(1).error(TEMPLATE), &["access denied"]);
    assert!(s3.bucket.keys().unwrap().is_empty());
    assert!(seeds(&job).files().is_empty());
}
