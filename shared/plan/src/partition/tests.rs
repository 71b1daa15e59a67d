//! What holds for every table, every calendar and every time.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn policy(period: Period, zone: &str, retention_days: Option<u32>) -> Policy {
    Policy {
        period,
        zone: zone.parse().expect("a zone"),
        premake: 3,
        name: NameTemplate::usual(period),
        retention: retention_days.and_then(Window::from_days),
        keep_at_least: 1,
        max_made: 50,
        max_retired: 12,
    }
}

fn table(key: KeyType, bounds: &[(&str, &str)]) -> Table {
    let quoted = |text: &str| if text.ends_with("VALUE") { text.to_owned() } else { format!("'{text}'") };
    let text = |(from, to): &(&str, &str)| match *from {
        "DEFAULT" => "DEFAULT".to_owned(),
        _ => format!("FOR VALUES FROM ({}) TO ({})", quoted(from), quoted(to)),
    };
    let partitions = bounds.iter().map(text).enumerate().map(|(number, text)| partition(number, key, text)).collect();
    Table { oid: 1, schema: "public".to_owned(), name: "events".to_owned(), column: "at".to_owned(), key, partitions }
}

fn partition(number: usize, key: KeyType, bounds_text: String) -> Partition {
    let bounds = Bounds::parse(&bounds_text, key);
    let (oid, kind) = (100 + u32::try_from(number).unwrap_or(0), PartitionKind::Leaf);
    Partition { oid, schema: "public".to_owned(), name: format!("p{number}"), bounds, bounds_text, pending: false, kind }
}

fn tz(bounds: &[(&str, &str)]) -> Table {
    let whole: Vec<(String, String)> = bounds
        .iter()
        .map(|(from, to)| {
            (
                if from.ends_with("VALUE") || *from == "DEFAULT" { (*from).to_owned() } else { format!("{from} 00:00:00+00") },
                if to.ends_with("VALUE") { (*to).to_owned() } else { format!("{to} 00:00:00+00") },
            )
        })
        .collect();
    let borrowed: Vec<(&str, &str)> = whole.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    table(KeyType::Timestamptz, &borrowed)
}

fn made(creation: &Creation) -> Vec<String> {
    creation
        .make
        .iter()
        .map(|new| format!("{} {} {}", new.name, KeyType::Timestamptz.text(new.from), KeyType::Timestamptz.text(new.to)))
        .collect()
}

#[test]
fn an_empty_table_gets_the_present_and_the_future() {
    let creation = plan_creation(&tz(&[]), &Names::new(), &policy(Period::Monthly, "UTC", None), at("2026-11-30T23:59:59Z"));
    assert_eq!(
        made(&creation),
        [
            "events_2026_11 2026-11-01 00:00:00+00 2026-12-01 00:00:00+00",
            "events_2026_12 2026-12-01 00:00:00+00 2027-01-01 00:00:00+00",
            "events_2027_01 2027-01-01 00:00:00+00 2027-02-01 00:00:00+00",
            "events_2027_02 2027-02-01 00:00:00+00 2027-03-01 00:00:00+00",
        ]
    );
}

#[test]
fn what_is_there_is_adopted_and_the_next_begins_where_the_last_one_ends() {
    // Made by a session two hours ahead of UTC: November ends two hours early.
    let drifted = table(KeyType::Timestamptz, &[("2026-10-31 22:00:00+00", "2026-11-30 22:00:00+00")]);
    let creation = plan_creation(&drifted, &Names::new(), &policy(Period::Monthly, "UTC", None), at("2026-11-25T00:00:00Z"));
    assert_eq!(made(&creation)[0], "events_2026_12 2026-11-30 22:00:00+00 2027-01-01 00:00:00+00");
    assert_eq!(creation.make.len(), 3);
    let drift = drift(&drifted, &policy(Period::Monthly, "UTC", None).grid(KeyType::Timestamptz)).expect("a drift");
    assert_eq!((drift.count, drift.by, drift.alike), (1, TimeDelta::hours(-2), true));
    assert_eq!(super::drift(&drifted, &policy(Period::Monthly, "Africa/Cairo", None).grid(KeyType::Timestamptz)), None);
}

#[test]
fn gaps_are_filled_the_youngest_first_and_never_beyond_the_retention() {
    let holes = tz(&[("2026-01-01", "2026-02-01"), ("2026-04-01", "2026-05-01"), ("2026-07-01", "2027-03-01")]);
    let names = |retention| -> Vec<String> {
        let creation = plan_creation(&holes, &Names::new(), &policy(Period::Monthly, "UTC", retention), at("2026-11-25T00:00:00Z"));
        creation.make.iter().map(|new| new.name.clone()).collect()
    };
    assert_eq!(names(None), ["events_2026_06", "events_2026_05", "events_2026_03", "events_2026_02"]);
    assert_eq!(names(Some(200)), ["events_2026_06", "events_2026_05"]);
    assert_eq!(gaps(&holes).len(), 2);
}

#[test]
fn a_partition_of_the_far_future_or_the_far_past_makes_no_others() {
    let far = tz(&[("1970-01-01", "1970-02-01"), ("2026-11-01", "2026-12-01"), ("2032-01-01", "2032-02-01")]);
    let mut policy = policy(Period::Monthly, "UTC", None);
    let creation = plan_creation(&far, &Names::new(), &policy, at("2026-11-25T00:00:00Z"));
    assert_eq!(creation.make.iter().filter(|new| !new.fills_gap).count(), 3, "{:?}", made(&creation));
    assert_eq!((creation.make.len(), creation.beyond_cap), (50, 72));
    policy.retention = Window::from_days(365);
    let retired: Vec<u32> = plan_retirement(&far, &policy, at("2026-11-25T00:00:00Z")).retire.iter().map(|gone| gone.oid).collect();
    assert_eq!(retired, [100]);
}

#[test]
fn hand_made_partitions_that_overlap_periods_leave_only_what_is_open() {
    let wide = tz(&[("2026-10-10", "2026-12-20")]);
    let creation = plan_creation(&wide, &Names::new(), &policy(Period::Monthly, "UTC", None), at("2026-11-25T00:00:00Z"));
    // The eleven days that are left of December are too few for a partition of their own.
    assert_eq!(made(&creation)[0], "events_2027_01 2026-12-20 00:00:00+00 2027-02-01 00:00:00+00");
}

#[test]
fn pending_detaches_still_take_their_range_and_serve_nobody() {
    let mut pending = tz(&[("2026-11-01", "2026-12-01")]);
    pending.partitions[0].pending = true;
    let (policy, now) = (policy(Period::Monthly, "UTC", None), at("2026-11-25T00:00:00Z"));
    let creation = plan_creation(&pending, &Names::new(), &policy, now);
    assert_eq!(creation.make[0].name, "events_2026_12");
    assert_eq!(runway(&pending, &policy.grid(KeyType::Timestamptz), now), Runway::Until(now));
}

#[test]
fn names_that_are_taken_are_told_with_the_sql_that_mends_it() {
    let names: Names = BTreeMap::from([
        ("events_2026_11".to_owned(), Occupant::LooseTable),
        ("events_2026_12".to_owned(), Occupant::Other),
        ("events_2027_01".to_owned(), Occupant::PartitionOf(7)),
        ("p0".to_owned(), Occupant::PartitionOf(1)),
    ]);
    let mut policy = policy(Period::Monthly, "UTC", None);
    let creation = plan_creation(&tz(&[]), &names, &policy, at("2026-11-25T00:00:00Z"));
    assert_eq!((creation.make.len(), creation.problems.len()), (1, 3));
    assert!(
        creation.problems[0].mend.contains("ATTACH PARTITION \"public\".\"events_2026_11\" FOR VALUES FROM ('2026-11-01 00:00:00+00')")
    );
    // The name of this month on bounds of another.
    policy.name = "p0".parse().expect("a template");
    let wrong = plan_creation(&tz(&[("2026-09-01", "2026-10-01")]), &names, &policy, at("2026-09-25T00:00:00Z"));
    assert!(
        wrong.problems[0].what.contains("has other bounds")
            && wrong.problems[0].mend.contains("DETACH PARTITION \"public\".\"p0\"; ALTER TABLE")
    );
}

#[test]
fn a_table_with_partitioned_partitions_is_left_alone() {
    let mut deep = tz(&[("2025-01-01", "2025-02-01")]);
    deep.partitions[0].kind = PartitionKind::Partitioned;
    let (policy, now) = (policy(Period::Monthly, "UTC", Some(30)), at("2026-11-25T00:00:00Z"));
    let creation = plan_creation(&deep, &Names::new(), &policy, now);
    assert!(creation.make.is_empty() && creation.problems[0].what.contains("partitioned"), "{creation:?}");
    let retirement = plan_retirement(&deep, &policy, now);
    assert_eq!((retirement.retire.len(), retirement.kept[0].1), (0, Kept::Partitioned));
}

#[test]
fn what_may_not_be_retired_stays_and_the_reason_is_told() {
    let mut old = tz(&[
        ("MINVALUE", "2024-01-01"),
        ("2024-01-01", "2024-02-10"),
        ("2024-03-01", "2024-04-01"),
        ("2024-04-01", "2024-05-01"),
        ("DEFAULT", ""),
    ]);
    old.partitions.push(partition(9, KeyType::Timestamptz, "FOR VALUES IN (1)".to_owned()));
    old.partitions[3].kind = PartitionKind::Elsewhere;
    let mut policy = policy(Period::Monthly, "UTC", Some(30));
    let now = at("2026-11-25T00:00:00Z");
    let retirement = plan_retirement(&old, &policy, now);
    assert_eq!(retirement.retire.iter().map(|gone| gone.oid).collect::<Vec<_>>(), [102]);
    let kept: Vec<(u32, Kept)> = retirement.kept.iter().map(|(partition, kept)| (partition.oid, *kept)).collect();
    assert_eq!(kept, [(100, Kept::Infinite), (101, Kept::OffGrid), (103, Kept::Elsewhere), (109, Kept::Unknown)]);
    policy.keep_at_least = 5;
    assert!(plan_retirement(&old, &policy, now).retire.is_empty());
}

#[test]
fn the_floor_and_the_cap_let_the_oldest_go_first() {
    let old = tz(&[("2024-02-01", "2024-03-01"), ("2024-01-01", "2024-02-01"), ("2024-03-01", "2024-04-01"), ("2024-04-01", "2024-05-01")]);
    let mut policy = Policy { max_retired: 2, ..policy(Period::Monthly, "UTC", Some(30)) };
    let retirement = plan_retirement(&old, &policy, at("2026-11-25T00:00:00Z"));
    assert_eq!(retirement.retire.iter().map(|gone| gone.oid).collect::<Vec<_>>(), [101, 100]);
    assert_eq!((retirement.beyond_cap, retirement.kept.len()), (1, 1));
    policy.retention = None;
    assert!(plan_retirement(&old, &policy, at("2026-11-25T00:00:00Z")).retire.is_empty());
}

const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Sofia",
    "America/Sao_Paulo",
    "America/Havana",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Africa/Monrovia",
    "Asia/Beirut",
];

/// A policy and a time.
fn settings() -> impl Strategy<Value = (Policy, KeyType, DateTime<Utc>)> {
    let period = prop_oneof![Just(Period::Daily), Just(Period::Weekly), Just(Period::Monthly), Just(Period::Yearly)];
    let key = prop_oneof![Just(KeyType::Timestamptz), Just(KeyType::Timestamp), Just(KeyType::Date)];
    let numbers = (proptest::option::of(1u32..900), 0u32..6, 0u32..5, 0u32..40, 0u32..8);
    (period, 0..ZONES.len(), key, numbers, 0i64..4_000_000_000).prop_map(|(period, zone, key, numbers, now)| {
        let (retention, premake, keep_at_least, max_made, max_retired) = numbers;
        let base = policy(period, ZONES[zone], retention);
        (Policy { premake, keep_at_least, max_made, max_retired, ..base }, key, DateTime::from_timestamp(now, 0).expect("a time"))
    })
}

/// Partitions that do not overlap, hand-made: anywhere, of any length, with gaps between them.
fn hand_made(key: KeyType, now: DateTime<Utc>, pieces: &[(bool, i64)]) -> Table {
    let step = if key == KeyType::Date { 86_400 } else { 1 };
    let mut point = now.naive_utc().date().and_hms_opt(0, 0, 0).expect("a time") - TimeDelta::days(700);
    let mut partitions = Vec::new();
    for (number, (is_gap, length)) in pieces.iter().enumerate() {
        let next = point + TimeDelta::seconds((length / step).max(1) * step);
        if !is_gap {
            partitions.push(partition(number, key, format!("FOR VALUES FROM ('{}') TO ('{}')", key.text(point), key.text(next))));
        }
        point = next;
    }
    Table { partitions, ..table(key, &[]) }
}

fn with_made(table: &Table, creation: &Creation) -> Table {
    let mut table = table.clone();
    for (number, new) in creation.make.iter().enumerate() {
        let text = format!("FOR VALUES FROM ('{}') TO ('{}')", table.key.text(new.from), table.key.text(new.to));
        table.partitions.push(Partition { name: new.name.clone(), ..partition(1000 + number, table.key, text) });
    }
    table
}

fn taken(table: &Table) -> Vec<(NaiveDateTime, NaiveDateTime)> {
    let mut all: Vec<_> = table.partitions.iter().filter_map(|partition| partition.bounds.finite()).collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_point_lies_in_its_period_and_periods_meet((policy, key, now) in settings()) {
        let grid = policy.grid(key);
        let point = grid.point(now);
        let cell = grid.cell(point).expect("a period");
        prop_assert!(cell.from <= point && point < cell.to && grid.is_edge(cell.from) && grid.is_edge(cell.to));
        prop_assert_eq!(grid.cell(cell.to).expect("the next").from, cell.to);
        let before = cell.from - TimeDelta::microseconds(1);
        prop_assert_eq!(grid.cell(before).expect("the one before").to, cell.from);
        prop_assert!(key == KeyType::Timestamptz || grid.instant(point) >= now);
    }

    #[test]
    fn what_is_past_is_past_whichever_instant_is_meant((policy, key, now) in settings(), before in 1i64..200_000) {
        let grid = policy.grid(key);
        let past = grid.past(now);
        // The last moment of a row: that of a date is the next midnight.
        let row = match key {
            KeyType::Date => past - TimeDelta::days(before % 3),
            KeyType::Timestamp | KeyType::Timestamptz => past - TimeDelta::seconds(before),
        };
        prop_assert!(grid.instant(row) <= now, "{row} is not past at {now}");
        prop_assert!(now - grid.instant(past) <= TimeDelta::days(2), "{past} is long before {now}");
    }

    #[test]
    fn what_is_made_overlaps_nothing_and_is_made_once(
        (policy, key, now) in settings(),
        pieces in proptest::collection::vec((any::<bool>(), 1i64..15_000_000), 0..14),
    ) {
        let table = hand_made(key, now, &pieces);
        let creation = plan_creation(&table, &Names::new(), &policy, now);
        prop_assert!(creation.make.len() <= policy.max_made as usize);
        let after = with_made(&table, &creation);
        for pair in taken(&after).windows(2) {
            prop_assert!(pair[0].1 <= pair[1].0, "{:?} overlaps {:?}", pair[0], pair[1]);
        }
        // What was made takes its names too.
        let names: Names = after.partitions.iter().map(|partition| (partition.name.clone(), Occupant::PartitionOf(1))).collect();
        let again = plan_creation(&after, &names, &policy, now);
        if creation.beyond_cap == 0 {
            prop_assert_eq!(&again.make, &Vec::new());
            prop_assert_eq!(again.problems.len(), creation.problems.len());
            if creation.problems.is_empty() {
                let grid = policy.grid(key);
                let end = grid.edges_after(grid.point(now)).nth(policy.premake as usize).expect("an end");
                prop_assert!(matches!(runway(&after, &grid, now), Runway::Until(until) if until >= grid.instant(end)));
            }
        }
    }

    #[test]
    fn what_is_made_has_not_expired((policy, key, now) in settings(), pieces in proptest::collection::vec((any::<bool>(), 1i64..15_000_000), 0..14)) {
        let table = hand_made(key, now, &pieces);
        let after = with_made(&table, &plan_creation(&table, &Names::new(), &policy, now));
        prop_assert!(plan_retirement(&after, &policy, now).retire.iter().all(|gone| gone.oid < 1000));
    }

    #[test]
    fn nothing_is_retired_whose_end_is_within_the_retention(
        (policy, key, now) in settings(),
        pieces in proptest::collection::vec((any::<bool>(), 1i64..8_000_000), 0..30),
        on_grid in any::<bool>(),
    ) {
        let grid = policy.grid(key);
        let mut table = hand_made(key, now, &pieces);
        if on_grid {
            let edges: Vec<_> = grid.edges_after(grid.point(now) - TimeDelta::days(800)).take(30).collect();
            let text = |pair: &[NaiveDateTime]| format!("FOR VALUES FROM ('{}') TO ('{}')", key.text(pair[0]), key.text(pair[1]));
            table.partitions = edges.windows(2).enumerate().map(|(number, pair)| partition(number, key, text(pair))).collect();
        }
        let retirement = plan_retirement(&table, &policy, now);
        for gone in &retirement.retire {
            let (from, to) = gone.bounds.finite().expect("a range");
            let window = policy.retention.expect("a retention");
            prop_assert!(grid.instant(to) <= now - window.span(), "{gone:?}");
            prop_assert!(grid.is_edge(from) && grid.is_edge(to));
        }
        prop_assert!(retirement.retire.len() <= policy.max_retired as usize);
        let left = table.partitions.len() - retirement.retire.len();
        prop_assert!(retirement.retire.is_empty() || left >= policy.keep_at_least as usize);
        // In the order of time, and the same at whatever order the catalog gives them.
        let ids: Vec<u32> = retirement.retire.iter().map(|gone| gone.oid).collect();
        let mut turned = table.clone();
        turned.partitions.reverse();
        prop_assert_eq!(plan_retirement(&turned, &policy, now).retire.iter().map(|gone| gone.oid).collect::<Vec<_>>(), ids);
    }
}
