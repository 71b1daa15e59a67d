//! A year and a half of nights: names that come, fail, change their tiers and leave, clocks that jump, runs that are killed.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use plana_plan::{
    expiry::Windows,
    retention::{Periods, Policy, Retirement},
};

use super::{
    oracle::{self, DAY, Rules},
    world::{Object, at, backup, days, doomed, label, planned, policy, set_of},
};

const WINDOWS: [(&str, u32); 4] = [("starter", 30), ("pro", 90), ("enterprise", 365), ("platform", 90)];
const FLOOR: usize = 3;

/// Numbers that look like chance and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// A name of the platform.
struct Name {
    name: String,
    label: &'static str,
    /// No backup succeeds before this night.
    fails_until: i64,
    /// Nobody backs it up any more.
    dropped: bool,
}

struct World {
    chance: Chance,
    names: Vec<Name>,
    /// By key.
    objects: BTreeMap<String, Object>,
    retired: BTreeMap<String, Retirement>,
    nonce: u32,
    seen: Seen,
}

/// That the world was as rough as it was meant to be.
#[derive(Debug, Default)]
struct Seen {
    deleted: usize,
    debris: usize,
    frozen: usize,
    kills: usize,
    future: usize,
    void: usize,
    erased: usize,
    on_leap_day: usize,
}

impl World {
    fn new(seed: u64, names: usize) -> Self {
        let label = |at: usize| match at % 25 {
            0..16 => "starter",
            16..21 => "pro",
            21 => "enterprise",
            _ => "platform",
        };
        let name = |at| Name { name: format!("t{at}.example.org"), label: label(at), fails_until: 0, dropped: false };
        World {
            chance: Chance(seed),
            names: (0..names).map(name).collect(),
            objects: BTreeMap::new(),
            retired: BTreeMap::new(),
            nonce: 0,
            seen: Seen::default(),
        }
    }

    fn store(&mut self, objects: Vec<Object>) {
        self.nonce += 1;
        self.objects.extend(objects.into_iter().map(|object| (object.key.clone(), object)));
    }

    /// The backups of a night; `clock` is what the host believes, which may be wrong.
    fn back_up(&mut self, night: i64, now: DateTime<Utc>, clock: DateTime<Utc>) {
        for at in 0..self.names.len() {
            if self.chance.one_in(400) {
                self.names[at].fails_until = night + 3 + self.chance.below(25) as i64;
            }
            if self.chance.one_in(500) {
                self.names[at].label = ["starter", "starter", "starter", "pro", "pro", "enterprise"][self.chance.below(6) as usize];
            }
            if self.chance.one_in(900) {
                self.names[at].dropped ^= true;
            }
            let Name { name, label, fails_until, dropped } = &self.names[at];
            let (name, label) = (name.clone(), *label);
            if *dropped {
                if !self.retired.contains_key(&name) && self.chance.one_in(10) {
                    let by = self.chance.one_in(2).then(|| now + TimeDelta::days(20));
                    self.retired.insert(name, Retirement { at: now, by });
                }
                continue;
            }
            if *fails_until > night {
                continue;
            }
            let mut set = backup("pg", &name, label, clock + TimeDelta::minutes(at as i64), self.nonce);
            set.iter_mut().for_each(|object| object.changed = now + TimeDelta::minutes(at as i64 + 5));
            if self.chance.one_in(60) {
                set.truncate(1);
            } else if self.chance.one_in(500) {
                set.push(Object::new(format!("{}/hold", set_of(&set[0].key)), 1, now));
            }
            self.store(set);
            if self.chance.one_in(150) {
                let until = now + TimeDelta::days(self.chance.below(40) as i64);
                let insurance = backup("insurance-pg", &name, &until.format("drop.until-%Y%m%dT%H%M%SZ").to_string(), now, self.nonce);
                self.store(insurance);
            }
        }
    }

    /// What the planner and the oracle say, which must be the same; then a run that may be killed.
    fn prune(&mut self, now: DateTime<Utc>, monthly: u32) {
        let windows = Windows::new(WINDOWS.map(|(name, window)| (label(name), days(window))));
        let keep = Periods { monthly, ..Periods::default() };
        let policy = Policy { windows, floor: FLOOR as u32, keep, retired: self.retired.clone(), ..policy() };
        let listed: Vec<Object> = self.objects.values().cloned().collect();
        let plan = planned(&listed, &policy, now);
        let planned = doomed(&plan);

        let retired = |(name, one): (&String, &Retirement)| (name.clone(), (one.at.timestamp(), one.by.map(|by| by.timestamp())));
        let rules = Rules {
            window_days: WINDOWS.map(|(name, window)| (name.to_owned(), window.into())).into(),
            floor: FLOOR,
            freeze_days: 7,
            debris_days: 3,
            retired: self.retired.iter().map(retired).collect(),
            monthly: monthly as usize,
        };
        let plain: Vec<(String, i64)> = listed.iter().map(|object| (object.key.clone(), object.changed.timestamp())).collect();
        assert_eq!(planned, oracle::doomed(&plain, &rules, now.timestamp()), "at {now}");

        for group in &plan.groups {
            use plana_plan::retention::Standing;
            self.seen.frozen += usize::from(matches!(group.standing, Standing::Frozen { .. }));
            let rules = group.sets.iter().map(|set| set.verdict.rule());
            rules.for_each(|rule| match rule {
                "from-the-future" => self.seen.future += 1,
                "erased" => self.seen.erased += 1,
                "left-behind" => self.seen.debris += 1,
                _ => {}
            });
        }
        self.seen.void += plan.alarms.iter().filter(|alarm| matches!(alarm, plana_plan::retention::Alarm::RetirementVoid { .. })).count();
        // The manifest goes first, and a killed run ends anywhere.
        let killed_after = if self.chance.one_in(8) { self.chance.below(1 + planned.len() as u64) as usize } else { usize::MAX };
        self.seen.kills += usize::from(killed_after < planned.len());
        for (at, set) in planned.iter().enumerate() {
            if at > killed_after {
                break;
            }
            self.objects.remove(&format!("{set}/manifest.json"));
            if at < killed_after {
                let inside = self.objects.range(format!("{set}/")..).take_while(|(key, _)| key.starts_with(&format!("{set}/")));
                let inside: Vec<String> = inside.map(|(key, _)| key.clone()).collect();
                inside.iter().for_each(|key| drop(self.objects.remove(key)));
                self.seen.deleted += 1;
            }
        }
    }

    /// A name that is backed up has its floor, once it has ever had so many.
    fn expect_floor(&self, most: &mut BTreeMap<String, usize>) {
        for name in self.names.iter().filter(|name| !self.retired.contains_key(&name.name)) {
            let group = format!("pg/{}/", name.name);
            let there = self.objects.range(group.clone()..).take_while(|(key, _)| key.starts_with(&group));
            let committed = there.filter(|(key, _)| key.ends_with("/manifest.json")).count();
            let least = most.entry(name.name.clone()).or_default();
            assert!(committed >= *least, "{group} has {committed} sets");
            *least = committed.min(FLOOR);
        }
    }
}

fn live(seed: u64, names: usize, monthly: u32) -> Seen {
    let mut world = World::new(seed, names);
    let (begin, mut most) = (at("2027-10-01 03:15"), BTreeMap::new());
    for night in 0..550 {
        let now = begin + TimeDelta::days(night);
        // The host's clock jumps for a night or two, forth and back.
        let off = match night % 97 {
            50 | 51 => TimeDelta::days(200),
            70 => TimeDelta::days(-30),
            _ => TimeDelta::zero(),
        };
        world.back_up(night, now, now + off);
        world.prune(now + TimeDelta::hours(4), monthly);
        world.expect_floor(&mut most);
        world.seen.on_leap_day += usize::from(now.format("%m-%d").to_string() == "02-29");
    }
    assert_eq!(oracle::seconds("20280229T031500Z"), begin.timestamp() + 151 * DAY);
    world.seen
}

#[test]
fn a_year_and_a_half_of_nights_agrees_with_the_oracle() {
    // Two halves of the platform, side by side; one of them keeps months as well.
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| live(0x9e37_79b9_7f4a_7c15, 25, 0));
        let other = scope.spawn(|| live(0x1234_5678_9abc_def1, 25, 6));
        (one.join(), other.join())
    });
    for seen in [one.expect("the first half"), other.expect("the second half")] {
        let Seen { deleted, debris, frozen, kills, future, void, erased, on_leap_day } = seen;
        for (what, count) in [("deleted", deleted), ("debris", debris), ("frozen", frozen), ("kills", kills), ("future", future)] {
            assert!(count > 20, "{what}: {count}");
        }
        assert!(void > 0 && erased > 0 && on_leap_day == 1, "void {void}, erased {erased}");
    }
}
