//! Names that somebody else gave: of entries in the escrow store, and of keys in manifests.

use std::fs;

use plana_testkit::{
    bin::Bin,
    ceph::{Gateway, User},
    job::expect_words,
};

use crate::{Exo, KEY, SECRET, error};

/// As keys name them. Some are what this suite would write for such a name, others are nobody's.
fn names() -> Vec<String> {
    let given = ["%2E.", "%2E.%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "a%0Ab", "%1B%5B31m", "%2Drf", "a b", "%45XO", "%FF", "%"];
    given.map(str::to_owned).into_iter().chain(["k".repeat(200), "%C3%A9".repeat(100)]).collect()
}

#[test]
fn an_escrow_stores_strange_entries_are_shown_harmlessly_and_lead_nowhere() {
    let exo = Exo::new();
    let bucket = Gateway::shared().bucket("kept").unwrap();
    let url = format!("s3://{}/keys", bucket.name());
    let with = |call: Bin, user: User| call.envs(bucket.env(user)).env("PLANA_JOBS__STORE__ESCROW__URL", &url);
    let keep = || with(exo.call("pg-dump-to-sos"), User::Backup).env(KEY, SECRET).arg("escrow").run().unwrap().expect_code(0).json();
    assert!(keep()["escrow"][0]["made"].is_string());
    let good = bucket.keys().unwrap().remove(0);
    let sealed = bucket.get(&good).unwrap();
    for name in names() {
        bucket.put(&good.replace(KEY, &name), sealed.clone()).unwrap();
    }
    for stranger in ["x", "escrow", "escrow/x", &format!("escrow/{KEY}"), &format!("escrow/{KEY}/x/y.age"), &format!("{KEY}/a/b/c/d")] {
        bucket.put(&format!("keys/{stranger}"), sealed.clone()).unwrap();
    }
    let before = bucket.keys().unwrap();
    // The key itself is found among them: nothing is put twice.
    assert!(keep()["escrow"][0]["made"].is_null());
    assert_eq!(bucket.keys().unwrap(), before);
    let checked = with(exo.call("pg-dump-to-sos"), User::Backup).env(KEY, SECRET).arg("check").run().unwrap();
    expect_words(&checked.stdout, &["is in escrow since"]);

    let list = with(Bin::new("restore-from-sos").unwrap().arg("--config").arg(exo.at("config.toml")), User::Restore);
    let listed = list.clone().args(["escrow", "list"]).run().unwrap().expect_code(0).stdout;
    assert!(!listed.chars().any(|letter| letter.is_control() && letter != '\n'), "{listed:?}");
    expect_words(&listed, &["a\\nb@", "\\u{1b}[31m@", "../../etc/passwd@", &format!("{}@", "k".repeat(200)), &format!("{KEY}@")]);
    // A heading, the key, and the eight whose spelling is ours.
    let lines: Vec<&str> = listed.lines().filter(|line| line.contains('@')).collect();
    assert_eq!(lines.len(), 9, "{listed}");
    let json = list.clone().args(["--output", "json", "escrow", "list"]).run().unwrap().expect_code(0).json();
    assert!(json["keys"].as_array().unwrap().iter().any(|key| key["name"] == "a\nb"));

    // A name decides of no path; and what lies under another key's name is no key.
    let recover = |name: &str, to: &str| with(exo.recover(&[name, "--to", to], 0), User::Restore).run().unwrap();
    for name in ["../../etc/passwd", "..", "a\nb", "\u{1b}[31m", &"k".repeat(200), "no such\nkey"] {
        let refused = recover(name, &exo.path("hostile.key")).expect_code(1);
        assert!(!refused.stderr.contains(name) || !name.contains(char::is_control), "{:?}", refused.stderr);
        assert!(!refused.stdout.contains(SECRET) && !exo.at("hostile.key").exists(), "{name:?}");
    }
    recover(KEY, &exo.path("exo.key")).expect_code(0);
    assert_eq!(fs::read_to_string(exo.at("exo.key")).unwrap(), SECRET);
}

/// The name of a key leads to a file and a variable: one that no key can have leads to neither.
#[test]
fn a_manifests_strange_keys_are_told_and_looked_for_nowhere() {
    let exo = Exo::new();
    exo.back_up("pg-dump-to-sos", &["--only", "exo", "--no-globals"]).expect_code(0);
    let set = exo.store().set("exo");
    let path = exo.store().root().join(set.key.manifest());
    let told = fs::read_to_string(&path).unwrap();
    let secrets = exo.at("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::write(exo.at("secret"), "what must not be read").unwrap();
    let long = "k".repeat(200);
    for name in ["../../secret", "PATH=/x", "a\\nb", "", &long] {
        fs::write(&path, told.replace(&format!("\"{KEY}\""), &format!("\"{name}\""))).unwrap();
        let call = exo.restore(&["restore", "exo", "--no-owner", "--into", "copy", "--dry-run"]).env("PLANA_JOBS_SECRETS_DIR", &secrets);
        let done = call.run().unwrap().expect_code(0);
        let warnings = done.json()["items"][0]["warnings"].to_string();
        expect_words(&warnings, &["no key can be called so"]);
    }
    let fingerprint = exo.kept()[0].fingerprint.to_string();
    for unknown in ["unknown", "scrypt2-00-00", "", "\\u001b[31m"] {
        fs::write(&path, told.replace(&fingerprint, unknown)).unwrap();
        let call = exo.restore(&["restore", "exo", "--no-owner", "--into", "copy", "--dry-run"]).env(KEY, SECRET);
        expect_words(&call.run().unwrap().expect_code(0).stdout, &["which is no fingerprint that this version knows"]);
        let without = exo.restore(&["restore", "exo", "--no-owner", "--into", "copy"]).run().unwrap().expect_code(20);
        expect_words(&error(&without), &["not at hand"]);
    }
}
