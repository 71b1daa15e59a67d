//! The preflight: what there is, what is missing, and who would be in the way. Changes nothing.

use chrono::TimeDelta;
use plana_backup::{
    escrow::check_escrow,
    preflight::{check_store, problem},
};
use plana_harness::{CheckLine, Context, Failure};
use plana_pg::partitions::Tables;
use plana_plan::partition::{Drift, Edge, Kept, Period, Table, drift, gaps, plan_retirement, runway};

use crate::{
    Args,
    managed::Managed,
    roll::runway_text,
    run::{Run, connect},
};

/// Tests everything that a run needs, and says of each table where it stands.
///
/// # Errors
/// Never in practice: what is wrong is a line.
pub async fn check(context: Context, args: Args) -> Result<Vec<CheckLine>, Failure> {
    let mut lines = Vec::new();
    match connect(&context).await {
        Ok((server, _)) => lines.push(CheckLine::ok("server", format!("{}, database {}", server.describe(), server.settings().database()))),
        Err(error) => return Ok(vec![problem("server", error)]),
    }
    let mut run = Run::open(&context, &args).await?;
    for (name, wrong) in &run.selected.wrong {
        lines.push(CheckLine::problem(name, format!("failed to {wrong}"), "mend partitions.tables"));
    }
    lines.extend(run.selected.left_alone.iter().map(|note| CheckLine::warning("tables", note, "leave it out by `exclude`")));
    for mut managed in run.selected.tables.clone() {
        lines.extend(of_table(&mut run, &mut managed).await?);
    }
    if run.selected.tables.iter().any(|managed| managed.config.archive) {
        lines.extend(check_store(&context).await);
        lines.extend(check_escrow(&context).await);
    }
    Ok(lines)
}

async fn of_table(run: &mut Run, managed: &mut Managed) -> Result<Vec<CheckLine>, Failure> {
    let mut lines = Vec::new();
    let name = managed.name();
    if let Some(config) = &managed.config.deployments {
        match run.tables.deployment_windows(&config.query, config.timeout.0).await {
            Ok(windows) => managed.policy.retention = windows.longest(),
            Err(refused) => {
                lines.push(CheckLine::problem(&name, format!("failed to {refused}"), "mend deployments.query, or what it asks"))
            }
        }
    }
    lines.insert(0, where_it_stands(run, managed));
    let table = &managed.table;
    for pending in table.partitions.iter().filter(|partition| partition.pending) {
        let found = format!("{} is half detached: its rows are hidden, and inserts into its range fail", pending.full_name());
        lines.push(CheckLine::warning(&name, found, "the next run finishes it"));
    }
    for problem in managed.missing(&run.catalog).problems {
        lines.push(CheckLine::problem(&name, problem.what, problem.mend));
    }
    if let Some(drift) = drift(table, &managed.grid()) {
        lines.push(of_drift(&name, managed, &drift));
    }
    let key = table.key;
    for (from, to) in gaps(table) {
        lines.push(CheckLine::warning(
            &name,
            format!("nothing holds {} to {}", key.text(from), key.text(to)),
            "the next run fills it where it is within the retention",
        ));
    }
    for (partition, kept) in plan_retirement(table, &managed.policy, run.catalog.now).kept {
        if kept != Kept::Floor {
            lines.push(CheckLine::warning(&name, format!("{} has expired and stays", partition.full_name()), kept.reason()));
        }
    }
    let member = run.tables.is_member(&managed.owner).await.map_err(Failure::failed)?;
    if !member {
        let grant = Tables::grant_of(&managed.owner, &run.server.facts().role);
        lines.push(CheckLine::problem(&name, format!("it belongs to {}, of which this role is no member", managed.owner), grant));
    }
    lines.extend(in_the_way(run, managed).await?);
    Ok(lines)
}

/// Range, next missing partition, runway, expired.
fn where_it_stands(run: &Run, managed: &Managed) -> CheckLine {
    let (table, now, grid) = (&managed.table, run.catalog.now, managed.grid());
    let creation = managed.missing(&run.catalog);
    let left = runway(table, &grid, now).left(now);
    let retirement = plan_retirement(table, &managed.policy, now);
    let next = creation.make.iter().filter(|new| !new.fills_gap).map(|new| new.name.as_str()).next().unwrap_or("none");
    let found = format!(
        "{} partitions{}, {}; runway {}, next missing {next}, {} expired, {} pending",
        table.partitions.len(),
        if table.default_partition().is_some() { " with DEFAULT" } else { "" },
        range(table),
        runway_text(left),
        retirement.retire.len() + retirement.beyond_cap,
        table.partitions.iter().filter(|partition| partition.pending).count(),
    );
    let short = left.is_some_and(|left| left < of_period(managed.policy.period));
    match (left.is_some_and(|left| left.is_zero()), short) {
        (true, _) => CheckLine::problem(managed.name(), found, "inserts of now fail, or fall into DEFAULT: run partition-roller"),
        (_, true) => CheckLine::warning(managed.name(), found, "inserts soon find no partition: run partition-roller"),
        _ => CheckLine::ok(managed.name(), found),
    }
}

fn of_period(period: Period) -> TimeDelta {
    TimeDelta::days(match period {
        Period::Daily => 1,
        Period::Weekly => 7,
        Period::Monthly => 31,
        Period::Yearly => 366,
    })
}

fn range(table: &Table) -> String {
    let finite = |partition: &plana_plan::partition::Partition| match partition.bounds {
        plana_plan::partition::Bounds::Range { from, to } => Some((from, to)),
        _ => None,
    };
    let ranges: Vec<(Edge, Edge)> = table.partitions.iter().filter_map(finite).collect();
    let text = |edge: Option<Edge>| match edge {
        Some(Edge::At(point)) => table.key.text(point),
        Some(Edge::Beginning) => "the beginning".to_owned(),
        Some(Edge::End) => "the end".to_owned(),
        None => "nothing".to_owned(),
    };
    let (first, last) = (ranges.iter().map(|(from, _)| *from).min(), ranges.iter().map(|(_, to)| *to).max());
    format!("{} to {}", text(first), text(last))
}

fn of_drift(name: &str, managed: &Managed, drift: &Drift) -> CheckLine {
    let policy = &managed.policy;
    let by = drift.by;
    let found = format!(
        "{} partitions begin or end off the {}s of {}, such as {}, by {} min{}",
        drift.count,
        policy.period.noun(),
        policy.zone.name(),
        drift.example,
        by.num_minutes(),
        if drift.alike { ", all alike" } else { "" }
    );
    let advice = "most often a session in another zone made them: set `zone` to that one, or leave them: they are adopted as they are, and never retired";
    CheckLine::warning(name, found, advice)
}

async fn in_the_way(run: &mut Run, managed: &Managed) -> Result<Vec<CheckLine>, Failure> {
    let mut tables = vec![managed.table.oid];
    tables.extend(managed.table.default_partition().map(|default| default.oid));
    tables.extend(managed.references.targets());
    let blockers = run.tables.old_holders(&tables).await.map_err(Failure::failed)?;
    let line = |blocker: &plana_pg::partitions::Blocker| {
        CheckLine::warning(managed.name(), blocker.to_string(), "a run would wait for it, retire nothing, and end with code 3")
    };
    Ok(blockers.iter().map(line).collect())
}
