//! An Indexed Job's pods share the names: together they take each once, and always the same ones.

use std::collections::BTreeMap;

use plana_testkit::{
    bin::Bin,
    pg::{PgCluster, PgMajor},
};

use crate::rendered::{self, command};

#[test]
fn the_number_of_shares_is_that_of_the_pods() {
    let mut sharded = 0;
    for (name, job) in rendered::of("overlays/scale-out").jobs().filter(|(_, job)| job["completionMode"] == "Indexed") {
        sharded += 1;
        let words = command(&job["template"]["spec"]);
        let shares: Option<u64> = words.iter().position(|word| *word == "--shard").and_then(|at| words.get(at + 1)?.parse().ok());
        assert!(shares.is_some() && job["completions"].as_u64() == shares && job["parallelism"].as_u64() == shares, "{name}: {words:?}");
        // Without a limit of its own each share would stop the others.
        assert!(job["backoffLimit"].is_null() && job["backoffLimitPerIndex"] == 2, "{name}");
        let volumes = job["template"]["spec"]["volumes"].as_array().expect("volumes");
        assert!(volumes.iter().any(|volume| volume["name"] == "state" && volume["emptyDir"].is_object()), "{name}: a volume of one node");
    }
    assert_eq!(sharded, 2);
}

/// The command as it is shipped, with the variable that Kubernetes sets, against a server.
#[test]
fn each_pod_takes_a_stable_share_and_together_they_take_all() {
    let (_, job) = rendered::of("overlays/scale-out").jobs().find(|(name, _)| *name == "pg-dump-to-sos").expect("the job");
    let (words, shares) = (command(&job["template"]["spec"]), job["completions"].as_u64().expect("a number"));
    let (cluster, home) = (PgCluster::start(PgMajor::V15).unwrap(), tempfile::tempdir().unwrap());
    let tenants: Vec<String> = (0..16).map(|number| format!("tenant{number}.example.app")).collect();
    for tenant in &tenants {
        cluster.psql("postgres", &format!("CREATE DATABASE \"{tenant}\" STRATEGY file_copy")).unwrap();
    }
    let planned = |index: u64| {
        let run = Bin::new(words[0])
            .unwrap()
            .args(&words[1..])
            .args(["--dry-run", "--output", "json", "--log-format", "text"])
            .envs(cluster.env())
            .env("PATH", cluster.bin_dir())
            .env("PLANA_JOBS__POSTGRES__BIN_DIRS", cluster.bin_dir())
            .env("PLANA_JOBS__STATE_DIR", home.path())
            .env("PLANA_JOBS__STORE__BACKUPS__URL", format!("file://{}", home.path().join("store").display()))
            .env("JOB_COMPLETION_INDEX", index.to_string());
        let report = run.run().unwrap().expect_code(0).json();
        let items = report["items"].as_array().unwrap().clone();
        items.iter().map(|item| format!("{}/{}", item["area"].as_str().unwrap(), item["name"].as_str().unwrap())).collect::<Vec<_>>()
    };
    let mut takers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for index in 0..shares {
        let share = planned(index);
        share.iter().for_each(|name| takers.entry(name.clone()).or_default().push(index));
        if index == 3 {
            assert_eq!(planned(index), share, "the same run again takes the same names");
        }
    }
    for name in tenants.iter().map(|tenant| format!("pg/{tenant}")).chain(["pg/postgres".to_owned()]) {
        assert_eq!(takers.get(&name).map(Vec::len), Some(1), "{name}: {takers:?}");
    }
    assert!(takers.values().all(|indexes| indexes.len() == 1), "{takers:?}");
    // One more tenant moves nobody.
    cluster.psql("postgres", "CREATE DATABASE \"newcomer.example.app\" STRATEGY file_copy").unwrap();
    for index in 0..3 {
        let mut share = planned(index);
        share.retain(|name| name != "pg/newcomer.example.app");
        let before: Vec<&String> = takers.iter().filter(|(_, indexes)| indexes[0] == index).map(|(name, _)| name).collect();
        share.sort();
        assert_eq!(share.iter().collect::<Vec<_>>(), before, "share {index}");
    }
}
