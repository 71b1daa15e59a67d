//! One file store of a run: what it was taken as, its line in the report.

use std::time::Instant;

use plana_backup::{
    Accepts, BackupError, Begun, FileStoreDump, Naming, dump_file_store,
    item::{described, done, settled},
    sources::{Discovered, Found, Store},
};
use plana_harness::{ItemReport, Outcome};
use plana_plan::{Area, SetLabel, Stamp, filestore::PlannedStore};

use crate::run::Run;

/// Takes one file store and reports what became of it. Never fails the run.
pub async fn take(run: &Run<'_>, discovered: &Discovered, planned: &PlannedStore) {
    let name = &planned.store.name;
    let began = Instant::now();
    let report = match discovered.stores.get(name).and_then(|found| found.first()) {
        Some(found) => settled(Area::Filestore, name, began, taken(run, planned, found).await),
        None => ItemReport::new(Area::Filestore, name, Outcome::Gone),
    };
    remember(run, &report);
    run.items.context.report().item(described(report, &planned.classified, ("last bytes", planned.store.size_bytes)));
}

fn remember(run: &Run<'_>, report: &ItemReport) {
    if let (true, Some(stored_bytes), Some(content_bytes)) = (report.outcome.is_committed(), report.bytes, report.content_bytes) {
        let partial = report.newest.filter(|_| report.outcome == Outcome::Partial);
        run.memory.note_store(&report.name, Store { content_bytes, stored_bytes, partial });
    }
}

async fn taken(run: &Run<'_>, planned: &PlannedStore, found: &Found) -> Result<ItemReport, BackupError> {
    let name = &planned.store.name;
    let before = run.memory.store(name);
    let unwanted = before.and_then(|store| store.partial);
    let work = match run.items.begin(Area::Filestore, name, planned.store.size_bytes, unwanted).await? {
        Begun::Settled(report) => return Ok(report),
        Begun::Work(work) => work,
    };
    let config = run.items.context.config();
    let database = found.naming_database(config, run.server.as_ref());
    let keys = run.escrow.of_filestore(run.items.context, name);
    let dump = FileStoreDump {
        place: &found.place,
        name,
        source: &found.source.key,
        options: &found.source.tree_options(config),
        compression: run.compression,
        naming: database.as_ref().map_or(Naming::Unknown, Naming::Database),
        accepts: Accepts::Anything,
        hint_bytes: before.map_or(0, |store| store.stored_bytes),
        timeout: config.filestore.timeout.0,
        area: Area::Filestore,
        classified: &planned.classified,
        label: SetLabel::from(planned.classified.label.clone()),
        stamp: Stamp::new(run.items.context.now()),
        keys: &keys,
    };
    let dumping = dump_file_store(&run.items.target, &run.items.origin, &dump, &work.meter, &work.cancel);
    Ok(done(work.watch(dumping).await?))
}
