//! What is named in manifests and kept, when a key stays the same and when it is rotated.

use plana_testkit::job::{age, faults::HeldLock};

use crate::{
    Case, KEY, SECRET, cluster,
    common::{Outcome, expect_words},
    required,
};

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
fn a_key_that_is_rotated_while_dumps_are_made_does_not_part_their_manifests_from_the_escrow() {
    let case = Case::new();
    let file = case.job.home().join("key");
    std::fs::write(&file, SECRET).unwrap();
    // The larger one's turn comes first, and the other one waits for it.
    cluster().psql(&case.needs, "INSERT INTO t SELECT generate_series(1, 50000)").unwrap();
    let both = [case.needs.as_str(), case.other.as_str()];
    let job = case.configured_for(&both, &case.escrow_url(), "", &format!("secret_file = \"{}\"", file.display())).args(["--jobs", "1"]);
    let lock = HeldLock::on(cluster(), &case.needs, "t");
    let mut running = job.spawn();
    job.wait_for_pg_dump(&mut running, &case.needs);
    std::fs::write(&file, "rotated meanwhile").unwrap();
    drop(lock);
    Outcome::wait(running).expect(0);
    let [entry] = &case.kept()[..] else { panic!("{:?}", case.kept()) };
    for name in both {
        assert_eq!(required(&case.job.store().set(name).manifest), [(KEY, entry.fingerprint)], "{name}");
    }
    assert_eq!(case.opened(entry)[0], SECRET.as_bytes());
    job.run().expect(0);
    assert_eq!(case.kept().len(), 2, "the next run keeps the new one");
}
