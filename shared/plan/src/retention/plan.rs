//! The plan of a run: for everything that is listed, what becomes of it and why.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{
    decide::{Group, judge_debris},
    policy::{Policy, Retirement, Times},
    stock::{GroupKey, Loose, SetFacts, SetId, Sets, Stock, Unfinished},
    verdict::{Keep, Verdict},
};
use crate::{Label, SetKey, Stamp};

/// What guards the sets of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Floor and windows.
    Guarded,
    /// Everything committed stays: there is no fresh backup.
    Frozen {
        /// The newest that there is.
        newest: Stamp,
    },
    /// Windows alone, and perhaps a date by which it is gone.
    Retired(Retirement),
    /// Insurance and partition archives: their own time alone.
    Unguarded,
}

/// A set, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSet {
    /// The set.
    pub id: SetId,
    /// What is listed of it.
    pub facts: SetFacts,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// A group, and what becomes of its sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    /// The group.
    pub key: GroupKey,
    /// What guards it.
    pub standing: Standing,
    /// The stamp of the newest committed set that is not from the future.
    pub newest: Option<Stamp>,
    /// The stamp of the oldest committed set.
    pub oldest: Option<Stamp>,
    /// The sets, the oldest first.
    pub sets: Vec<PlannedSet>,
}

/// A probe or an upload, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedProbe {
    /// The key.
    pub key: String,
    /// What is listed of it.
    pub loose: Loose,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// An upload, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedUpload {
    /// The upload.
    pub upload: Unfinished,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// A group without a fresh backup.
    Frozen {
        /// The group.
        group: GroupKey,
        /// The newest that there is.
        newest: Stamp,
    },
    /// A set whose stamp is in the future.
    FromTheFuture {
        /// The set's or its first object's key.
        set: String,
    },
    /// A retired name has been backed up again.
    RetirementVoid {
        /// The plain name.
        name: String,
    },
    /// A label without a window, which is kept under the longest.
    UnknownLabel {
        /// The label.
        label: Label,
        /// How many committed sets have it.
        sets: u64,
    },
}

/// What becomes of everything that is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The moments that it was made for.
    pub times: Times,
    /// The groups by area and name.
    pub groups: Vec<GroupPlan>,
    /// What `check` wrote.
    pub probes: Vec<PlannedProbe>,
    /// Unfinished uploads.
    pub uploads: Vec<PlannedUpload>,
    /// What nobody knows, which is kept.
    pub unknown: Vec<(String, Loose)>,
    /// What somebody should look at.
    pub alarms: Vec<Alarm>,
    /// How many sets may go and are left to later runs.
    pub remaining: usize,
}

impl PlannedSet {
    /// The set's key, or for one that was there before this suite the first of its objects' keys.
    pub fn key(&self, group: &GroupKey) -> String {
        match (set_key(group, &self.id), self.facts.legacy_keys.first()) {
            (Some(key), _) => key.to_string(),
            (None, Some(key)) => key.to_string(),
            (None, None) => format!("{group} {}", self.id.stamp),
        }
    }
}

/// The key of a set that this suite wrote.
pub fn set_key(group: &GroupKey, id: &SetId) -> Option<SetKey> {
    let GroupKey { area, encoded_name } = group.clone();
    Some(SetKey { area, encoded_name, stamp: id.stamp, label: id.label.clone(), id: id.nonce? })
}

impl Plan {
    /// The sets that go, with their groups.
    pub fn doomed(&self) -> impl Iterator<Item = (&GroupPlan, &PlannedSet)> {
        let sets = self.groups.iter().flat_map(|group| group.sets.iter().map(move |set| (group, set)));
        sets.filter(|(_, set)| set.verdict.is_delete())
    }

    /// How many of the sets are backups.
    pub fn committed(&self) -> u64 {
        self.groups.iter().flat_map(|group| &group.sets).filter(|set| set.facts.is_committed()).count() as u64
    }
}

/// Plans a run. Pure: the same stock, policy and times give the same plan.
pub fn plan(stock: Stock, policy: &Policy, times: Times) -> Plan {
    let void = void_retirements(&stock, policy, times.at);
    let mut alarms: Vec<Alarm> = void.iter().map(|name| Alarm::RetirementVoid { name: name.clone() }).collect();
    alarms.extend(
        stock
            .labels()
            .into_iter()
            .filter(|(label, _)| !policy.windows.knows(label) && label.as_str() != Label::UNCLASSIFIED)
            .map(|(label, sets)| Alarm::UnknownLabel { label: label.clone(), sets }),
    );
    let uploads = plan_uploads(&stock, policy, times.at);
    let probes = stock.probes.into_iter();
    let probes = probes.map(|(key, loose)| PlannedProbe { verdict: judge_debris(loose.latest_change, policy, times.at), key, loose });
    let mut plan = Plan {
        times,
        probes: probes.collect(),
        uploads,
        unknown: stock.unknown.into_iter().collect(),
        groups: stock.groups.into_iter().map(|(key, sets)| plan_group(key, sets, policy, times, &void)).collect(),
        alarms,
        remaining: 0,
    };
    cap(&mut plan, policy.max_sets);
    plan.alarms.extend(plan.groups.iter().flat_map(group_alarms));
    plan
}

fn plan_group(key: GroupKey, sets: Sets, policy: &Policy, times: Times, void: &BTreeSet<String>) -> GroupPlan {
    let group = Group::new(&key, &sets, policy, times, void.contains(&key.plain_name()));
    let (standing, verdicts) = (group.standing(), group.verdicts(&sets));
    let newest = group.newest.as_ref().map(|(stamp, _)| *stamp);
    let oldest = sets.iter().find(|(_, facts)| facts.is_committed()).map(|(id, _)| id.stamp);
    let sets = sets.into_iter().zip(verdicts).map(|((id, facts), verdict)| PlannedSet { id, facts, verdict }).collect();
    GroupPlan { key, standing, newest, oldest, sets }
}

/// The retired names that have a committed set from after their retirement: somebody backs them up.
fn void_retirements(stock: &Stock, policy: &Policy, at: DateTime<Utc>) -> BTreeSet<String> {
    let mut void = BTreeSet::new();
    if policy.retired.is_empty() {
        return void;
    }
    for (key, sets) in stock.groups.iter().filter(|(key, _)| key.area.has_tiers()) {
        let name = key.plain_name();
        let Some(retirement) = policy.retired.get(&name) else { continue };
        let is_fresh = |id: &SetId| retirement.at < id.stamp.instant() && id.stamp.instant() <= at;
        if sets.iter().any(|(id, facts)| facts.is_committed() && is_fresh(id)) {
            void.insert(name);
        }
    }
    void
}

/// Uploads under keys that nobody knows are somebody else's; those into a held set stay with it.
fn plan_uploads(stock: &Stock, policy: &Policy, at: DateTime<Utc>) -> Vec<PlannedUpload> {
    let is_held = |key: &str| {
        let place = stock.keys().place_of(key);
        place.and_then(|(group, id)| stock.groups.get(&group)?.get(&id)).is_some_and(|facts| facts.presence.hold)
    };
    let judge = |upload: &Unfinished| match upload.key.as_str() {
        key if !stock.keys().knows(key) => Verdict::Keep(Keep::Unknown),
        key if is_held(key) => Verdict::Keep(Keep::Held),
        _ => judge_debris(upload.initiated, policy, at),
    };
    stock.uploads.iter().map(|upload| PlannedUpload { verdict: judge(upload), upload: upload.clone() }).collect()
}

/// Leaves all but the oldest to later runs. Debris does not count: it never was a backup.
fn cap(plan: &mut Plan, max_sets: usize) {
    let mut doomed: Vec<(DateTime<Utc>, usize, usize)> = Vec::new();
    for (at, group) in plan.groups.iter().enumerate() {
        for (within, set) in group.sets.iter().enumerate() {
            if set.verdict.is_delete() && (set.facts.is_committed() || set.facts.is_removed()) {
                doomed.push((set.facts.aged_from(set.id.stamp), at, within));
            }
        }
    }
    doomed.sort_unstable();
    for (_, group, set) in doomed.iter().skip(max_sets) {
        plan.groups[*group].sets[*set].verdict = Verdict::Keep(Keep::LaterRun);
    }
    plan.remaining = doomed.len().saturating_sub(max_sets);
}

fn group_alarms(group: &GroupPlan) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    if let Standing::Frozen { newest } = group.standing {
        alarms.push(Alarm::Frozen { group: group.key.clone(), newest });
    }
    let future = group.sets.iter().filter(|set| set.verdict == Verdict::Keep(Keep::FromTheFuture));
    alarms.extend(future.map(|set| Alarm::FromTheFuture { set: set.key(&group.key) }));
    alarms
}
