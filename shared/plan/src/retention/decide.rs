//! What becomes of the sets of one group.

use chrono::{DateTime, Utc};

use super::{
    plan::Standing,
    policy::{Policy, Retirement, Times},
    stock::{GroupKey, SetFacts, SetId, Sets},
    verdict::{Delete, Keep, Verdict},
};
use crate::{
    Area, Label, Stamp,
    expiry::{Labels, insured_until},
};

/// A group, as its sets are judged.
pub(super) struct Group<'a> {
    pub key: &'a GroupKey,
    pub policy: &'a Policy,
    pub times: Times,
    /// The retirement of its name, where nothing has voided it.
    pub retired: Option<Retirement>,
    /// The label of its newest committed set.
    pub newest: Option<(Stamp, Label)>,
    /// The tier that its name has today.
    pub tier: Option<&'a Label>,
}

/// A set with its facts.
type Set<'a> = (&'a SetId, &'a SetFacts);

impl<'a> Group<'a> {
    pub fn new(key: &'a GroupKey, sets: &Sets, policy: &'a Policy, times: Times, is_void: bool) -> Self {
        let name = key.plain_name();
        let retired = policy.retired.get(&name).copied().filter(|_| !is_void);
        // Sets are in the order of their stamps.
        let newest = sets.iter().rev().find(|(id, facts)| facts.is_committed() && id.stamp.instant() <= times.at);
        let newest = newest.map(|(id, _)| (id.stamp, id.label.label.clone()));
        let tier = policy.tiers.get(&name).filter(|_| matches!(key.area, Area::Pg | Area::Filestore));
        Group { key, policy, times, retired, newest, tier }
    }

    pub fn standing(&self) -> Standing {
        match (&self.newest, self.retired) {
            _ if !self.key.area.has_tiers() => Standing::Unguarded,
            (_, Some(retirement)) => Standing::Retired(retirement),
            (Some((newest, _)), None) if self.times.fresh_at - newest.instant() > self.policy.freeze_after.span() => {
                Standing::Frozen { newest: *newest }
            }
            _ => Standing::Guarded,
        }
    }

    /// A verdict for each set, in their order. The cap is not this group's business alone.
    pub fn verdicts(&self, sets: &Sets) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = sets.iter().map(|set| self.alone(set)).collect();
        match self.standing() {
            Standing::Guarded => self.guard(sets, &mut verdicts),
            Standing::Frozen { newest } => {
                self.guard(sets, &mut verdicts);
                for ((_, facts), verdict) in sets.iter().zip(&mut verdicts) {
                    if verdict.is_delete() && (facts.is_committed() || facts.is_removed()) {
                        *verdict = Verdict::Keep(Keep::Frozen { newest });
                    }
                }
            }
            Standing::Retired(_) | Standing::Unguarded => {}
        }
        verdicts
    }

    /// Floor and periods: among the committed sets that are not from the future, the newest first.
    fn guard(&self, sets: &Sets, verdicts: &mut [Verdict]) {
        let candidates = sets.iter().enumerate().rev();
        let candidates = candidates.filter(|(_, (id, facts))| facts.is_committed() && id.stamp.instant() <= self.times.at);
        let (at, stamps): (Vec<usize>, Vec<DateTime<Utc>>) = candidates.map(|(at, (id, _))| (at, id.stamp.instant())).unzip();
        let periods = self.policy.keep.keep(&stamps);
        let floor = self.policy.floor.max(1);
        for ((at, rank), period) in at.into_iter().zip(1..).zip(periods) {
            if verdicts[at].is_delete() {
                match period {
                    _ if rank <= floor => verdicts[at] = Verdict::Keep(Keep::Floor { rank, floor }),
                    Some(period) => verdicts[at] = Verdict::Keep(Keep::Period(period)),
                    None => {}
                }
            }
        }
    }

    /// What becomes of a set by itself, with its group's windows and retirement.
    fn alone(&self, (id, facts): Set<'_>) -> Verdict {
        if facts.presence.hold {
            return Verdict::Keep(Keep::Held);
        }
        if !facts.presence.ours {
            return Verdict::Keep(Keep::Unknown);
        }
        if id.stamp.instant() > self.times.at {
            return Verdict::Keep(Keep::FromTheFuture);
        }
        let aged_from = facts.aged_from(id.stamp);
        if !facts.is_committed() && !facts.is_removed() {
            return judge_debris(aged_from, self.policy, self.times.at);
        }
        match id.label.until.filter(|_| self.key.area.is_insurance()) {
            Some(until) => self.insurance(insured_until(id.stamp, until)),
            None => self.windowed(id, aged_from),
        }
    }

    fn insurance(&self, until: DateTime<Utc>) -> Verdict {
        if self.times.at > until {
            Verdict::Delete(Delete::NoLongerInsured { since: until })
        } else {
            Verdict::Keep(Keep::Insured { until })
        }
    }

    fn windowed(&self, id: &SetId, aged_from: DateTime<Utc>) -> Verdict {
        if let Some(by) = self.retired.and_then(|retirement| retirement.by).filter(|by| self.times.at > *by) {
            return Verdict::Delete(Delete::Erased { by });
        }
        let window = match self.key.area {
            Area::Partition => self.policy.windows.of_partitions(),
            _ => self.policy.windows.longest(self.labels(&id.label.label)),
        };
        let Some((window, source)) = window else { return Verdict::Keep(Keep::ForEver) };
        let until = aged_from + window.span();
        if self.times.at > until {
            Verdict::Delete(Delete::Expired { window, source, since: until })
        } else {
            Verdict::Keep(Keep::InWindow { window, source, until })
        }
    }

    /// The labels that give a set its window.
    pub fn labels<'b>(&'b self, own: &'b Label) -> Labels<'b> {
        let newest = self.newest.as_ref().map(|(_, label)| label);
        let own_counts = !self.policy.lowered_tiers || newest.is_none();
        Labels { own: own_counts.then_some(own), newest, tier: self.tier }
    }
}

/// What becomes of something that never became a backup.
pub(super) fn judge_debris(latest_change: DateTime<Utc>, policy: &Policy, at: DateTime<Utc>) -> Verdict {
    let until = latest_change + policy.debris_after.span();
    if at > until { Verdict::Delete(Delete::LeftBehind { latest_change }) } else { Verdict::Keep(Keep::InProgress { until }) }
}
