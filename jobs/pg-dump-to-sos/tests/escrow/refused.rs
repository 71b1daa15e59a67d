//! Configurations of escrow that no run begins with.

use crate::{Case, KEY, SECRET, common::expect_words};

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
    // Nor where any other store is.
    for store in ["templates", "mirror"] {
        let seeds = format!("file://{home}/{store}");
        let job = case.configured(&format!("{seeds}/keys"), "", "").set(&format!("store.{store}.url"), &seeds);
        expect_words(job.env(KEY, SECRET).run().expect(10).run_error(), &["store.escrow.url", &format!("is where store.{store} is")]);
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

/// A key's name is part of objects' keys, of credentials' names and of command lines.
#[test]
fn a_name_that_leads_elsewhere_is_bad_configuration() {
    let case = Case::new();
    let long = "k".repeat(200);
    for name in ["..", "../x", "a/b", "/etc/passwd", "a\\nb", "\\u001b[31m", ".k", "-k", "a b", "a=b", "a@b", "\u{e9}", "", &long] {
        let toml = format!("[escrow.keys.\"{name}\"]\ndatabases = [\"{}\"]\n", case.needs);
        let outcome = case.job.clone().config(&toml).run().expect(10);
        expect_words(outcome.run_error(), &["escrow.keys", "is not a key's name"]);
        let shown = format!("{}{}", outcome.run_error(), outcome.done.stderr);
        assert!(!shown.chars().any(|letter| letter.is_control() && letter != '\n'), "{shown:?}");
    }
    case.job.store().expect_no_manifest();
    // The longest that there may be works all the way.
    let longest = "K".repeat(64);
    let [one, two] = &case.recipients;
    let toml = format!(
        "[store.escrow]\nurl = \"{}\"\n[escrow]\nrecipients = [\"{one}\", \"{two}\"]\n[escrow.keys.{longest}]\ndatabases = [\"{}\"]\n",
        case.escrow_url(),
        case.needs
    );
    case.job.clone().config(&toml).env(&longest, SECRET).run().expect(0);
    let [entry] = &case.kept()[..] else { panic!("{:?}", case.kept()) };
    assert_eq!((entry.name.as_str(), &case.opened(entry)[0][..]), (longest.as_str(), SECRET.as_bytes()));
}
