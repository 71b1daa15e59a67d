//! Keys that dumps need: named in manifests by fingerprints, and kept in a store of their own.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod buckets;
mod kept;
mod refused;
mod sources;

use std::path::PathBuf;

use common::{Job, expect_words};
use plana_plan::{
    escrow::{EntryKey, Fingerprint},
    manifest::Manifest,
};
use plana_testkit::{
    job::{age, store::FileStore},
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
        self.configured_for(&[&self.needs], store, escrow, key)
    }

    /// The same where these databases need the key.
    fn configured_for(&self, databases: &[&str], store: &str, escrow: &str, key: &str) -> Job {
        let [one, two] = &self.recipients;
        let toml = format!(
            "[store.escrow]\nurl = \"{store}\"\n[escrow]\nrecipients = [\"{one}\", \"{two}\"]\n{escrow}\n\
             [escrow.keys.{KEY}]\ndatabases = {databases:?}\n{key}\n"
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
