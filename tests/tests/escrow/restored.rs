//! Restores of what needs a key: refused without it, and with another.

use std::{fs, os::unix::fs::PermissionsExt as _};

use plana_plan::Area;
use plana_testkit::job::expect_words;

use crate::{Exo, KEY, SECRET, error, key_names};

#[test]
fn an_exo_dump_is_restored_only_with_the_key_that_it_was_written_with() {
    let exo = Exo::new();
    exo.back_up("pg-dump-to-sos", &[]).expect_code(0);
    let sets = exo.store().committed();
    let needing: Vec<_> = sets.iter().filter(|set| !set.manifest.requires_key.is_empty()).map(|set| set.manifest.name.as_str()).collect();
    assert_eq!(needing, ["exo"], "the other databases need no key");
    let [entry] = &exo.kept()[..] else { panic!("{:?}", exo.kept()) };
    let short = entry.fingerprint.short();
    let before = exo.databases();

    // Without the key, and with another: refused, with the command that gets the right one.
    let recover = format!("escrow recover {KEY}@{short} --identity FILE");
    let without = exo.restore(&["restore", "exo", "--into", "copy"]).run().unwrap().expect_code(20);
    expect_words(&error(&without), &["unreadable without the key EXO_ENCRYPTION_KEY", "not at hand", &recover, "--without-key"]);
    let wrong = exo.key_file("wrong", "another key");
    for call in [
        exo.restore(&["restore", "exo", "--into", "copy", "--key", &wrong]),
        exo.restore(&["restore", "exo", "--into", "copy"]).env(KEY, "another key"),
    ] {
        let refused = call.run().unwrap().expect_code(20);
        expect_words(&error(&refused), &["is not the one that it was written with", &recover, "--without-key"]);
        assert!(!refused.stdout.contains("another key") && !refused.stderr.contains("another key"));
    }
    let missing =
        exo.restore(&["restore", "exo", "--into", "copy", "--key", &format!("{KEY}=/nonexistent")]).run().unwrap().expect_code(10);
    expect_words(&error(&missing), &["/nonexistent", "--key"]);
    assert_eq!(exo.databases(), before, "nothing was begun");
    let planned = exo.restore(&["restore", "exo", "--into", "copy", "--dry-run"]).run().unwrap().expect_code(0);
    expect_words(&planned.stdout, &["unreadable without the key"]);

    // Recovered by either identity, and by no other; it is what the manifest means, and only its owner may read it.
    let stranger = exo.recover(&[KEY, "--to", &exo.path("no.key")], 2).run().unwrap().expect_code(1);
    expect_words(&stranger.stderr, &["recover EXO_ENCRYPTION_KEY", "was not encrypted to"]);
    assert!(!exo.at("no.key").exists());
    for (identity, file) in [(0, "exo.key"), (1, "again.key")] {
        let done = exo.recover(&[&format!("{KEY}@{short}"), "--to", &exo.path(file)], identity).run().unwrap().expect_code(0);
        assert!(!done.stdout.contains(SECRET) && !done.stderr.contains(SECRET));
        assert_eq!(fs::read_to_string(exo.at(file)).unwrap(), SECRET);
        assert_eq!(fs::metadata(exo.at(file)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let there = exo.recover(&[KEY, "--to", &exo.path("exo.key")], 0).run().unwrap().expect_code(20);
    expect_words(&there.stderr, &["is not written over"]);
    let stdout = exo.recover(&[KEY, "--stdout"], 0).run().unwrap().expect_code(0);
    assert_eq!(stdout.json()["key"], SECRET);

    // With it, and where somebody insists, without.
    let key = format!("{KEY}={}", exo.path("exo.key"));
    exo.restore(&["restore", "exo", "--no-owner", "--into", "copy", "--key", &key]).run().unwrap().expect_code(0);
    let sum = "SELECT count(*) || md5(string_agg(e::text, ',' ORDER BY id)) FROM session_events e";
    assert_eq!(exo.cluster.psql("copy", sum).unwrap(), exo.cluster.psql("exo", sum).unwrap());
    exo.restore(&["restore", "exo", "--no-owner", "--into", "by_variable"]).env(KEY, SECRET).run().unwrap().expect_code(0);
    let insisted = exo.restore(&["restore", "exo", "--no-owner", "--into", "insisted", "--without-key"]).run().unwrap().expect_code(0);
    expect_words(&insisted.stdout, &["needs the key EXO_ENCRYPTION_KEY", "--without-key"]);

    // What proves that sets are whole needs no key, and compares one that is there.
    let check = |more: &[&str]| exo.restore(&["check", "--latest", "exo"]).args(more).run().unwrap();
    expect_words(&check(&[]).expect_code(0).stdout, &["not at hand and was not compared"]);
    assert!(!check(&["--key", &key]).expect_code(0).stdout.contains("not compared"));
    expect_words(&error(&check(&["--key", &wrong]).expect_code(1)), &["is not the one"]);
    let drill = exo.restore(&["drill", "--only", "exo", "--as-superuser"]);
    drill.env("PLANA_JOBS__RESTORE__SCRATCH_DSN", exo.cluster.keyword_dsn("postgres")).run().unwrap().expect_code(0);
}

#[test]
fn recordings_snapshots_and_archives_need_the_key_too() {
    let exo = Exo::new();
    exo.back_up("filestore-tarball", &[]).expect_code(0);
    exo.back_up("partition-roller", &[]).expect_code(0);
    exo.back_up("insurance-snapshot", &["--database", "exo", "--filestore", "exo-casts", "--operation", "try"]).expect_code(0);
    let mut areas = Vec::new();
    for set in exo.store().committed() {
        assert_eq!(key_names(&set.manifest), [KEY], "{}", set.key);
        areas.push(set.key.area);
    }
    areas.sort();
    areas.dedup();
    assert_eq!(areas, [Area::Filestore, Area::InsurancePg, Area::InsuranceFilestore, Area::Partition]);
    assert_eq!(exo.kept().len(), 1, "every job finds what the first has kept");
    let files = |more: &[&str]| exo.restore(&["restore-filestore", "exo-casts", "--to", &exo.path("back")]).args(more).run().unwrap();
    let wrong = exo.key_file("wrong", "another key");
    let right = exo.key_file("right", SECRET);
    expect_words(&error(&files(&[]).expect_code(20)), &["not at hand", "--without-key"]);
    expect_words(&error(&files(&["--key", &wrong]).expect_code(20)), &["is not the one"]);
    assert!(!exo.at("back").exists());
    files(&["--key", &right]).expect_code(0);
    assert_eq!(fs::read_to_string(exo.at("back/session-1.cast")).unwrap(), "sealed recording");
    let archive = exo.store().committed().into_iter().find(|set| set.key.area == Area::Partition).unwrap().key.to_string();
    let back =
        |more: &[&str]| exo.restore(&["restore-partition", &archive, "--as-superuser"]).env("PGUSER", "postgres").args(more).run().unwrap();
    expect_words(&error(&back(&[]).expect_code(20)), &["not at hand"]);
    back(&["--key", &right]).expect_code(0);
    let tenant = ["restore-tenant", "exo", "--area", "insurance-pg", "--files-of", "exo-casts", "--into", "copy", "--to"];
    let tenant = |more: &[&str]| exo.restore(&tenant).arg(exo.at("copy")).args(more).run().unwrap();
    expect_words(&error(&tenant(&["--key", &wrong]).expect_code(20)), &["is not the one"]);
    assert!(!exo.at("copy").exists());
}
