//! The dashboard's queries, against what a real night left behind.

use plana_testkit::prometheus::Prometheus;
use serde_json::Value;

use crate::host::ROOT;

/// What shows nothing after a good night on directories, and why.
const EMPTY: [(&str, &str); 3] = [
    ("max by (area, name) (plana_jobs_retention_frozen) == 1", "no name is frozen"),
    ("max by (plana_job) (plana_jobs_key_needless_rights)", "a directory has no key"),
    ("max by (plana_job) (plana_jobs_store_clock_difference_seconds)", "a directory has no clock of its own"),
];

/// Every query of the dashboard answers with series, but those that should not.
pub fn shows_what_the_night_left(metrics: &str) {
    let prometheus = Prometheus::of(metrics).unwrap();
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(format!("{ROOT}/monitoring/dashboard.json")).unwrap()).unwrap();
    let mut seen = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let answer = prometheus.query(query).unwrap();
            let expected = EMPTY.iter().find(|(empty, _)| *empty == query);
            assert_eq!(answer.is_empty(), expected.is_some(), "{}: {query} answers {answer:?}, and {expected:?}", panel["title"]);
            // A legend without its label would be a line without a name.
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
                assert!(answer.iter().all(|one| one["metric"][label].is_string()), "{}: {label} of {answer:?}", panel["title"]);
            }
            seen += 1;
        }
    }
    assert!(seen >= 25, "{seen}");
}
