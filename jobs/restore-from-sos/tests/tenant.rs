//! `restore-tenant`: a database and its files on a real server, and the file of every attachment.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{fs, path::PathBuf};

use common::{
    Site, TENANT, contents, error,
    files::{Files, NewSet, contents_of},
    json,
};
use plana_plan::{Area, manifest::FileStoreFacts};
use plana_testkit::{bin::Bin, pg::PgMajor};
use serde_json::Value;

/// A tenant whose rows name every file of its store, and the stamp of its dump.
struct Tenant {
    site: Site,
    files: Files,
    disk: tempfile::TempDir,
    dumped: String,
}

impl Tenant {
    fn new(major: PgMajor) -> Self {
        let site = Site::empty(major);
        site.add_tenant(TENANT);
        let files = Files::new(40);
        site.cluster.psql(TENANT, "SET ROLE plana; ALTER TABLE ir_attachment ADD res_model text, ADD res_id int").unwrap();
        let tenant = Tenant { site, files, disk: tempfile::tempdir().unwrap(), dumped: String::new() };
        let paths: Vec<String> = contents_of(&tenant.files.path()).iter().map(|(path, _)| path.display().to_string()).collect();
        for path in paths.iter().filter(|path| !path.starts_with("checklist")) {
            tenant.name(path, "scan.pdf");
        }
        tenant
    }

    /// A row that names a file.
    fn name(&self, path: &str, name: &str) {
        let row =
            format!("INSERT INTO ir_attachment (store_fname, name, res_model, res_id) VALUES ('{path}', '{name}', 'account.move', 7)");
        self.site.cluster.psql(TENANT, &row).unwrap();
    }

    fn dump(mut self) -> Self {
        self.site.back_up(&["--only", TENANT]);
        let set = self.site.set("pg", TENANT);
        self.dumped = set.rsplit('/').next().unwrap().split('.').next().unwrap().to_owned();
        self
    }

    fn store_files(&self, stamp: &str, change: impl FnOnce(&mut FileStoreFacts)) -> String {
        NewSet::new(&self.site.store(), TENANT, stamp).of_tree(&self.files.path(), change)
    }

    fn to(&self) -> PathBuf {
        self.disk.path().join("acme_check")
    }

    fn restore(&self, arguments: &[&str]) -> Bin {
        self.site.job(&["restore-tenant", TENANT, "--into", "acme_check", "--to"]).arg(self.to()).args(arguments)
    }

    /// Neither a database nor a directory, finished or not, is there.
    #[track_caller]
    fn expect_nothing(&self) {
        assert_eq!(fs::read_dir(self.disk.path()).unwrap().count(), 0);
        assert!(!self.site.databases().contains(&"acme_check".to_owned()));
        self.site.expect_no_scratch();
    }
}

/// What the report says of the files.
fn of_files(report: &Value) -> &Value {
    report["items"].as_array().unwrap().iter().find(|item| item["area"] == "filestore").unwrap()
}

#[test]
fn a_tenant_comes_back_whole() {
    for major in [PgMajor::V16, PgMajor::V18] {
        let tenant = Tenant::new(major).dump();
        tenant.store_files("20200101T000000Z", |_| {});
        let right = tenant.store_files(&tenant.dumped, |_| {});
        let planned = tenant.restore(&["--dry-run"]).run().unwrap().expect_code(0);
        assert_eq!(json(&planned)["items"].as_array().unwrap().len(), 2, "{}", planned.stdout);
        tenant.expect_nothing();
        let done = tenant.restore(&[]).run().unwrap().expect_code(0);
        let report = json(&done);
        let files = of_files(&report);
        assert_eq!((&files["key"], &files["attachments"], &files["missing"]), (&right.into(), &40.into(), &0.into()), "{}", done.stdout);
        assert_eq!(contents(&tenant.site.cluster, "acme_check"), contents(&tenant.site.cluster, TENANT));
        assert!(contents_of(&tenant.to()) == contents_of(&tenant.files.path()));
        // Once more in the same places, which give way only when it is said.
        let refused = tenant.restore(&[]).run().unwrap().expect_code(20);
        assert!(error(&refused).contains("there is a database of that name"), "{}", refused.stdout);
        assert!(!refused.stderr.contains("unpacking"), "nothing is begun before that is known: {}", refused.stderr);
        tenant.site.cluster.psql("postgres", "DROP DATABASE acme_check").unwrap();
        let refused = tenant.restore(&[]).run().unwrap().expect_code(20);
        assert!(error(&refused).contains("there is a directory of that name"), "{}", refused.stdout);
        assert!(!tenant.site.databases().contains(&"acme_check".to_owned()));
        fs::remove_dir_all(tenant.to()).unwrap();
        tenant.restore(&[]).run().unwrap().expect_code(0);
        let replaced = tenant.restore(&["--replace"]).run().unwrap().expect_code(0);
        for item in json(&replaced)["items"].as_array().unwrap() {
            assert!(item["old_one_kept_as"].as_str().is_some_and(|kept| kept.contains("_kept_")), "{}", replaced.stdout);
        }
        tenant.site.expect_no_scratch();
    }
}

#[test]
fn files_from_before_the_dump_are_used_only_when_that_is_said() {
    let tenant = Tenant::new(PgMajor::V16).dump();
    let none = tenant.restore(&[]).run().unwrap().expect_code(20);
    assert!(error(&none).contains("there is no set of them"), "{}", none.stdout);
    let older = tenant.store_files("20200101T000000Z", |_| {});
    tenant.store_files("20990101T000000Z", |_| {});
    let refused = tenant.restore(&[]).run().unwrap().expect_code(20);
    assert!(error(&refused).contains(&older) && error(&refused).contains("--older-files"), "{}", refused.stdout);
    tenant.expect_nothing();
    // The file of a row that was written between the files and the dump.
    let done = tenant.restore(&["--older-files"]).run().unwrap().expect_code(0);
    assert!(json(&done)["warnings"].to_string().contains("before the dump"), "{}", done.stdout);
}

#[test]
fn each_attachment_whose_file_is_missing_or_damaged_is_listed() {
    let tenant = Tenant::new(PgMajor::V16);
    let paths: Vec<String> = contents_of(&tenant.files.path()).iter().map(|(path, _)| path.display().to_string()).collect();
    let [gone, known, rotten] = [&paths[0], &paths[1], &paths[2]];
    tenant.name("../../etc/passwd", "hostile\u{1b}[31m");
    tenant.name(known, "the same file again");
    let tenant = tenant.dump();
    fs::remove_file(tenant.files.path().join(known)).unwrap();
    fs::write(tenant.files.path().join(rotten), "rotten").unwrap();
    // Missing and damaged when it was backed up, and the manifest says so: warnings, but for the row that names no file at all.
    tenant.store_files("20200101T000000Z", |facts| facts.missing.add(known.as_bytes(), None));
    let lost = tenant.restore(&["--older-files"]).run().unwrap().expect_code(3);
    assert!(error(&lost).contains("1 of 42 have none"), "{}", lost.stdout);
    let id =
        |path: &str| tenant.site.cluster.psql(TENANT, &format!("SELECT min(id) FROM ir_attachment WHERE store_fname = '{path}'")).unwrap();
    let report = json(&lost);
    let files = of_files(&report);
    assert_eq!((&files["missing"], &files["damaged"]), (&3.into(), &1.into()));
    let warnings: Vec<&str> = files["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap()).collect();
    for expected in [
        format!("attachment {} `scan.pdf` of account.move 7: {known} is missing, and was when it was backed up", id(known)),
        format!("attachment {} `scan.pdf` of account.move 7: {rotten} is damaged, and was when it was backed up", id(rotten)),
        format!(
            "attachment {} `hostile\\u{{1b}}[31m` of account.move 7: ../../etc/passwd is no path of a file store",
            id("../../etc/passwd")
        ),
    ] {
        assert!(warnings.contains(&expected.as_str()), "{expected}: {warnings:#?}");
    }
    assert!(warnings.iter().any(|warning| warning.contains("`the same file again`")), "{warnings:#?}");
    assert!(contents_of(&tenant.to()) == contents_of(&tenant.files.path()), "both are in their places all the same");

    // Without the hostile row nothing is lost that the backup had.
    tenant.site.cluster.psql(TENANT, "DELETE FROM ir_attachment WHERE store_fname LIKE '..%'").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let tenant = tenant.dump();
    tenant.store_files(&tenant.dumped, |facts| facts.missing.add(known.as_bytes(), None));
    let warned = tenant.restore(&["--replace"]).run().unwrap().expect_code(0);
    assert_eq!(of_files(&json(&warned))["missing"], 2, "{}", warned.stdout);

    // A file that was deleted between the dump and the files: the manifest does not know of it.
    fs::remove_file(tenant.files.path().join(gone)).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let tenant = tenant.dump();
    tenant.store_files(&tenant.dumped, |facts| facts.missing.add(known.as_bytes(), None));
    let lost = tenant.restore(&["--replace"]).run().unwrap().expect_code(3);
    assert!(error(&lost).contains("1 of 41 have none") && error(&lost).contains("--files-of"), "{}", lost.stdout);
    assert!(lost.stdout.contains(&format!("{gone} is missing\"")), "{}", lost.stdout);
}

#[test]
fn what_fails_leaves_neither_of_them() {
    // The files cannot be believed: the database is not begun.
    let tenant = Tenant::new(PgMajor::V16).dump();
    let set = tenant.store_files(&tenant.dumped, |_| {});
    let payload = fs::read_dir(tenant.site.store().join(&set)).unwrap().map(|entry| entry.unwrap().path());
    let payload = payload.into_iter().find(|path| path.to_string_lossy().ends_with(".gz")).unwrap();
    let good = fs::read(&payload).unwrap();
    fs::write(&payload, &good[..good.len() - 5]).unwrap();
    let done = tenant.restore(&[]).run().unwrap().expect_code(1);
    assert!(!done.stderr.contains("restoring pg/"), "{}", done.stderr);
    tenant.expect_nothing();
    fs::write(&payload, good).unwrap();
    // The database cannot be restored: the files, which are proven by then, are removed again.
    let done = tenant.restore(&["--hook", "exit 3"]).run().unwrap().expect_code(1);
    assert!(error(&done).contains("exit status: 3"), "{}", done.stdout);
    tenant.expect_nothing();
    // One table is no tenant.
    let done = tenant.restore(&["--table", "public.res_partner"]).run().unwrap().expect_code(20);
    assert!(error(&done).contains("restore --table"), "{}", done.stdout);
    tenant.restore(&[]).run().unwrap().expect_code(0);
}

/// The files may take an hour: what the server lacks for the dump is said before, and it is what `restore` says.
#[test]
fn what_the_server_lacks_is_said_before_the_files_are_unpacked() {
    let tenant = Tenant::new(PgMajor::V16);
    let sql = |database: &str, sql: &str| tenant.site.cluster.psql(database, sql).unwrap();
    sql("postgres", "CREATE ROLE \"the reader\"; CREATE ROLE auditor");
    let policy = "ALTER TABLE account_move ENABLE ROW LEVEL SECURITY;
                  CREATE POLICY theirs ON account_move FOR SELECT TO \"the reader\" USING (id > 1);
                  GRANT SELECT ON account_move TO auditor";
    sql(TENANT, policy);
    let tenant = tenant.dump();
    tenant.store_files(&tenant.dumped, |_| {});
    let sql = |database: &str, sql: &str| tenant.site.cluster.psql(database, sql).unwrap();
    sql(TENANT, "DROP POLICY theirs ON account_move; REVOKE ALL ON account_move FROM auditor");
    sql("postgres", "DROP ROLE \"the reader\"; DROP ROLE auditor");
    let lacking = ["`the reader`, which a row-level policy is for", "`auditor`, which grants name"];
    let alone = tenant.site.job(&["restore", TENANT, "--into", "acme_check"]).run().unwrap().expect_code(1);
    let refused = tenant.restore(&[]).run().unwrap().expect_code(1);
    assert!(!refused.stderr.contains("unpacking"), "the files were begun: {}", refused.stderr);
    for said in [error(&alone), error(&refused)] {
        assert!(lacking.iter().all(|role| said.contains(role)), "{said}");
    }
    let planned = tenant.restore(&["--dry-run"]).run().unwrap().expect_code(0);
    let warnings = json(&planned)["items"][0]["warnings"].to_string();
    assert!(lacking.iter().all(|role| warnings.contains(role)), "{}", planned.stdout);
    tenant.expect_nothing();
    sql("postgres", "CREATE ROLE \"the reader\"; CREATE ROLE auditor; ALTER ROLE plana_restore BYPASSRLS");
    tenant.restore(&[]).run().unwrap().expect_code(0);
}

#[test]
fn insurance_of_both_belongs_together() {
    let tenant = Tenant::new(PgMajor::V16);
    let refused = tenant.restore(&["--area", "insurance-pg"]).run().unwrap().expect_code(1);
    assert!(error(&refused).contains("insurance-pg"), "{}", refused.stdout);
    let tenant = tenant.dump();
    // Another name, as where two sources hold trees of one tenant.
    let set = NewSet { area: Area::Filestore, ..NewSet::new(&tenant.site.store(), "acme-v18", &tenant.dumped) }
        .of_tree(&tenant.files.path(), |_| {});
    let done = tenant.restore(&["--files-of", "acme-v18"]).run().unwrap().expect_code(0);
    assert_eq!(of_files(&json(&done))["key"], set.as_str());
    let by_set = tenant.restore(&["--files-of", &set, "--replace"]).run().unwrap().expect_code(0);
    assert_eq!(of_files(&json(&by_set))["attachments"], 40);
}

/// As an operator's night and morning: the dump, the file stores after it, a tenant beside itself.
#[test]
fn what_both_jobs_have_stored_belongs_together() {
    let tenant = Tenant::new(PgMajor::V16);
    let lost = contents_of(&tenant.files.path())[3].0.clone();
    let root = tempfile::tempdir().unwrap();
    fs::rename(tenant.files.path(), root.path().join(TENANT)).unwrap();
    fs::remove_file(root.path().join(TENANT).join(&lost)).unwrap();
    let tenant = tenant.dump();
    tenant.site.back_up_files(root.path()).expect_code(0);
    let done = tenant.restore(&[]).run().unwrap().expect_code(0);
    let report = json(&done);
    let files = of_files(&report);
    assert_eq!((&files["attachments"], &files["missing"], &files["files"]), (&40.into(), &1.into(), &40.into()), "{}", done.stdout);
    assert!(files["warnings"].to_string().contains("is missing, and was when it was backed up"), "{}", done.stdout);
    assert!(contents_of(&tenant.to()) == contents_of(&root.path().join(TENANT)));
    let checked = tenant.site.job(&["check", "--latest", TENANT, "--area", "filestore", "--area", "pg"]).run().unwrap().expect_code(0);
    assert_eq!(json(&checked)["items"].as_array().unwrap().len(), 2);
    tenant.site.job(&["drill", "--area", "filestore"]).run().unwrap().expect_code(0);
}
