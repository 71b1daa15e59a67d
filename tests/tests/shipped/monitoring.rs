//! Alerts fire when they should, and what alerts and dashboard ask for is what the jobs leave behind.

use std::{collections::BTreeSet, path::Path, process::Command};

use plana_harness::metric_families;
use serde_json::Value;

use crate::{root, text};

const RULES: &str = "monitoring/plana-jobs.rules.yml";

fn promtool(arguments: &[&str], directory: &Path) -> Result<String, String> {
    let output =
        Command::new("promtool").args(arguments).current_dir(directory).output().expect("promtool: run tools/install-deps.sh test");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(said) } else { Err(said) }
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let tested = ["plana-jobs.minutes.test.yml", "plana-jobs.days.test.yml"];
    promtool(&[&["test", "rules"][..], &tested].concat(), &root().join("monitoring")).unwrap_or_else(|said| panic!("{said}"));
    // Every alert is seen to fire, and seen not to.
    let tests: String = tested.iter().map(|name| text(&format!("monitoring/{name}"))).collect();
    let alerts: Vec<String> = text(RULES).lines().filter_map(|line| Some(line.trim().strip_prefix("- alert: ")?.to_owned())).collect();
    assert!(alerts.len() >= 15, "{alerts:?}");
    for alert in alerts {
        let fires = tests.contains(&format!("alertname: {alert}\n"));
        let keeps_still = tests.contains(&format!("alertname: {alert}, exp_alerts: []"));
        assert!(fires && keeps_still, "{alert}: fires {fires}, keeps still {keeps_still}");
    }
}

/// Every query of the dashboard, with the panel that it is of.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&text("monitoring/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").clone();
    let of_panel = |panel: Value| {
        let title = panel["title"].as_str().expect("a title").to_owned();
        let targets = panel["targets"].as_array().expect("targets").clone();
        targets.into_iter().map(move |target| (title.clone(), target["expr"].as_str().expect("a query").to_owned()))
    };
    panels.into_iter().flat_map(of_panel).collect()
}

/// The words of a query that are names, outside quotes.
fn words(query: &str) -> BTreeSet<String> {
    let outside: String = query.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    outside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// What a query may hold besides metrics.
const LABELS: [&str; 7] = ["plana_job", "shard", "area", "name", "outcome", "verdict", "instance"];
const LANGUAGE: [&str; 22] = [
    "time",
    "max",
    "min",
    "sum",
    "count",
    "by",
    "topk",
    "or",
    "and",
    "unless",
    "vector",
    "absent",
    "offset",
    "max_over_time",
    "min_over_time",
    "45d",
    "62d",
    "3d",
    "36",
    "3600",
    "86400",
    "on",
];

fn unknown_words(query: &str) -> Vec<String> {
    let families: BTreeSet<&str> = metric_families().collect();
    let known = |word: &String| families.contains(word.as_str()) || LABELS.contains(&word.as_str()) || LANGUAGE.contains(&word.as_str());
    words(query).into_iter().filter(|word| !known(word) && word.parse::<f64>().is_err()).collect()
}

fn expressions_of_rules() -> Vec<String> {
    let rules = text(RULES);
    let after = rules.split("        expr: ").skip(1);
    after.map(|rest| rest.split("\n        labels:").next().unwrap().split("\n        for:").next().unwrap().to_owned()).collect()
}

#[test]
fn every_query_asks_for_what_the_jobs_leave_behind() {
    let (queries, expressions) = (queries(), expressions_of_rules());
    assert!(queries.len() >= 25 && expressions.len() >= 15, "{} queries, {} rules", queries.len(), expressions.len());
    for (title, query) in &queries {
        assert_eq!(unknown_words(query), Vec::<String>::new(), "{title}: {query}");
    }
    for expression in &expressions {
        assert_eq!(unknown_words(expression), Vec::<String>::new(), "{expression}");
    }
    // And the other way round: nothing is left behind that nobody looks at.
    let asked: BTreeSet<String> = queries.iter().map(|(_, query)| query).chain(&expressions).flat_map(|query| words(query)).collect();
    let unseen: Vec<&str> = metric_families().filter(|family| !asked.contains(*family)).collect();
    assert!(unseen.is_empty(), "neither an alert nor the dashboard shows {unseen:?}");
    assert_eq!(unknown_words("max by (plana_jobs) (plana_jobs_backup_newest_seconds)").len(), 2);
}

/// The dashboard's queries are PromQL, by Prometheus's own parser.
#[test]
fn every_query_of_the_dashboard_parses() {
    let home = tempfile::tempdir().expect("a directory");
    let rule = |(number, (_, query)): (usize, &(String, String))| {
        format!("      - record: dashboard:{number}\n        expr: {}\n", serde_json::to_string(query).unwrap())
    };
    let check = |rules: String| {
        std::fs::write(home.path().join("queries.yml"), format!("groups:\n  - name: dashboard\n    rules:\n{rules}"))
            .expect("it is written");
        promtool(&["check", "rules", "queries.yml"], home.path())
    };
    check(queries().iter().enumerate().map(rule).collect()).unwrap_or_else(|said| panic!("{said}"));
    let bad = ("bad".to_owned(), "max by (name (up)".to_owned());
    assert!(check(rule((0, &bad))).is_err());
}

/// What an alert tells people to run is what the jobs take, and the page that it names is there.
#[test]
fn every_alert_names_a_page_that_is_there() {
    let rules = text(RULES);
    let pages: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("runbook: ")).collect();
    assert_eq!(pages.len(), expressions_of_rules().len());
    pages.iter().for_each(|page| assert!(root().join(page).exists(), "{page}"));
}

/// The README's table of metrics names each of them.
#[test]
fn the_readme_names_every_metric() {
    let readme = text("README.md");
    let missing: Vec<&str> = metric_families().filter(|family| !readme.contains(&format!("`{family}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
