//! A registry's mirror: on a directory, and on the gateway with a key that may list, read and delete.

mod changes;
mod failures;
mod kills;
mod many;
mod understood;
mod versions;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, TimeDelta, Utc};
use plana_testkit::{
    ceph::{BucketBuilder, Gateway, User},
    job::{Job, Outcome, bucket::S3, expect_words},
    proxy::{Action, Op, Request, Rule},
};
use sha2::{Digest as _, Sha256};

use crate::ago;

const REPOSITORIES: &str = "docker/registry/v2/repositories";

fn digest(content: &str) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn blob(hex: &str) -> String {
    format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2])
}

/// A registry's objects, each with its age in days.
#[derive(Default)]
struct Tree(Vec<(String, String, i64)>);

impl Tree {
    fn put(&mut self, key: String, content: &str, days: i64) {
        self.0.retain(|(there, ..)| *there != key);
        self.0.push((key, content.to_owned(), days));
    }

    fn content(&mut self, content: &str, days: i64) -> String {
        let hex = digest(content);
        self.put(blob(&hex), content, days);
        hex
    }

    fn manifest(&mut self, name: &str, text: &str, days: i64) -> String {
        let hex = self.content(text, days);
        self.put(format!("{REPOSITORIES}/{name}/_manifests/revisions/sha256/{hex}/link"), &format!("sha256:{hex}"), days);
        hex
    }

    fn tag(&mut self, name: &str, tag: &str, hex: &str, days: i64) {
        let prefix = format!("{REPOSITORIES}/{name}/_manifests/tags/{tag}");
        self.put(format!("{prefix}/current/link"), &format!("sha256:{hex}"), days);
        self.put(format!("{prefix}/index/sha256/{hex}/link"), &format!("sha256:{hex}"), days);
    }

    /// An image with a layer of its own and one that all share; gives its manifest.
    fn image(&mut self, name: &str, which: &str, days: i64) -> String {
        let layers = [format!("config of {which}"), format!("layer of {which}"), "shared layer".to_owned()];
        let mut hexes = Vec::new();
        for layer in &layers {
            let hex = self.content(layer, days);
            self.put(format!("{REPOSITORIES}/{name}/_layers/sha256/{hex}/link"), &format!("sha256:{hex}"), days);
            hexes.push(hex);
        }
        let one = |hex: &String| format!("{{\"digest\":\"sha256:{hex}\"}}");
        let text = format!("{{\"schemaVersion\":2,\"config\":{},\"layers\":[{},{}]}}", one(&hexes[0]), one(&hexes[1]), one(&hexes[2]));
        self.manifest(name, &text, days)
    }

    /// The keys and contents, in that order.
    fn objects(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(key, content, _)| (key.clone(), content.clone())).collect()
    }

    /// What every manifest of it refers to, by its digest.
    fn references(&self) -> BTreeMap<String, Vec<String>> {
        let of = |text: &str| {
            let manifest: serde_json::Value = serde_json::from_str(text).ok().filter(serde_json::Value::is_object)?;
            let lists = ["layers", "manifests"].map(|field| manifest[field].as_array().cloned().unwrap_or_default());
            let all = lists.into_iter().flatten().chain([manifest["config"].clone()]);
            Some(all.filter_map(|one| one["digest"].as_str()?.strip_prefix("sha256:").map(str::to_owned)).collect())
        };
        self.0.iter().filter_map(|(_, content, _)| Some((digest(content), of(content)?))).collect()
    }

    /// Panics where a registry would serve something of it in these keys that is not whole: a tag without its manifest, or a
    /// manifest without its own blob, or one that it refers to or the link to that.
    #[track_caller]
    fn expect_whole(&self, keys: &[String]) {
        let keys: BTreeSet<&str> = keys.iter().map(|key| key.strip_prefix("registry/").unwrap_or(key)).collect();
        let references = self.references();
        for key in &keys {
            let Some((name, within)) =
                key.strip_prefix(REPOSITORIES).and_then(|rest| rest.trim_start_matches('/').split_once("/_manifests/"))
            else {
                continue;
            };
            if let Some(hex) = within.strip_prefix("revisions/sha256/").and_then(|rest| rest.strip_suffix("/link")) {
                let link = |hex: &str, place: &str| keys.contains(format!("{REPOSITORIES}/{name}/{place}/sha256/{hex}/link").as_str());
                for needed in references[hex].iter().chain([&hex.to_owned()]) {
                    assert!(keys.contains(blob(needed).as_str()), "{name} has the manifest {hex}, and {needed} is gone");
                    let is_linked = link(needed, "_layers") || link(needed, "_manifests/revisions");
                    assert!(is_linked, "{name} has the manifest {hex}, and no link to {needed}");
                }
            } else if within.ends_with("/current/link") {
                let Some((_, content, _)) = self.0.iter().rfind(|(one, ..)| one == key) else { continue };
                let link = format!("{REPOSITORIES}/{name}/_manifests/revisions/sha256/{}/link", &content["sha256:".len()..]);
                assert!(keys.contains(link.as_str()), "{key} means a manifest that is gone");
            }
        }
    }

    /// An index of two images under a tag; gives all three manifests.
    fn index(&mut self, name: &str, tag: &str, days: i64) -> [String; 3] {
        let (amd, arm) = (self.image(name, &format!("{name} {tag} amd64"), days), self.image(name, &format!("{name} {tag} arm64"), days));
        let text = format!("{{\"schemaVersion\":2,\"manifests\":[{{\"digest\":\"sha256:{amd}\"}},{{\"digest\":\"sha256:{arm}\"}}]}}");
        let index = self.manifest(name, &text, days);
        self.tag(name, tag, &index, days);
        [index, amd, arm]
    }
}

fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339()
}

/// A job that may prune that mirror, with a ledger that covers forty days and these pulls.
fn job(url: &str, pulls: &[(&str, i64)]) -> Job {
    let job = Job::of(env!("CARGO_BIN_EXE_retention-pruner"));
    let ledger = job.home().join("pulls.jsonl");
    let mut lines = format!("{{\"from\":\"{}\",\"to\":\"{}\"}}\n", stamp(ago(40)), stamp(Utc::now()));
    for (path, days) in pulls {
        lines += &format!("{{\"time\":\"{}\",\"path\":\"{path}\"}}\n", stamp(ago(*days)));
    }
    std::fs::write(&ledger, lines).unwrap();
    job.set("store.mirror.url", url)
        .set("mirror.enabled", "true")
        .set("mirror.stores", &format!("[\"{url}\"]"))
        .set("mirror.ledger", &format!("[\"{}\"]", ledger.display()))
        .arg("mirror")
}

fn on_disk(tree: &Tree, pulls: &[(&str, i64)]) -> (Job, std::path::PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("registry");
    for (key, content, days) in &tree.0 {
        let path = root.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(ago(*days).timestamp().try_into().unwrap());
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(changed).unwrap();
    }
    (job(&format!("file://{}", root.display()), pulls), root, directory)
}

fn of_blobs(outcome: &Outcome) -> u64 {
    outcome.item("blobs")["deleted"].as_u64().unwrap()
}

#[test]
fn what_nobody_pulls_goes_and_an_index_keeps_its_children() {
    let mut tree = Tree::default();
    let old = tree.index("library/nginx", "1.0", 60);
    let pulled = tree.index("library/nginx", "1.27", 60);
    let new = tree.index("library/redis", "7", 2);
    tree.put("README".to_owned(), "notes", 500);
    tree.put(format!("{REPOSITORIES}/library/nginx/_uploads/abc/data"), "half", 9);
    let (job, root, _directory) = on_disk(&tree, &[("library/nginx:1.27", 5)]);
    let plan = job.clone().arg("--dry-run").run().expect(0);
    let rule = |hex: &str| {
        let manifests = plan.report["manifests"].as_array().unwrap();
        manifests.iter().find(|one| one["digest"] == format!("sha256:{hex}")).unwrap()["rule"].clone()
    };
    assert_eq!([&old[0], &pulled[0], &pulled[1], &new[0]].map(|hex| rule(hex)), ["inactive", "active", "needed", "active"]);
    assert_eq!((&plan.report["refusals"], &plan.report["unknown"][0]), (&serde_json::json!([]), &"README".into()));
    assert_eq!(plan.report["total"]["freed"]["blobs"], 3 + 4);
    let explained = job.clone().args(["--explain", "library/nginx:1.27"]).run().expect(0);
    expect_words(explained.report["reason"].as_str().unwrap(), &["pulled at"]);

    let done = job.run().expect(0);
    let item = done.item("library/nginx");
    assert_eq!([&item["deleted"], &item["kept"], &item["tags"], &item["swept"]], [3, 3, 1, 1], "{item:#}");
    assert_eq!(of_blobs(&done), 7);
    for hex in &old {
        assert!(!root.join(blob(hex)).exists());
    }
    assert!(!root.join(format!("{REPOSITORIES}/library/nginx/_manifests/tags/1.0/current/link")).exists());
    for hex in pulled.iter().chain(&new).chain([&digest("shared layer")]) {
        assert!(root.join(blob(hex)).exists());
    }
    assert!(root.join("README").exists());
    let again = job.run().expect(0);
    assert_eq!((&again.item("library/nginx")["deleted"], of_blobs(&again)), (&0.into(), 0));
}

#[test]
fn each_guard_stops_the_run() {
    let mut tree = Tree::default();
    tree.index("library/nginx", "1.0", 60);
    let (job, root, _directory) = on_disk(&tree, &[PULLED]);
    let count = || tree.0.iter().filter(|(key, ..)| root.join(key).exists()).count();
    let refused = |job: &Job, words: &[&str]| {
        expect_words(job.run().expect(20).run_error(), words);
        assert_eq!(count(), tree.0.len());
    };
    refused(&job.clone().set("mirror.enabled", "false"), &["mirror.enabled is false", "retention-pruner mirror --dry-run"]);
    refused(&job.clone().set("mirror.stores", "[\"s3://other\"]"), &["not named in mirror.stores"]);
    refused(&job.clone().set("mirror.ledger", "[]"), &["there is no ledger of pulls", "last-modified"]);
    refused(&job.clone().set("mirror.window", "41d"), &["it begins at", "within the window of 41d"]);
    let ledger = job.home().join("pulls.jsonl");
    let good = std::fs::read_to_string(&ledger).unwrap();
    std::fs::write(&ledger, format!("{{\"from\":\"{}\",\"to\":\"{}\"}}\n", stamp(ago(40)), stamp(ago(3)))).unwrap();
    refused(&job, &["says nothing of the time from"]);
    std::fs::write(&ledger, format!("{good}no line\n")).unwrap();
    refused(&job, &["line 3 of", "may have been a pull"]);
    std::fs::write(&ledger, format!("{good}{{\"time\":\"20")).unwrap();
    let done = job.clone().set("mirror.max_manifests", "1").run().expect(0);
    assert_eq!(done.item("library/nginx")["deleted"], 1, "the index before its children; half a last line is being written");
    expect_words(&done.warnings(), &["more manifests may go"]);
    let asked = job.set("mirror.ledger", "[]").set("mirror.without_ledger", "last-modified").arg("--accept-shrink").run().expect(0);
    expect_words(&asked.warnings(), &["the store's times decide"]);
    assert_eq!(asked.item("library/nginx")["deleted"], 2);
}

#[test]
fn what_cannot_be_understood_keeps_its_repository() {
    for (number, harm) in ["{\"schemaVersion\":1}", "not the content of its digest"].iter().enumerate() {
        let mut tree = Tree::default();
        let old = tree.index("library/nginx", "1.0", 60);
        let gone = tree.image("other", "other", 60);
        let strange = tree.manifest("library/nginx", "{\"schemaVersion\":1}", 60);
        tree.put(blob(&strange), harm, 60);
        let (job, root, _directory) = on_disk(&tree, &[PULLED]);
        let done = job.run().expect(0);
        expect_words(&done.warnings(), &["all of library/nginx is kept", ["schemaVersion is not 2", "what is stored there is"][number]]);
        assert!(
            old.iter().all(|hex| root.join(blob(hex)).exists()) && root.join(blob(&digest("layer of library/nginx 1.0 amd64"))).exists()
        );
        assert!(!root.join(blob(&gone)).exists(), "others go on");
    }
}

/// Pulled by somebody all the while.
const PULLED: (&str, i64) = ("library/nginx:1.27", 5);

fn on_gateway(tree: &Tree) -> (Job, S3) {
    in_bucket(tree, Gateway::shared().bucket_builder("mirror"), &[PULLED])
}

/// A mirror in a bucket whose content looks old to the job, which has the key of the contract: list, read and delete.
fn in_bucket(tree: &Tree, bucket: BucketBuilder, pulls: &[(&str, i64)]) -> (Job, S3) {
    let rights = ["s3:DeleteObject", "s3:DeleteObjectVersion"];
    let bucket = rights.into_iter().fold(bucket, |bucket, right| bucket.allow(User::Restore, right));
    let s3 = S3::of(bucket.create().unwrap());
    look_old(&s3);
    put(&s3, tree);
    let job = job(&s3.url_of("registry"), pulls).quick_retries();
    let job = job.envs(s3.bucket.env(User::Restore)).env("AWS_ENDPOINT_URL_S3", s3.proxy.endpoint());
    (job, s3)
}

fn look_old(s3: &S3) {
    for op in [Op::List, Op::ListVersions] {
        s3.proxy.add(Rule::on(op, Action::rewrite(crate::gateway::age)));
    }
}

fn put(s3: &S3, tree: &Tree) {
    let objects = tree.objects().into_iter().map(|(key, content)| (format!("registry/{key}"), content));
    crate::many::put_all(&s3.bucket, User::Admin, objects.collect());
}

/// Deletions as they come to the store, singly or many at once.
fn is_deletion(request: &Request) -> bool {
    matches!(request.op(), Op::Delete | Op::DeleteMany)
}

fn deletions(s3: &S3) -> usize {
    s3.proxy.count(Op::Delete) + s3.proxy.count(Op::DeleteMany)
}

#[test]
fn list_read_and_delete_are_enough_on_the_gateway() {
    let mut tree = Tree::default();
    let old = tree.index("library/nginx", "1.0", 60);
    let pulled = tree.index("library/nginx", "1.27", 60);
    let (job, s3) = on_gateway(&tree);
    let check = job.clone().arg("check").run().done.expect_code(0);
    expect_words(&check.stdout, &["may read objects", "may delete objects", "lines cover 30d"]);
    let done = job.run().expect(0);
    assert_eq!((&done.item("library/nginx")["deleted"], of_blobs(&done)), (&3.into(), 7), "{}", done.done.stderr);
    let keys = s3.bucket.keys().unwrap();
    let there = |hex: &String| keys.contains(&format!("registry/{}", blob(hex)));
    assert!(!old.iter().any(there) && pulled.iter().all(there));
    assert_eq!(s3.proxy.count(Op::PutObject), 0);
}

#[test]
fn a_push_between_plan_and_deletion_keeps_what_it_needs() {
    let mut tree = Tree::default();
    let old = tree.index("library/nginx", "1.0", 60);
    let (job, s3) = on_gateway(&tree);
    // The manifests are read once the listing stands: then somebody pushes an index of the old images into another repository.
    let text = format!("{{\"schemaVersion\":2,\"manifests\":[{{\"digest\":\"sha256:{}\"}}]}}", old[1]);
    let pushed = digest(&text);
    s3.proxy.add(Rule::on(Op::Get, Action::Delay(Duration::from_secs(3))).nth(1));
    let mut running = job.spawn();
    running.wait_until("the manifests are read", |_| s3.proxy.count(Op::Get) > 0).unwrap();
    s3.bucket.put(&format!("registry/{}", blob(&pushed)), text.as_str()).unwrap();
    let link = |hex: &str| format!("registry/{REPOSITORIES}/copy/_manifests/revisions/sha256/{hex}/link");
    for hex in [&pushed, &old[1]] {
        s3.bucket.put(&link(hex), format!("sha256:{hex}")).unwrap();
    }
    let done = Outcome::wait(running).expect(0);
    let keys = s3.bucket.keys().unwrap();
    let there = |hex: &str| keys.contains(&format!("registry/{}", blob(hex)));
    assert!(there(&old[1]) && there(&pushed) && !there(&old[2]), "{}", done.done.stderr);
    for part in ["config of library/nginx 1.0 amd64", "layer of library/nginx 1.0 amd64", "shared layer"] {
        assert!(there(&digest(part)), "{part}");
    }
    expect_words(&done.warnings(), &["needed again, or changed, since the plan"]);
}

#[test]
fn a_tag_that_comes_between_plan_and_deletion_leaves_its_repository_to_the_next_run() {
    let mut tree = Tree::default();
    let old = tree.index("library/nginx", "1.0", 60);
    let other = tree.index("library/redis", "6", 60);
    let (job, s3) = on_gateway(&tree);
    s3.proxy.add(Rule::on(Op::Get, Action::Delay(Duration::from_secs(3))).nth(1));
    let mut running = job.clone().spawn();
    running.wait_until("the manifests are read", |_| s3.proxy.count(Op::Get) > 0).unwrap();
    let tag = format!("registry/{REPOSITORIES}/library/nginx/_manifests/tags/stable/current/link");
    s3.bucket.put(&tag, format!("sha256:{}", old[0])).unwrap();
    let done = Outcome::wait(running).expect(0);
    let keys = s3.bucket.keys().unwrap();
    let there = |hex: &String| keys.contains(&format!("registry/{}", blob(hex)));
    assert!(old.iter().all(there) && !other.iter().any(there), "{}", done.done.stderr);
    assert_eq!(done.item("library/nginx")["deleted"], 0);
    let link = format!("registry/{REPOSITORIES}/library/nginx/_manifests/revisions/sha256/{}/link", old[1]);
    assert!(keys.contains(&link), "its images are served as before");
}

#[test]
fn no_blob_goes_once_the_repositories_cannot_be_listed_again() {
    let mut tree = Tree::default();
    let old = tree.index("library/nginx", "1.0", 60);
    let (job, s3) = on_gateway(&tree);
    // The plan lists them first; before blobs go it is denied.
    s3.proxy.clear();
    let all = |query: &str| query.replace("%2F", "/").split('&').any(|part| part.ends_with("/v2/repositories/"));
    s3.proxy.add(Rule::any(Action::error(403, "AccessDenied")).when(move |request| all(&request.query)).nth(2));
    look_old(&s3);
    let done = job.run().expect(3);
    expect_words(done.error("blobs"), &["delete 8 objects", "AccessDenied"]);
    assert_eq!(done.item("library/nginx")["deleted"], 3);
    let keys = s3.bucket.keys().unwrap();
    assert!(old.iter().all(|hex| keys.contains(&format!("registry/{}", blob(hex)))));
}

#[test]
fn an_access_log_becomes_a_ledger() {
    let log = format!(
        "10.0.0.1 - - [{}] \"GET /v2/library/nginx/manifests/1.27 HTTP/1.1\" 200 1 \"\" \"x\"\nrubbish\n",
        (Utc::now() - TimeDelta::days(1)).format("%d/%b/%Y:%H:%M:%S +0000")
    );
    let mut ledger = Vec::new();
    let told = retention_pruner::convert(log.as_bytes(), &mut ledger).unwrap();
    assert_eq!((told.lines, told.pulls, told.unreadable), (2, 1, 1));
    let text = String::from_utf8(ledger).unwrap();
    assert!(text.contains("\"path\":\"library/nginx:1.27\"") && text.contains("\"from\""), "{text}");
}
