//! Whether every table has the rows that the manifest names, and statistics: table by table while pg_restore is at work on the
//! last ones, and the rest at its end.

use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};

use plana_pg::{
    restore::RestoreStep,
    scratch::{CountError, Inspector},
    server::ServerError,
};
use plana_plan::{
    compare::{differences, summary},
    manifest::{DatabaseFacts, TableFacts},
};
use tokio::{sync::mpsc::UnboundedReceiver, time::timeout};

use super::{
    DatabaseRestore,
    finished::{FinishedTables, Work},
};
use crate::error::RestoreError;

/// Tables that are counted at the same time.
const COUNTED_AT_ONCE: usize = 4;
/// How long a connection of pg_restore must have had nothing to do: between two entries it waits for less.
const IDLE: Duration = Duration::from_millis(50);

/// The tables that are restored, as the manifest knows them.
pub(super) fn expected(restore: &DatabaseRestore<'_>, facts: &DatabaseFacts) -> Vec<TableFacts> {
    let chosen = &restore.options.tables;
    let wanted =
        |table: &&TableFacts| chosen.is_empty() || chosen.iter().any(|(schema, name)| *schema == table.schema && *name == table.table);
    facts.tables.iter().filter(wanted).cloned().collect()
}

/// What was seen while pg_restore was at work. Its one session goes on to the end: a server that falls over in between, and
/// forgets rows that it had shown, ends it.
pub(super) struct Early {
    inspector: Inspector,
    /// Tables, by their place among the expected, that have their rows and statistics.
    proven: HashSet<usize>,
}

/// Counts and analyzes each table that is done, as long as pg_restore tells its steps and whenever it has a connection to
/// spare. Only what is as it should be counts: all else is looked at again at the end.
pub(super) async fn early(
    restore: &DatabaseRestore<'_>,
    work: &Work,
    expected: &[TableFacts],
    scratch: &str,
    mut steps: UnboundedReceiver<String>,
) -> Option<Early> {
    let mut finished = FinishedTables::new(work, expected, restore.options.jobs);
    let (mut early, mut blind) = (None, false);
    loop {
        let message = match finished.has_time() && !blind {
            true => timeout(IDLE, steps.recv()).await.ok(),
            false => Some(steps.recv().await),
        };
        match message {
            Some(Some(message)) => {
                RestoreStep::parse(&message).into_iter().for_each(|step| finished.step(step));
                restore.reading.meter.tables.store(finished.filled(), Ordering::Relaxed);
            }
            Some(None) => return early,
            None => {
                let Some(index) = finished.take() else { continue };
                match look(restore, early.take(), scratch, index, &expected[index]).await {
                    Ok(seen) => early = Some(seen),
                    Err(error) => {
                        tracing::debug!("every table is looked at when all are restored: failed to {error}");
                        blind = true;
                    }
                }
            }
        }
    }
}

async fn look(
    restore: &DatabaseRestore<'_>,
    early: Option<Early>,
    scratch: &str,
    index: usize,
    table: &TableFacts,
) -> Result<Early, ServerError> {
    let mut early = match early {
        Some(early) => early,
        None => Early { inspector: restore.admin.inspector(scratch).await?, proven: HashSet::new() },
    };
    if early.inspector.count(table).await? == Ok(table.rows) {
        early.inspector.analyze(table).await?;
        early.proven.insert(index);
        tracing::debug!(table = format!("{}.{}", table.schema, table.table), "counted and analyzed early");
    }
    Ok(early)
}

/// Counts and analyzes what was not yet; gives rows and tables.
pub(super) async fn prove(
    restore: &DatabaseRestore<'_>,
    facts: &DatabaseFacts,
    expected: &[TableFacts],
    scratch: &str,
    early: Option<Early>,
) -> Result<(u64, usize), RestoreError> {
    let Early { mut inspector, proven } = match confirmed(early, expected).await {
        Some(early) => early,
        None => Early { inspector: restore.admin.inspector(scratch).await?, proven: HashSet::new() },
    };
    tracing::debug!(tables = expected.len(), early = proven.len(), "counting what is not counted yet");
    let (done, rest): (Vec<_>, Vec<_>) = expected.iter().enumerate().partition(|(index, _)| proven.contains(index));
    let analyzed: Vec<&TableFacts> = done.into_iter().map(|(_, table)| table).collect();
    let rest: Vec<TableFacts> = rest.into_iter().map(|(_, table)| table.clone()).collect();
    // Together: neither keeps every processor busy.
    let analyze = async { Ok::<_, RestoreError>(inspector.analyze_others(&analyzed).await?) };
    futures::try_join!(count(restore, &rest, scratch), analyze)?;
    inspector.close().await;
    if restore.options.tables.is_empty() {
        let (expected, found) = (facts.large_objects.as_ref().map_or(0, |large| large.count), restore.admin.large_objects(scratch).await?);
        if expected != found {
            return Err(RestoreError::Different(format!("it has {found} large objects instead of {expected}")));
        }
    }
    Ok((expected.iter().map(|table| table.rows).sum(), expected.len()))
}

/// What was seen early and is so still: nothing has touched those tables since, not even a function that a dump brought along.
async fn confirmed(early: Option<Early>, expected: &[TableFacts]) -> Option<Early> {
    let Early { mut inspector, mut proven } = early?;
    let tables: Vec<&TableFacts> = proven.iter().map(|index| &expected[*index]).collect();
    match inspector.untouched(&tables).await {
        Ok(untouched) => {
            proven.retain(|index| untouched.contains(&(expected[*index].schema.clone(), expected[*index].table.clone())));
            Some(Early { inspector, proven })
        }
        Err(error) => {
            tracing::debug!("every table is counted again: failed to {error}");
            None
        }
    }
}

async fn count(restore: &DatabaseRestore<'_>, tables: &[TableFacts], scratch: &str) -> Result<(), RestoreError> {
    let mut found = Vec::with_capacity(tables.len());
    for (table, counted) in tables.iter().zip(restore.admin.count_rows(scratch, tables, COUNTED_AT_ONCE).await?) {
        match counted {
            Ok(rows) => found.push((&*table.schema, &*table.table, rows)),
            Err(CountError::Missing { .. }) => {}
            Err(error) => return Err(RestoreError::Different(format!("failed to {error}"))),
        }
    }
    let differ = differences(tables, found);
    if differ.is_empty() { Ok(()) } else { Err(RestoreError::Different(summary(&differ))) }
}
