//! Template seeds beside backups that are pruned: no pruner takes them, wherever it is pointed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use plana_testkit::{
    bin::{Bin, Done},
    ceph::{Gateway, User},
    job::{bucket::S3, expect_words, store::FileStore},
    pg::{PgCluster, PgMajor},
    proxy::{Action, Op, Rule, age},
};

const TEMPLATE: &str = "basic-template-18";
const YEARS: Duration = Duration::from_secs(3 * 365 * 86_400);

/// A server with a template of two contents, both published, and a tenant with a backup.
struct Site {
    cluster: PgCluster,
    home: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let cluster = PgCluster::start(PgMajor::V16).unwrap();
        for name in [TEMPLATE, "acme.app"] {
            cluster.psql("postgres", &format!("CREATE DATABASE \"{name}\"")).unwrap();
            cluster.psql(name, "CREATE TABLE t AS SELECT generate_series(1, 100) AS i").unwrap();
        }
        let home = tempfile::Builder::new().prefix("plana-seeds-").tempdir().unwrap();
        let rules = "[rules.templates]\norder = 1\nclass = \"template\"\ndatabases = [\"basic-*\"]\n\
                     [rules.tenants]\norder = 2\nclass = \"tenant\"\ndatabases = [\"acme.*\"]\n[tiers.static]\n\"acme.app\" = \"starter\"\n";
        fs::write(home.path().join("config.toml"), rules).unwrap();
        Site { cluster, home }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}", self.at(name).display())
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
            .env("PLANA_JOBS__STORE__BACKUPS__URL", self.url("backups"))
    }

    /// Publishes the template's content of now, and changes it.
    fn publish(&self, with: impl Fn(Bin) -> Bin) {
        let done = with(self.call("pg-dump-to-sos")).arg("--templates").run().unwrap().expect_code(0);
        assert_eq!(done.json()["items"][0]["outcome"], "done", "{}", done.stdout);
        self.cluster.psql(TEMPLATE, "INSERT INTO t VALUES (0)").unwrap();
    }

    /// The pruner, allowed to prune that store and pointed at it; told nothing of templates.
    fn prune(&self, url: &str) -> Bin {
        self.call("retention-pruner")
            .env("PLANA_JOBS__RETENTION__ENABLED", "true")
            .env("PLANA_JOBS__RETENTION__STORES", format!("[\"{url}\"]"))
            .env("PLANA_JOBS__RETENTION__MAX_SHRINK_PERCENT", "100")
            .env("PLANA_JOBS__STORE__BACKUPS__URL", url)
    }
}

fn error(done: &Done) -> String {
    done.json()["error"].as_str().unwrap_or_default().to_owned()
}

/// Every file and its content.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    FileStore::new(root).files().into_iter().map(|(key, _)| (key.clone(), fs::read(root.join(&key)).unwrap())).collect()
}

/// As if everything below had been stored years ago.
fn backdate(root: &Path) {
    for (key, _) in FileStore::new(root).files() {
        let file = fs::File::options().append(true).open(root.join(key)).unwrap();
        file.set_modified(SystemTime::now() - YEARS).unwrap();
    }
}

/// Refused with these words, by a run and in the plan; nothing is planned, and nothing changed.
#[track_caller]
fn expect_refused(site: &Site, store: &Path, words: &[&str]) {
    let before = contents(store);
    assert_eq!(before.len(), 4, "two seeds: {:?}", before.keys());
    let url = format!("file://{}", store.display());
    for extra in [&[][..], &["--accept-shrink"]] {
        expect_words(&error(&site.prune(&url).args(extra).run().unwrap().expect_code(20)), words);
    }
    let plan = site.prune(&url).arg("--dry-run").run().unwrap();
    assert!(!plan.stdout.contains("\"verdict\": \"delete\""), "{}", plan.stdout);
    assert!(format!("{}{}", plan.stdout, plan.stderr).contains(words[0]), "{}\n{}", plan.stdout, plan.stderr);
    assert_eq!(contents(store), before);
}

#[test]
fn a_store_of_real_seeds_is_refused_by_its_name_and_by_what_lies_in_it() {
    let site = Site::new();
    let publish = || site.publish(|call| call.env("PLANA_JOBS__STORE__TEMPLATES__URL", site.url("templates")));
    publish();
    publish();
    backdate(&site.at("templates"));
    expect_refused(&site, &site.at("templates"), &["its address says that templates are in it", "kept for ever"]);
    fs::rename(site.at("templates"), site.at("innocent")).unwrap();
    let seed = format!("the template seed {TEMPLATE}/");
    expect_refused(&site, &site.at("innocent"), &[&seed, "kept for ever"]);
    // One among a thousand backups is enough.
    let backups = site.at("innocent");
    site.call("pg-dump-to-sos").env("PLANA_JOBS__STORE__BACKUPS__URL", site.url("innocent")).run().unwrap().expect_code(0);
    backdate(&backups);
    let before = contents(&backups);
    let refused = site.prune(&site.url("innocent")).run().unwrap().expect_code(20);
    expect_words(&error(&refused), &[&seed]);
    assert_eq!(contents(&backups), before);
    // They are seeds all the same.
    let checked = site.call("restore-from-sos").env("PLANA_JOBS__STORE__TEMPLATES__URL", site.url("innocent"));
    checked.env("PLANA_JOBS__STORE__BACKUPS__URL", site.url("backups")).args(["seed", "check", TEMPLATE]).run().unwrap().expect_code(0);
}

/// The two stores in one bucket, and a pruner whose key may delete in all of it.
#[test]
fn a_pruner_beside_seeds_takes_old_backups_and_no_seed() {
    let site = Site::new();
    let s3 = S3::of(Gateway::shared().bucket("together").unwrap());
    for op in [Op::List, Op::ListVersions, Op::ListUploads] {
        s3.proxy.add(Rule::on(op, Action::rewrite(age)));
    }
    let bucket = &s3.bucket;
    let of = |prefix: &str| s3.url_of(prefix);
    let stored = |call: Bin, user: User| {
        let call = call.envs(bucket.env(user)).env("PLANA_JOBS__STORE__TEMPLATES__URL", of("seeds"));
        call.env("PLANA_JOBS__STORE__BACKUPS__URL", of("backups"))
    };
    site.publish(|call| stored(call, User::Backup));
    site.publish(|call| stored(call, User::Backup));
    // Of today by the job itself, and of long ago under keys that it would have written then.
    stored(site.call("pg-dump-to-sos"), User::Backup).run().unwrap().expect_code(0);
    let today: Vec<String> = bucket.keys().unwrap().into_iter().filter(|key| key.starts_with("backups/pg/acme.app/")).collect();
    let old: Vec<String> = today.iter().map(|key| aged(key)).collect();
    for (new, old) in today.iter().zip(&old) {
        bucket.put(old, bucket.get(new).unwrap()).unwrap();
    }
    let seeds = || bucket.list().unwrap().into_iter().filter(|object| object.key.starts_with("seeds/")).collect::<Vec<_>>();
    let before = seeds();
    assert_eq!((before.len(), today.len(), old.len()), (4, 2, 2), "{:?}", bucket.keys());
    let prune = |url: &str, arguments: &[&str]| {
        // All that it lists was stored long ago.
        let call = site.prune(url).envs(bucket.env(User::Pruner)).env("AWS_ENDPOINT_URL_S3", s3.proxy.endpoint()).args(arguments);
        call.env("PLANA_JOBS__RETENTION__FLOOR", "1").run().unwrap()
    };
    // Around both it knows the seeds for what they are, or knows nothing of them; it never plans them.
    let around = prune(&format!("s3://{}", bucket.name()), &[]);
    assert!(!around.stdout.contains("\"deleted\": 1"), "{}", around.stdout);
    assert_eq!(seeds(), before);
    let itself = prune(&of("seeds"), &[]).expect_code(20);
    expect_words(&error(&itself), &["the template seed basic-template-18/"]);
    let done = prune(&of("backups"), &[]).expect_code(0);
    let left = bucket.keys().unwrap();
    assert!(old.iter().all(|key| !left.contains(key)), "{}\n{left:?}", done.stdout);
    assert!(today.iter().all(|key| left.contains(key)), "{left:?}");
    assert_eq!(seeds(), before);
    stored(site.call("restore-from-sos"), User::Restore).args(["seed", "check", TEMPLATE]).run().unwrap().expect_code(0);
}

/// The same key of a set that was begun in 2020.
fn aged(key: &str) -> String {
    let mut segments: Vec<String> = key.split('/').map(str::to_owned).collect();
    let at = segments.len() - 2;
    let stamp = segments[at].split('.').next().unwrap().to_owned();
    for segment in &mut segments[at..] {
        *segment = segment.replace(&stamp, "20200101T000000Z");
    }
    segments.join("/")
}
