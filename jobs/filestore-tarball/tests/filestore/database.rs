//! What the tenants' databases say of their file stores.

use std::{fs, path::Path, sync::Arc};

use plana_testkit::{
    job::{Job, Outcome},
    pg::{PgCluster, PgMajor, quote_identifier},
    spoiled::{Spoil, SpoilRule, SpoiledTree, Step},
};

use crate::{Root, expect_words, facts, job, paths, set_of};

fn cluster() -> &'static PgCluster {
    PgCluster::shared(PgMajor::V16)
}

/// A tenant whose database names all of its files, each twice, and something else.
struct Tenant {
    name: String,
    files: Vec<String>,
    root: Root,
    job: Job,
}

impl Tenant {
    fn new() -> Self {
        let job = job().on(cluster());
        let root = Root::of(&job);
        let name = cluster().fresh_database("tenant").unwrap();
        cluster().psql(&name, "CREATE TABLE ir_attachment (id serial PRIMARY KEY, store_fname text)").unwrap();
        let files: Vec<String> = (0..8).map(|number| root.attach(&name, format!("attachment {number} of {name}"))).collect();
        let tenant = Tenant { job: job.arg(root.arg()), name, files, root };
        tenant.files.iter().for_each(|file| tenant.name_it(file));
        tenant.files.iter().for_each(|file| tenant.name_it(file));
        tenant.sql("INSERT INTO ir_attachment (store_fname) VALUES (NULL), ('../../etc/passwd')");
        tenant
    }

    fn sql(&self, sql: &str) {
        cluster().psql(&self.name, sql).unwrap();
    }

    fn name_it(&self, file: &str) {
        self.sql(&format!("INSERT INTO ir_attachment (store_fname) VALUES ('{file}')"));
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        cluster().psql("postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_identifier(&self.name))).ok();
    }
}

#[test]
fn files_that_rows_name_and_the_store_lacks_are_missing_and_no_failure_of_ours() {
    let tenant = Tenant::new();
    fs::remove_file(tenant.root.path(&tenant.name).join(&tenant.files[3])).unwrap();
    // One that nobody names is no matter.
    tenant.root.attach(&tenant.name, "nobody's");
    let outcome = tenant.job.run().expect(0);
    let set = set_of(&tenant.job, &tenant.name);
    assert_eq!(paths(&facts(&set).missing), [tenant.files[3].as_str()]);
    assert_eq!((facts(&set).named_by_database, facts(&set).files), (Some(8), 8));
    assert_eq!(outcome.item(&tenant.name)["missing"], 1);
    expect_words(&outcome.warnings(), &["1 file missing", &tenant.files[3]]);
}

/// Runs a tenant's job on a tree whose first file, when it is read, makes the database do that: what happens then happens after
/// the database was asked for the first time.
fn run_while_the_database_does(tenant: &Tenant, sql: String) -> (Job, Outcome) {
    let job = job().on(cluster());
    let mounted = job.home().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let tree = SpoiledTree::mount(&tenant.root.0, &mounted).unwrap();
    let name = tenant.name.clone();
    let act = Spoil::Act(Arc::new(move |_: &Path| drop(cluster().psql(&name, &sql).unwrap())));
    let rule = tree.add(SpoilRule::on(Step::Read, &tenant.files[0], act).times(1));
    let outcome = job.clone().arg(format!("--root={}", mounted.display())).run().expect(0);
    assert_eq!(rule.hits(), 1);
    (job, outcome)
}

#[test]
fn a_file_that_is_no_longer_named_afterwards_is_not_missing() {
    let tenant = Tenant::new();
    let (deleted, missing) = (&tenant.files[2], &tenant.files[5]);
    for file in [deleted, missing] {
        fs::remove_file(tenant.root.path(&tenant.name).join(file)).unwrap();
    }
    let (job, _) = run_while_the_database_does(&tenant, format!("DELETE FROM ir_attachment WHERE store_fname = '{deleted}'"));
    assert_eq!(paths(&facts(&set_of(&job, &tenant.name)).missing), [missing.as_str()]);
}

#[test]
fn a_row_that_comes_while_the_tree_is_read_makes_nothing_missing() {
    let tenant = Tenant::new();
    let late = crate::attachment(b"written after the walk had passed");
    let (job, _) = run_while_the_database_does(&tenant, format!("INSERT INTO ir_attachment (store_fname) VALUES ('{late}')"));
    let set = set_of(&job, &tenant.name);
    assert_eq!((facts(&set).missing.total, facts(&set).named_by_database), (0, Some(8)));
}

#[test]
fn files_that_cannot_be_asked_for_again_are_listed_as_what_they_may_be() {
    let tenant = Tenant::new();
    fs::remove_file(tenant.root.path(&tenant.name).join(&tenant.files[2])).unwrap();
    let (job, outcome) = run_while_the_database_does(&tenant, "DROP TABLE ir_attachment".to_owned());
    let set = set_of(&job, &tenant.name);
    assert_eq!(paths(&facts(&set).missing), [tenant.files[2].as_str()]);
    expect_words(facts(&set).missing.listed[0].reason.as_deref().unwrap(), &["could not be asked"]);
    expect_words(&outcome.warnings(), &["still named could not be asked again", "ir_attachment"]);
}

#[test]
fn without_a_database_the_files_are_taken_all_the_same() {
    let tenant = Tenant::new();
    tenant.sql("DROP TABLE ir_attachment");
    tenant.root.attach("no-such-database.app", "content");
    let outcome = tenant.job.run().expect(0);
    assert_eq!(outcome.databases("done").len(), 2);
    expect_words(&outcome.warnings(), &["whether files are missing was not asked", "ir_attachment", "does not exist"]);
    // Nobody asks where nobody wants to know.
    let text = format!("[filestore.sources.a]\nroot = \"{}\"\nattachments = false\n", tenant.root.0.display());
    let outcome = job().on(cluster()).config(&text).run().expect(0);
    assert!(!outcome.warnings().contains("was not asked"), "{}", outcome.warnings());
}

#[test]
fn without_a_server_the_files_are_taken_all_the_same() {
    let job = job().set("postgres.dsn", "host=127.0.0.1 port=1 user=nobody");
    let root = Root::of(&job);
    root.fill("acme.app", 3, 100);
    let outcome = job.clone().arg(root.arg()).run().expect(0);
    expect_words(&outcome.warnings(), &["connect to PostgreSQL", "taken all the same", "locks of this host alone"]);
}

#[test]
fn the_locks_are_the_servers_where_there_is_one() {
    let tenant = Tenant::new();
    tenant.root.attach("other.app", "content");
    // As a run on another host holds it, which shares no directory with this one.
    let slow = tenant.job.clone().slow();
    tenant.root.fill(&tenant.name, 10, 1_200_000);
    let mut first = slow.arg(format!("--only={}", tenant.name)).spawn();
    first.wait_until("the first run's work", |running| running.stderr().contains("planned")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let other = job().on(cluster()).arg(tenant.root.arg());
    let outcome = other.run().expect(11);
    assert_eq!((outcome.outcome(&tenant.name), outcome.outcome("other.app")), ("locked", "done"));
    assert_eq!(first.wait().unwrap().code(), Some(0));
}
