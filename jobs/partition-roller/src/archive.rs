//! Dropping a retired partition; where archives are wanted, only what has one.

use plana_backup::{BackupError, DatabaseDump, Dumper, Escrow, Meter, SetupError, Target, dump_partition, setup, target::Origin};
use plana_harness::{Context, VERSION};
use plana_pg::{
    partitions::{Detached, Held, PartitionError},
    server::Server,
};
use plana_plan::{
    Area, SetLabel, Stamp,
    classify::{Tiers, decide},
    manifest::PartitionFacts,
    name::printable,
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::{managed::Managed, run::Run};

/// Why a retired partition is still there. Completes "failed to …".
#[derive(Debug)]
pub enum DropError {
    /// It could not be dropped.
    Partition(PartitionError),
    /// It has no archive: the table, and why.
    Archive(String, String),
}

impl DropError {
    /// Whether only a lock was not to be had.
    pub fn is_blocked(&self) -> bool {
        matches!(self, DropError::Partition(PartitionError::Blocked { .. }))
    }
}

impl std::fmt::Display for DropError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DropError::Partition(error) => error.fmt(f),
            DropError::Archive(table, why) => write!(f, "archive {table}: {why}; it is not dropped, and the next run tries again"),
        }
    }
}

impl From<PartitionError> for DropError {
    fn from(error: PartitionError) -> Self {
        DropError::Partition(error)
    }
}

/// Drops a retired partition. Where archives are wanted, nobody can write to it from before its dump begins until it is dropped,
/// and it is dropped only when the archive is committed and has as many rows. Gives the archive's set.
pub async fn drop_archived(
    context: &Context,
    run: &mut Run,
    managed: &Managed,
    detached: &Detached,
    stop: &CancellationToken,
) -> Result<Option<String>, DropError> {
    let references = run.tables.references(detached.oid).await.map_err(PartitionError::from)?;
    let held = run.tables.hold(detached, &references).await?;
    if !managed.config.archive {
        held.drop_table(None).await?;
        return Ok(None);
    }
    match archived(context, &run.server, &run.escrow, detached, stop).await {
        Ok((set, rows)) => {
            held.drop_table(Some(rows)).await?;
            Ok(Some(set))
        }
        Err(why) => {
            Held::release(held).await;
            Err(DropError::Archive(detached.full_name(), why))
        }
    }
}

/// A committed archive: its set, and its rows.
async fn archived(
    context: &Context,
    server: &Server,
    escrow: &OnceCell<Escrow>,
    detached: &Detached,
    stop: &CancellationToken,
) -> Result<(String, u64), String> {
    let name = server.settings().database().to_owned();
    let database = server.databases().await.map_err(|error| error.to_string())?.into_iter().find(|database| database.name == name);
    let database = database.ok_or_else(|| format!("its database {} is not listed", printable(&name)))?;
    let config = context.config();
    let classified = decide(&name, &database.owner, &config.classification_rules(), &Tiers::new(), &config.retention.labels());
    let (target, dumper) = prepared(context).await.map_err(|error| error.to_string())?;
    // Of the tables' database, whatever one the configuration's connection string names.
    let dumper = Dumper { server: server.clone(), ..dumper };
    let origin = Origin {
        job: context.job().to_owned(),
        version: VERSION.to_owned(),
        host: context.host().to_owned(),
        run_id: context.run_id().to_owned(),
    };
    let prepare = || async { Escrow::prepare(context, &[name.as_str()], &[]).await };
    let escrow = escrow.get_or_try_init(prepare).await.map_err(|error| error.to_string())?;
    let keys = escrow.of_database(context, &name);
    let dump = DatabaseDump {
        dumper: &dumper,
        database: &database,
        area: Area::Partition,
        classified: &classified,
        label: SetLabel::from(classified.label.clone()),
        stamp: Stamp::new(context.now()),
        keys: &keys,
    };
    let facts = PartitionFacts {
        database: name,
        schema: detached.schema.clone(),
        table: detached.name.clone(),
        parent_schema: detached.mark.schema.clone(),
        parent: detached.mark.table.clone(),
        bounds: detached.mark.bounds.clone(),
    };
    let committed = dump_partition(&target, &origin, &dump, facts, &Meter::default(), &stop.child_token()).await;
    let committed = committed.map_err(|error: BackupError| error.to_string())?;
    committed.warnings.iter().for_each(|warning| context.report().warn(format!("{}: {warning}", printable(&detached.full_name()))));
    let rows = committed.manifest.database.as_ref().map(|facts| facts.rows);
    rows.map(|rows| (committed.set.to_string(), rows)).ok_or_else(|| "its manifest does not say how many rows it has".to_owned())
}

/// Where the archive goes, and what makes it.
async fn prepared(context: &Context) -> Result<(Target, Dumper), SetupError> {
    let config = context.config();
    let recipients = setup::recipients(&config.encryption)?;
    let store = setup::open_store(config, context.env(), true).await?;
    Ok((Target::new(store, recipients, &config.upload, &config.dump, 1), Dumper::open(context).await?))
}
