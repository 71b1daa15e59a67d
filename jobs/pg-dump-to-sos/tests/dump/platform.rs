//! The whole demo platform, from one server into a store and from there into an empty server.

use std::{collections::BTreeMap, io::Write, process::Stdio};

use plana_plan::Area;
use plana_testkit::{
    pg::{PgCluster, PgMajor},
    platform::{self, EXTERNAL, SERVICES, TEMPLATES, TENANTS},
};

use crate::common::{Job, Outcome, repository, rows, store::Set};

#[test]
fn from_15_to_an_empty_15() {
    everything_is_backed_up_and_restored(PgMajor::V15);
}

#[test]
fn from_16_to_an_empty_16() {
    everything_is_backed_up_and_restored(PgMajor::V16);
}

#[test]
fn from_18_to_an_empty_18() {
    everything_is_backed_up_and_restored(PgMajor::V18);
}

fn labels() -> BTreeMap<String, String> {
    let tenants = TENANTS.iter().map(|tenant| (tenant.database, tenant.tier));
    let templates = TEMPLATES.iter().map(|name| (*name, "template"));
    let services = SERVICES.iter().chain(&["postgres", "template1"]).map(|name| (*name, "platform"));
    let all = tenants.chain(templates).chain(services).chain([(EXTERNAL, "external")]);
    all.map(|(name, label)| (name.to_owned(), label.to_owned())).collect()
}

fn everything_is_backed_up_and_restored(major: PgMajor) {
    let cluster = platform::shared(major);
    let job = crate::common::job().on(cluster).arg("--config").arg(repository().join("config/demo.toml"));
    let outcome = job.run().expect(0);
    assert_eq!(outcome.warnings(), "");
    let listed =
        cluster.psql("postgres", "SELECT datname FROM pg_database WHERE datname <> 'template0' ORDER BY datname COLLATE \"C\"").unwrap();
    assert_eq!(job.store().databases(), listed.lines().collect::<Vec<_>>());
    let kept_as: BTreeMap<String, String> = job.store().committed().iter().filter(|set| set.key.area == Area::Pg).map(label).collect();
    assert_eq!(kept_as, labels());

    let empty = PgCluster::start(major).unwrap();
    restore_globals(&job.store().only_set(Area::Globals, "demo"), cluster, &empty);
    for name in labels().keys() {
        let set = job.store().set(name);
        facts_agree(&set, cluster, major, &outcome);
        let into = if name.starts_with("postgres") || name.starts_with("template1") { format!("{name}_restored") } else { name.clone() };
        set.restore(&empty, &into);
        let restored = rows::tables(&empty, &into);
        assert_eq!(restored, rows::tables(cluster, name), "{name}");
        rows::expect_counts(set.manifest.database.as_ref().unwrap(), &restored);
    }
    a_rerun_does_only_what_is_missing(&job);
}

fn label(set: &Set) -> (String, String) {
    assert_eq!(set.key.label.label, set.manifest.label);
    (set.manifest.name.clone(), set.manifest.label.to_string())
}

/// Into a server that has nothing but its superuser.
fn restore_globals(set: &Set, from: &PgCluster, to: &PgCluster) {
    let mut command = to.command("psql");
    let mut child = command.args(["-X", "-q", "-d", "postgres"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&set.content()).unwrap();
    let done = child.wait_with_output().unwrap();
    // The superuser is there already; nothing else may be wrong.
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    let others: Vec<&str> =
        errors.lines().filter(|line| line.contains("ERROR") && !line.contains("role \"postgres\" already exists")).collect();
    assert!(others.is_empty(), "{others:?}");
    let roles = "SELECT string_agg(rolname || rolcanlogin || rolsuper, ',' ORDER BY rolname COLLATE \"C\") FROM pg_roles";
    assert_eq!(from.psql("postgres", roles).unwrap(), to.psql("postgres", roles).unwrap());
}

fn facts_agree(set: &Set, cluster: &PgCluster, major: PgMajor, outcome: &Outcome) {
    let (manifest, name) = (&set.manifest, set.manifest.name.as_str());
    let facts = manifest.database.as_ref().unwrap();
    for version in [&facts.server_version, &facts.pg_dump_version] {
        assert!(version.starts_with(&format!("{major}.")), "{version}");
    }
    let query =
        "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = current_database()";
    assert_eq!(format!("{}|{}|{}", facts.owner, facts.encoding, facts.collate), cluster.psql(name, query).unwrap());
    let extensions = cluster.psql(name, "SELECT extname || '=' || extversion FROM pg_extension ORDER BY extname COLLATE \"C\"").unwrap();
    let noted: Vec<String> = facts.extensions.iter().map(|(name, version)| format!("{name}={version}")).collect();
    assert_eq!(noted, extensions.lines().collect::<Vec<_>>());
    let objects = cluster.psql(name, "SELECT count(*) FROM pg_largeobject_metadata").unwrap();
    assert_eq!(facts.large_objects.as_ref().map_or(0, |objects| objects.count).to_string(), objects);

    let payload = &manifest.payload;
    assert_eq!(payload.volumes.len(), 1);
    assert_eq!(payload.stored_sha256, set.stored_sha256());
    assert_eq!((payload.content_bytes, &payload.content_sha256), (set.content().len() as u64, &set.content_sha256()));
    assert_eq!(manifest.made_by.run_id, outcome.report["run_id"]);

    let item = outcome.item(name);
    assert_eq!((&item["outcome"], &item["rows"], &item["bytes"]), (&"done".into(), &facts.rows.into(), &payload.stored_bytes.into()));
    assert_eq!(item["key"], set.key.to_string());
}

fn a_rerun_does_only_what_is_missing(job: &Job) {
    let before = job.store().files();
    let outcome = job.clone().args(["--missing-within", "12h"]).run().expect(0);
    assert_eq!(outcome.databases("fresh").len(), labels().len());
    assert_eq!(outcome.item_in("globals", "demo")["outcome"], "fresh");
    assert_eq!(job.store().files(), before);
    // A set without its manifest is no backup.
    let lost = job.store().set("dental.planapulse.app");
    std::fs::remove_file(job.store().root().join(lost.key.manifest())).unwrap();
    let outcome = job.clone().args(["--missing-within", "12h"]).run().expect(0);
    assert_eq!(outcome.databases("done"), ["dental.planapulse.app"]);
    assert_eq!(outcome.databases("fresh").len(), labels().len() - 1);
}
