//! `list`, `show` and `check`: what there is, and whether it is whole.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;

use common::{Site, TENANT, error, json, tamper};
use plana_testkit::pg::PgMajor;

#[test]
fn sets_are_listed_newest_first_with_what_a_person_asks_for() {
    let site = Site::new(PgMajor::V16);
    site.add_tenant("beta.planapulse.app");
    site.back_up(&["--only", "*.planapulse.app"]);
    let all = json(&site.job(&["list", "*.planapulse.app"]).run().unwrap().expect_code(0));
    let names: Vec<_> = all["sets"].as_array().unwrap().iter().map(|set| set["name"].as_str().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| **name == TENANT).count(), 2, "{all:#}");
    let stamps: Vec<_> = all["sets"].as_array().unwrap().iter().map(|set| set["stamp"].as_str().unwrap().to_owned()).collect();
    assert!(stamps.is_sorted_by(|a, b| a >= b), "{stamps:?}");
    let long = json(&site.job(&["list", TENANT, "--long", "--area", "pg"]).run().unwrap().expect_code(0));
    assert_eq!(long["sets"][0]["rows"], 6500, "{long:#}");
    assert_eq!(long["sets"][0]["verified"][0], "size-and-fsync");
    assert_eq!(long["sets"][0]["label"], "unclassified");

    let text = site.job(&["list", "--output", "text"]).run().unwrap().expect_code(0).stdout;
    assert!(text.starts_with("SET") && text.contains(TENANT) && text.contains("KEPT UNTIL"), "{text}");
    assert!(text.trim_end().lines().last().unwrap().contains("sets of"), "{text}");
}

#[test]
fn incomplete_sets_are_shown_only_where_asked_for_and_never_as_backups() {
    let site = Site::new(PgMajor::V15);
    let set = site.set("pg", TENANT);
    fs::remove_file(site.store().join(&set).join("manifest.json")).unwrap();
    assert_eq!(json(&site.job(&["list", TENANT]).run().unwrap().expect_code(0))["sets"].as_array().unwrap().len(), 0);
    let all = json(&site.job(&["list", TENANT, "--all"]).run().unwrap().expect_code(0));
    assert_eq!((&all["sets"][0]["committed"], all["sets"][0]["set"].as_str()), (&false.into(), Some(set.as_str())), "{all:#}");
    for arguments in [vec!["check", &set], vec!["restore", &set, "--into", "x"], vec!["show", &set]] {
        let done = site.job(&arguments).run().unwrap();
        assert_eq!(done.code(), Some(1), "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains("no backup") && done.stderr.contains("manifest is not there"), "{}", done.stderr);
    }
}

#[test]
fn a_set_is_shown_with_its_tables() {
    let site = Site::new(PgMajor::V18);
    let set = site.set("pg", TENANT);
    let text = site.job(&["show", &set, "--output", "text"]).run().unwrap().expect_code(0).stdout;
    for words in ["public.account_move", "5,000", "PostgreSQL 18", "owner plana", "SHA-256", "large objects  1"] {
        assert!(text.contains(words), "{words} is missing:\n{text}");
    }
    let whole = json(&site.job(&["show", &set]).run().unwrap().expect_code(0));
    assert_eq!(whole["manifest"]["database"]["rows"], 6500);
}

#[test]
fn a_whole_store_is_checked_and_nothing_touches_the_disk() {
    let site = Site::new(PgMajor::V16);
    let done = site.job(&["check", "--latest", "*"]).run().unwrap().expect_code(0);
    let report = json(&done);
    let tenant = report["items"].as_array().unwrap().iter().find(|item| item["name"] == TENANT).unwrap();
    assert_eq!((&tenant["outcome"], &tenant["rows"]), (&"done".into(), &6500.into()), "{report:#}");
    let nothing = site.job(&["check", "--latest", "nobody"]).run().unwrap().expect_code(1);
    assert!(error(&nothing).contains("there is none"), "{}", nothing.stdout);
}

#[test]
fn damage_of_every_kind_is_found() {
    let site = Site::new(PgMajor::V16);
    let set = site.set("pg", TENANT);
    let (payload, manifest) = (site.payload(&set), site.store().join(&set).join("manifest.json"));
    let (bytes, text) = (fs::read(&payload).unwrap(), fs::read_to_string(&manifest).unwrap());
    let lie = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let flipped = |at: usize| {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        changed
    };
    let middle = bytes.len() / 2;
    let hash = |key: &str| {
        let at = text.find(&format!("\"{key}\": \"")).expect("a hash") + key.len() + 5;
        let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
        [&text[..at], other, &text[at + 1..]].concat()
    };
    for (what, payload_now, manifest_now, words) in [
        ("a bit in the middle", flipped(middle), text.clone(), "damaged"),
        ("a bit at the beginning", flipped(0), text.clone(), "zstd"),
        ("cut short", bytes[..middle].to_vec(), text.clone(), "written over"),
        ("a byte more", [bytes.as_slice(), b"x"].concat(), text.clone(), "written over"),
        (
            "a manifest that lies about rows",
            bytes.clone(),
            lie("\"rows\": 5000", "\"rows\": 4999").replacen("\"rows\": 6500", "\"rows\": 6499", 1),
            "account_move",
        ),
        ("a manifest whose sum is wrong", bytes.clone(), lie("\"rows\": 6500", "\"rows\": 6501"), "contradicts"),
        ("a manifest of another set", bytes.clone(), lie("\"name\": \"acme.", "\"name\": \"other."), "describes"),
        ("a manifest from the future", bytes.clone(), lie("\"schema\": 1", "\"schema\": 99"), "newer plana-jobs"),
        (
            "a manifest that leaves the tables out",
            bytes.clone(),
            lie("\"database\": {", "\"forgotten\": {"),
            "does not say what its dump holds",
        ),
        ("a manifest with another hash of what is stored", bytes.clone(), hash("stored_sha256"), "stored bytes do not have the SHA-256"),
        ("a manifest with another hash of the content", bytes.clone(), hash("content_sha256"), "content does not have the SHA-256"),
        ("no JSON", bytes.clone(), text[..text.len() / 2].to_owned(), "not a manifest"),
    ] {
        fs::write(&payload, payload_now).unwrap();
        fs::write(&manifest, manifest_now).unwrap();
        let done = site.job(&["check", &set]).run().unwrap().expect_code(1);
        assert!(error(&done).contains(words), "{what}: {}", error(&done));
        // What a check would not believe is not restored either.
        let done = site.job(&["restore", &set, "--into", "copy"]).run().unwrap();
        let expected = if what == "a manifest that leaves the tables out" { 20 } else { 1 };
        assert_eq!(done.code(), Some(expected), "{what}: {}", done.stderr);
        assert!(!site.databases().contains(&"copy".to_owned()), "{what}");
        site.expect_no_scratch();
    }
    fs::write(&payload, &bytes).unwrap();
    fs::write(&manifest, &text).unwrap();
    site.job(&["check", &set]).run().unwrap().expect_code(0);
    // Two sets whose payloads were swapped.
    site.add_tenant("beta.planapulse.app");
    site.cluster.psql("beta.planapulse.app", "DELETE FROM account_move WHERE id % 2 = 0").unwrap();
    site.back_up(&["--only", "beta.planapulse.app"]);
    let other = fs::read(site.payload(&site.set("pg", "beta.planapulse.app"))).unwrap();
    tamper(&payload, |bytes| *bytes = other);
    assert_eq!(site.job(&["check", &set]).run().unwrap().code(), Some(1));
}
