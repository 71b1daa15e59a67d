//! A platform whose dumps need a key of its own: backed up in every way, the key put away, restores refused without it, the key
//! recovered by an offline identity, and everything back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use plana_plan::{Area, escrow::EntryKey, manifest::Manifest};
use plana_testkit::{
    bin::{Bin, Done},
    ceph::{Bucket, Gateway, User},
    job::{age, expect_words, store::FileStore},
    pg::{PgCluster, PgMajor},
};

const KEY: &str = "EXO_ENCRYPTION_KEY";
const SECRET: &str = "b3hvLWVuY3J5cHRpb24ta2V5LW9mLXRoZS10ZXN0cw==";

struct Exo {
    cluster: PgCluster,
    home: tempfile::TempDir,
    identities: [PathBuf; 3],
}

impl Exo {
    fn new() -> Self {
        let cluster = PgCluster::start(PgMajor::V16).unwrap();
        let home = tempfile::Builder::new().prefix("plana-exo-").tempdir().unwrap();
        cluster.psql("postgres", "CREATE ROLE exo LOGIN; CREATE ROLE plana_restore LOGIN CREATEDB IN ROLE exo").unwrap();
        cluster.psql("postgres", "CREATE DATABASE exo OWNER exo").unwrap();
        let sql = Path::new(env!("CARGO_MANIFEST_DIR")).join("platform/exo.sql");
        cluster.psql_file("exo", &sql, &[]).unwrap();
        let casts = home.path().join("casts");
        fs::create_dir(&casts).unwrap();
        fs::write(casts.join("session-1.cast"), "sealed recording").unwrap();
        let (one, first) = age::pair(home.path(), "one.key");
        let (two, second) = age::pair(home.path(), "two.key");
        let (stranger, _) = age::pair(home.path(), "stranger.key");
        let config = format!(
            "[store.backups]\nurl = \"file://{home}/store\"\n[store.escrow]\nurl = \"file://{home}/escrow\"\n\
             [escrow]\nrecipients = [\"{first}\", \"{second}\"]\n\
             [escrow.keys.{KEY}]\ndatabases = [\"exo\"]\nfilestores = [\"exo-*\"]\n\
             [filestore.sources.exo-casts]\npath = \"{home}/casts\"\nclass = \"platform\"\ngrowing = true\n\
             [partitions]\ndatabase = \"exo\"\n\
             [partitions.tables.audit]\ntable = \"public.audit_log\"\nretention = \"1y\"\nretired = \"drop\"\narchive = true\n",
            home = home.path().display()
        );
        fs::write(home.path().join("config.toml"), config).unwrap();
        Exo { cluster, home, identities: [one, two, stranger] }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn call(&self, job: &str) -> Bin {
        Bin::new(job)
            .unwrap()
            .args(["--output", "json", "--log-format", "text", "--config"])
            .arg(self.at("config.toml"))
            .envs(self.cluster.env())
            .env("PATH", self.cluster.bin_dir())
            .env("PLANA_JOBS__POSTGRES__BIN_DIRS", self.cluster.bin_dir())
            .env("PLANA_JOBS__STATE_DIR", self.at("state"))
    }

    /// A backup job, which has the key.
    fn back_up(&self, job: &str, arguments: &[&str]) -> Done {
        self.call(job).env(KEY, SECRET).args(arguments).run().unwrap()
    }

    /// A restore, by the role for it, with no key in its environment.
    fn restore(&self, arguments: &[&str]) -> Bin {
        self.call("restore-from-sos").env("PGUSER", "plana_restore").args(arguments)
    }

    fn store(&self) -> FileStore {
        FileStore::new(self.at("store"))
    }

    fn kept(&self) -> Vec<EntryKey> {
        FileStore::new(self.at("escrow")).files().into_iter().map(|(key, _)| EntryKey::parse(&key).expect("an entry")).collect()
    }

    fn path(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    /// The file with that key.
    fn key_file(&self, name: &str, key: &str) -> String {
        fs::write(self.at(name), format!("{key}\n")).unwrap();
        format!("{KEY}={}", self.path(name))
    }

    fn databases(&self) -> String {
        self.cluster.psql("postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate").unwrap()
    }

    fn recover(&self, arguments: &[&str], identity: usize) -> Bin {
        let identity = self.identities[identity].display().to_string();
        self.call("restore-from-sos").args(["escrow", "recover"]).args(arguments).args(["--identity", &identity])
    }
}

fn key_names(manifest: &Manifest) -> Vec<&str> {
    manifest.requires_key.iter().map(|key| key.name.as_str()).collect()
}

/// The message of the item that failed, or of the run.
fn error(done: &Done) -> String {
    let report = done.json();
    let of_item = report["items"].as_array().and_then(|items| items.iter().find_map(|item| item["error"].as_str()));
    of_item.or(report["error"].as_str()).unwrap_or_default().to_owned()
}

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
