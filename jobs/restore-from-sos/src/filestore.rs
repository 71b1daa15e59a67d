//! `restore-filestore`: a file store back on a disk.

use std::{path::PathBuf, time::Instant};

use plana_drill::{Refusal, Source, failure};
use plana_harness::{Context, Failure, ItemReport, Outcome};
use plana_plan::Stamp;
use plana_restore::{FileStoreRestore, OpenSet, ReadMeter, RestoreError, filestore_facts, lacking_room, stage_filestore};
use plana_tree::extract::Owner;

use crate::{
    args::{FilesArgs, FilestoreArgs},
    keys,
    restore::{found, settle},
};

/// Restores one file store.
///
/// # Errors
/// Whatever kept it from being restored before anything was begun; later failures are an item of the report.
pub async fn restore_filestore(context: Context, args: FilestoreArgs, identity: Option<PathBuf>) -> Result<(), Failure> {
    let source = Source::open(&context, identity).await?;
    let set = found(&context, &source, args.area, &args.what, args.at).await.map_err(failure)?;
    let began = Instant::now();
    let attempted = attempt(&context, &source, &args, &set).await;
    settle(&context, &set, began, attempted)
}

async fn attempt(context: &Context, source: &Source, args: &FilestoreArgs, set: &OpenSet) -> Result<ItemReport, Refusal> {
    let of_keys = keys::require(context, &args.keys, set).await?;
    if context.dry_run() {
        return Ok(of_keys.into_iter().fold(planned(set, &args.files)?, ItemReport::warning));
    }
    let meter = ReadMeter::default();
    let _bar = context.progress().watch(&set.manifest.name, Some(set.manifest.payload.stored_bytes), meter.stored_bytes.clone());
    let reading = source.reading(context, set, &meter);
    let restore = FileStoreRestore { reading, to: &args.files.to, replace: args.replace, owner: owner(&args.files) };
    let staged = stage_filestore(&restore).await?;
    let (proof, warnings) = (staged.proof.clone(), staged.warnings.clone());
    let placed = staged.place(set, Stamp::new(chrono::Utc::now())).await?;
    let report = report(set, &args.files, Outcome::Done)
        .field("files", proof.files)
        .field("proven", proof.proven)
        .field("old one kept as", placed.kept_as.map(|kept| kept.display().to_string()));
    Ok(set.warnings.iter().cloned().chain(of_keys).chain(warnings).fold(report, ItemReport::warning))
}

/// What would be restored.
///
/// # Errors
/// When the set is no file store's.
pub fn planned(set: &OpenSet, files: &FilesArgs) -> Result<ItemReport, RestoreError> {
    let facts = filestore_facts(set)?;
    let report = report(set, files, Outcome::Planned).field("files", facts.files);
    Ok(lacking_room(facts, &files.to).into_iter().fold(report, ItemReport::warning))
}

/// Whose the files will be.
pub const fn owner(files: &FilesArgs) -> Owner {
    Owner { uid: files.uid, gid: files.gid }
}

/// What all reports on a file store say.
pub fn report(set: &OpenSet, files: &FilesArgs, outcome: Outcome) -> ItemReport {
    ItemReport::new(set.key.area, &set.manifest.name, outcome)
        .field("set", format!("{}.{}.{}", set.key.stamp, set.key.label, set.key.id))
        .field("directory", files.to.display().to_string())
        .sizes(set.manifest.payload.stored_bytes, set.manifest.payload.content_bytes)
}
