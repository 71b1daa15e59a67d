//! What holds whatever is listed.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use plana_plan::{
    expiry::INSURANCE_LEAST,
    retention::{Periods, Plan, Policy, Retirement, Standing},
};
use proptest::{collection::vec, prelude::*};

use super::world::{Object, at, backup, days, doomed, label, planned, policy, set_of, without};

fn now() -> DateTime<Utc> {
    at("2026-11-23 03:15")
}

/// A set, as chance has it.
#[derive(Debug, Clone)]
struct Drawn {
    area: usize,
    name: usize,
    label: usize,
    hours_old: i64,
    changed_later_hours: i64,
    left: usize,
    held: bool,
}

const NAMES: [&str; 3] = ["acme", "%2Eodd", "zoo"];
const LABELS: [&str; 4] = ["starter", "pro", "enterprise", "gold"];

fn drawn() -> impl Strategy<Value = Drawn> {
    (0usize..8, 0usize..3, 0usize..4, 0i64..24 * 120, prop_oneof![3 => Just(0), 1 => 0i64..24 * 20], 0usize..8, prop::bool::weighted(0.1))
        .prop_map(|(area, name, label, hours_old, changed_later_hours, left, held)| Drawn {
            area,
            name,
            label,
            hours_old,
            changed_later_hours,
            left,
            held,
        })
}

fn objects(sets: &[Drawn]) -> Vec<Object> {
    let of = |(number, set): (usize, &Drawn)| {
        let begun = now() - TimeDelta::hours(set.hours_old);
        let changed = begun + TimeDelta::hours(set.changed_later_hours.min(set.hours_old));
        let until = (begun + TimeDelta::days(set.hours_old % 40)).format("drop.until-%Y%m%dT%H%M%SZ").to_string();
        let (area, name, label) = match set.area {
            0..5 => ("pg", NAMES[set.name].to_owned(), LABELS[set.label].to_owned()),
            5 => ("filestore", NAMES[set.name].to_owned(), LABELS[set.label].to_owned()),
            6 => ("insurance-pg", NAMES[set.name].to_owned(), until),
            _ => ("partition", format!("exo/public/{}", NAMES[set.name]), "platform".to_owned()),
        };
        let mut all = backup(area, &name, &label, begun, number as u32);
        all.iter_mut().for_each(|object| object.changed = changed);
        match set.left {
            0 => all.truncate(1),
            1 => drop(all.remove(0)),
            2 => all.push(Object::new(format!("{}/notes.txt", set_of(&all[0].key)), 9, changed)),
            _ => {}
        }
        if set.held {
            all.push(Object::new(format!("{}/hold", set_of(&all[0].key)), 1, changed));
        }
        all
    };
    sets.iter().enumerate().flat_map(of).collect()
}

fn drawn_policy() -> impl Strategy<Value = Policy> {
    let keep =
        (0u32..3, 0u32..4, 0u32..4, 0u32..3).prop_map(|(last, daily, weekly, monthly)| Periods { last, daily, weekly, monthly, yearly: 0 });
    (
        1u32..5,
        1u32..40,
        1u32..6,
        prop_oneof![2 => Just(usize::MAX), 1 => 0usize..6],
        keep,
        any::<bool>(),
        prop::option::of(0usize..4),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(floor, freeze, debris, max_sets, keep, lowered_tiers, tier, partitions)| Policy {
            floor,
            freeze_after: days(freeze),
            debris_after: days(debris),
            max_sets,
            keep,
            lowered_tiers,
            tiers: tier.map(|tier| ("acme".to_owned(), label(LABELS[tier]))).into_iter().collect(),
            windows: policy().windows.with_partitions(partitions.then(|| days(60))),
            ..policy()
        })
}

fn retirement() -> impl Strategy<Value = Retirement> {
    (0i64..24 * 60, prop::option::of(-200i64..200))
        .prop_map(|(hours, by)| Retirement { at: now() - TimeDelta::hours(hours), by: by.map(|hours| now() + TimeDelta::hours(hours)) })
}

fn sets() -> impl Strategy<Value = Vec<Drawn>> {
    vec(drawn(), 0..40)
}

/// Committed sets of guarded groups that go although they are among the newest of their group.
fn below_the_floor(plan: &Plan, floor: u32) -> usize {
    let guarded = plan.groups.iter().filter(|group| matches!(group.standing, Standing::Guarded | Standing::Frozen { .. }));
    guarded
        .flat_map(|group| group.sets.iter().rev().filter(|set| set.facts.is_committed()).take(floor as usize))
        .filter(|set| set.verdict.is_delete())
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_floor_is_kept(sets in sets(), policy in drawn_policy()) {
        prop_assert_eq!(below_the_floor(&planned(&objects(&sets), &policy, now()), policy.floor), 0);
    }

    #[test]
    fn nothing_younger_than_its_own_window_goes(sets in sets(), policy in drawn_policy()) {
        let policy = Policy { lowered_tiers: false, ..policy };
        for (group, set) in planned(&objects(&sets), &policy, now()).doomed() {
            let age = now() - set.facts.aged_from(set.id.stamp);
            if set.facts.is_committed() && group.key.area.has_tiers() {
                let own = policy.windows.of(&set.id.label.label).expect("a window");
                prop_assert!(age > own.span(), "{} is {} old", set.key(&group.key), age);
            } else if !set.facts.is_committed() {
                prop_assert!(age > policy.debris_after.span());
            }
        }
    }

    #[test]
    fn a_frozen_name_loses_nothing_committed(sets in sets(), policy in drawn_policy()) {
        for (group, set) in planned(&objects(&sets), &policy, now()).doomed() {
            let frozen = matches!(group.standing, Standing::Frozen { .. });
            prop_assert!(!frozen || !set.facts.is_committed());
        }
    }

    #[test]
    fn insurance_and_held_sets_are_safe_even_from_erasure(sets in sets(), policy in drawn_policy(), retired in retirement()) {
        let policy = Policy { retired: NAMES.map(|name| (name.replace("%2E", "."), retired)).into(), ..policy };
        for (group, set) in planned(&objects(&sets), &policy, now()).doomed() {
            prop_assert!(!set.facts.presence.hold);
            if let (true, Some(until)) = (group.key.area.is_insurance() && set.facts.is_committed(), set.id.label.until) {
                prop_assert!(now() > until.instant() && now() > set.id.stamp.instant() + INSURANCE_LEAST);
            }
        }
    }

    #[test]
    fn what_may_go_may_go_later_too(sets in sets(), policy in drawn_policy(), hours in 1i64..24 * 40) {
        let policy = Policy { max_sets: usize::MAX, ..policy };
        let listed = objects(&sets);
        let (sooner, later) = (planned(&listed, &policy, now()), planned(&listed, &policy, now() + TimeDelta::hours(hours)));
        let frozen = later.groups.iter().filter(|group| matches!(group.standing, Standing::Frozen { .. }));
        let frozen: BTreeSet<String> = frozen.flat_map(|group| group.sets.iter().map(|set| set.key(&group.key))).collect();
        // A name freezes as time goes by; that is what freezing is for.
        let left: Vec<_> = doomed(&sooner).difference(&doomed(&later)).filter(|set| !frozen.contains(*set)).cloned().collect();
        prop_assert_eq!(left, Vec::<String>::new());
    }

    /// A newer backup moves the floor, thaws a name and may bring another label; anything else that is added takes nothing along.
    #[test]
    fn what_is_added_takes_nothing_along(sets in sets(), added in vec(drawn(), 1..10), policy in drawn_policy()) {
        let all: Vec<Drawn> = sets.iter().cloned().chain(added).collect();
        let (few, many) = (objects(&sets), objects(&all));
        let (before, after) = (planned(&few, &policy, now()), planned(&many, &policy, now()));
        let known: BTreeSet<String> = few.iter().map(|object| set_of(&object.key)).collect();
        for (group, set) in after.doomed() {
            let key = set.key(&group.key);
            let grew = before.groups.iter().find(|one| one.key == group.key).is_none_or(|one| {
                let committed = |group: &plana_plan::retention::GroupPlan| group.sets.iter().filter(|set| set.facts.is_committed()).count();
                committed(one) != committed(group)
            });
            // Without the cap: with it, what is added can only take the place of others.
            if known.contains(&key) && !grew {
                let uncapped = planned(&few, &Policy { max_sets: usize::MAX, ..policy.clone() }, now());
                prop_assert!(doomed(&uncapped).contains(&key), "{key} goes because of what was added");
            }
        }
        let others = |plan: &Plan| doomed(plan).into_iter().filter(|key| known.contains(key)).count();
        let older: Vec<Drawn> = sets.iter().cloned().chain(all[sets.len()..].iter().map(|set| Drawn { left: 0, ..set.clone() })).collect();
        prop_assert!(others(&planned(&objects(&older), &policy, now())) <= doomed(&before).len());
    }

    #[test]
    fn the_order_of_the_listing_does_not_matter(sets in sets(), policy in drawn_policy(), seed: u64) {
        let listed = objects(&sets);
        let mut shuffled = listed.clone();
        shuffled.sort_by_key(|object| object.key.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)));
        prop_assert_eq!(planned(&listed, &policy, now()), planned(&shuffled, &policy, now()));
    }

    #[test]
    fn after_a_run_there_is_nothing_left_to_do(sets in sets(), policy in drawn_policy()) {
        let policy = Policy { max_sets: usize::MAX, ..policy };
        let listed = objects(&sets);
        let first = doomed(&planned(&listed, &policy, now()));
        prop_assert_eq!(doomed(&planned(&without(&listed, &first), &policy, now())), BTreeSet::new());
    }

    #[test]
    fn a_retired_name_drains_exactly_to_its_windows(sets in sets(), policy in drawn_policy(), hours in 0i64..24 * 200) {
        let at = now() + TimeDelta::hours(hours);
        let retired = Retirement { at: now(), by: None };
        let policy = Policy { max_sets: usize::MAX, retired: NAMES.map(|name| (name.replace("%2E", "."), retired)).into(), ..policy };
        for group in planned(&objects(&sets), &policy, at).groups.iter().filter(|group| group.key.area.has_tiers()) {
            let newest = group.sets.iter().rev().find(|set| set.facts.is_committed()).map(|set| set.id.label.label.clone());
            for set in group.sets.iter().filter(|set| set.facts.is_committed() && !set.facts.presence.hold) {
                let tier = policy.tiers.get(&group.key.plain_name());
                let own = (!policy.lowered_tiers).then_some(&set.id.label.label);
                let labels = own.into_iter().chain(&newest).chain(tier);
                let window = labels.filter_map(|label| policy.windows.of(label)).max().expect("a window");
                prop_assert_eq!(set.verdict.is_delete(), at - set.facts.aged_from(set.id.stamp) > window.span());
            }
        }
    }

    #[test]
    fn a_tier_only_lengthens_unless_it_is_asked_to_shorten(sets in sets(), policy in drawn_policy(), tier in 0usize..4) {
        let policy = Policy { max_sets: usize::MAX, tiers: Default::default(), lowered_tiers: false, ..policy };
        let listed = objects(&sets);
        let with = Policy { tiers: NAMES.map(|name| (name.replace("%2E", "."), label(LABELS[tier]))).into(), ..policy.clone() };
        let (without_tier, with_tier) = (doomed(&planned(&listed, &policy, now())), doomed(&planned(&listed, &with, now())));
        prop_assert!(with_tier.is_subset(&without_tier));
        let asked = doomed(&planned(&listed, &Policy { lowered_tiers: true, ..policy }, now()));
        prop_assert!(without_tier.is_subset(&asked));
    }

    #[test]
    fn no_more_goes_than_the_cap_and_the_rest_is_counted(sets in sets(), policy in drawn_policy(), max_sets in 0usize..10) {
        let listed = objects(&sets);
        let all = planned(&listed, &Policy { max_sets: usize::MAX, ..policy.clone() }, now());
        let capped = planned(&listed, &Policy { max_sets, ..policy }, now());
        let committed = |plan: &Plan| plan.doomed().filter(|(_, set)| set.facts.is_committed()).count();
        prop_assert_eq!(committed(&capped), committed(&all).min(max_sets));
        prop_assert_eq!(capped.remaining, committed(&all).saturating_sub(max_sets));
        let oldest_kept = all.doomed().filter(|(group, set)| set.facts.is_committed() && !doomed(&capped).contains(&set.key(&group.key)))
            .map(|(_, set)| set.facts.aged_from(set.id.stamp)).min();
        let newest_gone = capped.doomed().filter(|(_, set)| set.facts.is_committed()).map(|(_, set)| set.facts.aged_from(set.id.stamp)).max();
        prop_assert!(oldest_kept.is_none() || newest_gone.is_none() || newest_gone <= oldest_kept);
    }
}
