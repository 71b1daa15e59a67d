//! Encryption to age recipients, and the globals, whose role passwords depend on it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use plana_plan::Area;
use plana_testkit::pg::{PgCluster, PgMajor};

use crate::common::{Job, expect_words, rows};

/// A pair of keys by Debian's `age-keygen`: the file with the private one, and the public one.
fn key_pair(directory: &Path, name: &str) -> (PathBuf, String) {
    let file = directory.join(name);
    let made = Command::new("age-keygen").arg("-o").arg(&file).output().expect("age-keygen");
    assert!(made.status.success(), "{made:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("a public key").to_owned();
    (file, public)
}

/// A server with a role of its own that has a password, started once for the tests here.
fn cluster() -> &'static PgCluster {
    static CLUSTER: std::sync::OnceLock<PgCluster> = std::sync::OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = PgCluster::start(PgMajor::V15).unwrap();
        let sql = "CREATE ROLE keeper LOGIN PASSWORD 'of the keeper';
                   CREATE ROLE reader LOGIN PASSWORD 'of the reader';
                   GRANT CONNECT ON DATABASE postgres TO reader;
                   ALTER ROLE keeper SET work_mem = '3MB'";
        cluster.psql("postgres", sql).unwrap();
        cluster
    })
}

#[test]
fn each_recipient_opens_it_with_age_and_nobody_sees_the_content() {
    let cluster = cluster();
    let name = cluster.fresh_database("sealed").unwrap();
    // A large object's bytes stand in the archive as they are, and these no compressor touches.
    let fill = "CREATE TABLE t AS SELECT generate_series(1, 500) AS i;
                SELECT lo_from_bytea(7, (SELECT string_agg(sha512(i::text::bytea), '') FROM generate_series(1, 4000) AS i))";
    cluster.psql(&name, fill).unwrap();
    let needle = cluster.psql(&name, "SELECT encode(lo_get(7, 100000, 64), 'hex')").unwrap();
    let needle: Vec<u8> = (0..64).map(|at| u8::from_str_radix(&needle[at * 2..at * 2 + 2], 16).unwrap()).collect();
    let holds = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);

    let plain = crate::common::job().on(cluster).only(&[&name]);
    plain.run().expect(0);
    assert!(holds(&plain.store().set(&name).stored()), "the needle must be visible where nothing is encrypted");

    let job = crate::common::job().on(cluster).only(&[&name]);
    let (first, one) = key_pair(job.home(), "one.key");
    let (second, two) = key_pair(job.home(), "two.key");
    let list = job.home().join("recipients");
    std::fs::write(&list, format!("# kept in the safe\n{two}\n")).unwrap();
    let job = job.config(&format!("[encryption]\nrecipients = [\"{one}\"]\nrecipients_file = \"{}\"\n", list.display()));
    job.run().expect(0);
    let set = job.store().set(&name);
    let encryption = set.manifest.encryption.as_ref().unwrap();
    assert_eq!((encryption.method.as_str(), encryption.recipients.clone()), ("age", vec![one, two]));
    assert!(set.manifest.payload.volumes[0].key.ends_with(".dump.zst.age"));
    let stored = set.stored();
    assert!(stored.starts_with(b"age-encryption.org/v1\n"));
    assert!(!holds(&stored));
    for (at, identity) in [&first, &second].into_iter().enumerate() {
        assert!(holds(&set.decrypted(identity)));
        let restored = format!("{name}_{at}");
        set.restore_encrypted(cluster, &restored, identity);
        assert_eq!(rows::tables(cluster, &restored), rows::tables(cluster, &name));
    }
}

#[test]
fn a_recipient_that_is_none_is_bad_configuration() {
    let job = crate::common::job().on(cluster()).config("[encryption]\nrecipients = [\"age1notakey\"]\n");
    let outcome = job.run().expect(10);
    expect_words(&outcome.done.stderr, &["encryption.recipients", "age1notakey"]);
    job.store().expect_no_manifest();
}

/// The globals' SQL and what their manifest says of the passwords: whether they are in it, else why not.
fn globals(job: &Job, identity: Option<&Path>) -> (String, Option<String>) {
    // No database: only the globals.
    let job = job.clone().args(["--exclude", "*"]);
    job.run().expect(0);
    let set = job.store().only_set(Area::Globals, "cluster");
    let facts = set.manifest.globals.as_ref().unwrap();
    assert_eq!(facts.role_passwords, facts.role_passwords_omitted_because.is_none());
    assert!(facts.server_version.starts_with("15.") && facts.pg_dumpall_version.starts_with("15."), "{facts:?}");
    assert_eq!((set.key.label.to_string().as_str(), set.manifest.payload.format.as_str()), ("globals", "sql"));
    let content = identity.map_or_else(|| set.content(), |identity| set.decrypted(identity));
    let sql = String::from_utf8(content).unwrap();
    expect_words(&sql, &["CREATE ROLE keeper", "ALTER ROLE keeper SET work_mem TO '3MB'", "dump complete"]);
    (sql, facts.role_passwords_omitted_because.clone())
}

#[test]
fn role_passwords_are_stored_only_where_nobody_can_read_them() {
    let sealed = |job: Job| {
        let (identity, public) = key_pair(job.home(), "key");
        (job.config(&format!("[encryption]\nrecipients = [\"{public}\"]\n")), identity)
    };

    let (sql, why) = globals(&crate::common::job().on(cluster()), None);
    assert!(!sql.contains("PASSWORD"), "{sql}");
    expect_words(&why.unwrap(), &["not encrypted", "encryption.recipients"]);

    let (job, identity) = sealed(crate::common::job().on(cluster()));
    let (sql, why) = globals(&job, Some(&identity));
    expect_words(&sql, &["SCRAM-SHA-256$"]);
    assert_eq!(why, None);

    let (job, identity) = sealed(crate::common::job().on(cluster()).arg("--no-role-passwords"));
    let (sql, why) = globals(&job, Some(&identity));
    assert!(!sql.contains("PASSWORD"), "{sql}");
    expect_words(&why.unwrap(), &["--no-role-passwords"]);

    let (job, identity) = sealed(crate::common::job().at(&cluster().dsn_as("reader", "of the reader", "postgres"), cluster().bin_dir()));
    let (sql, why) = globals(&job, Some(&identity));
    assert!(!sql.contains("PASSWORD"), "{sql}");
    expect_words(&why.unwrap(), &["pg_authid"]);
}

#[test]
fn no_globals_where_they_are_not_wanted() {
    let name = cluster().fresh_database("lonely").unwrap();
    let wanted = ["--exclude", "postgres", "--exclude", "template1", "--exclude", "sealed_*"];
    let job = crate::common::job().on(cluster()).args(wanted).arg("--no-globals");
    job.run().expect(0);
    assert_eq!(job.store().databases(), [name]);
    assert!(job.store().committed().iter().all(|set| set.key.area == Area::Pg));
}
