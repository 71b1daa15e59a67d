//! Everything that was weighed for one key.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{
    keys::{Keys, Known},
    plan::{GroupPlan, Plan, PlannedSet, Standing},
    policy::Policy,
    verdict::{Delete, Keep, Verdict},
};
use crate::{Area, Label, expiry::insured_until, name::printable, window::Window};

/// What becomes of a key, or of a tag or digest of a mirror, and everything that was weighed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The set, the probe, the image, or the key itself.
    pub subject: String,
    /// Whether it goes.
    pub goes: bool,
    /// What was weighed, a line each.
    pub lines: Vec<String>,
    /// What decided it.
    pub reason: String,
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Explains a key of an object or of a set; `None` where nothing of that key is listed.
pub fn explain(plan: &Plan, keys: &Keys, policy: &Policy, key: &str) -> Option<Explanation> {
    if let Some(probe) = plan.probes.iter().find(|probe| probe.key == key) {
        let lines = vec![format!("`check` wrote it, last changed at {}", time(probe.loose.latest_change))];
        return Some(conclude(printable(key), probe.verdict, lines, &Label::unclassified()));
    }
    if plan.unknown.iter().any(|(unknown, _)| unknown == key) {
        let inside = matches!(keys.read(key), Known::Stranger(..));
        let what = if inside {
            "it lies in a set, and this suite did not write it"
        } else {
            "this suite did not write it, and no pattern names it"
        };
        return Some(Explanation {
            subject: printable(key),
            goes: false,
            lines: vec![what.to_owned()],
            reason: "unknown: it stays".to_owned(),
        });
    }
    let (group, id) = keys.place_of(key)?;
    let group = plan.groups.iter().find(|planned| planned.key == group)?;
    let set = group.sets.iter().find(|set| set.id == id)?;
    Some(conclude(printable(&set.key(&group.key)), set.verdict, lines(plan, group, set, policy), &set.id.label.label))
}

fn conclude(subject: String, verdict: Verdict, lines: Vec<String>, own: &Label) -> Explanation {
    Explanation { subject, goes: verdict.is_delete(), lines, reason: verdict.reason(own) }
}

fn lines(plan: &Plan, group: &GroupPlan, set: &PlannedSet, policy: &Policy) -> Vec<String> {
    let (at, facts) = (plan.times.at, &set.facts);
    let state = match facts {
        facts if facts.is_committed() => "payload and manifest are there: a backup",
        facts if facts.is_removed() => "somebody deleted it; versions of it are left",
        _ => "incomplete: payload or manifest is missing",
    };
    let aged_from = facts.aged_from(set.id.stamp);
    let age = at - aged_from;
    let mut lines = vec![
        format!("{state}; {} objects, {} bytes", facts.objects, facts.bytes),
        format!(
            "begun {}, last changed {}; its age is counted from {}: {} d {} h",
            time(set.id.stamp.instant()),
            time(facts.latest_change),
            time(aged_from),
            age.num_days(),
            age.num_hours() % 24
        ),
    ];
    if facts.presence.hold {
        lines.push("an object `hold` keeps it from every deletion (retention-pruner release SET)".to_owned());
    }
    if !facts.is_committed() && !facts.is_removed() {
        lines.push(format!("what is incomplete is left behind after {} without change (retention.debris_after)", policy.debris_after));
        return lines;
    }
    lines.extend(window_lines(plan, group, set, policy));
    lines.extend(standing_lines(plan, group, set, policy));
    if set.verdict == Verdict::Keep(Keep::LaterRun) {
        lines.push(format!("one run takes {} sets, the oldest first (retention.max_sets)", policy.max_sets));
    }
    lines
}

fn window_lines(plan: &Plan, group: &GroupPlan, set: &PlannedSet, policy: &Policy) -> Vec<String> {
    let shown = |window: Option<Window>| window.map_or("for ever".to_owned(), |window| window.to_string());
    let of = |what: &str, label: &Label| {
        let unknown = if policy.windows.knows(label) { "" } else { ", which has no window and counts as unclassified" };
        format!("{what} is {label}{unknown}: {}", shown(policy.windows.of(label)))
    };
    if let Some(until) = set.id.label.until {
        return vec![format!(
            "insurance is kept until {}, at least 7 days, and nothing else decides",
            time(insured_until(set.id.stamp, until))
        )];
    }
    if group.key.area == Area::Partition {
        return vec![format!(
            "partition archives: {} (retention.partitions)",
            shown(policy.windows.of_partitions().map(|(window, _)| window))
        )];
    }
    let mut lines = vec![of("its label", &set.id.label.label)];
    let newest = group.sets.iter().rev().find(|one| one.facts.is_committed() && one.id.stamp.instant() <= plan.times.at);
    if let Some(newest) = newest {
        lines.push(of("the label of its name's newest set", &newest.id.label.label));
    }
    match policy.tiers.get(&group.key.plain_name()) {
        Some(tier) if matches!(group.key.area, Area::Pg | Area::Filestore) => lines.push(of("its name's tier today", tier)),
        _ => lines.push("its name has no tier today".to_owned()),
    }
    let which = if policy.lowered_tiers {
        "the longest of these counts, its own label aside (--lowered-tiers)"
    } else {
        "the longest of these counts"
    };
    lines.push(which.to_owned());
    lines
}

fn standing_lines(plan: &Plan, group: &GroupPlan, set: &PlannedSet, policy: &Policy) -> Vec<String> {
    let counted = group.sets.iter().rev().filter(|one| one.facts.is_committed() && one.id.stamp.instant() <= plan.times.at);
    let rank = counted.clone().position(|one| one.id == set.id).map(|at| at + 1);
    let mut lines = Vec::new();
    match group.standing {
        Standing::Unguarded => return vec!["floor and freeze do not apply to this area".to_owned()],
        Standing::Retired(retirement) => {
            let by = retirement.by.map(|by| format!(", to be gone by {}", time(by))).unwrap_or_default();
            return vec![format!("its name was retired on {}{by}: floor, freeze and periods no longer hold", time(retirement.at))];
        }
        Standing::Frozen { newest } => lines.push(format!(
            "its name is frozen: the newest backup is of {newest}, older than {} (retention.freeze_after); back it up, or `retire` it",
            policy.freeze_after
        )),
        Standing::Guarded => {}
    }
    if let Some(rank) = rank {
        lines.push(format!(
            "number {rank} of {}, the newest first; the newest {} stay (retention.floor)",
            counted.count(),
            policy.floor.max(1)
        ));
    }
    if let Verdict::Keep(Keep::Period(period)) = set.verdict {
        lines.push(format!("it is {period}"));
    }
    if let Verdict::Delete(Delete::Expired { .. }) = set.verdict {
        lines.push("no guard holds it".to_owned());
    }
    lines
}
