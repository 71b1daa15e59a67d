//! What a table's partitions hold together, and where that ends.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::{Bounds, Edge, Grid, Partition, Table};

/// How long inserts of the present go on to find a partition of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runway {
    /// Up to this instant; one in the past means that they fail, or fall into DEFAULT, already.
    Until(DateTime<Utc>),
    /// The last partition has no end.
    Unlimited,
}

impl Runway {
    /// How long that is; `None` for ever, zero for none at all.
    pub fn left(self, now: DateTime<Utc>) -> Option<TimeDelta> {
        match self {
            Runway::Until(end) => Some((end - now).max(TimeDelta::zero())),
            Runway::Unlimited => None,
        }
    }
}

/// The ranges that the partitions take, joined where they meet, in order. Those of pending detaches are still taken, but
/// `serving` leaves them out, since inserts into them fail.
pub(super) fn ranges(partitions: &[Partition], serving: bool) -> Vec<(Edge, Edge)> {
    let range = |partition: &Partition| match partition.bounds {
        Bounds::Range { from, to } if !(serving && partition.pending) => Some((from, to)),
        _ => None,
    };
    let mut found: Vec<(Edge, Edge)> = partitions.iter().filter_map(range).collect();
    found.sort();
    let mut joined: Vec<(Edge, Edge)> = Vec::with_capacity(found.len());
    for (from, to) in found {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// What of `from..to` the partitions do not take, in order.
pub(super) fn uncovered(partitions: &[Partition], from: NaiveDateTime, to: NaiveDateTime) -> Vec<(NaiveDateTime, NaiveDateTime)> {
    let mut open = Vec::new();
    let mut at = from;
    for (start, end) in ranges(partitions, false) {
        if let Edge::At(start) = start
            && start > at
        {
            open.push((at, start.min(to)));
        }
        match end {
            Edge::At(end) => at = at.max(end),
            Edge::End => return open.into_iter().filter(|(from, to)| from < to).collect(),
            Edge::Beginning => {}
        }
        if at >= to {
            break;
        }
    }
    open.push((at, to));
    open.into_iter().filter(|(from, to)| from < to).collect()
}

/// What lies between two partitions and is in none.
pub fn gaps(table: &Table) -> Vec<(NaiveDateTime, NaiveDateTime)> {
    let joined = ranges(&table.partitions, false);
    joined.windows(2).filter_map(|pair| Some((pair[0].1.point()?, pair[1].0.point()?))).collect()
}

/// How long inserts of the present go on to find a partition of their own.
pub fn runway(table: &Table, grid: &Grid, now: DateTime<Utc>) -> Runway {
    let point = grid.point(now);
    let held = ranges(&table.partitions, true).into_iter().find(|(from, to)| *from <= Edge::At(point) && Edge::At(point) < *to);
    match held {
        Some((_, Edge::At(end))) => Runway::Until(grid.instant(end)),
        Some(_) => Runway::Unlimited,
        None => Runway::Until(now),
    }
}

/// Partitions whose bounds are not where the calendar has its own: most often made by a session in another zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// How many.
    pub count: usize,
    /// The oldest of them.
    pub example: String,
    /// How far its lower bound is behind the edge of the calendar that is nearest; negative when it is before.
    pub by: TimeDelta,
    /// Whether all of them are as far off, as by a zone without summer time.
    pub alike: bool,
}

/// Partitions whose lower bounds are off the calendar.
pub fn drift(table: &Table, grid: &Grid) -> Option<Drift> {
    let mut off: Vec<(NaiveDateTime, TimeDelta, &Partition)> = Vec::new();
    for partition in &table.partitions {
        let Some((from, to)) = partition.bounds.finite() else { continue };
        if grid.is_edge(from) && grid.is_edge(to) {
            continue;
        }
        let at = if grid.is_edge(from) { to } else { from };
        let Some(cell) = grid.cell(at) else { continue };
        let (behind, before) = (at - cell.from, at - cell.to);
        off.push((from, if behind <= -before { behind } else { before }, partition));
    }
    let (_, by, oldest) = off.iter().min_by_key(|(from, ..)| *from)?;
    let alike = off.iter().all(|(_, other, _)| other == by);
    Some(Drift { count: off.len(), example: oldest.full_name(), by: *by, alike })
}
