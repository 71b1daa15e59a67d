//! `fetch`: a set's files in a directory.

use std::{path::PathBuf, time::Instant};

use plana_drill::Source;
use plana_harness::{Context, Failure, ItemReport, Outcome};
use plana_plan::SetKey;
use plana_restore::{OpenSet, ReadMeter, RestoreError, fetch_set, open_set};

/// Copies a set's files into a directory.
///
/// # Errors
/// What ended the whole run; a set that could not be fetched is an item of the report.
pub async fn fetch(context: Context, key: SetKey, to: PathBuf) -> Result<(), Failure> {
    let source = Source::open(&context, None).await?;
    let name = key.plain_name().unwrap_or_else(|_| key.encoded_name.clone());
    let began = Instant::now();
    let report = match fetched(&context, &source, &key, &name, to).await {
        Ok(report) => report,
        Err(RestoreError::Cancelled) => ItemReport::new(key.area, &name, Outcome::Cancelled),
        Err(error) => ItemReport::failed(key.area, &name, error),
    };
    context.report().item(report.key(key.to_string()).took(began.elapsed()));
    Ok(())
}

async fn fetched(context: &Context, source: &Source, key: &SetKey, name: &str, to: PathBuf) -> Result<ItemReport, RestoreError> {
    let set = open_set(&source.store, key).await?;
    copied(context, source, set, name, to).await
}

/// Copies an open set's files; on a dry run it says how much that would be.
pub async fn copied(context: &Context, source: &Source, set: OpenSet, name: &str, to: PathBuf) -> Result<ItemReport, RestoreError> {
    let key = &set.key;
    let payload = &set.manifest.payload;
    let report = |outcome| ItemReport::new(key.area, name, outcome).sizes(payload.stored_bytes, payload.content_bytes);
    if context.dry_run() {
        return Ok(report(Outcome::Planned));
    }
    let meter = ReadMeter::default();
    let _bar = context.progress().watch(name, Some(payload.stored_bytes), meter.stored_bytes.clone());
    let files = fetch_set(&source.reading(context, &set, &meter), &to).await?;
    let report = files.iter().fold(report(Outcome::Done), |report, file| report.field("file", file.display().to_string()));
    Ok(set.warnings.into_iter().fold(report, ItemReport::warning))
}
