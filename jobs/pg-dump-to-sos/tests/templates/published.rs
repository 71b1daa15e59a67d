//! Once for each content, whenever and from wherever it is dumped.

use plana_testkit::pg::PgMajor;

use crate::{
    Site, TEMPLATE, committed,
    common::{expect_words, job_under},
    content, seeds,
};

#[test]
fn a_content_is_published_once_and_another_beside_it() {
    for major in PgMajor::ALL {
        let site = Site::new(major);
        let job = site.job();
        let planned = job.clone().arg("--dry-run").run().expect(0);
        assert_eq!((planned.outcome(TEMPLATE), seeds(&job).files().len()), ("planned", 0), "PostgreSQL {major}");
        let first = job.run().expect(0);
        assert_eq!(first.report["job"], "pg-dump-templates");
        assert_eq!(first.databases("done"), [TEMPLATE], "PostgreSQL {major}: only templates");
        assert_eq!(content(&first), content(&planned));
        let manifests = committed(&seeds(&job));
        assert_eq!((manifests.len(), seeds(&job).files().len()), (1, 2));
        let seed = manifests[0].seed.clone().unwrap();
        assert_eq!((seed.pg_dump_major, manifests[0].database.as_ref().unwrap().rows), (major.number(), 2000));
        assert_eq!(first.item(TEMPLATE)["key"], format!("basic%2Ftemplate%2018/{}", seed.sha256));
        // The same rows in another order, and some of them written twice.
        site.sql("CREATE TABLE t AS SELECT * FROM partner; TRUNCATE partner; INSERT INTO partner SELECT * FROM t ORDER BY md5(name); DROP TABLE t");
        site.sql("UPDATE partner SET name = name WHERE id % 3 = 0");
        let again = job.run().expect(0);
        assert_eq!((again.outcome(TEMPLATE), content(&again)), ("fresh", content(&first)), "PostgreSQL {major}");
        let before = seeds(&job).files();
        assert_eq!(before.len(), 2, "PostgreSQL {major}");
        site.sql("UPDATE partner SET name = 'another' WHERE id = 7");
        let changed = job.run().expect(0);
        assert_eq!(changed.outcome(TEMPLATE), "done", "PostgreSQL {major}");
        assert_ne!(content(&changed), content(&first));
        assert_eq!(committed(&seeds(&job)).len(), 2);
        assert!(before.iter().all(|file| seeds(&job).files().contains(file)), "what was there stays");
        site.sql("UPDATE partner SET name = 'Partner 7' WHERE id = 7");
        let back = job.run().expect(0);
        assert_eq!((back.outcome(TEMPLATE), content(&back)), ("fresh", content(&first)), "as it was before");
    }
}

#[test]
fn on_another_day_from_another_server_it_is_the_same() {
    let (site, other) = (Site::new(PgMajor::V18), Site::new(PgMajor::V18));
    let job = site.job();
    let first = job.run().expect(0);
    // pg_dump lives on the other day as well.
    let later = job_under(&["/usr/bin/faketime", "-f", "+2d"]).on(&site.cluster).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let config = "[rules.templates]\norder = 1\nclass = \"template\"\ndatabases = [\"basic*\"]\n";
    let url = format!("file://{}", seeds(&job).root().display());
    let later = later.set("store.templates.url", &url).config(config).arg("--templates").run().expect(0);
    assert_eq!((later.outcome(TEMPLATE), content(&later)), ("fresh", content(&first)));
    other.sql("CREATE TABLE junk (id serial); DROP TABLE junk; CREATE TABLE o AS SELECT * FROM partner; TRUNCATE partner; INSERT INTO partner SELECT * FROM o ORDER BY md5(name); DROP TABLE o");
    let elsewhere = other.job().set("store.templates.url", &url).run().expect(0);
    assert_eq!((elsewhere.outcome(TEMPLATE), content(&elsewhere)), ("fresh", content(&first)));
}

#[test]
fn what_has_no_identity_is_refused_by_name() {
    let site = Site::new(PgMajor::V16);
    site.cluster.psql("postgres", "CREATE DATABASE basic_bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'").unwrap();
    site.cluster.psql("basic_bytes", "SET client_encoding = 'SQL_ASCII'; CREATE TABLE t AS SELECT E'\\351'::text AS a").unwrap();
    let job = site.job();
    let outcome = job.run().expect(3);
    assert_eq!(outcome.outcome(TEMPLATE), "done", "one bad template stops no other");
    expect_words(outcome.error("basic_bytes"), &["invalid byte sequence for encoding \"UTF8\""]);
    assert_eq!(committed(&seeds(&job)).len(), 1);
}
