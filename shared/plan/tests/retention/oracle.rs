//! The contract's rules once more, as plainly as they can be written, on the texts of keys and seconds, with nothing of the planner.

use std::collections::{BTreeMap, BTreeSet};

/// Seconds.
pub const DAY: i64 = 86_400;

/// What the rules are told.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub window_days: BTreeMap<String, i64>,
    pub floor: usize,
    pub freeze_days: i64,
    pub debris_days: i64,
    /// Name → when it was retired, and by when it is to be gone.
    pub retired: BTreeMap<String, (i64, Option<i64>)>,
    pub monthly: usize,
}

struct Set<'a> {
    key: &'a str,
    stamp: i64,
    changed: i64,
    files: Vec<&'a str>,
}

impl Set<'_> {
    fn part(&self, number: usize) -> &str {
        self.key.rsplit('/').next().unwrap().split('.').nth(number).unwrap()
    }

    fn committed(&self) -> bool {
        self.files.contains(&"manifest.json") && self.files.iter().any(|file| file.ends_with(".zst"))
    }

    fn held(&self) -> bool {
        self.files.contains(&"hold")
    }

    fn aged_from(&self) -> i64 {
        self.stamp.max(self.changed)
    }
}

/// `20261123T031500Z` in seconds, by counting days.
pub fn seconds(stamp: &str) -> i64 {
    let number = |from: usize, to: usize| stamp[from..to].parse::<i64>().unwrap();
    let (year, month, day) = (number(0, 4), number(4, 6), number(6, 8));
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let of_years: i64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let months = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let of_months: i64 = months[..month as usize - 1].iter().sum();
    (of_years + of_months + day - 1) * DAY + number(9, 11) * 3600 + number(11, 13) * 60 + number(13, 15)
}

/// The sets that may go now.
pub fn doomed(objects: &[(String, i64)], rules: &Rules, now: i64) -> BTreeSet<String> {
    let mut groups: BTreeMap<&str, BTreeMap<&str, Set<'_>>> = BTreeMap::new();
    for (key, changed) in objects {
        let (set, file) = key.rsplit_once('/').unwrap();
        let (group, last) = set.rsplit_once('/').unwrap();
        let stamp = seconds(&last[..16]);
        let one = groups.entry(group).or_default().entry(set).or_insert(Set { key: set, stamp, changed: *changed, files: vec![] });
        one.changed = one.changed.max(*changed);
        one.files.push(file);
    }
    let mut void: BTreeSet<&str> = BTreeSet::new();
    for (group, sets) in &groups {
        let (area, name) = group.split_once('/').unwrap();
        let retired = rules.retired.get(name).filter(|_| area != "insurance-pg");
        let is_fresh = |set: &&Set<'_>| retired.is_some_and(|(at, _)| set.committed() && set.stamp > *at && set.stamp <= now);
        if sets.values().any(|set| is_fresh(&set)) {
            void.insert(name);
        }
    }
    let mut gone = BTreeSet::new();
    for (group, sets) in &groups {
        let (area, name) = group.split_once('/').unwrap();
        let retired = rules.retired.get(name).filter(|_| !void.contains(name));
        let mut newest_first: Vec<&Set<'_>> = sets.values().filter(|set| set.committed() && set.stamp <= now).collect();
        newest_first.sort_by(|a, b| (b.stamp, b.key).cmp(&(a.stamp, a.key)));
        let of_months = newest_of_months(&newest_first, rules.monthly);
        let window = |label: &str| DAY * rules.window_days.get(label).copied().unwrap_or(*rules.window_days.values().max().unwrap());
        for set in sets.values() {
            if set.held() || set.stamp > now {
                continue;
            }
            if !set.committed() {
                if now - set.aged_from() > rules.debris_days * DAY {
                    gone.insert(set.key.to_owned());
                }
                continue;
            }
            if area == "insurance-pg" {
                let until = seconds(set.part(2).strip_prefix("until-").unwrap());
                if now > until && now > set.stamp + 7 * DAY {
                    gone.insert(set.key.to_owned());
                }
                continue;
            }
            let mut longest = window(set.part(1));
            if let Some(newest) = newest_first.first() {
                longest = longest.max(window(newest.part(1)));
            }
            let mut may_go = now - set.aged_from() > longest;
            match retired {
                Some((_, by)) => may_go |= by.is_some_and(|by| now > by),
                None => {
                    may_go &= !newest_first.iter().take(rules.floor).any(|one| one.key == set.key);
                    may_go &= newest_first.first().is_some_and(|newest| now - newest.stamp <= rules.freeze_days * DAY);
                    may_go &= !of_months.contains(set.key);
                }
            }
            if may_go {
                gone.insert(set.key.to_owned());
            }
        }
    }
    gone
}

fn newest_of_months<'a>(newest_first: &[&Set<'a>], months: usize) -> BTreeSet<&'a str> {
    let mut kept: BTreeMap<String, &str> = BTreeMap::new();
    for set in newest_first.iter().filter(|_| months > 0) {
        let month = set.part(0)[..6].to_owned();
        if kept.len() < months || kept.contains_key(&month) {
            kept.entry(month).or_insert(set.key);
        }
    }
    kept.into_values().collect()
}
