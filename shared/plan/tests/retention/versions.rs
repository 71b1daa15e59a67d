//! Buckets that keep versions: what a reader sees, and what is left of what somebody deleted.

use chrono::{DateTime, TimeDelta, Utc};
use plana_plan::retention::{Entry, Plan, Stock, Times, Version, plan};

use super::world::{Object, at, backup, doomed, nights, policy, rule};

/// A listing of versions: objects, and of some a delete marker over them.
fn planned(objects: &[Object], removed: &[(&str, DateTime<Utc>)], now: DateTime<Utc>) -> Plan {
    let mut stock = Stock::default();
    for object in objects {
        let marker = removed.iter().find(|(key, _)| object.key.ends_with(key));
        let mut add = |id, size, changed, is_latest, is_delete_marker| {
            let version = Some(Version { id, is_latest, is_delete_marker });
            stock.add(Entry { key: &object.key, size, last_modified: changed, etag: None, version });
        };
        add("1", object.size, object.changed, marker.is_none(), false);
        if let Some((_, at)) = marker {
            add("2", 0, *at, true, true);
        }
    }
    plan(stock, &policy(), Times::now(now))
}

#[test]
fn what_somebody_deleted_is_kept_as_long_as_it_would_have_been() {
    let now = at("2026-11-23 03:15");
    let of_age = |days| backup("pg", "acme", "starter", now - TimeDelta::days(days), 0xaa);
    let fresh = nights("acme", "starter", now, 3, 0);
    let begun = |days| now - TimeDelta::days(days);
    let case = |days, marked| {
        let plan = planned(&[fresh.clone(), of_age(days)].concat(), &[(".000000aa/manifest.json", begun(marked))], now);
        rule(&plan, ".000000aa")
    };
    assert_eq!(case(10, 9), "in-window", "not debris: it was a backup");
    assert_eq!(case(40, 39), "expired");
    assert_eq!(case(40, 5), "in-window", "the deletion is a change");
    // It counts for nothing else: the newest is the newest that a reader sees.
    let only = planned(&of_age(1), &[(".000000aa/manifest.json", now)], now);
    assert_eq!((only.groups[0].newest, only.committed()), (None, 0));
    let payload = planned(&[fresh, of_age(10)].concat(), &[("dump.zst", now)], now);
    assert_eq!(payload.committed(), 0, "without a payload there is no backup");
}

#[test]
fn markers_alone_are_debris_and_a_hold_that_was_deleted_holds_no_more() {
    let now = at("2026-11-23 03:15");
    let set = backup("pg", "acme", "starter", now - TimeDelta::days(60), 1);
    let mut stock = Stock::default();
    for object in &set {
        let version = Some(Version { id: "9", is_latest: true, is_delete_marker: true });
        stock.add(Entry { key: &object.key, size: 0, last_modified: now - TimeDelta::days(4), etag: None, version });
    }
    let left = plan(stock, &policy(), Times::now(now));
    assert_eq!(left.doomed().map(|(_, set)| set.verdict.rule()).collect::<Vec<_>>(), ["left-behind"]);

    let hold = Object::new(format!("{}/hold", super::world::set_of(&set[0].key)), 1, now - TimeDelta::days(50));
    let objects = [nights("acme", "starter", now, 3, 0), set, vec![hold]].concat();
    assert_eq!(doomed(&planned(&objects, &[], now)).len(), 0);
    assert_eq!(doomed(&planned(&objects, &[("/hold", now - TimeDelta::days(31))], now)).len(), 1);
}
