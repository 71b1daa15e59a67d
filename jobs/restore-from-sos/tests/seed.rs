//! Template seeds: found, checked, fetched and restored by the SHA of their content.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{Site, contents, error, json, tamper};
use plana_testkit::{
    bin::{Bin, Done},
    ceph::{Gateway, User},
    pg::{PgMajor, quote_identifier},
};

const TEMPLATE: &str = "basic-template-18.planapulse.app";

/// A server with a template like a tenant, published once.
struct Templates {
    site: Site,
}

impl Templates {
    fn new(major: PgMajor) -> Self {
        let site = Site::empty(major);
        site.add_tenant(TEMPLATE);
        fs::write(site.home.path().join("config.toml"), "[rules.templates]\norder = 1\nclass = \"template\"\ndatabases = [\"basic-*\"]\n")
            .unwrap();
        Templates { site }
    }

    fn store(&self) -> PathBuf {
        self.site.home.path().join("seeds")
    }

    fn with_config(&self, bin: Bin) -> Bin {
        let config = self.site.home.path().join("config.toml");
        bin.arg("--config").arg(config).env("PLANA_JOBS__STORE__TEMPLATES__URL", format!("file://{}", self.store().display()))
    }

    fn publisher(&self, arguments: &[&str]) -> Bin {
        let bin = Bin::new("pg-dump-to-sos").unwrap().args(["--output", "json", "--log-format", "text"]).envs(self.site.cluster.env());
        let bin = bin
            .env("PATH", self.site.cluster.bin_dir())
            .env("PLANA_JOBS__POSTGRES__BIN_DIRS", self.site.cluster.bin_dir())
            .env("PLANA_JOBS__STATE_DIR", self.site.home.path().join("state"));
        self.with_config(bin).arg("--templates").args(arguments)
    }

    /// Publishes the templates and gives the outcome and the SHA of one.
    fn publish(&self, name: &str) -> (String, String) {
        let done = self.publisher(&["--only", name]).run().unwrap().expect_code(0);
        let item = &json(&done)["items"][0];
        let key = item["key"].as_str().unwrap();
        (item["outcome"].as_str().unwrap().to_owned(), key.rsplit('/').next().unwrap().to_owned())
    }

    fn job(&self, arguments: &[&str]) -> Bin {
        self.with_config(self.site.job(arguments))
    }

    fn directory(&self, sha: &str) -> PathBuf {
        self.store().join(TEMPLATE).join(sha)
    }
}

fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = all.filter(|path| path.display().to_string().ends_with(ending)).collect();
    found.sort();
    found
}

/// Refused in words, and nothing was put in place.
#[track_caller]
fn expect_refused(templates: &Templates, seed: &str, words: &str) -> Done {
    let check = templates.job(&["seed", "check", seed]).run().unwrap().expect_code(1);
    assert!(error(&check).contains(words), "{}", error(&check));
    let refused = templates.job(&["seed", "restore", seed, "--into", "never"]).run().unwrap().expect_code(1);
    assert!(error(&refused).contains(words), "{}", error(&refused));
    assert!(!templates.site.databases().contains(&"never".to_owned()));
    templates.site.expect_no_scratch();
    refused
}

#[test]
fn what_is_restored_is_the_same_content() {
    for major in PgMajor::ALL {
        let templates = Templates::new(major);
        let (outcome, sha) = templates.publish(TEMPLATE);
        assert_eq!(outcome, "done");
        templates.job(&["seed", "check", TEMPLATE]).run().unwrap().expect_code(0);
        let beginning = format!("{TEMPLATE}@{}", &sha[..10]);
        let dry = templates.job(&["seed", "restore", &beginning, "--into", "basic-again", "--dry-run"]).run().unwrap().expect_code(0);
        assert_eq!(json(&dry)["items"][0]["outcome"], "planned");
        // As a superuser: nobody else may bring a role's settings in this database back.
        let restore = templates.job(&["seed", "restore", &beginning, "--into", "basic-again", "--as-superuser"]);
        let done = restore.env("PGUSER", "postgres").run().unwrap().expect_code(0);
        assert_eq!(json(&done)["items"][0]["key"], format!("{TEMPLATE}/{sha}"));
        assert_eq!(contents(&templates.site.cluster, "basic-again"), contents(&templates.site.cluster, TEMPLATE), "PostgreSQL {major}");
        // Owner, settings and grants of the database belong to it too: under another name it is the same content, and another
        // one as soon as a row is.
        assert_eq!(templates.publish("basic-again"), ("done".to_owned(), sha.clone()), "PostgreSQL {major}");
        templates.site.cluster.psql("basic-again", "UPDATE res_partner SET name = 'x' WHERE id = 9").unwrap();
        assert_ne!(templates.publish("basic-again").1, sha, "PostgreSQL {major}");
        let occupied = templates.job(&["seed", "restore", TEMPLATE, "--into", "basic-again"]).run().unwrap().expect_code(20);
        assert!(error(&occupied).contains("basic-again"));
    }
}

#[test]
fn seeds_are_listed_and_found() {
    let templates = Templates::new(PgMajor::V16);
    let (_, old) = templates.publish(TEMPLATE);
    templates.site.cluster.psql(TEMPLATE, "COMMENT ON TABLE res_partner IS 'changed'").unwrap();
    // Stamps tell seconds.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let (outcome, new) = templates.publish(TEMPLATE);
    assert_eq!(outcome, "done");
    let listed = json(&templates.job(&["seed", "list"]).run().unwrap().expect_code(0));
    let shas: Vec<&str> = listed["seeds"].as_array().unwrap().iter().map(|seed| seed["sha256"].as_str().unwrap()).collect();
    assert_eq!(shas, [&new, &old], "newest first");
    assert_eq!(json(&templates.job(&["seed", "list", "no-*"]).run().unwrap().expect_code(0))["seeds"], serde_json::json!([]));
    let to = templates.site.home.path().join("fetched");
    let fetched = templates.job(&["seed", "fetch", &format!("{TEMPLATE}@{old}"), "--to", to.to_str().unwrap()]);
    fetched.run().unwrap().expect_code(0);
    assert_eq!((files(&to, ".dump.zst").len(), files(&to, ".manifest.json").len()), (1, 1));
    let newest = json(&templates.job(&["seed", "check", TEMPLATE]).run().unwrap().expect_code(0));
    assert_eq!(newest["items"][0]["key"], format!("{TEMPLATE}/{new}"));
    let none = templates.job(&["seed", "check", "no-such-template"]).run().unwrap().expect_code(1);
    assert!(error(&none).contains("find the seed no-such-template"), "{}", error(&none));
    // A payload whose manifest never came is no seed.
    for manifest in files(&templates.directory(&new), ".manifest.json") {
        fs::remove_file(manifest).unwrap();
    }
    let listed = json(&templates.job(&["seed", "list"]).run().unwrap().expect_code(0));
    assert_eq!((listed["seeds"].as_array().unwrap().len(), &listed["incomplete"]), (1, &serde_json::json!(1)));
    let gone = templates.job(&["seed", "restore", &format!("{TEMPLATE}@{new}"), "--into", "never"]).run().unwrap().expect_code(1);
    assert!(error(&gone).contains("find the seed"), "{}", error(&gone));
}

#[test]
fn what_was_tampered_with_is_refused() {
    let templates = Templates::new(PgMajor::V16);
    let (_, sha) = templates.publish(TEMPLATE);
    let seed = format!("{TEMPLATE}@{sha}");
    let payload = files(&templates.directory(&sha), ".dump.zst").remove(0);
    let whole = fs::read(&payload).unwrap();
    tamper(&payload, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    expect_refused(&templates, &seed, "use another set");
    fs::write(&payload, &whole).unwrap();
    templates.job(&["seed", "check", &seed]).run().unwrap().expect_code(0);
    // A setting that the manifest alone holds.
    let manifest = files(&templates.directory(&sha), ".manifest.json").remove(0);
    let told = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, told.replace("work_mem=32MB", "work_mem=31MB")).unwrap();
    expect_refused(&templates, &seed, "which is not the one of its key");
    fs::write(&manifest, told.replace("\"identity\": 1", "\"identity\": 2")).unwrap();
    expect_refused(&templates, &seed, "use a newer plana-jobs");
    fs::write(&manifest, &told).unwrap();

    // Another content altogether, put below this SHA with a manifest of its own that agrees with it in everything.
    templates.site.cluster.psql(TEMPLATE, "UPDATE res_partner SET email = 'thief@example.org' WHERE id = 3").unwrap();
    let (_, other) = templates.publish(TEMPLATE);
    assert_ne!(other, sha);
    for file in files(&templates.directory(&sha), "") {
        fs::remove_file(file).unwrap();
    }
    for file in files(&templates.directory(&other), "") {
        let to = templates.directory(&sha).join(file.file_name().unwrap());
        fs::copy(&file, &to).unwrap();
        if to.display().to_string().ends_with(".json") {
            fs::write(&to, fs::read_to_string(&file).unwrap().replace(&other, &sha)).unwrap();
        }
    }
    expect_refused(&templates, &seed, "which is not the one of its key");
}

#[test]
fn another_copy_serves_where_one_cannot_be_used() {
    let templates = Templates::new(PgMajor::V16);
    let (_, sha) = templates.publish(TEMPLATE);
    let directory = templates.directory(&sha);
    // A second copy, as another publisher would have made it at the same time.
    let payload = files(&directory, ".dump.zst").remove(0);
    let id = payload.display().to_string().rsplit('.').nth(2).unwrap().to_owned();
    for file in files(&directory, "") {
        let text = fs::read(&file).unwrap();
        let to = PathBuf::from(file.display().to_string().replace(&id, "ffffffff"));
        fs::write(&to, &text).unwrap();
        if to.display().to_string().ends_with(".json") {
            fs::write(&to, String::from_utf8(text).unwrap().replace(&id, "ffffffff")).unwrap();
        }
    }
    let listed = json(&templates.job(&["seed", "list"]).run().unwrap().expect_code(0));
    assert_eq!(listed["seeds"][0]["copies"], 2);
    tamper(&payload, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let done = templates.job(&["seed", "restore", TEMPLATE, "--into", "served"]).run().unwrap().expect_code(0);
    let warnings = json(&done)["items"][0]["warnings"].to_string();
    assert!(warnings.contains("cannot be used, and another copy was") && warnings.contains(&id), "{warnings}");
    assert_eq!(contents(&templates.site.cluster, "served"), contents(&templates.site.cluster, TEMPLATE));
    // A check looks at every copy.
    templates.job(&["seed", "check", TEMPLATE]).run().unwrap().expect_code(3);
}

#[test]
fn with_keys_that_put_and_list_and_that_list_and_read() {
    let templates = Templates::new(PgMajor::V18);
    let bucket = Gateway::shared().bucket("seeds").unwrap();
    let url = format!("s3://{}/seeds", bucket.name());
    let publish = || {
        let publisher = templates.publisher(&[]).envs(bucket.env(User::Backup)).env("PLANA_JOBS__STORE__TEMPLATES__URL", &url);
        json(&publisher.run().unwrap().expect_code(0))["items"][0]["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!((publish(), publish()), ("done".to_owned(), "fresh".to_owned()));
    let reader = |arguments: &[&str]| {
        templates.job(arguments).envs(bucket.env(User::Restore)).env("PLANA_JOBS__STORE__TEMPLATES__URL", &url).run().unwrap()
    };
    reader(&["seed", "restore", TEMPLATE, "--into", "from-the-bucket"]).expect_code(0);
    assert_eq!(contents(&templates.site.cluster, "from-the-bucket"), contents(&templates.site.cluster, TEMPLATE));
    let quoted = quote_identifier("from-the-bucket");
    templates.site.cluster.psql("postgres", &format!("DROP DATABASE {quoted}")).unwrap();
    let checked = reader(&["check"]);
    assert!(checked.stdout.contains(&url), "{}", checked.stdout);
}
