//! One snapshot: the dump, then the files that it names, both under one stamp.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures::TryStreamExt as _;
use plana_backup::{
    Accepts, BackupError, Begun, Committed, DatabaseDump, Dumper, FileStoreDump, Naming, Work, dump_database, dump_file_store,
    item::{done, settled},
};
use plana_harness::{Event, ItemReport, Outcome, human};
use plana_pg::{archive::DumpedAttachments, server::DatabaseInfo};
use plana_plan::{
    Area, SetKey,
    attachment::NamedFiles,
    insurance::reusable,
    inventory::Inventory,
    name::{encode, printable},
    receipt::{InsuredSet, Snapshot, restore_command},
};
use plana_storage::listing;
use serde_json::json;

use crate::{Args, keys::needed_keys, prove::Refuted, run::Run, wanted::Wanted};

/// Sessions tell the server's statistics of their rows up to a second late.
const STATISTICS_DELAY: Duration = Duration::from_millis(1_200);

/// Takes a snapshot and reports its halves; `None` where it is not whole.
pub async fn take(run: &Run<'_>, args: &Args, wanted: &Wanted) -> Option<Snapshot> {
    match attempt(run, args, wanted).await {
        Ok(snapshot) => snapshot,
        Err(Half { area, began, error }) => {
            run.items.context.report().item(settled(area, &wanted.name, began, Err(error)));
            None
        }
    }
}

/// The half that failed.
struct Half {
    area: Area,
    began: Instant,
    error: BackupError,
}

async fn attempt(run: &Run<'_>, args: &Args, wanted: &Wanted) -> Result<Option<Snapshot>, Half> {
    let began = Instant::now();
    let of = |area: Area| move |error: BackupError| Half { area, began, error };
    let halves: Vec<Area> = [wanted.database.as_ref().map(|_| Area::InsurancePg), wanted.files.as_ref().map(|_| Area::InsuranceFilestore)]
        .into_iter()
        .flatten()
        .collect();
    let Some(first) = halves.first().copied() else { return Ok(None) };
    if let Some(snapshot) = used_again(run, args, wanted, &halves).await.map_err(of(first))? {
        return Ok(Some(snapshot));
    }
    // Both locks first: a second run for the same tenant is told at once, and not when it has one half.
    let mut works = Vec::new();
    let mut is_ours = true;
    for area in halves {
        let size = wanted.database.as_ref().and_then(|database| database.size_bytes).filter(|_| area == Area::InsurancePg);
        match run.items.begin(area, &wanted.name, size, None).await.map_err(of(area))? {
            Begun::Settled(report) => {
                is_ours = false;
                run.items.context.report().item(report);
            }
            Begun::Work(work) => works.push(work),
        }
    }
    if !is_ours {
        return Ok(None);
    }
    let mut works = works.into_iter();
    let mut sets = Vec::new();
    let (mut named, mut before) = (None, None);
    if let (Some(database), Some(dumper)) = (&wanted.database, &run.dumper)
        && let Some(work) = works.next()
    {
        let began = Instant::now();
        let of = |error| Half { area: Area::InsurancePg, began, error };
        before = rows_written(run, dumper, database).await;
        let (committed, attachments) = dumped(run, wanted, database, dumper, &work).await.map_err(of)?;
        named = attachments;
        sets.push(InsuredSet::made(&committed.set, &committed.manifest));
        run.items.context.report().item(reported(committed, wanted, began));
    }
    if let (Some(_), Some(work)) = (&wanted.files, works.next()) {
        let began = Instant::now();
        let of = |error| Half { area: Area::InsuranceFilestore, began, error };
        let committed = taken(run, args, wanted, named.as_ref(), &work).await.map_err(of)?;
        let set = InsuredSet::made(&committed.set, &committed.manifest);
        sets.push(set);
        run.items.context.report().item(reported(committed, wanted, began));
    }
    let written = written_meanwhile(run, wanted, before).await;
    let snapshot = snapshot(run, args, wanted, sets, written, false);
    let subject = format!("insurance/{}", encode(&wanted.name));
    let data =
        json!({ "operation": run.label.label, "stamp": run.stamp, "sets": snapshot.sets.iter().map(|set| &set.set).collect::<Vec<_>>() });
    run.items.context.events().send(Event::about("snapshot.taken", subject, data));
    Ok(Some(snapshot))
}

fn snapshot(run: &Run<'_>, args: &Args, wanted: &Wanted, sets: Vec<InsuredSet>, written: Option<u64>, reused: bool) -> Snapshot {
    let directory = wanted.files.as_ref().map(|found| found.place.path().display().to_string());
    let until = sets.iter().filter_map(|set| set.set.parse::<SetKey>().ok()?.label.until).min();
    let keys = needed_keys(run, args, wanted, reused);
    Snapshot {
        name: wanted.name.clone(),
        kept_until: until.unwrap_or(run.stamp),
        reused,
        proven_by_restore: false,
        rows_written_meanwhile: written,
        restore: restore_command(&args.restore_options(), &sets, directory.as_deref(), &keys),
        keys,
        sets,
    }
}

/// A young snapshot of the same name, by the listing alone: a key that may put and list cannot read.
async fn used_again(run: &Run<'_>, args: &Args, wanted: &Wanted, halves: &[Area]) -> Result<Option<Snapshot>, BackupError> {
    let Some(within) = args.reuse_within.and_then(|within| TimeDelta::from_std(within.0).ok()) else { return Ok(None) };
    let mut listed = Vec::new();
    let refuted = Refuted::read(run.items.context.state());
    for area in halves {
        let mut inventory = listed_sets(run, *area, &wanted.name).await?;
        inventory.sets.retain(|key, _| !refuted.holds(key));
        listed.push(inventory);
    }
    let Some(found) = reusable(&listed, run.items.context.now(), within, args.keep) else { return Ok(None) };
    for set in &found {
        let report = ItemReport::new(set.key.area, &wanted.name, Outcome::Fresh);
        run.items.context.report().item(report.key(set.key.to_string()).newest(set.key.stamp));
    }
    let sets = found.into_iter().map(InsuredSet::found).collect();
    Ok(Some(snapshot(run, args, wanted, sets, None, true)))
}

/// What is listed of a name.
pub async fn listed_sets(run: &Run<'_>, area: Area, name: &str) -> Result<Inventory, BackupError> {
    let prefix = SetKey::group_prefix(area, name);
    Ok(Inventory::read(listing::objects(&*run.items.target.store, &prefix).try_collect::<Vec<_>>().await?))
}

async fn dumped(
    run: &Run<'_>,
    wanted: &Wanted,
    database: &DatabaseInfo,
    dumper: &Dumper,
    work: &Work,
) -> Result<(Committed, Option<NamedFiles>), BackupError> {
    let keys = run.escrow.of_database(run.items.context, &database.name);
    let dump = DatabaseDump {
        dumper,
        database,
        area: Area::InsurancePg,
        classified: &wanted.classified,
        label: run.label.clone(),
        stamp: run.stamp,
        keys: &keys,
    };
    let visitor = DumpedAttachments::default();
    let dumping = dump_database(&run.items.target, &run.items.origin, &dump, visitor, &work.meter, &work.cancel);
    let (committed, attachments) = work.watch(dumping).await?;
    let named = attachments.finish().map_err(|too_many| BackupError::NotCompared(too_many.to_string()))?;
    Ok((committed, named))
}

async fn taken(run: &Run<'_>, args: &Args, wanted: &Wanted, named: Option<&NamedFiles>, work: &Work) -> Result<Committed, BackupError> {
    let config = run.items.context.config();
    let Some(found) = &wanted.files else { return Err(BackupError::Internal("there is no file store".to_owned())) };
    let database = found.naming_database(config, run.server());
    let naming = match (&database, named) {
        (None, Some(named)) => {
            run.items.context.report().warn(format!(
                "the {} files that the dump of {} names were not looked for: filestore.sources.{} says that they are none of a database's \
                 (attachments)",
                human::integer(named.len() as i128),
                printable(&wanted.name),
                found.source.key
            ));
            Naming::Unknown
        }
        (None, None) => Naming::Unknown,
        (Some(database), Some(named)) => Naming::Dump(named, database),
        // The dump holds no attachments, so nothing names files; without a dump the database itself is asked.
        (Some(_), None) if wanted.database.is_some() => Naming::Unknown,
        (Some(database), None) => Naming::Database(database),
    };
    let keys = run.escrow.of_filestore(run.items.context, &wanted.name);
    let dump = FileStoreDump {
        place: &found.place,
        name: &wanted.name,
        source: &found.source.key,
        options: &found.source.tree_options(config),
        compression: run.compression,
        naming,
        // What is committed passes for a snapshot, also by a listing alone.
        accepts: if args.strict { Accepts::Faultless } else { Accepts::Whole },
        hint_bytes: 0,
        timeout: config.filestore.timeout.0,
        area: Area::InsuranceFilestore,
        classified: &wanted.classified,
        label: run.label.clone(),
        stamp: run.stamp,
        keys: &keys,
    };
    work.watch(dump_file_store(&run.files, &run.items.origin, &dump, &work.meter, &work.cancel)).await
}

fn reported(committed: Committed, wanted: &Wanted, began: Instant) -> ItemReport {
    let until = committed.set.label.until.map(|until| until.instant().format("%Y-%m-%d").to_string());
    let report = settled(committed.set.area, &wanted.name, began, Ok(done(committed)));
    report.field("kept until", until)
}

/// By the server's statistics; where they cannot be read, that is said.
async fn rows_written(run: &Run<'_>, dumper: &Dumper, database: &DatabaseInfo) -> Option<u64> {
    let written = dumper.server.rows_written(&database.name).await;
    written
        .map_err(|error| run.items.context.report().warn(format!("whether rows are written meanwhile is not told: failed to {error}")))
        .ok()
}

/// Rows that somebody wrote while the snapshot was made, as far as the server's statistics tell.
async fn written_meanwhile(run: &Run<'_>, wanted: &Wanted, before: Option<u64>) -> Option<u64> {
    let (dumper, database) = (run.dumper.as_ref()?, wanted.database.as_ref()?);
    tokio::time::sleep(STATISTICS_DELAY).await;
    // Less than before: somebody has reset the statistics.
    let written = rows_written(run, dumper, database).await?.checked_sub(before?)?;
    if written > 0 {
        run.items.context.report().warn(format!(
            "{} rows were written to {} while its snapshot was made: what came after the dump began is not in it; stop the tenant before \
             (--quiesce), or know that a restore loses them",
            human::integer(written.into()),
            printable(&database.name)
        ));
    }
    Some(written)
}
