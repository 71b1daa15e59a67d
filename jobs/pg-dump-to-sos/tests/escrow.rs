//! Keys that dumps need: named in manifests by fingerprints, and kept in a store of their own.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{path::PathBuf, time::Duration};

use common::{Job, expect_words};
use plana_plan::{
    escrow::{EntryKey, Fingerprint},
    manifest::Manifest,
};
use plana_testkit::{
    ceph::{Bucket, Gateway, User},
    job::{age, bucket::S3, faults::HeldLock, store::FileStore},
    pg::{PgCluster, PgMajor},
};

const KEY: &str = "EXO_ENCRYPTION_KEY";
const SECRET: &str = "b3hvLWVuY3J5cHRpb24ta2V5LW9mLXRoZS10ZXN0cw==";

fn cluster() -> &'static PgCluster {
    PgCluster::shared(PgMajor::V16)
}

/// A database that needs the key, one that does not, and two offline identities.
struct Case {
    job: Job,
    needs: String,
    other: String,
    identities: [PathBuf; 2],
    recipients: [String; 2],
}

impl Case {
    fn new() -> Self {
        let fresh = |prefix: &str| {
            let name = cluster().fresh_database(prefix).unwrap();
            cluster().psql(&name, "CREATE TABLE t AS SELECT generate_series(1, 50) AS i").unwrap();
            name
        };
        let (needs, other) = (fresh("exo"), fresh("plain"));
        let job = common::job().on(cluster()).only(&[&needs, &other]);
        let (one, first) = age::pair(job.home(), "one.key");
        let (two, second) = age::pair(job.home(), "two.key");
        Case { job, needs, other, identities: [one, two], recipients: [first, second] }
    }

    /// Its own lines for `[escrow]`, the store's, and the key's.
    fn configured(&self, store: &str, escrow: &str, key: &str) -> Job {
        let [one, two] = &self.recipients;
        let toml = format!(
            "[store.escrow]\nurl = \"{store}\"\n[escrow]\nrecipients = [\"{one}\", \"{two}\"]\n{escrow}\n\
             [escrow.keys.{KEY}]\ndatabases = [\"{}\"]\n{key}\n",
            self.needs
        );
        self.job.clone().config(&toml)
    }

    fn escrow_url(&self) -> String {
        format!("file://{}", self.job.home().join("escrow").display())
    }

    /// With the key in the environment, and a directory for escrow.
    fn plain(&self) -> Job {
        self.configured(&self.escrow_url(), "", "").env(KEY, SECRET)
    }

    fn kept(&self) -> Vec<EntryKey> {
        let files = FileStore::new(self.job.home().join("escrow")).files();
        files.into_iter().map(|(key, _)| EntryKey::parse(&key).unwrap_or_else(|| panic!("{key}"))).collect()
    }

    /// What that entry holds, by age alone, for each identity.
    fn opened(&self, entry: &EntryKey) -> [Vec<u8>; 2] {
        let sealed = std::fs::read(self.job.home().join("escrow").join(entry.to_string())).unwrap();
        [0, 1].map(|at| age::decrypt(&sealed, &self.identities[at]).expect("age opens it"))
    }
}

fn required(manifest: &Manifest) -> Vec<(&str, Fingerprint)> {
    manifest.requires_key.iter().map(|key| (key.name.as_str(), key.fingerprint.parse().expect("a fingerprint"))).collect()
}

#[test]
fn a_dump_names_its_key_and_the_key_is_kept_for_each_recipient() {
    let case = Case::new();
    let outcome = case.plain().run().expect(0);
    assert_eq!(outcome.warnings(), "");
    let [entry] = &case.kept()[..] else { panic!("{:?}", case.kept()) };
    assert_eq!(required(&case.job.store().set(&case.needs).manifest), [(KEY, entry.fingerprint)]);
    assert_eq!(required(&case.job.store().set(&case.other).manifest), []);
    // Standard tools are enough to get it back.
    assert_eq!(case.opened(entry), [SECRET.as_bytes(), SECRET.as_bytes()]);
    // It is shown nowhere.
    let shown = format!("{}{}", outcome.done.stdout, outcome.done.stderr);
    let manifest = String::from_utf8(case.job.store().set(&case.needs).manifest.to_bytes()).unwrap();
    assert!(!shown.contains(SECRET) && !manifest.contains(SECRET));
    expect_words(&shown, &["was put into escrow", &entry.fingerprint.short()]);
    // The same key again is known again, wherever it comes from: nothing is put twice.
    let file = case.job.home().join("key");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    case.configured(&case.escrow_url(), "", &format!("secret_file = \"{}\"", file.display())).run().expect(0);
    let credentials = case.job.home().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::rename(&file, credentials.join(format!("escrow.keys.{KEY}.secret"))).unwrap();
    case.configured(&case.escrow_url(), "", "").env("CREDENTIALS_DIRECTORY", &credentials).run().expect(0);
    assert_eq!(case.kept(), std::slice::from_ref(entry));
    for set in case.job.store().sets(plana_plan::Area::Pg, &case.needs) {
        assert_eq!(required(&set.manifest), [(KEY, entry.fingerprint)]);
    }
}

#[test]
fn a_rotated_key_is_one_more_and_the_older_one_stays() {
    let case = Case::new();
    case.plain().run().expect(0);
    let outcome = case.plain().env(KEY, "the next key").run().expect(0);
    expect_words(&outcome.done.stderr, &["it is another key than before"]);
    let kept = case.kept();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[0].fingerprint.salt, kept[1].fingerprint.salt, "one salt, or nobody would find the keys of others again");
    let contents: Vec<_> = kept.iter().map(|entry| case.opened(entry)[0].clone()).collect();
    assert!(contents.contains(&SECRET.as_bytes().to_vec()) && contents.contains(&b"the next key".to_vec()));
    // Somebody new must be able to open it too.
    let (third, public) = age::pair(case.job.home(), "three.key");
    case.plain().set("escrow.recipients", &public).env(KEY, "the next key").run().expect(0);
    let new = case.kept().into_iter().find(|entry| !kept.contains(entry)).expect("one more");
    let sealed = std::fs::read(case.job.home().join("escrow").join(new.to_string())).unwrap();
    assert_eq!(age::decrypt(&sealed, &third).as_deref(), Some(&b"the next key"[..]));
    assert_eq!(case.kept().len(), 3);
}

#[test]
fn a_key_that_is_rotated_while_the_dump_is_made_does_not_part_the_manifest_from_the_escrow() {
    let case = Case::new();
    let file = case.job.home().join("key");
    std::fs::write(&file, SECRET).unwrap();
    let job = case.configured(&case.escrow_url(), "", &format!("secret_file = \"{}\"", file.display()));
    let lock = HeldLock::on(cluster(), &case.needs, "t");
    let mut running = job.spawn();
    job.wait_for_pg_dump(&mut running, &case.needs);
    std::fs::write(&file, "rotated meanwhile").unwrap();
    drop(lock);
    common::Outcome::wait(running).expect(0);
    let [entry] = &case.kept()[..] else { panic!("{:?}", case.kept()) };
    assert_eq!(required(&case.job.store().set(&case.needs).manifest), [(KEY, entry.fingerprint)]);
    assert_eq!(case.opened(entry)[0], SECRET.as_bytes());
    job.run().expect(0);
    assert_eq!(case.kept().len(), 2, "the next run keeps the new one");
}

#[test]
fn without_escrow_a_dump_is_made_with_a_warning_or_fails_as_configured() {
    let case = Case::new();
    let nowhere = "file:///nonexistent/there/escrow";
    let no_store = |escrow: &str| {
        let toml = format!("[escrow]\n{escrow}\n[escrow.keys.{KEY}]\ndatabases = [\"{}\"]\n", case.needs);
        case.job.clone().config(&toml).env(KEY, SECRET)
    };
    let fail = "on_missing = \"fail\"";
    type Made<'a> = Box<dyn Fn(&str) -> Job + 'a>;
    let cases: [(Made<'_>, &str, bool); 3] = [
        (Box::new(|escrow| case.configured(nowhere, escrow, "").env(KEY, SECRET)), "nonexistent", true),
        (Box::new(no_store), "[store.escrow]", true),
        (Box::new(|escrow| case.configured(&case.escrow_url(), escrow, "")), "was not found", false),
    ];
    for (job, why, has_fingerprint) in cases {
        let outcome = job("").run().expect(0);
        expect_words(&outcome.item(&case.needs)["warnings"].to_string(), &[KEY, "is in no escrow", why]);
        assert_eq!(outcome.item(&case.other)["warnings"].as_array().map_or(0, Vec::len), 0, "{}", outcome.done.stdout);
        let manifest = case.job.store().sets(plana_plan::Area::Pg, &case.needs).pop().unwrap().manifest;
        assert_eq!((manifest.requires_key.len(), manifest.requires_key[0].name.as_str()), (1, KEY));
        assert_eq!(manifest.requires_key[0].fingerprint.parse::<Fingerprint>().is_ok(), has_fingerprint);
        std::fs::remove_dir_all(case.job.store().root()).unwrap();
        let outcome = job(fail).run().expect(3);
        expect_words(outcome.error(&case.needs), &["escrow.on_missing", KEY, why, "nothing was committed"]);
        assert_eq!(outcome.outcome(&case.other), "done", "one without a key is nobody else's business");
        case.job.store().expect_nothing_of(&case.needs);
        std::fs::remove_dir_all(case.job.store().root()).unwrap();
    }
    assert!(case.kept().is_empty(), "without a key nothing is kept");
}

#[test]
fn the_dumps_own_store_is_refused_however_it_is_spelled() {
    let case = Case::new();
    let home = case.job.home().display().to_string();
    std::fs::create_dir(case.job.home().join("store")).unwrap();
    std::os::unix::fs::symlink(case.job.home().join("store"), case.job.home().join("link")).unwrap();
    for url in ["store", "store/", "store/escrow", "./store", "x/../store", "%73tore", "link", "link/escrow", ""] {
        let outcome = case.configured(&format!("file://{home}/{url}"), "", "").env(KEY, SECRET).run().expect(10);
        expect_words(outcome.run_error(), &["store.escrow.url", "a key beside what it opens", "of its own"]);
        case.job.store().expect_no_manifest();
    }
    for (backups, escrow) in [("s3://one", "s3://one"), ("s3://one/pg", "s3://one/escrow/"), ("s3://one", "s3://One")] {
        let outcome = case.configured(escrow, "", "").store_url(backups).env(KEY, SECRET).run().expect(10);
        expect_words(outcome.run_error(), &["store.escrow.url", "a key beside what it opens"]);
    }
}

#[test]
fn a_malformed_recipient_is_bad_configuration() {
    let case = Case::new();
    let file = case.job.home().join("recipients");
    for (recipient, word) in
        [("age1notakey", "age1notakey"), ("ssh-ed25519 AAAA", "not an age public key"), ("AGE-SECRET-KEY-1QQ", "private key")]
    {
        let outcome = case.plain().set("escrow.recipients", &format!("[\"{recipient}\"]")).run().expect(10);
        expect_words(outcome.run_error(), &["escrow.recipients", word]);
        std::fs::write(&file, recipient).unwrap();
        let outcome = case.plain().set("escrow.recipients_file", file.to_str().unwrap()).run().expect(10);
        expect_words(outcome.run_error(), &["escrow.recipients_file"]);
    }
    case.job.store().expect_no_manifest();
    assert!(!case.job.home().join("escrow").exists());
}

#[test]
fn what_is_cut_or_nobodys_is_no_kept_key() {
    let case = Case::new();
    case.plain().run().expect(0);
    let [entry] = &case.kept()[..] else { panic!("{:?}", case.kept()) };
    let path = case.job.home().join("escrow").join(entry.to_string());
    std::fs::write(&path, "age-encryption.org/v1\n").unwrap();
    case.plain().run().expect(0);
    let kept = case.kept();
    assert_eq!(kept.len(), 2, "an entry that cannot hold the key keeps nothing");
    assert!(kept.iter().all(|kept| kept.fingerprint == entry.fingerprint));
}

#[test]
fn every_key_can_be_kept_at_once_without_a_dump() {
    let case = Case::new();
    let outcome = case.plain().arg("escrow").run().expect(0);
    let keys = outcome.report["escrow"].as_array().unwrap();
    assert_eq!((keys.len(), &keys[0]["name"]), (1, &KEY.into()));
    let made = keys[0]["made"].as_str().unwrap();
    assert_eq!(case.kept().iter().map(ToString::to_string).collect::<Vec<_>>(), [made]);
    assert!(case.plain().arg("escrow").run().expect(0).report["escrow"][0]["made"].is_null());
    let outcome = case.configured(&case.escrow_url(), "", "").arg("escrow").run().expect(1);
    expect_words(outcome.run_error(), &["keep EXO_ENCRYPTION_KEY", "was not found"]);
    let dry = Case::new();
    dry.plain().arg("--dry-run").run().expect(0);
    assert!(!dry.job.home().join("escrow").exists(), "a dry run keeps nothing");
    let none = common::job().on(cluster()).arg("escrow").run().expect(10);
    expect_words(none.run_error(), &["[escrow.keys.NAME]"]);
}

#[test]
fn check_says_whether_keys_are_kept_and_for_how_many() {
    let case = Case::new();
    let lines = |job: &Job| {
        let checks = job.clone().arg("check").run().report["checks"].as_array().cloned().unwrap_or_default();
        let of_us =
            |line: &&serde_json::Value| line["subject"].as_str().is_some_and(|subject| subject.contains("escrow") || subject.contains(KEY));
        checks
            .iter()
            .filter(of_us)
            .map(|line| format!("{} {}", line["verdict"].as_str().unwrap(), line["found"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let before = lines(&case.plain()).join("\n");
    expect_words(&before, &["ok keys are encrypted to 2 recipients", "warning it is in no escrow"]);
    case.plain().run().expect(0);
    let short = case.kept()[0].fingerprint.short();
    expect_words(&lines(&case.plain()).join("\n"), &[&format!("ok today's key ({short}) is in escrow since")]);
    let rotated = lines(&case.plain().env(KEY, "another")).join("\n");
    expect_words(&rotated, &["warning today's key (", "is in no escrow"]);
    let one = case.recipients[0].clone();
    expect_words(&lines(&case.plain().set("escrow.recipients", &one)).join("\n"), &["warning keys are encrypted to one recipient"]);
    let job = case.configured(&case.escrow_url(), "", "");
    expect_words(&lines(&job).join("\n"), &["bad-config the key itself was not found"]);
    job.arg("check").run().expect(10);
    assert!(lines(&common::job().on(cluster())).is_empty(), "nothing is said of keys where there are none");
    assert_eq!(case.kept().len(), 1, "check changes nothing");
}

/// With put and list alone, on two buckets.
struct Buckets {
    case: Case,
    backups: S3,
    escrow: Bucket,
}

impl Buckets {
    fn new() -> Self {
        Buckets { case: Case::new(), backups: S3::new("dumps"), escrow: Gateway::shared().bucket("kept").unwrap() }
    }

    fn job(&self) -> Job {
        let url = format!("s3://{}/keys", self.escrow.name());
        self.case.configured(&url, "", "").into_bucket(&self.backups).env(KEY, SECRET).limit(Duration::from_secs(120))
    }

    fn kept(&self) -> Vec<EntryKey> {
        let own = |key: String| EntryKey::parse(key.strip_prefix("keys/").unwrap_or(&key)).unwrap_or_else(|| panic!("{key}"));
        self.escrow.keys().unwrap().into_iter().map(own).collect()
    }
}

#[test]
fn a_key_that_may_put_and_list_is_enough_for_the_escrow_store() {
    let buckets = Buckets::new();
    let outcome = buckets.job().run().expect(0);
    assert_eq!(outcome.warnings(), "");
    buckets.job().run().expect(0);
    let [entry] = &buckets.kept()[..] else { panic!("{:?}", buckets.kept()) };
    let sealed = buckets.escrow.get(&format!("keys/{entry}")).unwrap();
    assert_eq!(age::decrypt(&sealed, &buckets.case.identities[1]).as_deref(), Some(SECRET.as_bytes()));
    buckets.job().env(KEY, "rotated").run().expect(0);
    assert_eq!(buckets.kept().len(), 2);
    let line = |outcome: &common::Outcome, found: &str| outcome.report["checks"].to_string().contains(found);
    let checked = buckets.job().arg("check").run();
    assert_eq!(buckets.kept().len(), 2, "check leaves nothing where nobody sweeps");
    assert!(line(&checked, "the key may put and list") && line(&checked, "the same access key as the backups"), "{}", checked.done.stdout);
    // Without the right to list nobody knows what is kept: that is said, and nothing is lost.
    buckets.escrow.set_rights(&[(User::Backup, &["s3:PutObject"])]).unwrap();
    let outcome = buckets.job().run().expect(0);
    expect_words(&outcome.warnings(), &[KEY, "is in no escrow", "access denied"]);
    assert_eq!(buckets.job().set("escrow.on_missing", "fail").run().expect(3).outcome(&buckets.case.needs), "failed");
    buckets.escrow.set_rights(&[(User::Backup, &["s3:ListBucket"])]).unwrap();
    let outcome = buckets.job().env(KEY, "a third").run().expect(0);
    expect_words(&outcome.warnings(), &[KEY, "is in no escrow", "the right to put"]);
    assert_eq!(buckets.kept().len(), 2);
}

#[test]
fn two_runs_at_once_keep_the_key_and_agree_afterwards() {
    let buckets = Buckets::new();
    let jobs = [buckets.job().arg("escrow"), buckets.job().arg("escrow")];
    let running: Vec<_> = jobs.iter().map(Job::spawn).collect();
    running.into_iter().for_each(|running| drop(common::Outcome::wait(running).expect(0)));
    assert!((1..=2).contains(&buckets.kept().len()));
    buckets.job().run().expect(0);
    // Where each had made a salt of its own, both are kept, and from now on all use the same one.
    let kept = buckets.kept();
    assert!((1..=2).contains(&kept.len()), "{kept:?}");
    let (_, manifest) = buckets.backups.expect_one(&buckets.case.needs);
    let smallest = kept.iter().map(|entry| entry.fingerprint).min_by_key(|fingerprint| fingerprint.salt).unwrap();
    assert_eq!(required(&manifest), [(KEY, smallest)]);
}
