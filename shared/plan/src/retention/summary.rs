//! How much is kept and how much goes, by label, and what it costs.

use std::collections::BTreeMap;

use super::{
    plan::{GroupPlan, Plan, PlannedSet},
    stock::Loose,
    verdict::Verdict,
};

/// Sets with their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many sets, or loose objects.
    pub sets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The same as the store bills it.
    pub billed_bytes: u64,
}

/// What is kept and what goes of a label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// What is kept.
    pub kept: Amount,
    /// What goes.
    pub freed: Amount,
}

/// What is kept and what goes, by label; insurance, partition archives, incomplete sets and what nobody knows by themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary(pub BTreeMap<String, Tally>);

/// What the store costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// A GiB in a month.
    pub per_gib_month: f64,
}

impl Price {
    /// What so many bytes cost in a month.
    pub fn of(self, billed_bytes: u64) -> f64 {
        billed_bytes as f64 / f64::from(1 << 30) * self.per_gib_month
    }
}

impl Amount {
    fn add(&mut self, sets: u64, bytes: u64, billed_bytes: u64) {
        self.sets += sets;
        self.bytes += bytes;
        self.billed_bytes += billed_bytes;
    }
}

impl Summary {
    /// Of a plan.
    pub fn of(plan: &Plan) -> Self {
        let mut summary = Summary::default();
        for group in &plan.groups {
            for set in &group.sets {
                let PlannedSet { facts, verdict, .. } = set;
                summary.side(row_of(group, set), verdict).add(1, facts.bytes, facts.billed_bytes);
            }
        }
        for probe in &plan.probes {
            summary.side("(probes)", &probe.verdict).add(1, probe.loose.bytes, probe.loose.billed_bytes);
        }
        for (_, Loose { bytes, billed_bytes, .. }) in &plan.unknown {
            summary.0.entry("(unknown)".to_owned()).or_default().kept.add(1, *bytes, *billed_bytes);
        }
        // A set in which nothing is ours has its bytes among what nobody knows.
        summary.0.retain(|_, tally| tally.kept.sets + tally.freed.sets > 0);
        summary
    }

    fn side(&mut self, row: &str, verdict: &Verdict) -> &mut Amount {
        if !self.0.contains_key(row) {
            self.0.insert(row.to_owned(), Tally::default());
        }
        let tally = self.0.entry(row.to_owned()).or_default();
        if verdict.is_delete() { &mut tally.freed } else { &mut tally.kept }
    }

    /// All rows together.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in self.0.values() {
            total.kept.add(tally.kept.sets, tally.kept.bytes, tally.kept.billed_bytes);
            total.freed.add(tally.freed.sets, tally.freed.bytes, tally.freed.billed_bytes);
        }
        total
    }
}

fn row_of<'a>(group: &GroupPlan, set: &'a PlannedSet) -> &'a str {
    match group.key.area {
        _ if !set.facts.is_committed() && !set.facts.is_removed() => "(incomplete)",
        area if area.is_insurance() => "(insurance)",
        area if !area.has_tiers() => "(partitions)",
        _ => set.id.label.label.as_str(),
    }
}
