//! Every step of a snapshot can fail, and then the command does not run.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use plana_testkit::{
    ceph::{Gateway, User},
    job::expect_words,
};

use crate::Tenant;

impl Tenant {
    /// A pg_dump that does what the script says after the real one has done its work.
    fn with_pg_dump_then(&self, script: &str) -> PathBuf {
        let directory = self.job.home().join("programs");
        fs::create_dir(&directory).unwrap();
        for entry in fs::read_dir(self.cluster.bin_dir()).unwrap().flatten() {
            if entry.file_name() != "pg_dump" {
                std::os::unix::fs::symlink(entry.path(), directory.join(entry.file_name())).unwrap();
            }
        }
        let real = self.cluster.bin_dir().join("pg_dump");
        let path = directory.join("pg_dump");
        let text = format!(
            "#!/bin/sh\ncase \"$*\" in *--version*) exec '{0}' \"$@\";; esac\n'{0}' \"$@\"; status=$?\n{script}\nexit $status\n",
            real.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        directory
    }
}

#[test]
fn without_a_server_a_store_or_a_dump_the_command_never_starts() {
    let tenant = Tenant::new();
    let dead_server = tenant.call().env("PGPORT", "1").args(tenant.touch()).run();
    tenant.expect_never_started(&dead_server);
    let file = tenant.job.home().join("a file");
    fs::write(&file, "").unwrap();
    let dead_store = tenant.call().store_url(&format!("file://{}", file.display())).args(tenant.touch()).run();
    tenant.expect_never_started(&dead_store);
    let dead_dump = tenant.with_pg_dump_then("status=1");
    let failed = tenant.call().programs(&dead_dump).arg("--receipt").arg(tenant.receipt_path()).args(tenant.touch()).run();
    tenant.expect_never_started(&failed);
    assert!(tenant.sets().is_empty());
}

#[test]
fn a_store_that_cannot_be_reached_is_no_insurance() {
    let tenant = Tenant::new();
    let bucket = Gateway::shared().bucket("insurance").unwrap();
    let call = |user| tenant.call().envs(bucket.env(user)).store_url(&format!("s3://{}", bucket.name()));
    let dead = call(User::Backup).set("s3.endpoint", "http://127.0.0.1:1").set("s3.retries", "0").args(tenant.touch()).run();
    tenant.expect_never_started(&dead);
    // A proof needs more than such a key may do, which is said before anything begins.
    let blind = call(User::Backup).arg("--prove").args(tenant.touch()).run();
    tenant.expect_never_started(&blind);
    expect_words(&blind.done.stderr, &["the store's key may not read", "--prove"]);
    assert!(bucket.keys().unwrap().iter().all(|key| !key.starts_with("insurance")));
    // And one that can, with a key that may put and list and nothing else.
    let done = call(User::Backup).run().expect(0);
    assert_eq!(done.report["items"].as_array().unwrap().len(), 2);
    let again = call(User::Backup).arg("--reuse-within=1h").args(tenant.touch()).run();
    assert_eq!(again.done.code(), Some(0), "{}", again.done.stderr);
    assert!(tenant.witness().exists());
}

#[test]
fn files_that_go_between_the_dump_and_the_tarball_are_no_insurance() {
    let tenant = Tenant::new();
    let file = &tenant.files[3];
    let sql = format!("DELETE FROM ir_attachment WHERE store_fname = '{file}'");
    let psql = tenant.cluster.bin_dir().join("psql");
    let script = format!("/bin/rm -f '{}'; '{}' -q -c \"{sql}\"", tenant.files_path().join(file).display(), psql.display());
    let programs = tenant.with_pg_dump_then(&script);
    let failed = tenant.call().programs(&programs).arg("--receipt").arg(tenant.receipt_path()).args(tenant.touch()).run();
    tenant.expect_never_started(&failed);
    expect_words(&failed.done.stderr, &["take every file that the dump names", file, "no row names them any more", "--quiesce"]);
    assert_eq!(tenant.sets().len(), 1, "the dump stands, the files do not");
}

#[test]
fn what_was_missing_or_damaged_before_does_not_block_unless_it_is_strict() {
    let tenant = Tenant::new();
    fs::remove_file(tenant.files_path().join(&tenant.files[1])).unwrap();
    fs::write(tenant.files_path().join(&tenant.files[2]), "something else").unwrap();
    let done = tenant.call().run().expect(0);
    let item = done.item_in("insurance-filestore", &tenant.name);
    assert_eq!((&item["missing"], &item["damaged"]), (&1.into(), &1.into()));
    assert!(done.done.stderr.contains(&tenant.files[1]) && done.done.stderr.contains(&tenant.files[2]), "{}", done.done.stderr);
    let strict = tenant.call().arg("--strict").args(tenant.touch()).run();
    tenant.expect_never_started(&strict);
    expect_words(&strict.done.stderr, &["1 were missing and 1 damaged before", "--strict"]);
    expect_words(&strict.done.stderr, &[&tenant.files[1], &tenant.files[2]]);
    let (dumps, files): (Vec<_>, Vec<_>) = tenant.sets().into_iter().partition(|set| set.starts_with("insurance-pg/"));
    assert_eq!((dumps.len(), files.len()), (2, 1), "what is refused is not committed");
    // A listing cannot tell whether an older one was looked at so closely.
    assert_eq!(tenant.call().args(["--strict", "--reuse-within=1h"]).run().done.code(), Some(2));
}

#[test]
fn files_that_were_not_taken_whole_are_no_insurance() {
    let tenant = Tenant::new();
    let path = tenant.files_path().join("aa").join("a".repeat(40));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, vec![7; 48 << 20]).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (until, grows) = (stop.clone(), path.clone());
    let writer = std::thread::spawn(move || {
        use std::io::Write as _;
        let mut file = fs::OpenOptions::new().append(true).open(grows).unwrap();
        while !until.load(std::sync::atomic::Ordering::Relaxed) {
            file.write_all(&[7; 512]).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    let failed = tenant.call().arg("--receipt").arg(tenant.receipt_path()).args(tenant.touch()).run();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
    tenant.expect_never_started(&failed);
    expect_words(&failed.done.stderr, &["not archived as they were", &"a".repeat(40)]);
    assert_eq!(tenant.sets().len(), 1, "half a snapshot never passes for a whole one");
    let again = tenant.call().arg("--reuse-within=1h").run().expect(0);
    assert_eq!(again.report["receipt"]["snapshots"][0]["reused"], false);
}

#[test]
fn rows_that_are_written_meanwhile_are_told() {
    let tenant = Tenant::new();
    let quiet = tenant.call().run().expect(0);
    assert_eq!(quiet.report["receipt"]["snapshots"][0]["rows_written_meanwhile"], 0);
    let psql = tenant.cluster.bin_dir().join("psql");
    let sql = "INSERT INTO partner SELECT i, 'late' FROM generate_series(1001, 1250) i";
    let programs = tenant.with_pg_dump_then(&format!("'{}' -q -c \"{sql}\"", psql.display()));
    let written = tenant.call().programs(&programs).run().expect(0);
    assert_eq!(written.report["receipt"]["snapshots"][0]["rows_written_meanwhile"], 250);
    let warning = written.report["warnings"][0].as_str().unwrap();
    expect_words(warning, &["250 rows were written", "--quiesce"]);
}

#[test]
fn a_snapshot_that_does_not_restore_is_no_insurance() {
    let tenant = Tenant::new();
    // It dumps, and restores nowhere: the function that the index needs does not work where there are no rows yet.
    tenant.sql("CREATE FUNCTION known(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1 / count(*)::int FROM public.partner'");
    tenant.sql("CREATE TABLE late (i int CHECK (public.known(i) >= 0)); INSERT INTO late VALUES (1)");
    let call = || tenant.call().arg("--receipt").arg(tenant.receipt_path()).args(["--prove"]);
    let failed = call().args(tenant.touch()).run();
    tenant.expect_never_started(&failed);
    expect_words(&failed.done.stderr, &["prove the snapshot of", "it is no insurance"]);
    // It is committed, and still nobody takes it for insurance.
    let again = tenant.call().arg("--reuse-within=1h").run().expect(0);
    assert_eq!(again.report["receipt"]["snapshots"][0]["reused"], false);
}

#[test]
fn two_file_stores_of_one_name_are_refused() {
    let tenant = Tenant::new();
    let other = tenant.job.home().join("other");
    fs::create_dir_all(other.join(&tenant.name)).unwrap();
    let refused = tenant.call().arg(format!("--root={}", other.display())).run().expect(20);
    expect_words(refused.report["error"].as_str().unwrap(), &["tell which file store", "root", "other"]);
}
