//! One retired partition, from pg_dump to a committed set of its own.

use plana_plan::{SetKey, manifest::PartitionFacts, sql::identifier};
use tokio_util::sync::CancellationToken;

use crate::{
    commit::Committed,
    database::{DatabaseDump, dump_into},
    error::BackupError,
    payload::Meter,
    target::{Origin, Target, nonce},
};

/// Dumps one table of a database into one committed set of the area `partition`, or leaves nothing that counts.
///
/// # Errors
/// Whatever failed first; nothing is committed then.
pub async fn dump_partition(
    target: &Target,
    origin: &Origin,
    dump: &DatabaseDump<'_>,
    partition: PartitionFacts,
    meter: &Meter,
    cancel: &CancellationToken,
) -> Result<Committed, BackupError> {
    let name = partition.names().join(".");
    let set = SetKey::partition(partition.names(), dump.stamp, dump.label.clone(), nonce()?);
    let mut dumper = dump.dumper.clone();
    // In quotes a name is no pattern.
    dumper.options.extra_args.push(format!("--table={}.{}", identifier(&partition.schema), identifier(&partition.table)));
    let dump = DatabaseDump { dumper: &dumper, label: dump.label.clone(), ..*dump };
    let (committed, ()) = dump_into(target, origin, &dump, (set, &name, Some(partition)), (), meter, cancel).await?;
    Ok(committed)
}
