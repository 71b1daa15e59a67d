//! What goes wrong on the way back: keys, rights, cut lines, objects that were written over, full disks.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use common::{Site, TENANT, contents, error, install_extension, json, tamper};
use plana_testkit::{
    ceph::{Bucket, Gateway, User},
    disk::SmallDisk,
    pg::PgMajor,
    proxy::{Action, HttpProxy, Op, Rule},
};
use tempfile::TempDir;

/// A pair of keys by `age-keygen`: the file with the private one, and the public one.
fn keygen(directory: &Path, name: &str) -> (String, String) {
    let file = directory.join(name);
    assert!(Command::new("age-keygen").arg("-o").arg(&file).output().unwrap().status.success());
    let text = fs::read_to_string(&file).unwrap();
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
    (file.display().to_string(), public)
}

/// The tenant in a bucket, and the only set of it.
fn in_bucket(bucket: &Bucket) -> (Site, String) {
    let site = Site::empty(PgMajor::V16);
    site.add_tenant(TENANT);
    site.back_up_into(bucket, &["--only", TENANT]);
    let key = bucket.keys().unwrap().into_iter().find(|key| key.ends_with("manifest.json")).unwrap();
    (site, key.strip_suffix("/manifest.json").unwrap().to_owned())
}

fn payload(bucket: &Bucket) -> String {
    bucket.keys().unwrap().into_iter().find(|key| key.ends_with(".dump.zst")).unwrap()
}

#[test]
fn an_encrypted_set_needs_the_right_private_key() {
    let site = Site::empty(PgMajor::V16);
    site.add_tenant(TENANT);
    let (right, public) = keygen(site.home.path(), "right");
    let (wrong, _) = keygen(site.home.path(), "wrong");
    let config = site.home.path().join("encrypted.toml");
    fs::write(&config, format!("[encryption]\nrecipients = [\"{public}\"]\n")).unwrap();
    site.back_up(&["--only", TENANT, "--config", config.to_str().unwrap()]);
    let set = site.set("pg", TENANT);
    let none = site.job(&["check", &set]).run().unwrap().expect_code(1);
    assert!(error(&none).contains("--identity") && error(&none).contains(&public), "{}", error(&none));
    let other = site.job(&["check", &set, "--identity", &wrong]).run().unwrap().expect_code(1);
    assert!(error(&other).contains("key"), "{}", error(&other));
    site.job(&["check", &set, "--identity", &right]).run().unwrap().expect_code(0);
    site.job(&["restore", TENANT, "--into", "opened", "--identity", &right]).run().unwrap().expect_code(0);
    assert_eq!(contents(&site.cluster, "opened"), contents(&site.cluster, TENANT));
    let secret = fs::read_to_string(&right).unwrap();
    let secret = secret.lines().last().unwrap();
    let spoilt = site.home.path().join("spoilt");
    fs::write(&spoilt, secret.replace("KEY-1", "KEY-2")).unwrap();
    let refused = site.job(&["check", &set, "--identity", spoilt.to_str().unwrap()]).run().unwrap().expect_code(1);
    assert!(!refused.stderr.contains(&secret[20..40]) && !refused.stdout.contains(&secret[20..40]));
}

#[test]
fn a_key_that_may_not_read_is_told_what_it_lacks() {
    let bucket = Gateway::shared().bucket("unreadable").unwrap();
    let (site, set) = in_bucket(&bucket);
    let listed = json(&site.job_from(&bucket, User::Pruner, &["list"]).run().unwrap().expect_code(0));
    assert_eq!(listed["sets"].as_array().unwrap().len(), 1);
    let refused = site.job_from(&bucket, User::Pruner, &["check", &set]).run().unwrap().expect_code(1);
    assert!(error(&refused).contains("s3:GetObject"), "{}", error(&refused));
    site.job_from(&bucket, User::Restore, &["check", &set]).run().unwrap().expect_code(0);
}

#[test]
fn a_line_that_is_cut_once_goes_on_and_one_that_is_cut_for_good_is_an_error() {
    let bucket = Gateway::shared().bucket("cut").unwrap();
    let (site, set) = in_bucket(&bucket);
    let proxy = HttpProxy::start(Gateway::shared().port()).unwrap();
    let job = |arguments: &[&str]| {
        site.job_from(&bucket, User::Restore, arguments)
            .env("AWS_ENDPOINT_URL_S3", proxy.endpoint())
            .env("PLANA_JOBS__S3__MAX_ATTEMPTS", "3")
            .env("PLANA_JOBS__S3__MAX_BACKOFF", "100ms")
    };
    let size = bucket.list().unwrap().into_iter().find(|object| object.key.ends_with(".dump.zst")).unwrap().size;
    proxy.add(Rule::on(Op::Get, Action::CutAnswer(size * 9 / 10)).path(".dump.zst").times(1));
    job(&["check", &set]).run().unwrap().expect_code(0);
    proxy.clear();
    proxy.add(Rule::on(Op::Get, Action::CutAnswer(0)).path(".dump.zst"));
    let cut = job(&["check", &set]).run().unwrap().expect_code(1);
    assert!(error(&cut).contains(".dump.zst"), "{}", error(&cut));
    let restored = job(&["restore", TENANT, "--into", "never"]).run().unwrap().expect_code(1);
    assert!(!site.databases().contains(&"never".to_owned()), "{}", restored.stdout);
    site.expect_no_scratch();
    // A store that says nothing.
    proxy.clear();
    proxy.add(Rule::on(Op::Get, Action::Stall).path(".dump.zst"));
    let stalled = job(&["check", &set]).env("PLANA_JOBS__DUMP__STALL_TIMEOUT", "2s").run().unwrap().expect_code(1);
    assert!(error(&stalled).contains("nothing moved for 2s"), "{}", error(&stalled));
}

#[test]
fn what_was_written_over_is_read_in_the_version_that_the_manifest_means() {
    let bucket = Gateway::shared().bucket_builder("versioned").versioned().create().unwrap();
    let (site, set) = in_bucket(&bucket);
    bucket.put(&payload(&bucket), "not a dump").unwrap();
    bucket.put(&format!("{set}/manifest.json"), "{}").unwrap();
    let done = site.job_from(&bucket, User::Restore, &["check", &set]).run().unwrap().expect_code(0);
    let warnings = json(&done)["items"][0]["warnings"].to_string();
    assert!(warnings.contains("written over") && warnings.contains("manifest.json was written 2 times"), "{warnings}");
    site.job_from(&bucket, User::Restore, &["restore", TENANT, "--into", "saved"]).run().unwrap().expect_code(0);
    assert_eq!(contents(&site.cluster, "saved"), contents(&site.cluster, TENANT));
    // Without versions it is lost, and said to be.
    let plain = Gateway::shared().bucket("unversioned").unwrap();
    let (site, set) = in_bucket(&plain);
    // Of the same size: the SHA-256 finds it.
    let mut junk = plain.get(&payload(&plain)).unwrap();
    junk.reverse();
    plain.put(&payload(&plain), junk).unwrap();
    let other = site.job_from(&plain, User::Restore, &["check", &set]).run().unwrap().expect_code(1);
    assert!(error(&other).contains("zstd") || error(&other).contains("SHA-256"), "{}", error(&other));
    plain.put(&payload(&plain), "not a dump").unwrap();
    let lost = site.job_from(&plain, User::Restore, &["check", &set]).run().unwrap().expect_code(1);
    assert!(error(&lost).contains("was written over"), "{}", error(&lost));
}

#[test]
fn a_fetch_goes_on_where_it_was_cut_and_believes_nothing() {
    let bucket = Gateway::shared().bucket("fetch").unwrap();
    let (site, set) = in_bucket(&bucket);
    let proxy = HttpProxy::start(Gateway::shared().port()).unwrap();
    let to = site.home.path().join("rescue");
    let job = || {
        site.job_from(&bucket, User::Restore, &["fetch", &set, "--to", to.to_str().unwrap()])
            .env("AWS_ENDPOINT_URL_S3", proxy.endpoint())
            .env("PLANA_JOBS__S3__MAX_ATTEMPTS", "1")
    };
    let whole = bucket.get(&payload(&bucket)).unwrap();
    let name = payload(&bucket).rsplit('/').next().unwrap().to_owned();
    let (file, part) = (to.join(&name), to.join(format!("{name}.part")));
    // An earlier attempt has left the first half.
    fs::create_dir(&to).unwrap();
    fs::write(&part, &whole[..whole.len() / 2]).unwrap();
    job().run().unwrap().expect_code(0);
    assert_eq!(fs::read(&file).unwrap(), whole);
    assert!(!part.exists());
    let ranges: Vec<_> = proxy.requests().into_iter().filter(|seen| seen.op() == Op::Get && seen.request.path.ends_with(".zst")).collect();
    assert_eq!(ranges[0].request.header("range"), Some(&*format!("bytes={}-{}", whole.len() / 2, whole.len() - 1)));
    assert!(to.join(format!("{}.manifest.json", name.trim_end_matches(".dump.zst"))).exists());
    // Once more: what is right is left alone.
    job().run().unwrap().expect_code(0);
    // What is wrong is not replaced, and a wrong beginning not gone on from.
    tamper(&file, |bytes| bytes[10] ^= 1);
    assert!(error(&job().run().unwrap().expect_code(1)).contains("move it away"));
    fs::remove_file(&file).unwrap();
    fs::write(&part, b"something else altogether").unwrap();
    assert!(error(&job().run().unwrap().expect_code(1)).contains("SHA-256"));
    assert!(!part.exists() && !file.exists());
    job().run().unwrap().expect_code(0);
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[test]
fn a_full_disk_is_named_and_nothing_looks_whole() {
    let site = Site::new(PgMajor::V16);
    let disk = SmallDisk::new(64 << 10).unwrap();
    let set = site.set("pg", TENANT);
    let full = site.job(&["fetch", &set, "--to", disk.path().to_str().unwrap()]).run().unwrap().expect_code(1);
    assert!(error(&full).contains("free some space"), "{}", error(&full));
    let left: Vec<_> = fs::read_dir(disk.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| path.extension().is_some_and(|extension| extension == "part")), "{left:?}");
    left.iter().for_each(|path| fs::remove_file(path).unwrap());
    // Without room to spool a restore streams, and says so.
    let spool = disk.path().display().to_string();
    let done = site.job(&["restore", TENANT, "--into", "streamed", "--spool", &spool]).run().unwrap().expect_code(0);
    assert!(done.stderr.contains("no room to unpack"), "{}", done.stderr);
    assert_eq!(contents(&site.cluster, "streamed"), contents(&site.cluster, TENANT));
}

/// A directory with the cluster's pg_restore behind a script that does something afterwards.
fn pg_restore_and_then(site: &Site, after: &str) -> TempDir {
    let directory = tempfile::Builder::new().prefix("plana-bin-").tempdir_in("/var/tmp").unwrap();
    let real = site.cluster.bin_dir().join("pg_restore");
    let psql = site.cluster.bin_dir().join("psql");
    let script = format!(
        "#!/bin/sh\n{} \"$@\" || exit $?\ncase \"$1\" in --version) exit 0;; esac\n{} -Xqc \"{after}\" >/dev/null\n",
        real.display(),
        psql.display()
    );
    let path = directory.path().join("pg_restore");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

#[test]
fn what_is_lost_between_the_archive_and_the_database_is_missed() {
    let site = Site::new(PgMajor::V16);
    for (lost, words) in [
        ("DELETE FROM account_move WHERE id = 17", "account_move"),
        ("INSERT INTO events VALUES ('2026-12-31', 'one too many')", "events_2026"),
        ("DROP TABLE events_2026", "events_2026"),
        ("SELECT lo_unlink(oid) FROM pg_largeobject_metadata", "large objects"),
    ] {
        let bin = pg_restore_and_then(&site, lost);
        let job =
            site.job(&["restore", TENANT, "--into", "copy"]).env("PLANA_JOBS__POSTGRES__BIN_DIRS", bin.path()).env("PATH", "/bin:/usr/bin");
        let done = job.run().unwrap().expect_code(1);
        assert!(error(&done).contains("prove the restored database") && error(&done).contains(words), "{lost}: {}", error(&done));
        assert!(!site.databases().contains(&"copy".to_owned()));
        site.expect_no_scratch();
    }
}

#[test]
fn a_missing_extension_is_named_before_anything_is_begun() {
    let site = Site::empty(PgMajor::V16);
    site.add_tenant(TENANT);
    let name = format!("plana_test_gone_{}", std::process::id());
    let directory = install_extension(&site.cluster, &name, true);
    site.cluster.psql(TENANT, &format!("CREATE EXTENSION {name}")).unwrap();
    site.back_up(&["--only", TENANT]);
    for file in [format!("{name}.control"), format!("{name}--1.0.sql")] {
        fs::remove_file(directory.join(file)).unwrap();
    }
    let done = site.job(&["restore", TENANT, "--into", "copy"]).run().unwrap().expect_code(1);
    assert!(error(&done).contains(&format!("extension `{name}` is not installed")), "{}", error(&done));
    assert!(!done.stderr.contains("restoring pg/"), "{}", done.stderr);
}
