//! The contract's rules, one by one, at their edges.

use chrono::TimeDelta;
use plana_plan::retention::{Alarm, Keys, LegacyPattern, Periods, Policy, Retirement, Standing, Times, Unfinished, explain, plan};

use super::world::{Object, at, backup, days, doomed, label, nights, planned, policy, rule, set_of, stock};

const NOW: &str = "2026-11-23 03:15";

#[test]
fn a_set_goes_strictly_after_its_window_counted_from_the_newer_of_stamp_and_change() {
    let now = at(NOW);
    let fresh = nights("acme", "starter", now, 3, 0);
    let edge = |begun, changed| {
        let old: Vec<_> = backup("pg", "acme", "starter", begun, 99).into_iter().map(|object| Object { changed, ..object }).collect();
        let objects = [fresh.clone(), old].concat();
        !doomed(&planned(&objects, &policy(), now)).is_empty()
    };
    let (window, second) = (TimeDelta::days(30), TimeDelta::seconds(1));
    assert!(!edge(now - window, now - window));
    assert!(edge(now - window - second, now - window - second));
    assert!(!edge(now - window - second, now - window), "its change counts");
    assert!(!edge(now - window, now - window - second), "its stamp counts");
}

#[test]
fn the_longest_window_counts_and_a_lowered_tier_only_when_asked() {
    let now = at(NOW);
    let one = |label: &str| backup("pg", "acme", label, now - TimeDelta::days(60), 99);
    let newest = |label: &str| nights("acme", label, now, 3, 0);
    let goes = |objects: &[Object], policy: &Policy| doomed(&planned(objects, policy, now)).len() == 1;
    assert!(goes(&[one("starter"), newest("starter")].concat(), &policy()));
    assert!(!goes(&[one("starter"), newest("pro")].concat(), &policy()), "raised: the newest set's label counts");
    assert!(!goes(&[one("pro"), newest("starter")].concat(), &policy()), "lowered: its own label counts");
    let lowered = Policy { lowered_tiers: true, ..policy() };
    assert!(goes(&[one("pro"), newest("starter")].concat(), &lowered));
    assert!(!goes(&[one("starter"), newest("pro")].concat(), &lowered));
    let raised = Policy { tiers: [("acme".to_owned(), label("enterprise"))].into(), ..policy() };
    assert!(!goes(&[one("starter"), newest("starter")].concat(), &raised), "the tier of today counts");
    assert!(!goes(&[one("starter"), newest("starter")].concat(), &Policy { lowered_tiers: true, ..raised }));
    let objects = [one("gold"), newest("starter")].concat();
    let plan = planned(&objects, &policy(), now);
    assert_eq!(doomed(&plan).len(), 0, "a label without a window has the longest");
    assert!(plan.alarms.contains(&Alarm::UnknownLabel { label: label("gold"), sets: 1 }), "{:?}", plan.alarms);
}

#[test]
fn the_newest_stay_and_a_name_without_a_fresh_backup_keeps_all() {
    let now = at(NOW);
    let objects = nights("acme", "starter", now, 40, 0);
    let plan = planned(&objects, &Policy { floor: 35, ..policy() }, now);
    assert_eq!(doomed(&plan).len(), 6, "40 to 30 days old are past their window, the 35 newest stay");
    let later = |days| planned(&objects, &policy(), now + TimeDelta::days(days) - TimeDelta::hours(1));
    assert_eq!(doomed(&later(7)).len(), 17, "the newest is exactly as old as it may be");
    let frozen = later(8);
    assert_eq!(doomed(&frozen).len(), 0);
    assert!(matches!(frozen.groups[0].standing, Standing::Frozen { .. }));
    assert!(frozen.alarms.iter().any(|alarm| matches!(alarm, Alarm::Frozen { .. })));
    assert_eq!(doomed(&planned(&objects, &Policy { floor: 0, ..policy() }, now + TimeDelta::days(6))).len(), 17);
    let one = planned(&nights("acme", "starter", now, 50, 50), &Policy { floor: 0, freeze_after: days(90), ..policy() }, now);
    assert_eq!(rule(&one, "acme"), "floor", "the last one stays even without a floor");
}

#[test]
fn a_retired_name_drains_to_its_windows_and_a_fresh_set_voids_it() {
    let now = at(NOW);
    let objects = nights("acme", "starter", now, 40, 10);
    let retired = |at, by| Policy { retired: [("acme".to_owned(), Retirement { at, by })].into(), ..policy() };
    let yesterday = now - TimeDelta::days(1);
    assert_eq!(doomed(&planned(&objects, &policy(), now)).len(), 0);
    assert_eq!(doomed(&planned(&objects, &retired(yesterday, None), now)).len(), 11);
    assert_eq!(doomed(&planned(&objects, &retired(yesterday, None), now + TimeDelta::days(30))).len(), 31, "no floor");
    assert_eq!(doomed(&planned(&objects, &retired(yesterday, Some(now)), now)).len(), 11, "the date is not over");
    let held = Object::new(format!("{}/hold", set_of(&objects[0].key)), 1, now);
    let insured = backup("insurance-pg", "acme", "upgrade.until-20270101T000000Z", now - TimeDelta::days(2), 1);
    let all = [objects.clone(), vec![held], insured.clone()].concat();
    let erased = planned(&all, &retired(yesterday, Some(now)), now + TimeDelta::seconds(1));
    assert_eq!(doomed(&erased).len(), 30, "all but what is held and insured");
    let void = planned(&[objects, nights("acme", "starter", now, 0, 0)].concat(), &retired(yesterday, Some(yesterday)), now);
    assert!(void.alarms.contains(&Alarm::RetirementVoid { name: "acme".to_owned() }));
    assert_eq!(doomed(&void).len(), 11, "as if nobody had retired it");
    let snapshot = planned(&[nights("acme", "starter", now, 40, 10), insured].concat(), &retired(now - TimeDelta::days(5), None), now);
    assert_eq!(snapshot.alarms, [], "a snapshot before the database is dropped does not void it");
}

#[test]
fn insurance_is_kept_to_its_time_and_at_least_a_week_and_partitions_as_configured() {
    let now = at(NOW);
    let insured = |until: &str, begun| backup("insurance-pg", "acme", &format!("drop.until-{until}"), begun, 1);
    let goes = |objects: &[Object]| !doomed(&planned(objects, &policy(), now)).is_empty();
    let week = TimeDelta::days(7);
    assert!(!goes(&insured("20200101T000000Z", now - week)));
    assert!(goes(&insured("20200101T000000Z", now - week - TimeDelta::seconds(1))), "no floor, no freeze");
    assert!(!goes(&insured("20261123T031500Z", now - week * 9)));
    assert!(goes(&insured("20261123T031459Z", now - week * 9)));
    let archive = backup("partition", "exo/public/events_2020_01", "platform", now - TimeDelta::days(5000), 1);
    assert!(!goes(&archive), "for ever");
    let configured = Policy { windows: policy().windows.with_partitions(Some(days(4999))), ..policy() };
    assert_eq!(doomed(&planned(&archive, &configured, now)).len(), 1, "no floor, no freeze");
}

#[test]
fn the_future_counts_for_nothing_and_stays() {
    let now = at(NOW);
    let future = backup("pg", "acme", "enterprise", now + TimeDelta::days(400), 7);
    let plan = planned(&[nights("acme", "starter", now, 40, 0), future.clone()].concat(), &policy(), now);
    assert_eq!(doomed(&plan).len(), 11, "neither its label nor its rank counts");
    assert_eq!(rule(&plan, "enterprise"), "from-the-future");
    assert!(plan.alarms.iter().any(|alarm| matches!(alarm, Alarm::FromTheFuture { .. })), "{:?}", plan.alarms);
    let stale = planned(&[nights("acme", "starter", now, 40, 20), future].concat(), &policy(), now);
    assert!(matches!(stale.groups[0].standing, Standing::Frozen { .. }), "it is not fresh");
}

#[test]
fn debris_goes_by_its_own_clock_in_every_group_and_held_things_stay() {
    let now = at(NOW);
    let limit = TimeDelta::days(3);
    for (changed, goes) in [(now - limit, false), (now - limit - TimeDelta::seconds(1), true)] {
        for (area, set) in [("pg", "pro"), ("insurance-pg", "drop.until-20300101T000000Z"), ("globals", "globals")] {
            let whole = backup(area, "acme", set, changed, 1);
            for left in [&whole[..1], &whole[1..]] {
                assert_eq!(!doomed(&planned(left, &policy(), now)).is_empty(), goes, "{area} {left:?}");
            }
            let hold = Object::new(format!("{}/hold", set_of(&whole[0].key)), 1, changed);
            assert_eq!(doomed(&planned(&[whole[0].clone(), hold], &policy(), now)).len(), 0, "held");
        }
        let probes = planned(&[Object::new("probe/0011", 1, changed)], &policy(), now);
        assert_eq!(probes.probes[0].verdict.is_delete(), goes);
    }
    let frozen = [nights("acme", "starter", now, 60, 50), backup("pg", "acme", "starter", now - limit * 2, 0xff)[..1].to_vec()].concat();
    let plan = planned(&frozen, &policy(), now);
    assert_eq!(plan.doomed().map(|(_, set)| set.verdict.rule()).collect::<Vec<_>>(), ["left-behind"]);
}

#[test]
fn uploads_are_debris_unless_their_key_is_unknown_or_held() {
    let now = at(NOW);
    let sets = [backup("pg", "acme", "pro", now, 1), backup("pg", "acme", "pro", now, 2)].concat();
    let hold = Object::new(format!("{}/hold", set_of(&sets[2].key)), 1, now);
    let mut stock = stock(&[sets.clone(), vec![hold]].concat(), &[]);
    let old = now - TimeDelta::days(4);
    for (key, initiated) in [(&*sets[0].key, old), (&sets[0].key, now), (&sets[2].key, old), ("probe/x", old), ("others/big.iso", old)] {
        stock.uploads.push(Unfinished { key: key.to_owned(), upload_id: "1".to_owned(), initiated });
    }
    let plan = plan(stock, &policy(), Times::now(now));
    let rules: Vec<_> = plan.uploads.iter().map(|upload| upload.verdict.rule()).collect();
    assert_eq!(rules, ["left-behind", "in-progress", "held", "left-behind", "unknown"]);
}

#[test]
fn what_is_not_understood_stays_and_is_named() {
    let now = at(NOW);
    let long_ago = at("2001-01-01 00:00");
    let strange = [
        "README",
        "pg/acme/20200101T000000Z.Pro.00000001/manifest.json",
        "pg/%41/20200101T000000Z.pro.00000001/manifest.json",
        "pgx/acme/20200101T000000Z.pro.00000001/manifest.json",
        "pg/acme/20200101.pro.00000001/manifest.json",
        "pg/acme/20200101T000000Z.pro.00000001/notes.txt",
        "probe/",
        "insurance-pg/acme/20200101T000000Z.pro.00000001/manifest.json",
    ];
    let objects: Vec<_> = strange.iter().map(|key| Object::new(*key, 5, long_ago)).collect();
    let plan = planned(&objects, &policy(), now);
    assert_eq!((doomed(&plan).len(), plan.unknown.len()), (0, strange.len()), "{plan:?}");
    // An extra file keeps itself, and not its set.
    let old = backup("pg", "acme", "starter", now - TimeDelta::days(60), 1);
    let extra = Object::new(format!("{}/notes.txt", set_of(&old[0].key)), 5, long_ago);
    let plan = planned(&[nights("acme", "starter", now, 3, 0), old, vec![extra]].concat(), &policy(), now);
    assert_eq!((doomed(&plan).len(), plan.unknown.len()), (1, 1));
}

#[test]
fn a_run_takes_the_oldest_and_says_how_many_remain() {
    let now = at(NOW);
    let debris = backup("pg", "zoo", "starter", now - TimeDelta::days(90), 1)[..1].to_vec();
    let objects = [nights("acme", "starter", now, 40, 0), nights("zoo", "starter", now, 43, 0), debris].concat();
    let plan = planned(&objects, &Policy { max_sets: 3, ..policy() }, now);
    let taken = doomed(&plan);
    assert_eq!((taken.len(), plan.remaining), (4, 22), "{taken:?}");
    assert!(taken.iter().filter(|set| set.contains("zoo")).count() == 4, "the oldest, and debris does not count: {taken:?}");
    assert_eq!(doomed(&planned(&objects, &Policy { max_sets: 0, ..policy() }, now)).len(), 1);
}

#[test]
fn periods_add_and_a_look_ahead_does_not_freeze() {
    let now = at(NOW);
    let objects = nights("acme", "starter", now, 200, 0);
    let monthly = Policy { keep: Periods { monthly: 5, ..Periods::default() }, ..policy() };
    let plan_now = planned(&objects, &monthly, now);
    assert_eq!(doomed(&plan_now).len(), 200 - 30 + 1 - 3, "the newest of three months that are past the window");
    let ahead = plan(stock(&objects, &[]), &policy(), Times::as_of(now + TimeDelta::days(60), now));
    assert_eq!(doomed(&ahead).len(), 201 - 3);
    let back = plan(stock(&objects, &[]), &policy(), Times::as_of(now - TimeDelta::days(60), now));
    assert_eq!(doomed(&back).len(), 200 - 60 - 30 + 1);
}

#[test]
fn older_backups_join_the_group_that_their_pattern_gives() {
    let now = at(NOW);
    let pattern = |key: &str| LegacyPattern { area: plana_plan::Area::Pg, label: label("starter"), key: key.parse().expect("a pattern") };
    let legacy = [pattern("daily/{name}_{date}.sql.gz"), pattern("daily/{name}_{date}.sql.gz.sha256"), pattern("d*/{name}-{date}.x")];
    let old = |day: u32, suffix: &str| {
        let begun = now - TimeDelta::days(day.into());
        Object::new(format!("daily/acme_{}.sql.gz{suffix}", begun.format("%Y-%m-%d")), 50, begun)
    };
    let objects: Vec<_> = [40, 35, 31, 20].iter().flat_map(|day| [old(*day, ""), old(*day, ".sha256")]).collect();
    let ours = nights("acme", "starter", now, 1, 0);
    let unknown = vec![Object::new("daily/acme_yesterday.sql.gz", 5, now)];
    let plan = plan(stock(&[objects, ours, unknown].concat(), &legacy), &policy(), Times::now(now));
    assert_eq!((plan.groups.len(), plan.unknown.len()), (1, 1));
    let keys: Vec<_> = plan.doomed().flat_map(|(_, set)| set.facts.legacy_keys.iter().map(ToString::to_string)).collect();
    assert_eq!(keys.len(), 6, "two objects for each of three nights; the fourth is in its window: {keys:?}");
    let floor = planned(&nights("acme", "starter", now, 1, 0), &policy(), now);
    assert_eq!(doomed(&floor).len(), 0);
}

#[test]
fn an_explanation_tells_what_was_weighed() {
    let now = at(NOW);
    let objects = [nights("acme", "starter", now, 40, 0), vec![Object::new("README", 1, now), Object::new("probe/1", 1, now)]].concat();
    let plan = planned(&objects, &policy(), now);
    let explained = |key: &str| explain(&plan, &Keys::default(), &policy(), key);
    let oldest = explained(&set_of(&objects[80].key)).expect("the oldest set");
    assert!(oldest.goes && oldest.reason.starts_with("past 30d (label starter) since 2026-11-13"), "{oldest:?}");
    assert!(oldest.lines.iter().any(|line| line.contains("number 41 of 41")), "{oldest:?}");
    let newest = explained(&objects[0].key).expect("an object of the newest set");
    assert!(!newest.goes && newest.reason.contains("within 30d"), "{newest:?}");
    assert!(!explained("README").expect("unknown").goes && !explained("probe/1").expect("a probe").goes);
    assert_eq!(explained("pg/nobody/20261123T031500Z.pro.00000001"), None);
}
