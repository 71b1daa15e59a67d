//! Which databases a run takes, and in which order.

use plana_testkit::{
    pg::{PgCluster, PgMajor},
    platform::{self, TENANTS},
};

use crate::common::{Job, Outcome, expect_words};

fn cluster() -> &'static PgCluster {
    platform::shared(PgMajor::V15)
}

fn planned(arguments: &[&str]) -> Outcome {
    let job = crate::common::job().on(cluster()).args(arguments).arg("--dry-run");
    let outcome = job.run().expect(0);
    assert!(!job.store().root().exists(), "a dry run must not touch the store");
    assert_eq!(std::fs::read_dir(job.home().join("state")).unwrap().count(), 0, "nor the state directory");
    job.expect_no_process_left();
    outcome
}

fn all() -> Vec<String> {
    let query = "SELECT datname FROM pg_database WHERE datname <> 'template0' ORDER BY datname COLLATE \"C\"";
    cluster().psql("postgres", query).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_dry_run_names_everything_and_touches_nothing() {
    let outcome = planned(&["--config", crate::common::repository().join("config/demo.toml").to_str().unwrap()]);
    assert_eq!(outcome.databases("planned"), all());
    assert_eq!(outcome.report["dry_run"], true);
    for tenant in TENANTS {
        assert_eq!(outcome.item(tenant.database)["label"], tenant.tier);
    }
    assert_eq!(outcome.item_in("globals", "demo")["outcome"], "planned");
}

#[test]
fn names_and_globs() {
    let tenants = planned(&["--only", "*.planapulse.app", "--exclude", "*-template-*"]).databases("planned");
    let mut expected: Vec<_> = TENANTS.iter().map(|tenant| tenant.database.to_owned()).collect();
    expected.sort();
    assert_eq!(tenants, expected);
    let outcome = planned(&["--only", "acme.planapulse.app", "--only", "forgejo", "--exclude", "acme.*"]);
    assert_eq!(outcome.databases("planned"), ["forgejo"], "--exclude wins");
    assert_eq!(outcome.report["items"].as_array().unwrap().len(), 1, "no globals where databases are named");
    let outcome = planned(&["--exclude", "*.app"]);
    assert!(outcome.databases("planned").contains(&"forgejo".to_owned()) && !outcome.databases("planned").contains(&expected[0]));
}

#[test]
fn what_was_asked_for_and_is_not_there_is_a_failure() {
    let outcome = crate::common::job().on(cluster()).args(["--only", "forgejo", "--only", "no-such-*", "--dry-run"]).run().expect(3);
    assert_eq!(outcome.databases("planned"), ["forgejo"]);
    expect_words(outcome.error("no-such-*"), &["--only no-such-*", "no such database"]);
    // The other shards leave it to the first, so that it is said once.
    let shard = crate::common::job().on(cluster()).args(["--only", "no-such-*", "--shard", "1/2", "--dry-run"]).run().expect(0);
    assert!(shard.report["items"].as_array().unwrap().is_empty());
}

#[test]
fn every_name_is_in_exactly_one_shard() {
    for count in [1, 2, 3, 7] {
        let mut seen = Vec::new();
        for index in 0..count {
            let outcome = planned(&["--shard", &format!("{index}/{count}")]);
            seen.extend(outcome.databases("planned"));
            let items = outcome.report["items"].as_array().unwrap();
            assert_eq!(items.iter().any(|item| item["area"] == "globals"), index == 0, "the globals belong to the first");
        }
        seen.sort();
        assert_eq!(seen, all(), "{count} shards");
    }
    // Kubernetes tells an Indexed Job's pod its index so.
    let by_index = crate::common::job().on(cluster()).args(["--dry-run", "--shard", "3"]).env("JOB_COMPLETION_INDEX", "1").run().expect(0);
    assert_eq!(by_index.databases("planned"), planned(&["--shard", "1/3"]).databases("planned"));
}

#[test]
fn the_largest_goes_first_and_as_many_at_once_as_were_asked_for() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let names: Vec<String> = (1..=3).map(|size| cluster.fresh_database(&format!("size{size}")).unwrap()).collect();
    for (at, name) in names.iter().enumerate() {
        let rows = (at + 1) * 40_000;
        cluster.psql(name, &format!("CREATE TABLE t AS SELECT md5(i::text) FROM generate_series(1, {rows}) AS i")).unwrap();
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let outcome = crate::common::job().on(cluster).only(&all).args(["--jobs", "1"]).run().expect(0);
    let place =
        |name: &str| outcome.done.stderr.find(&format!("{name}: done")).unwrap_or_else(|| panic!("{name}: {}", outcome.done.stderr));
    assert!(place(&names[2]) < place(&names[1]) && place(&names[1]) < place(&names[0]), "{}", outcome.done.stderr);

    for (jobs, expected) in [("1", 1), ("2", 2), ("3", 3)] {
        let locks: Vec<_> = names.iter().map(|name| crate::common::faults::HeldLock::on(cluster, name, "t")).collect();
        let job = crate::common::job().on(cluster).only(&all).args(["--jobs", jobs]);
        let mut running = job.spawn();
        let at_work = || names.iter().filter(|name| job.pg_dump_of(name).is_some()).count();
        running.wait_until("as many dumps as were asked for", |_| at_work() >= expected).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(at_work(), expected, "--jobs {jobs}");
        drop(locks);
        Outcome::wait(running).expect(0);
    }
}

#[test]
fn what_restores_and_drills_make_is_left_out() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let name = cluster.fresh_database("kept").unwrap();
    let scratch = cluster.fresh_database("plana_scratch").unwrap();
    let other = cluster.fresh_database("drill").unwrap();
    let dry = |job: Job| job.args(["--dry-run", "--only", "kept_*", "--only", "plana_scratch_*", "--only", "drill_*"]).run().expect(0);
    let outcome = dry(crate::common::job().on(cluster));
    let planned = outcome.databases("planned");
    assert!(planned.contains(&name) && planned.contains(&other) && !planned.contains(&scratch), "{planned:?}");
    let outcome = dry(crate::common::job().on(cluster).set("dump.scratch_prefix", "drill_"));
    let planned = outcome.databases("planned");
    assert!(planned.contains(&name) && planned.contains(&scratch) && !planned.contains(&other), "{planned:?}");
    // The configuration's own exclusions hold in each run.
    let outcome = dry(crate::common::job().on(cluster).set("dump.exclude", "kept_*,drill_*"));
    assert_eq!(outcome.databases("planned"), Vec::<String>::new());
}
