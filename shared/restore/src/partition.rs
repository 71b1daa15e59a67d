//! An archived partition, from its set back to its place.
//!
//! It is restored beside its parent, where nobody looks for it, in one transaction; proven; and only then attached.

use plana_pg::{
    client::Installed,
    dsn::ConnectionSettings,
    partitions::{PartitionError, Tables},
    restore::RestoreOptions,
    server::Server,
};
use plana_plan::{
    manifest::PartitionFacts,
    name::printable,
    partition::{Bounds, Table},
};

use crate::{database::load::stream, error::RestoreError, read::Reading};

/// What is brought back, from where, and whereto.
pub struct PartitionRestore<'a> {
    /// The set and how it is read.
    pub reading: Reading<'a>,
    /// The server.
    pub server: &'a Server,
    /// How the database is reached that it goes back to.
    pub settings: &'a ConnectionSettings,
    /// The chosen pg_restore.
    pub pg_restore: &'a Installed,
    /// Whether it becomes a partition again; else it stays a table of its own.
    pub attach: bool,
}

/// Brings a partition back; gives its rows, and what pg_restore complained of.
///
/// # Errors
/// Whatever failed first. Nothing was attached then, and a table that could not be proven is gone again.
pub async fn restore_partition(restore: &PartitionRestore<'_>, tables: &mut Tables) -> Result<(u64, Vec<String>), RestoreError> {
    let set = restore.reading.set;
    let (Some(facts), Some(database)) = (&set.manifest.partition, &set.manifest.database) else {
        return Err(RestoreError::Refused(format!("restore {}: it is no archive of a partition", set.key)));
    };
    if tables.exists(&facts.schema, &facts.table).await? {
        let there = printable(&format!("{}.{}", facts.schema, facts.table));
        return Err(RestoreError::Refused(format!("restore {}: there is a table {there}; rename it, or drop it", set.key)));
    }
    let parent = if restore.attach { Some(parent(tables, facts).await?) } else { None };
    let session = restore.server.child_session();
    let options = RestoreOptions { extra_args: vec!["--single-transaction".to_owned()], session, ..RestoreOptions::default() };
    let streamed = stream(restore.reading, restore.pg_restore, restore.server, restore.settings, &options).await;
    let proven = match streamed {
        Ok(warnings) => prove(tables, facts, database.rows).await.map(|()| warnings),
        Err(error) => Err(error),
    };
    match proven {
        Ok(warnings) => {
            tables.bring_back(parent.as_ref(), facts).await?;
            Ok((database.rows, warnings))
        }
        Err(error) => {
            // It was not there before, and what is not proven is not to be taken for what it was.
            if tables.exists(&facts.schema, &facts.table).await? {
                tables.discard(&facts.schema, &facts.table).await?;
            }
            Err(error)
        }
    }
}

async fn prove(tables: &mut Tables, facts: &PartitionFacts, rows: u64) -> Result<(), RestoreError> {
    let found = tables.rows(&facts.schema, &facts.table).await?;
    if found == rows {
        return Ok(());
    }
    Err(RestoreError::Different(format!("{} has {found} rows instead of {rows}", printable(&facts.table))))
}

/// The table that it was a partition of, with room where it was.
async fn parent(tables: &mut Tables, facts: &PartitionFacts) -> Result<Table, RestoreError> {
    let name = printable(&format!("{}.{}", facts.parent_schema, facts.parent));
    let refused = |why: String| Err(RestoreError::Refused(format!("attach it to {name}: {why}; --no-attach leaves it a table of its own")));
    let catalog = tables.catalog().await.map_err(PartitionError::from)?;
    let table = catalog.tables.into_iter().find(|table| table.schema == facts.parent_schema && table.name == facts.parent);
    let Some(table) = table else { return refused("there is no such partitioned table".to_owned()) };
    let Some((from, to)) = Bounds::parse(&facts.bounds, table.key).finite() else {
        return refused("its bounds are none of that table's type".to_owned());
    };
    let overlaps = |(other_from, other_to)| from < other_to && other_from < to;
    match table.partitions.iter().find(|partition| partition.bounds.finite().is_some_and(overlaps)) {
        Some(partition) => refused(format!("{} holds some of what it would hold", partition.full_name())),
        None => Ok(table),
    }
}
