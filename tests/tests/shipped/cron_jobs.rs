//! How the jobs run, and what becomes of each way in which they end.

use plana_harness::{Exit, Interrupt};
use serde_json::{Value, json};

use crate::rendered::{self, command};

/// What Kubernetes does with a pod that ended with that exit code: the first rule that names it, or `Count`.
fn action(job: &Value, code: u8) -> String {
    let rules = job["podFailurePolicy"]["rules"].as_array().expect("rules");
    let names = |rule: &&Value| match rule["onExitCodes"]["operator"].as_str() {
        Some("In") => rule["onExitCodes"]["values"].as_array().is_some_and(|values| values.contains(&json!(code))),
        Some(other) => panic!("an operator that this test does not know: {other}"),
        None => false,
    };
    rules.iter().find(names).map_or_else(|| "Count".to_owned(), |rule| rule["action"].as_str().expect("an action").to_owned())
}

#[test]
fn each_exit_code_has_the_consequence_that_it_should() {
    for rendered in rendered::all() {
        for (name, job) in rendered.kind("CronJob").map(|(name, cron)| (name, &cron["spec"]["jobTemplate"]["spec"])) {
            let at = format!("{} {name}", rendered.name);
            let ended = if job["completionMode"] == "Indexed" { "FailIndex" } else { "FailJob" };
            for (exit, expected) in [
                (Exit::Usage, ended),
                (Exit::BadConfig, ended),
                (Exit::Refused, ended),
                (Exit::LeftToOther, "Ignore"),
                (Exit::Failed, "Count"),
                (Exit::Partial, "Count"),
                (Exit::Cancelled(Interrupt::Term), "Count"),
            ] {
                assert_eq!(action(job, exit.code()), expected, "{at}: {exit}");
            }
            let disrupted = json!([{ "type": "DisruptionTarget", "status": "True" }]);
            let rules = job["podFailurePolicy"]["rules"].as_array().expect("rules");
            assert!(rules[0]["action"] == "Ignore" && rules[0]["onPodConditions"] == disrupted, "{at}: a drained node costs no attempt");
            let retries = if job["completionMode"] == "Indexed" { "backoffLimitPerIndex" } else { "backoffLimit" };
            assert_eq!(job[retries], 2, "{at}");
            // A retry of what makes backups does only what is missing.
            let words = command(&job["template"]["spec"]);
            // Seeds go by their content: what is there is known without a time.
            let makes_backups = ["pg-dump-to-sos", "filestore-tarball"].contains(&words[0])
                && !words.get(1).is_some_and(|word| ["check", "--templates"].contains(word));
            assert_eq!(words.contains(&"--missing-within"), makes_backups, "{at}: {words:?}");
        }
    }
}

#[test]
fn one_runs_at_a_time_and_none_for_ever() {
    for rendered in rendered::all() {
        for (name, cron) in rendered.kind("CronJob") {
            let (at, spec) = (format!("{} {name}", rendered.name), &cron["spec"]);
            assert_eq!((&spec["concurrencyPolicy"], &spec["timeZone"]), (&json!("Forbid"), &json!("Etc/UTC")), "{at}");
            for number in [
                "/startingDeadlineSeconds",
                "/successfulJobsHistoryLimit",
                "/failedJobsHistoryLimit",
                "/jobTemplate/spec/activeDeadlineSeconds",
            ] {
                assert!(spec.pointer(number).and_then(Value::as_u64).is_some_and(|value| (1..86_400).contains(&value)), "{at}{number}");
            }
            assert!(name.len() <= 52, "{at}: the Job's name would be too long");
        }
        for (name, job) in rendered.kind("Job") {
            assert!(job["spec"]["activeDeadlineSeconds"].as_u64().is_some() && job["spec"]["backoffLimit"] == 0, "{name}");
        }
    }
}

/// Every job has its CronJob, and what belongs to no schedule a Job to start by hand.
#[test]
fn every_job_is_there() {
    for overlay in ["overlays/example", "overlays/plana", "overlays/scale-out"] {
        let mut missing: Vec<String> = crate::jobs::all().iter().map(|job| job.get_name().to_owned()).collect();
        for rendered in [rendered::of(overlay), rendered::of("on-demand")] {
            rendered.jobs().for_each(|(_, job)| missing.retain(|name| name != command(&job["template"]["spec"])[0]));
        }
        assert!(missing.is_empty(), "{overlay} lacks {missing:?}");
    }
}
