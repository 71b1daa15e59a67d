//! Templates as seeds: published under the SHA of their content, once for each content.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod meanwhile;
mod published;
mod store;

use std::path::PathBuf;

use common::{Job, Outcome, store::FileStore};
use plana_plan::{
    inventory::{Inventory, ObjectMeta},
    manifest::Manifest,
};
use plana_testkit::pg::{PgCluster, PgMajor, quote_identifier};

/// A name that is no identifier and no segment of a key.
const TEMPLATE: &str = "basic/template 18";

/// A server with a template and a tenant.
struct Site {
    cluster: PgCluster,
}

impl Site {
    fn new(major: PgMajor) -> Self {
        let cluster = PgCluster::start(major).unwrap();
        cluster.psql("postgres", "CREATE DATABASE tenant").unwrap();
        let site = Site { cluster };
        site.add(TEMPLATE, "n");
        site
    }

    /// A template whose rows were written in that order.
    fn add(&self, name: &str, order: &str) {
        self.cluster.psql("postgres", &format!("CREATE DATABASE {}", quote_identifier(name))).unwrap();
        let content = format!(
            "CREATE TABLE partner (id int PRIMARY KEY, name text);
             INSERT INTO partner SELECT n, 'Partner ' || n FROM generate_series(1, 2000) n ORDER BY {order};
             SELECT lo_from_bytea(4711, 'a large object')"
        );
        self.cluster.psql(name, &content).unwrap();
    }

    fn sql(&self, sql: &str) {
        self.cluster.psql(TEMPLATE, sql).unwrap();
    }

    /// A run of the templates, into a directory of its own.
    fn job(&self) -> Job {
        self.configured(common::job())
    }

    /// The same with the clock at that time when it starts, and pg_dump's too.
    fn job_at(&self, time: &str) -> Job {
        let job = common::job_under(&["/usr/bin/faketime", "-f", &format!("@{time}")]);
        self.configured(job.env("TZ", "UTC").env("FAKETIME_DONT_FAKE_MONOTONIC", "1"))
    }

    fn configured(&self, job: Job) -> Job {
        let job = job.on(&self.cluster);
        let seeds = format!("file://{}", job.home().join("seeds").display());
        job.set("store.templates.url", &seeds)
            .config("[rules.templates]\norder = 1\nclass = \"template\"\ndatabases = [\"basic*\"]\n")
            .arg("--templates")
    }
}

fn seeds(job: &Job) -> FileStore {
    FileStore::new(job.home().join("seeds"))
}

/// The committed seeds of a directory, each with its manifest, read as a restore would read it. Nothing else may lie there but
/// what never became one.
fn committed(store: &FileStore) -> Vec<Manifest> {
    let objects =
        store.files().into_iter().map(|(key, size)| ObjectMeta { key, size, last_modified: chrono::DateTime::UNIX_EPOCH, etag: None });
    let inventory = Inventory::read_seeds(objects);
    assert!(inventory.unknown.is_empty(), "objects that nobody knows: {:?}", inventory.unknown);
    let sets = inventory.sets.into_values().filter(|set| set.manifest.is_some());
    sets.map(|set| {
        assert!(set.is_committed(), "a manifest without a payload: {}", set.key);
        Manifest::parse(&std::fs::read(store.root().join(set.key.manifest())).unwrap(), &set.key).unwrap()
    })
    .collect()
}

/// The short SHA of the content that a run reported.
fn content(outcome: &Outcome) -> String {
    outcome.item(TEMPLATE)["content"].as_str().unwrap_or_else(|| panic!("{}", outcome.done.stdout)).to_owned()
}

/// A script before pg_dump that does something when it is called for the second time: between the two dumps.
fn between(job: Job, cluster: &PgCluster, script: &str) -> Job {
    let mark: PathBuf = job.home().join("was-called");
    let psql = format!("'{}' -X -q -v ON_ERROR_STOP=1", cluster.bin_dir().join("psql").display());
    let script = format!(
        "if [ -e '{mark}' ]; then\n{script}\nelse : >'{mark}'\nfi\nexec \"$real\" \"$@\"",
        mark = mark.display(),
        script = script.replace("{psql}", &format!("/usr/bin/env -u PGOPTIONS {psql}"))
    );
    job.pg_dump_script(cluster, &script)
}
