//! Which partitions have expired.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{Bounds, Edge, Partition, PartitionKind, Policy, Table, detached::Mark, is_past};

/// Why a partition that may be past its retention stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// One of its bounds is none of the calendar's.
    OffGrid,
    /// It has no beginning, so that it is nobody's month.
    Infinite,
    /// It is partitioned itself.
    Partitioned,
    /// It is a foreign table.
    Elsewhere,
    /// Its bounds are not understood.
    Unknown,
    /// So many partitions are never retired.
    Floor,
}

impl Kept {
    /// Why it stays, and what to do where it should not.
    pub const fn reason(self) -> &'static str {
        match self {
            Kept::OffGrid => "its bounds are off the calendar: look at `zone` and `period`, or retire it by hand",
            Kept::Infinite => "it has no beginning: retire it by hand",
            Kept::Partitioned => "it is itself partitioned: retire it by hand",
            Kept::Elsewhere => "it is no plain table: retire it by hand",
            Kept::Unknown => "its bounds are not understood: retire it by hand",
            Kept::Floor => "`keep_at_least` keeps it",
        }
    }
}

/// What is to be retired, and what stays although it may be past its retention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retirement<'a> {
    /// What to retire, the oldest first.
    pub retire: Vec<&'a Partition>,
    /// How many more have expired than one run may retire.
    pub beyond_cap: usize,
    /// What stays, and why.
    pub kept: Vec<(&'a Partition, Kept)>,
}

/// Whether what was retired has expired by today's policy too: a longer retention, or none, keeps what is not dropped yet.
pub fn is_expired(mark: &Mark, table: &Table, policy: &Policy, now: DateTime<Utc>) -> bool {
    mark.range(table.key).is_some_and(|(_, to)| is_past(&policy.grid(table.key), to, policy, now))
}

/// The partitions that have expired: whose upper bound, which they do not hold, is past the retention by the server's clock.
/// DEFAULT, one without a beginning or an end, one off the calendar or of another kind never does.
pub fn plan_retirement<'a>(table: &'a Table, policy: &Policy, now: DateTime<Utc>) -> Retirement<'a> {
    let grid = policy.grid(table.key);
    let mut retirement = Retirement::default();
    let mut expired: Vec<(NaiveDateTime, &Partition)> = Vec::new();
    for partition in &table.partitions {
        // What is pending is finished by another step.
        if partition.pending {
            continue;
        }
        match partition.bounds {
            Bounds::Unknown(_) if policy.retention.is_some() => retirement.kept.push((partition, Kept::Unknown)),
            Bounds::Range { from, to: Edge::At(to) } if is_past(&grid, to, policy, now) => {
                match from {
                    Edge::At(from) if !grid.is_edge(from) || !grid.is_edge(to) => retirement.kept.push((partition, Kept::OffGrid)),
                    Edge::At(_) => match partition.kind {
                        PartitionKind::Leaf => expired.push((to, partition)),
                        PartitionKind::Partitioned => retirement.kept.push((partition, Kept::Partitioned)),
                        PartitionKind::Elsewhere => retirement.kept.push((partition, Kept::Elsewhere)),
                    },
                    Edge::Beginning | Edge::End => retirement.kept.push((partition, Kept::Infinite)),
                };
            }
            Bounds::Range { .. } | Bounds::Default | Bounds::Unknown(_) => {}
        }
    }
    expired.sort_by_key(|(to, partition)| (*to, partition.oid));
    let there = table.partitions.iter().filter(|partition| !partition.pending && partition.bounds != Bounds::Default).count();
    let may_go = there.saturating_sub(policy.keep_at_least as usize);
    let (go, stay) = expired.split_at(expired.len().min(may_go));
    retirement.kept.extend(stay.iter().map(|(_, partition)| (*partition, Kept::Floor)));
    let now_go = go.len().min(policy.max_retired as usize);
    retirement.retire = go[..now_go].iter().map(|(_, partition)| *partition).collect();
    retirement.beyond_cap = go.len() - now_go;
    retirement
}
