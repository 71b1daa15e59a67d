//! Which partitions are missing.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{Grid, Names, Occupant, PartitionKind, Policy, Problem, Table, coverage::uncovered, ddl, is_past};

/// A partition to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartition {
    /// What it will be called, in its parent's schema.
    pub name: String,
    /// The first point that it holds.
    pub from: NaiveDateTime,
    /// The first that it does not hold any more.
    pub to: NaiveDateTime,
    /// Whether it fills a gap in the past.
    pub fills_gap: bool,
}

/// What is to be made, and what keeps it from being made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Creation {
    /// What to make, the most urgent first: the present, the future, then gaps from the youngest to the oldest.
    pub make: Vec<NewPartition>,
    /// How many more are missing than one run may make.
    pub beyond_cap: usize,
    /// What keeps others from being made.
    pub problems: Vec<Problem>,
}

/// Gaps further back than so many periods are told and not filled: rows come late by days, not by decades.
const GAP_PERIODS: i32 = 120;

/// The partitions that are missing: up to `premake` periods after the present one, and in gaps between others that are still
/// within their retention. They begin where the last real one ends, wherever that is, and never overlap.
pub fn plan_creation(table: &Table, names: &Names, policy: &Policy, now: DateTime<Utc>) -> Creation {
    let grid = policy.grid(table.key);
    let mut creation = Creation::default();
    if let Some(deep) = table.partitions.iter().find(|partition| partition.kind == PartitionKind::Partitioned) {
        let what = format!("{} is itself partitioned: {} is left as it is", deep.full_name(), table.full_name());
        creation.problems.push(Problem { what, mend: "leave this table to whoever partitions its partitions (`exclude`)".to_owned() });
        return creation;
    }
    let Some((from, to)) = span(table, &grid, policy, now) else { return creation };
    let present = grid.point(now);
    let mut pieces: Vec<_> = uncovered(&table.partitions, from, to).into_iter().flat_map(|(from, to)| cut(&grid, from, to)).collect();
    pieces.retain(|(_, to)| !is_past(&grid, *to, policy, now));
    // Whether its end is in the past decides what is urgent.
    let (gaps, mut coming): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|(_, to)| *to <= present);
    coming.extend(gaps.into_iter().rev());
    let mut taken: Vec<String> = Vec::new();
    for (from, to) in coming {
        match named(table, names, policy, &grid, (from, to), &taken) {
            Ok(name) if creation.make.len() < policy.max_made as usize => {
                taken.push(name.clone());
                creation.make.push(NewPartition { name, from, to, fills_gap: to <= present });
            }
            Ok(_) => creation.beyond_cap += 1,
            Err(problem) => creation.problems.push(problem),
        }
    }
    creation
}

/// From where to where there shall be partitions.
fn span(table: &Table, grid: &Grid, policy: &Policy, now: DateTime<Utc>) -> Option<(NaiveDateTime, NaiveDateTime)> {
    let present = grid.cell(grid.point(now))?;
    let to = grid.edges_after(present.from).nth(policy.premake as usize)?;
    let oldest = table.partitions.iter().filter_map(|partition| partition.bounds.finite()).map(|(from, _)| from).min();
    let furthest = grid.cell(present.from.checked_sub_signed((present.to - present.from) * GAP_PERIODS)?)?.from;
    let from = oldest.map_or(present.from, |oldest| oldest.min(present.from).max(furthest));
    Some((from, to))
}

/// Cuts an open range at the calendar's edges. What is left over at either end, where a neighbour is off the calendar, joins
/// the piece beside it when it is shorter than half a period.
fn cut(grid: &Grid, from: NaiveDateTime, to: NaiveDateTime) -> Vec<(NaiveDateTime, NaiveDateTime)> {
    let is_short = |from: NaiveDateTime, to: NaiveDateTime| {
        let whole = grid.cell(from).map_or(to - from, |cell| cell.to - cell.from);
        (to - from) * 2 < whole
    };
    let mut edges: Vec<NaiveDateTime> = grid.edges_after(from).take_while(|edge| *edge < to).collect();
    if edges.first().is_some_and(|first| !grid.is_edge(from) && is_short(from, *first)) {
        edges.remove(0);
    }
    if edges.last().is_some_and(|last| !grid.is_edge(to) && is_short(*last, to)) {
        edges.pop();
    }
    let starts = std::iter::once(from).chain(edges.iter().copied());
    starts.zip(edges.iter().copied().chain([to])).collect()
}

/// What the piece is called: by the period that holds most of it.
fn named(
    table: &Table,
    names: &Names,
    policy: &Policy,
    grid: &Grid,
    (from, to): (NaiveDateTime, NaiveDateTime),
    taken: &[String],
) -> Result<String, Problem> {
    let missing = || format!("{} has no partition from {} to {}", table.full_name(), grid.key.text(from), grid.key.text(to));
    let cell = grid.cell(from + (to - from) / 2);
    let name = cell.ok_or_else(|| "the calendar ends there".to_owned());
    let name = name.and_then(|cell| policy.name.name(&table.name, cell.date).map_err(|error| error.to_string()));
    let name = name.map_err(|why| Problem { what: format!("{}, and none can be made: {why}", missing()), mend: String::new() })?;
    let shown = crate::name::printable(&name);
    let occupant = if taken.contains(&name) { Some(&Occupant::PartitionOf(table.oid)) } else { names.get(&name) };
    let (what, mend) = match occupant {
        None => return Ok(name),
        Some(Occupant::LooseTable) => (
            format!("a table called {shown} stands there and is attached to nothing"),
            format!(
                "if its rows belong there: {}; if not: {}",
                ddl::attach(table, &table.schema, &name, from, to),
                ddl::rename(&table.schema, &name, &format!("{name}_stray"))
            ),
        ),
        Some(Occupant::PartitionOf(parent)) if *parent == table.oid => (
            format!("the partition called {shown} has other bounds"),
            match table.partitions.iter().find(|partition| partition.name == name) {
                Some(wrong) => ddl::reattach(table, wrong, from, to),
                None => "set a template `name` that tells them apart".to_owned(),
            },
        ),
        Some(Occupant::PartitionOf(_)) => (
            format!("{shown} is a partition of another table"),
            format!("set another template `name`, or: {}", ddl::rename(&table.schema, &name, &format!("{name}_stray"))),
        ),
        Some(Occupant::Other) => (format!("something else is called {shown}"), "rename it, or set another template `name`".to_owned()),
    };
    Err(Problem { what: format!("{}: {what}", missing()), mend })
}
