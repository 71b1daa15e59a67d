//! A dump, restored into a scratch database, counted, and dropped again.

use plana_harness::Context;
use plana_pg::restore::RestoreOptions;
use plana_restore::{DatabaseRestore, OpenSet, Purpose, ReadMeter, RestoreError, Restored, restore_database};

use crate::{place::Place, source::Source};

/// Restores the set's database at that place, compares every table's rows with the manifest, and drops it.
///
/// # Errors
/// Why it is not proven.
pub async fn prove_database(context: &Context, source: &Source, place: &Place, set: &OpenSet) -> Result<Restored, RestoreError> {
    let config = context.config();
    let payload = &set.manifest.payload;
    let meter = ReadMeter::default();
    let _bar = context.progress().watch(&set.manifest.name, Some(payload.stored_bytes), meter.stored_bytes.clone());
    let _room = place.room(set.manifest.database.as_ref(), payload.content_bytes)?;
    // The scratch server knows neither owners nor tablespaces: what is proven is the data and that it restores.
    let options = RestoreOptions {
        jobs: config.restore.jobs,
        no_owner: true,
        no_privileges: true,
        session: place.admin.server().child_session(),
        extra_args: vec!["--no-tablespaces".to_owned()],
        ..RestoreOptions::default()
    };
    restore_database(&DatabaseRestore {
        reading: source.reading(context, set, &meter),
        admin: &place.admin,
        locks: &place.locks,
        superuser: place.superuser(),
        pg_restore: &place.pg_restore,
        options,
        scratch_prefix: &config.dump.scratch_prefix,
        spool: config.restore.spool_dir.as_deref(),
        hook: None,
        keep_failed: false,
        purpose: Purpose::Drill,
    })
    .await
}
