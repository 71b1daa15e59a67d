//! Keys out of escrow, and that they stay in it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use plana_plan::escrow::EntryKey;
use plana_testkit::{
    ceph::{Bucket, Gateway, User},
    disk::SmallDisk,
    job::{expect_words, store::FileStore},
};

use crate::{Exo, KEY, SECRET, error};

#[test]
fn a_key_is_recovered_in_spite_of_junk_beside_it_and_the_right_one_of_several() {
    let exo = Exo::new();
    exo.back_up("pg-dump-to-sos", &["escrow"]).expect_code(0);
    exo.call("pg-dump-to-sos").env(KEY, "the next key").arg("escrow").run().unwrap().expect_code(0);
    let kept = exo.kept();
    assert_eq!(kept.len(), 2);
    let listed = exo.call("restore-from-sos").args(["escrow", "list"]).run().unwrap().expect_code(0).json();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2, "{listed:#}");
    let which = exo.recover(&[KEY, "--stdout"], 0).run().unwrap().expect_code(2);
    expect_words(&which.stderr, &["tell which key", &kept[0].fingerprint.short(), &kept[1].fingerprint.short()]);
    let opened = |entry: &EntryKey| {
        let done = exo.recover(&[&format!("{KEY}@{}", entry.fingerprint.short()), "--stdout"], 1).run().unwrap();
        done.expect_code(0).json()["key"].as_str().unwrap().to_owned()
    };
    let mut keys: Vec<String> = kept.iter().map(opened).collect();
    keys.sort();
    assert_eq!(keys, [SECRET, "the next key"]);
    let nothing = exo.recover(&["NO_SUCH_KEY", "--stdout"], 0).run().unwrap().expect_code(1);
    expect_words(&nothing.stderr, &["find the key NO_SUCH_KEY", "escrow list"]);

    // Somebody who may put has put the one key under the other's name, newer than the good entry: it is seen through.
    let escrow = exo.at("escrow");
    let of = |key: &str| kept.iter().find(|entry| opened(entry) == key).unwrap();
    let (good, other) = (of(SECRET), of("the next key"));
    let mut junk = good.clone();
    junk.id = plana_plan::SetNonce(7);
    junk.stamp = plana_plan::Stamp::new(good.stamp.instant() + std::time::Duration::from_secs(3600));
    fs::copy(escrow.join(other.to_string()), escrow.join(junk.to_string())).unwrap();
    assert_eq!(opened(good), SECRET);
    // Without the good one that is said, and nothing is given out.
    fs::remove_file(escrow.join(good.to_string())).unwrap();
    let refused = exo.recover(&[&format!("{KEY}@{}", good.fingerprint.short()), "--stdout"], 0).run().unwrap().expect_code(1);
    expect_words(&refused.stderr, &["another key than its name says"]);
    assert!(!refused.stdout.contains("the next key"));
}

#[test]
fn keys_are_kept_for_ever() {
    let exo = Exo::new();
    exo.back_up("pg-dump-to-sos", &["--only", "exo", "--no-globals"]).expect_code(0);
    let prune = |url: &str| {
        exo.call("retention-pruner")
            .env("PLANA_JOBS__RETENTION__ENABLED", "true")
            .env("PLANA_JOBS__RETENTION__STORES", format!("[\"{url}\"]"))
            .env("PLANA_JOBS__STORE__ESCROW__URL", format!("file://{}/elsewhere", exo.home.path().display()))
            .env("PLANA_JOBS__STORE__BACKUPS__URL", url)
    };
    let by_name = prune(&format!("file://{}", exo.path("escrow"))).run().unwrap().expect_code(20);
    expect_words(&error(&by_name), &["its address says that keys are kept in it", "no setting changes that"]);
    fs::rename(exo.at("escrow"), exo.at("innocent")).unwrap();
    let by_content = prune(&format!("file://{}", exo.path("innocent"))).run().unwrap().expect_code(20);
    expect_words(&error(&by_content), &["escrow/EXO_ENCRYPTION_KEY", "kept for ever"]);
    assert_eq!(FileStore::new(exo.at("innocent")).files().len(), 1);
}

/// In a bucket that keeps versions, an entry that was written over is not lost.
#[test]
fn an_entry_that_was_written_over_comes_back_as_its_first_version() {
    let exo = Exo::new();
    let bucket: Bucket = Gateway::shared().bucket_builder("kept").versioned().create().unwrap();
    let url = format!("s3://{}/keys", bucket.name());
    let keep = |key: &str| {
        let call = exo.call("pg-dump-to-sos").env(KEY, key).arg("escrow");
        call.envs(bucket.env(User::Backup)).env("PLANA_JOBS__STORE__ESCROW__URL", &url).run().unwrap().expect_code(0)
    };
    keep(SECRET);
    let entry = bucket.keys().unwrap().remove(0);
    bucket.put(&entry, "junk of whoever stole the key that may put".repeat(20)).unwrap();
    let recover = |user: User| {
        let call = exo.recover(&[KEY, "--stdout", "--escrow-store", &url], 0);
        call.envs(bucket.env(user)).run().unwrap()
    };
    assert_eq!(recover(User::Restore).expect_code(0).json()["key"], SECRET);
    let blind = recover(User::Backup).expect_code(1);
    expect_words(&blind.stderr, &["recover EXO_ENCRYPTION_KEY", "access denied"]);
}

/// The mask shows when the mode was set: it holds back what a file is made with, and not what is said of it afterwards.
#[test]
fn a_recovered_key_is_its_owners_alone_from_the_first_moment() {
    let exo = Exo::new();
    exo.back_up("pg-dump-to-sos", &["escrow"]).expect_code(0);
    for (mask, mode) in [("000", 0o600), ("277", 0o400)] {
        let file = exo.at(&format!("{mask}.key"));
        let script = format!("umask {mask}; exec \"$@\"");
        exo.recover(&[KEY, "--to", file.to_str().unwrap()], 0).under(&["/bin/sh", "-c", &script, "sh"]).run().unwrap().expect_code(0);
        assert_eq!(fs::read_to_string(&file).unwrap(), SECRET);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, mode, "umask {mask}");
    }
}

#[test]
fn what_is_in_a_recovered_keys_place_is_not_touched() {
    let exo = Exo::new();
    exo.back_up("pg-dump-to-sos", &["escrow"]).expect_code(0);
    fs::write(exo.at("open"), "somebody's").unwrap();
    fs::set_permissions(exo.at("open"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(exo.at("directory")).unwrap();
    symlink(exo.at("open"), exo.at("to-a-file")).unwrap();
    symlink(exo.at("nowhere"), exo.at("to-nothing")).unwrap();
    for place in ["open", "directory", "to-a-file", "to-nothing"] {
        let refused = exo.recover(&[KEY, "--to", &exo.path(place)], 0).run().unwrap().expect_code(20);
        expect_words(&refused.stderr, &[&exo.path(place), "is not written over"]);
    }
    assert_eq!(fs::read_to_string(exo.at("open")).unwrap(), "somebody's");
    assert_eq!(fs::metadata(exo.at("open")).unwrap().permissions().mode() & 0o777, 0o644);
    assert!(!exo.at("nowhere").exists(), "a link led the key elsewhere");
    assert_eq!(fs::read_dir(exo.at("directory")).unwrap().count(), 0);
    // What cannot be written whole leaves nothing that passes for a key, and nothing in the way of the next attempt.
    let disk = SmallDisk::new(1).unwrap();
    let full = disk.path().join("full");
    fs::write(&full, vec![0; 1 << 20]).unwrap_err();
    let key = disk.path().join("exo.key");
    let to = key.to_str().unwrap();
    let failed = exo.recover(&[KEY, "--to", to], 0).run().unwrap().expect_code(1);
    expect_words(&failed.stderr, &[to, "No space left"]);
    assert!(!key.exists(), "half a key stays");
    fs::remove_file(full).unwrap();
    exo.recover(&[KEY, "--to", to], 0).run().unwrap().expect_code(0);
}
