//! A platform whose dumps need a key of its own: backed up in every way, the key put away, restores refused without it, the key
//! recovered by an offline identity, and everything back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod hostile;
mod recovered;
mod restored;
mod secret;

use std::{
    fs,
    path::{Path, PathBuf},
};

use plana_plan::{escrow::EntryKey, manifest::Manifest};
use plana_testkit::{
    bin::{Bin, Done},
    job::{age, store::FileStore},
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
