//! Listings and policies to plan with.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use plana_plan::{
    Label,
    expiry::Windows,
    retention::{Entry, Keys, LegacyPattern, Periods, Plan, Policy, Stock, Times, plan},
    window::Window,
};

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    pub key: String,
    pub size: u64,
    pub changed: DateTime<Utc>,
}

impl Object {
    pub fn new(key: impl Into<String>, size: u64, changed: DateTime<Utc>) -> Self {
        Object { key: key.into(), size, changed }
    }
}

/// `2026-11-23 03:15`.
pub fn at(text: &str) -> DateTime<Utc> {
    format!("{}:00Z", text.replace(' ', "T")).parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

pub fn days(days: u32) -> Window {
    Window::from_days(days).expect("a window")
}

/// The windows of the platform, a floor of 3, a freeze after a week, debris after three days, no cap.
pub fn policy() -> Policy {
    let windows = [("starter", 30), ("pro", 90), ("enterprise", 365), ("platform", 90)];
    Policy {
        windows: Windows::new(windows.map(|(name, window)| (label(name), days(window)))),
        floor: 3,
        freeze_after: days(7),
        debris_after: days(3),
        max_sets: usize::MAX,
        keep: Periods::default(),
        tiers: Default::default(),
        retired: Default::default(),
        lowered_tiers: false,
    }
}

/// The objects of a committed set, all written when it was begun.
pub fn backup(area: &str, name: &str, label: &str, begun: DateTime<Utc>, nonce: u32) -> Vec<Object> {
    let stamp = begun.format("%Y%m%dT%H%M%SZ");
    let set = format!("{area}/{name}/{stamp}.{label}.{nonce:08x}");
    let file = format!("{}_{stamp}.dump.zst", name.replace('/', "."));
    vec![Object::new(format!("{set}/{file}"), 1000, begun), Object::new(format!("{set}/manifest.json"), 10, begun)]
}

/// Nightly sets of a name, from `oldest` to `newest` days before `now`.
pub fn nights(name: &str, label: &str, now: DateTime<Utc>, oldest: u32, newest: u32) -> Vec<Object> {
    let begun = |day: u32| now - TimeDelta::days(day.into()) - TimeDelta::hours(1);
    (newest..=oldest).flat_map(|day| backup("pg", name, label, begun(day), day)).collect()
}

pub fn stock(objects: &[Object], legacy: &[LegacyPattern]) -> Stock {
    let mut stock = Stock::new(Keys::new(legacy.iter().cloned()), 0);
    for object in objects {
        stock.add(Entry { key: &object.key, size: object.size, last_modified: object.changed, etag: None, version: None });
    }
    stock
}

pub fn planned(objects: &[Object], policy: &Policy, now: DateTime<Utc>) -> Plan {
    plan(stock(objects, &[]), policy, Times::now(now))
}

/// The keys of the sets that go.
pub fn doomed(plan: &Plan) -> BTreeSet<String> {
    plan.doomed().map(|(group, set)| set.key(&group.key)).collect()
}

/// The rule that decided on a set.
pub fn rule(plan: &Plan, key: &str) -> &'static str {
    let sets = plan.groups.iter().flat_map(|group| group.sets.iter().map(move |set| (group, set)));
    let found = sets.into_iter().find(|(group, set)| set.key(&group.key).contains(key));
    found.unwrap_or_else(|| panic!("{key} is not in the plan")).1.verdict.rule()
}

/// The set that an object lies in.
pub fn set_of(key: &str) -> String {
    key.rsplit_once('/').map_or(key, |(set, _)| set).to_owned()
}

/// The listing without the sets of those keys.
pub fn without(objects: &[Object], doomed: &BTreeSet<String>) -> Vec<Object> {
    objects.iter().filter(|object| !doomed.contains(&set_of(&object.key))).cloned().collect()
}
