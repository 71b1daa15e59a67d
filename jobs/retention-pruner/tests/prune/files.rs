//! On a directory: a plan, what it deletes, and what stays.

use plana_testkit::job::expect_words;
use serde_json::Value;

use crate::{ago, back_up, job, keys, nights, planned, put, sets, text};

/// The file of an upload into that key that nobody finished.
fn temporary(key: &str) -> String {
    let (directory, file) = key.rsplit_once('/').unwrap();
    format!("{directory}/.tmp-0123456789abcdef-{file}")
}

#[test]
fn what_the_dry_run_says_is_what_the_run_does() {
    let job = job();
    let all = nights(&job, "acme.app", "starter", [50, 40, 31, 30, 2, 1, 0]);
    nights(&job, "stale.app", "starter", [90, 80, 70, 60]);
    let debris = put(&job, &keys("pg", "acme.app", "starter", ago(5), 0xff)[0], ago(5));
    let probe = put(&job, "probe/0123456789abcdef", ago(5));
    let upload = put(&job, &temporary(&keys("pg", "acme.app", "starter", ago(5), 0xfe)[0]), ago(5));
    let strange = put(&job, &temporary("pg/acme.app/x"), ago(5));
    let readme = put(&job, "README", ago(500));
    let before = job.store().files();
    let plan = job.clone().arg("--dry-run").run().expect(0);
    assert_eq!(job.store().files(), before, "a dry run changes nothing");
    let mut doomed = planned(&plan, "delete");
    doomed.retain(|set| !set.ends_with(".000000ff"));
    assert_eq!(doomed, [all[0].clone(), all[1].clone(), all[2].clone(), all[3].clone()]);
    assert_eq!(plan.report["alarms"][0]["name"], "stale.app");
    assert_eq!(plan.report["unknown"][0], "README");

    let done = job.run().expect(0);
    let item = done.item("acme.app");
    assert_eq!((&item["deleted"], &item["swept"], &item["kept"]), (&Value::from(4), &Value::from(1), &Value::from(3)), "{item:#}");
    assert_eq!(item["freed_bytes"], 90);
    assert_eq!((&done.item("stale.app")["standing"], &done.item("stale.app")["deleted"]), (&Value::from("frozen"), &Value::from(0)));
    expect_words(&done.warnings(), &["stale.app is frozen", "retire stale.app", "1 object unknown, and kept: README"]);
    let left = sets(&job);
    assert!(doomed.iter().all(|set| !left.contains(set)) && all[4..].iter().all(|set| left.contains(set)), "{left:?}");
    for (path, stays) in [(debris, false), (probe, false), (upload, false), (strange, true), (readme, true)] {
        assert_eq!(path.exists(), stays, "{}", path.display());
    }
    let again = job.run().expect(0);
    assert_eq!((&again.item("acme.app")["deleted"], &again.item("acme.app")["swept"]), (&Value::from(0), &Value::from(0)));
}

#[test]
fn a_tier_of_today_lengthens_and_a_lowered_one_shortens_when_asked() {
    let job = job().config("[tiers.static]\n\"acme.app\" = \"pro\"\n\"low.app\" = \"starter\"\n");
    nights(&job, "acme.app", "starter", [60, 2, 1, 0]);
    nights(&job, "low.app", "pro", [61]);
    nights(&job, "low.app", "starter", [3, 2, 1]);
    assert_eq!(planned(&job.clone().arg("--dry-run").run().expect(0), "delete"), [""; 0]);
    let asked = planned(&job.clone().args(["--dry-run", "--lowered-tiers"]).run().expect(0), "delete");
    assert!(asked.len() == 1 && asked[0].contains("low.app"), "{asked:?}");
    let without = planned(&job.set("retention.tiers", "false").arg("--dry-run").run().expect(0), "delete");
    assert!(without.len() == 1 && without[0].contains("acme.app"), "{without:?}");
}

#[test]
fn older_backups_are_planned_like_the_rest() {
    let job = job().config("[[retention.legacy]]\nkey = \"daily/{name}_{date}.sql.gz\"\narea = \"pg\"\nlabel = \"starter\"\n");
    let key = |days: i64| format!("daily/acme.app_{}.sql.gz", ago(days).format("%Y-%m-%d"));
    let old: Vec<_> = [60, 50, 40, 10].iter().map(|days| put(&job, &key(*days), ago(*days))).collect();
    let odd = put(&job, "daily/acme.app.sql.gz", ago(60));
    nights(&job, "acme.app", "starter", [2, 1, 0]);
    job.run().expect(0);
    let there: Vec<bool> = old.iter().chain([&odd]).map(|path| path.exists()).collect();
    assert_eq!(there, [false, false, false, true, true]);
}

#[test]
fn a_held_set_stays_until_it_is_released() {
    let job = job();
    let old = back_up(&job, "acme.app", "starter", 60);
    nights(&job, "acme.app", "starter", [2, 1, 0]);
    job.clone().args(["hold", &old]).run().expect(0);
    job.clone().args(["hold", &old]).run().expect(0);
    job.run().expect(0);
    assert!(sets(&job).contains(&old));
    let explained = job.clone().args(["--explain", &old]).run().expect(0);
    assert_eq!(
        (&explained.report["verdict"], &explained.report["reason"]),
        (&Value::from("keep"), &Value::from("an object `hold` is in it"))
    );
    job.clone().args(["release", &old]).run().expect(0);
    job.run().expect(0);
    // The mark was the newest change of the set, and so is its disappearance no change at all.
    assert!(!sets(&job).contains(&old));
    let gone = job.clone().args(["hold", &old]).run();
    assert_eq!(gone.done.code(), Some(1));
    expect_words(&gone.done.stderr, &["find the set", "nothing of it is listed"]);
}

#[test]
fn a_retired_name_goes_to_its_windows_and_by_its_date() {
    let job = job();
    let old = nights(&job, "left.app", "starter", [60, 50, 20, 10]);
    job.run().expect(0);
    assert_eq!(sets(&job).len(), 4, "frozen");
    let unknown = job.clone().args(["retire", "lefd.app"]).run();
    assert_eq!(unknown.done.code(), Some(1), "{}", unknown.done.stderr);
    job.clone().args(["retire", "left.app"]).run().expect(0);
    job.run().expect(0);
    assert_eq!(sets(&job), [old[2].clone(), old[3].clone()]);
    job.clone().args(["retire", "left.app", "--cancel"]).run().expect(0);
    job.clone().args(["retire", "left.app", "--by", &ago(1).format("%Y-%m-%d").to_string()]).run().expect(0);
    let plan = job.clone().arg("--dry-run").run().expect(0);
    assert_eq!(planned(&plan, "delete").len(), 2);
    nights(&job, "left.app", "starter", [0]);
    let stale = job.clone().arg("--dry-run").run().expect(0);
    assert_eq!(planned(&stale, "delete").len(), 3, "begun before it was retired");
    // Stamps are whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let fresh = keys("pg", "left.app", "starter", chrono::Utc::now(), 7);
    fresh.iter().for_each(|key| drop(put(&job, key, chrono::Utc::now())));
    let void = job.clone().arg("--dry-run").run().expect(0);
    assert_eq!(planned(&void, "delete").len(), 0);
    assert_eq!(void.report["alarms"][0]["alarm"], "retirement-void");
    job.run().expect(0);
}

#[test]
fn an_explanation_and_a_look_ahead() {
    let job = job();
    let all = nights(&job, "acme.app", "starter", [29, 28, 3, 2, 1]);
    let ahead = ago(-3).format("%Y-%m-%d").to_string();
    let plan = job.clone().args(["--dry-run", "--as-of", &ahead]).run().expect(0);
    assert_eq!(planned(&plan, "delete"), all[..2]);
    let explained = text(&job, &["--as-of", &ahead, "--explain", &all[0]], &[]);
    expect_words(&explained, &["its label is starter: 30d", "number 5 of 5", "it goes: past 30d (label starter)"]);
    let nothing = job.clone().args(["--explain", "pg/none"]).run();
    assert_eq!(nothing.done.code(), Some(1));
    let refused = job.clone().args(["--as-of", &ahead]).run().expect(2);
    expect_words(refused.run_error(), &["--as-of only looks ahead"]);
    assert_eq!(sets(&job).len(), 5);
}

#[test]
fn the_plan_for_people_tells_what_goes_why_and_what_it_costs() {
    let job = job();
    nights(&job, "acme.app", "starter", [40, 2, 1, 0]);
    let price = [("PLANA_JOBS__RETENTION__PRICE__PER_GIB_MONTH", "0.02"), ("PLANA_JOBS__RETENTION__PRICE__MINIMUM_OBJECT", "1GiB")];
    let plan = text(&job, &["--dry-run"], &price);
    expect_words(&plan, &["These go:", "past 30d (label starter) since", "EUR A MONTH", "0.12", "0.04", "1 go and free 20 B, 3 stay"]);
}
