//! Where a key comes from, what is wrong there, and who else gets to see it.

use std::fs;

use plana_testkit::job::faults::HeldLock;

use crate::{
    Case, KEY, SECRET, cluster,
    common::{Outcome, expect_words},
};

#[test]
fn a_key_that_cannot_be_had_where_the_configuration_says_is_no_other_key() {
    let case = Case::new();
    let at = |name: &str| case.job.home().join(name).display().to_string();
    fs::write(at("empty"), "\n").unwrap();
    fs::write(at("binary"), [0xff, 0xfe]).unwrap();
    fs::write(at("large"), "x".repeat(65 << 10)).unwrap();
    fs::create_dir(at("directory")).unwrap();
    // The variable of the key's own name holds one, and it is not what was named.
    let file = |name: &str| format!("secret_file = \"{}\"", at(name));
    let cases: [(String, &[&str]); 7] = [
        ("secret_env = \"THE_KEY_OF_EXO\"".to_owned(), &["names THE_KEY_OF_EXO", "is not set"]),
        ("secret_env = \"SET_AND_EMPTY\"".to_owned(), &["names SET_AND_EMPTY", "is not set"]),
        (file("none"), &["none", "there is no such file"]),
        (file("empty"), &["empty", "is empty"]),
        (file("binary"), &["binary", "is not UTF-8"]),
        (file("large"), &["large", "too large"]),
        (file("directory"), &["directory", "could not be read"]),
    ];
    for (line, words) in &cases {
        let job = |escrow: &str| case.configured(&case.escrow_url(), escrow, line).env(KEY, SECRET).env("SET_AND_EMPTY", "\n");
        let outcome = job("").run().expect(0);
        expect_words(&outcome.item(&case.needs)["warnings"].to_string(), &[KEY, "is in no escrow"]);
        expect_words(&outcome.warnings(), words);
        let manifest = case.job.store().set(&case.needs).manifest;
        assert_eq!((manifest.requires_key[0].name.as_str(), manifest.requires_key[0].fingerprint.as_str()), (KEY, "unknown"), "{line}");
        fs::remove_dir_all(case.job.store().root()).unwrap();
        let failed = job("on_missing = \"fail\"").run().expect(3);
        expect_words(failed.error(&case.needs), words);
        case.job.store().expect_nothing_of(&case.needs);
        fs::remove_dir_all(case.job.store().root()).unwrap();
        let checked = job("").arg("check").run().expect(10);
        expect_words(&checked.report["checks"].to_string(), words);
        expect_words(job("").arg("escrow").run().expect(1).run_error(), words);
    }
    assert!(case.kept().is_empty(), "nothing was put away for it: {:?}", case.kept());
}

/// Whoever may look at processes sees their environments.
#[test]
fn programs_that_a_run_starts_do_not_inherit_the_key() {
    let case = Case::new();
    let job = case.configured(&case.escrow_url(), "", "secret_env = \"THE_KEY_OF_EXO\"").env("THE_KEY_OF_EXO", SECRET).env(KEY, SECRET);
    let lock = HeldLock::on(cluster(), &case.needs, "t");
    let mut running = job.spawn();
    let pid = job.wait_for_pg_dump(&mut running, &case.needs);
    let environment = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/environ")).unwrap()).into_owned();
    drop(lock);
    Outcome::wait(running).expect(0);
    assert!(environment.contains("PGDATABASE="), "{environment:?}");
    assert!(!environment.contains(SECRET), "pg_dump has the key in its environment");
}
