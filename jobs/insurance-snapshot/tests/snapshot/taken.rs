//! What a snapshot holds, how long it is kept, and how it comes back.

use std::{fs, time::Duration};

use plana_plan::{Area, SetKey};
use plana_testkit::{job::expect_words, pg::PgMajor};

use crate::Tenant;

#[test]
fn a_tenant_is_insured_and_comes_back_by_the_receipts_own_command() {
    for (major, name) in [(PgMajor::V15, None), (PgMajor::V16, Some("wéird 'tenant' \\ 100%")), (PgMajor::V18, None)] {
        let tenant = Tenant::named(major, name);
        let outcome = tenant.call().arg("--receipt").arg(tenant.receipt_path()).run().expect(0);
        let receipt = tenant.receipt();
        assert_eq!(serde_json::to_value(&receipt).unwrap(), outcome.report["receipt"]);
        let [snapshot] = &receipt.snapshots[..] else { panic!("{receipt:?}") };
        let [dump, files] = &snapshot.sets[..] else { panic!("{receipt:?}") };
        assert_eq!((dump.area, files.area), (Area::InsurancePg, Area::InsuranceFilestore));
        assert_eq!((dump.rows, dump.tables), (Some(511), Some(2)));
        assert_eq!((files.files, files.named, files.missing, files.damaged), (Some(8), Some(8), Some(0), Some(0)));
        for set in [dump, files] {
            let key: SetKey = set.set.parse().unwrap();
            assert_eq!((key.stamp, key.label.label.as_str()), (receipt.stamp, "upgrade-17-to-18"));
            assert_eq!(key.label.until.unwrap().instant(), receipt.stamp.instant() + chrono::TimeDelta::days(14));
            assert!(tenant.job.store().root().join(&set.objects[0]).exists());
        }
        assert_eq!(snapshot.kept_until.instant(), receipt.stamp.instant() + chrono::TimeDelta::days(14));
        // The operation goes wrong.
        tenant.sql("DELETE FROM partner WHERE id > 3; DROP TABLE ir_attachment");
        fs::remove_dir_all(tenant.files_path()).unwrap();
        let said = tenant.restore(&snapshot.restore);
        assert_eq!(tenant.sql("SELECT count(*), max(name) FROM partner"), "500|P99", "{said}");
        assert_eq!(tenant.sql("SELECT count(store_fname) FROM ir_attachment"), "8");
        for file in &tenant.files {
            assert!(tenant.files_path().join(file).exists(), "{file}");
        }
    }
}

#[test]
fn halves_from_two_calls_under_one_stamp_are_one_snapshot() {
    let tenant = Tenant::new();
    let first = tenant.call_for("--database").run().expect(0);
    let stamp = first.report["receipt"]["stamp"].as_str().unwrap().to_owned();
    let second = tenant.call_for("--filestore").arg(format!("--stamp={stamp}")).run().expect(0);
    assert_eq!(second.report["receipt"]["stamp"], stamp.as_str());
    assert_eq!(tenant.sets().iter().filter(|set| set.contains(&stamp)).count(), 2);
    // A dump alone has its own way back.
    assert!(first.report["receipt"]["snapshots"][0]["restore"].as_str().unwrap().starts_with("restore-from-sos restore insurance-pg/"));
    // Both together are young enough to be used again, and neither alone passes for a whole one.
    let again = tenant.call().arg("--reuse-within=1h").run().expect(0);
    assert_eq!(again.item_in("insurance-filestore", &tenant.name)["outcome"], "fresh");
    assert_eq!(again.report["receipt"]["snapshots"][0]["reused"], true);
    assert_eq!(tenant.sets().len(), 2);
    // The files would be older than the dump.
    let refused = tenant.call_for("--database").arg(format!("--stamp={stamp}")).run().expect(20);
    expect_words(refused.report["error"].as_str().unwrap(), &["files were taken under it before", "the database goes first"]);
    assert_eq!(tenant.sets().len(), 2);
    let refused = tenant.call().arg("--stamp=20200101T000000Z").run().expect(20);
    expect_words(refused.report["error"].as_str().unwrap(), &["more than 24 h old", "leave --stamp out"]);
    let refused = tenant.call().arg("--stamp=20990101T000000Z").run().expect(20);
    expect_words(refused.report["error"].as_str().unwrap(), &["in the future"]);
}

#[test]
fn a_snapshot_is_used_again_only_while_it_is_young_whole_and_kept_as_long() {
    let tenant = Tenant::new();
    tenant.call_for("--database").run().expect(0);
    // No files: this one is no snapshot of the tenant.
    tenant.call().arg("--reuse-within=1h").run().expect(0);
    assert_eq!(tenant.sets().len(), 3);
    tenant.call().arg("--reuse-within=1h").run().expect(0);
    assert_eq!(tenant.sets().len(), 3);
    tenant.call().args(["--reuse-within=1h", "--keep=30d"]).run().expect(0);
    assert_eq!(tenant.sets().len(), 5);
    std::thread::sleep(Duration::from_secs(2));
    tenant.call().arg("--reuse-within=1s").run().expect(0);
    assert_eq!(tenant.sets().len(), 7);
}

#[test]
fn a_proof_restores_the_dump_before_it_counts() {
    let tenant = Tenant::new();
    // Other tests prove theirs on the same server at the same time.
    let done = tenant.call().arg("--prove").env("PLANA_JOBS__DUMP__SCRATCH_PREFIX", "taken_scratch_").run().expect(0);
    assert_eq!(done.report["receipt"]["snapshots"][0]["proven_by_restore"], true);
    expect_words(&done.done.stderr, &["taken_scratch_"]);
    expect_words(&done.done.stderr, &["511", "every table has its rows", "every file compared with its name"]);
    let left = tenant.cluster.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'taken_scratch_%'").unwrap();
    assert_eq!(left, "0");
}

#[test]
fn less_than_a_week_is_refused() {
    let tenant = Tenant::new();
    let refused = tenant.call().arg("--keep=6d").run().expect(20);
    expect_words(refused.report["error"].as_str().unwrap(), &["7 days at least", "--keep"]);
    assert!(tenant.sets().is_empty());
    let done = tenant.call().arg("--keep=7d").run().expect(0);
    assert_eq!(done.report["outcome"], "done");
}

#[test]
fn a_name_that_matches_nothing_is_refused_before_anything_begins() {
    let tenant = Tenant::new();
    for (part, words) in [
        ("--tenant=nobody", ["the database nobody", "none of that name"]),
        ("--filestore=nobody", ["file store of nobody", "filestore.sources"]),
    ] {
        let refused = tenant.call().arg(part).run().expect(20);
        expect_words(refused.report["error"].as_str().unwrap(), &words);
    }
    let twice = tenant.call().arg(format!("--database={}", tenant.name)).run();
    assert_eq!(twice.done.code(), Some(2), "{}", twice.done.stderr);
    assert!(tenant.sets().is_empty());
}

#[test]
fn a_tenant_without_files_needs_a_flag() {
    let tenant = Tenant::new();
    fs::remove_dir_all(tenant.files_path()).unwrap();
    fs::create_dir_all(tenant.root().join("another")).unwrap();
    let refused = tenant.call().run().expect(20);
    expect_words(refused.report["error"].as_str().unwrap(), &["no source has a directory of that name", "--no-filestore"]);
    assert!(tenant.sets().is_empty());
    let done = tenant.call().arg("--no-filestore").run().expect(0);
    assert_eq!(done.report["receipt"]["snapshots"][0]["sets"].as_array().unwrap().len(), 1);
}

#[test]
fn a_dry_run_shows_what_would_be_taken_and_takes_nothing() {
    let tenant = Tenant::new();
    let planned = tenant.call().args(["--dry-run", "--quiesce=false", "--receipt"]).arg(tenant.receipt_path()).args(tenant.touch()).run();
    assert_eq!(planned.done.code(), Some(0), "{}", planned.done.stderr);
    assert!(planned.done.stderr.contains("would be done") && !tenant.witness().exists() && !tenant.receipt_path().exists());
    assert!(tenant.sets().is_empty());
}
