//! Partitioned tables.

use std::time::Duration;

use super::Findings;
use crate::schema::{DeploymentRetention, PartitionedTables, Partitions, Retired};

/// A statement that waits longer makes every writer behind it wait as long.
const LONGEST_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn partitions(partitions: &Partitions, findings: &mut Findings) {
    let path = |key| ["partitions", key];
    findings.require_some_time(partitions.lock_timeout, &path("lock_timeout"));
    let short = partitions.lock_timeout.0 <= LONGEST_LOCK_TIMEOUT;
    findings.require(
        short,
        &path("lock_timeout"),
        "is longer than a minute",
        "everybody else would queue as long; 500ms is right for most",
    );
    findings.require(
        (1..=1000).contains(&partitions.lock_attempts),
        &path("lock_attempts"),
        "is not from 1 to 1000",
        "10 is right for most",
    );
    if let Some(database) = &partitions.database {
        findings.require_text(database, &path("database"), "leave it out for the database of the connection string");
    }
    for (name, tables) in &partitions.tables {
        one_group(name, tables, findings);
        if let Some(deployments) = &tables.deployments {
            of_deployments(name, deployments, findings);
        }
    }
}

fn one_group(name: &str, tables: &PartitionedTables, findings: &mut Findings) {
    let of = |key| ["partitions", "tables", name, key];
    match (&tables.table, &tables.schema) {
        (Some(table), None) => {
            let whole = table.split_once('.').is_some_and(|(schema, table)| !schema.is_empty() && !table.is_empty());
            findings.require(whole, &of("table"), "is not schema.table", "write it like public.session_events");
            findings.require(tables.exclude.is_empty(), &of("exclude"), "is for a whole schema", "leave it out");
        }
        (None, Some(schema)) => findings.require_text(schema, &of("schema"), "name a schema, such as public"),
        (Some(_), Some(_)) => findings.add(&of("table"), "stands beside schema", "a group is one table or all of a schema"),
        (None, None) => findings.add(&["partitions", "tables", name], "has neither table nor schema", "say which tables are meant"),
    }
    findings.require(tables.premake <= 1000, &of("premake"), "is more than 1000", "3 is right for months, 14 for days");
    findings.require(tables.max_made >= 1, &of("max_made"), "is 0: nothing would ever be made", "leave it out for 50");
    if let Some(template) = &tables.name {
        let told = template.identifies(tables.period);
        let help = "it needs {table}, {year}, and as the period is shorter {month}, {day}; for weeks {isoyear} and {week}";
        findings.require(told, &of("name"), "would give two partitions the same name", help);
    }
    let both = tables.retention.is_some() && tables.deployments.is_some();
    findings.require(!both, &of("retention"), "stands beside deployments", "the query says how long rows are kept: leave one of them out");
    let drops = tables.retired == Retired::Drop;
    for (key, is_set) in [("grace", tables.grace.is_some()), ("archive", tables.archive)] {
        findings.require(drops || !is_set, &of(key), "is for what is dropped", "set retired = \"drop\", or leave it out");
    }
    for (key, text) in [("move_to", &tables.move_to), ("suffix", &tables.suffix)] {
        if let Some(text) = text {
            findings.require(!drops, &of(key), "is for what is kept", "leave it out: what is dropped keeps its name until then");
            findings.require_text(text, &of(key), "leave it out");
        }
    }
}

fn of_deployments(name: &str, deployments: &DeploymentRetention, findings: &mut Findings) {
    let of = |key| ["partitions", "tables", name, "deployments", key];
    findings.require_text(&deployments.query, &of("query"), "two columns: the deployment, and its days");
    findings.require_text(&deployments.column, &of("column"), "name the column that holds the deployment");
    findings.require_some_time(deployments.timeout, &of("timeout"));
    let pages = (1..=1_000_000).contains(&deployments.batch_pages);
    findings.require(pages, &of("batch_pages"), "is not from 1 to 1000000", "256 is right for most");
    findings.require(
        deployments.rows_per_second >= 1,
        &of("rows_per_second"),
        "is 0: nothing would ever be deleted",
        "leave it out for 10000",
    );
}
