//! One database of a run: its dump, its line in the report.

use std::time::Instant;

use plana_backup::{
    BackupError, Begun, DatabaseDump, dump_database,
    item::{described, done, settled},
};
use plana_harness::{ItemReport, Outcome};
use plana_pg::server::DatabaseInfo;
use plana_plan::{Area, SetLabel, Stamp, dumps::PlannedDump, name::printable};

use crate::run::Run;

/// Dumps one database and reports what became of it. Never fails the run.
pub async fn dump(run: &Run<'_>, planned: &PlannedDump, databases: &[DatabaseInfo]) {
    let name = &planned.database.name;
    let report = match databases.iter().find(|database| database.name == *name) {
        Some(database) => item(run, planned, database).await,
        None => ItemReport::new(Area::Pg, name, Outcome::Gone),
    };
    run.items.context.report().item(described(report, &planned.classified, ("database bytes", planned.database.size_bytes)));
}

async fn item(run: &Run<'_>, planned: &PlannedDump, database: &DatabaseInfo) -> ItemReport {
    let name = &database.name;
    if let Some(obstacle) = database.obstacle(run.dumper.server.facts()).filter(|_| !run.items.context.cancel().is_cancelled()) {
        return ItemReport::failed(Area::Pg, name, format!("dump {}: {obstacle}", printable(name)));
    }
    let began = Instant::now();
    match backed_up(run, planned, database).await {
        Err(error) if was_dropped(run, name, &error).await => ItemReport::new(Area::Pg, name, Outcome::Gone).took(began.elapsed()),
        result => settled(Area::Pg, name, began, result),
    }
}

/// DROP DATABASE … WITH (FORCE) terminates the dump first, which then knows of a lost connection only.
///
/// Asked by connecting, since that waits for a DROP that is still at work, while the catalog still lists the database.
pub async fn was_dropped(run: &Run<'_>, name: &str, error: &BackupError) -> bool {
    let of_server = matches!(error, BackupError::Dump(_) | BackupError::Server(_)) && !error.is_gone();
    of_server && run.dumper.server.extensions(name).await.is_err_and(|error| error.is_gone())
}

async fn backed_up(run: &Run<'_>, planned: &PlannedDump, database: &DatabaseInfo) -> Result<ItemReport, BackupError> {
    let work = match run.items.begin(Area::Pg, &database.name, database.size_bytes, None).await? {
        Begun::Settled(report) => return Ok(report),
        Begun::Work(work) => work,
    };
    let keys = run.escrow.of_database(run.items.context, &database.name);
    let dump = DatabaseDump {
        dumper: &run.dumper,
        database,
        area: Area::Pg,
        classified: &planned.classified,
        label: SetLabel::from(planned.classified.label.clone()),
        stamp: Stamp::new(run.items.context.now()),
        keys: &keys,
    };
    let dumping = dump_database(&run.items.target, &run.items.origin, &dump, (), &work.meter, &work.cancel);
    let (committed, ()) = work.watch(dumping).await?;
    Ok(done(committed))
}
