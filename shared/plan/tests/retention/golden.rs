//! Whole plans as people read them: a change of a rule or a word shows here.

use std::fmt::Write as _;

use chrono::TimeDelta;
use plana_plan::retention::{Periods, Plan, Policy, Retirement, Summary};

use super::world::{Object, at, backup, label, nights, planned, policy, set_of};

fn text(plan: &Plan) -> String {
    let mut text = String::new();
    for group in &plan.groups {
        writeln!(text, "{}: {:?}", group.key, group.standing).unwrap();
        for set in &group.sets {
            let goes = if set.verdict.is_delete() { "delete" } else { "keep  " };
            let (name, reason) = (set.key(&group.key), set.verdict.reason(&set.id.label.label));
            writeln!(text, "  {goes} {} ({reason})", name.rsplit('/').next().unwrap()).unwrap();
        }
    }
    for probe in &plan.probes {
        writeln!(text, "{} {}: {}", probe.key, probe.verdict.rule(), probe.verdict.reason(&label("x"))).unwrap();
    }
    for (key, _) in &plan.unknown {
        writeln!(text, "unknown {key}").unwrap();
    }
    for alarm in &plan.alarms {
        writeln!(text, "alarm {alarm:?}").unwrap();
    }
    for (row, tally) in &Summary::of(plan).0 {
        let (kept, freed) = (tally.kept, tally.freed);
        writeln!(text, "{row}: kept {} ({} B), freed {} ({} B)", kept.sets, kept.bytes, freed.sets, freed.bytes).unwrap();
    }
    writeln!(text, "{} remain", plan.remaining).unwrap();
    text
}

fn expect(name: &str, plan: &Plan) {
    let path = format!("{}/tests/retention/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let found = text(plan);
    if std::env::var_os("PLANA_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &found).expect("writes");
    }
    let wanted = std::fs::read_to_string(&path).expect("a golden file: write it with PLANA_WRITE_GOLDEN=1, and read it");
    assert_eq!(found, wanted, "{path}");
}

#[test]
fn a_small_platform() {
    let now = at("2026-11-23 03:15");
    let day = |days| now - TimeDelta::days(days);
    let mut objects = [
        nights("acme", "starter", now, 33, 28),
        nights("acme", "starter", now, 2, 0),
        nights("stale", "pro", now, 100, 97),
        nights("left", "starter", now, 32, 29),
        backup("globals", "cluster", "globals", day(1), 1),
        backup("insurance-pg", "acme", "upgrade-17-to-18.until-20261120T000000Z", day(10), 2),
        backup("insurance-pg", "acme", "drop.until-20261201T000000Z", day(3), 3),
        backup("partition", "exo/public/events_2020_01", "platform", day(2000), 4),
        backup("pg", "acme", "pro", day(70), 5),
        backup("pg", "acme", "starter", day(80), 6),
        backup("pg", "acme", "starter", now + TimeDelta::days(1), 7),
        backup("pg", "acme", "starter", day(5), 8)[..1].to_vec(),
        backup("pg", "acme", "starter", day(1), 9)[..1].to_vec(),
        vec![Object::new("README", 3, day(9)), Object::new("probe/01", 40, day(9)), Object::new("probe/02", 40, day(1))],
    ]
    .concat();
    let held = objects.iter().find(|object| object.key.contains(".00000006/")).map(|object| set_of(&object.key)).unwrap();
    objects.push(Object::new(format!("{held}/hold"), 20, day(70)));
    objects.push(Object::new(format!("{held}/notes.txt"), 20, day(70)));
    let retired = [("left".to_owned(), Retirement { at: day(20), by: None })].into();
    expect("small-platform", &planned(&objects, &Policy { retired, ..policy() }, now));
}

#[test]
fn periods_and_a_cap() {
    let now = at("2026-03-01 03:15");
    let objects = nights("acme", "starter", now, 70, 0).into_iter().chain(nights("zoo", "pro", now, 95, 88)).collect::<Vec<_>>();
    let keep = Periods { last: 4, daily: 2, weekly: 8, monthly: 3, yearly: 2 };
    expect("periods-and-a-cap", &planned(&objects, &Policy { keep, max_sets: 20, ..policy() }, now));
}
