//! `seed`: what templates were, by their contents.

use std::{
    cmp::Reverse,
    path::{Path, PathBuf},
    time::Instant,
};

use chrono::{DateTime, SecondsFormat, Utc};
use plana_backup::setup;
use plana_config::StoreName;
use plana_drill::{Refusal, Source, failure, is_early};
use plana_harness::{Answer, Column, Context, Failure, ItemReport, Outcome, human};
use plana_plan::{
    Area, SetKey,
    inventory::StoredSet,
    name::printable,
    seed::{ContentSha, SeedName, copies},
    select::NamePattern,
};
use plana_restore::{RestoreError, find_seed, open_set, seeds};
use serde_json::{Value, json};

use crate::{args::RestoreArgs, check::checked, fetch::copied, restore::attempt};

/// A content that a template has had.
struct Line {
    template: String,
    content: ContentSha,
    /// Its oldest copy.
    first: StoredSet,
    copies: usize,
}

/// Lists the contents of templates, newest first.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list(context: Context, wanted: Option<NamePattern>) -> Result<Answer, Failure> {
    let store = setup::open_named_store(context.config(), context.env(), StoreName::Templates, false);
    let store = store.await.map_err(Refusal::from).map_err(failure)?;
    let (mut lines, mut incomplete) = (Vec::new(), 0);
    for (template, inventory) in seeds(&store, wanted.as_ref()).await.map_err(Refusal::from).map_err(failure)? {
        incomplete += inventory.sets.values().filter(|set| !set.is_committed()).count();
        lines.extend(copies(&inventory).into_iter().filter_map(|(content, copies)| {
            let first = (*copies.first()?).clone();
            Some(Line { template: template.clone(), content, first, copies: copies.len() })
        }));
    }
    lines.sort_by_key(|line| (line.template.clone(), Reverse(line.first.key.stamp)));
    let published = |line: &Line| line.first.key.stamp.instant().to_rfc3339_opts(SecondsFormat::Secs, true);
    let value = |line: &Line| -> Value {
        json!({ "template": line.template, "sha256": line.content.to_string(), "published_at": published(line),
                "stored_bytes": line.first.payload_bytes(), "copies": line.copies, "key": line.first.key.manifest() })
    };
    // Name and SHA in one piece: it is what the other subcommands are given.
    let columns = vec![
        Column::words("seed", lines.iter().map(|line| format!("{}@{}", printable(&line.template), line.content))),
        Column::words("published", lines.iter().map(published)),
        Column::numbers("stored", lines.iter().map(|line| human::bytes(line.first.payload_bytes()))),
        Column::numbers("copies", lines.iter().map(|line| line.copies.to_string())),
    ];
    let mut answer = Answer::default();
    answer = if lines.is_empty() { answer.text(format!("There is no seed in {}.", store.url())) } else { answer.grid(columns) };
    if incomplete > 0 {
        answer = answer.text(format!("{} beside them never became one: they count for nothing.", human::count(incomplete, "upload")));
    }
    Ok(answer.json("store", store.url()).json("seeds", lines.iter().map(value).collect::<Vec<_>>()).json("incomplete", incomplete))
}

/// Reads every copy of each seed back and compares everything, the content with the SHA last.
///
/// # Errors
/// What ended the whole run; a seed that is not whole is an item of the report instead.
pub async fn check(context: Context, wanted: Vec<SeedName>, identity: Option<PathBuf>) -> Result<(), Failure> {
    let source = Source::open_named(StoreName::Templates, &context, identity).await?;
    context.progress().expect("seeds", wanted.len() as u64);
    for seed in &wanted {
        let began = Instant::now();
        match find_seed(&source.store, seed, context.now()).await {
            Err(error) => tell(&context, seed, began, Err(error.into()))?,
            Ok(copies) => {
                for key in &copies {
                    let checked = checked(&context, &source, key, &seed.template).await;
                    tell(&context, seed, began, checked.map(|report| of(report, key)).map_err(Refusal::from))?;
                }
            }
        }
    }
    Ok(())
}

/// Copies a seed's files into a directory.
///
/// # Errors
/// When nothing could be begun; a seed that could not be fetched is an item of the report.
pub async fn fetch(context: Context, seed: SeedName, to: PathBuf) -> Result<(), Failure> {
    let source = Source::open_named(StoreName::Templates, &context, None).await?;
    let began = Instant::now();
    let fetched = first_good(&context, &source, &seed, context.now(), Use::Fetch(&to));
    tell(&context, &seed, began, fetched.await)
}

/// Restores a seed, and proves that its content is the one that its SHA names.
///
/// # Errors
/// When nothing could be begun; a seed that could not be restored is an item of the report.
pub async fn restore(context: Context, args: RestoreArgs, identity: Option<PathBuf>) -> Result<(), Failure> {
    let seed: SeedName = args.what.parse().map_err(Failure::usage)?;
    let source = Source::open_named(StoreName::Templates, &context, identity).await?;
    let began = Instant::now();
    let at = args.at.map_or(context.now(), |at| at.instant().min(context.now()));
    let restored = first_good(&context, &source, &seed, at, Use::Restore(&args));
    tell(&context, &seed, began, restored.await)
}

/// What a seed is wanted for.
#[derive(Clone, Copy)]
enum Use<'a> {
    Fetch(&'a Path),
    Restore(&'a RestoreArgs),
}

/// Tries the copies of a seed, the oldest first, until one is good: each stands for itself, and all hold the same.
async fn first_good(
    context: &Context,
    source: &Source,
    seed: &SeedName,
    at: DateTime<Utc>,
    what_for: Use<'_>,
) -> Result<ItemReport, Refusal> {
    let copies = find_seed(&source.store, seed, at).await?;
    let mut passed_over: Vec<String> = Vec::new();
    for (number, key) in (1..).zip(&copies) {
        let tried = match open_set(&source.store, key).await {
            Err(error) => Err(error.into()),
            Ok(set) => match what_for {
                Use::Fetch(to) => copied(context, source, set, &seed.template, to.to_owned()).await.map_err(Refusal::from),
                Use::Restore(args) => attempt(context, source, args, &set).await,
            },
        };
        match tried {
            Ok(report) => return Ok(passed_over.into_iter().fold(of(report, key), ItemReport::warning)),
            Err(Refusal::Restore(error)) if error.is_of_the_set() && number < copies.len() => {
                let manifest = key.manifest();
                tracing::warn!("failed to {error}");
                passed_over.push(format!("{manifest} cannot be used, and another copy was: failed to {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    Err(RestoreError::NoSeed(seed.clone()).into())
}

fn of(report: ItemReport, key: &SetKey) -> ItemReport {
    report.key(key.to_string())
}

/// The line of a seed, or what ends the whole run since nothing was begun.
fn tell(context: &Context, seed: &SeedName, began: Instant, result: Result<ItemReport, Refusal>) -> Result<(), Failure> {
    let name = &seed.template;
    let report = match result {
        Ok(report) => report,
        Err(Refusal::Restore(RestoreError::Cancelled)) => ItemReport::new(Area::Seed, name, Outcome::Cancelled),
        Err(error) if is_early(&error) => return Err(failure(error)),
        Err(error) => ItemReport::failed(Area::Seed, name, plana_harness::chain(&error)),
    };
    context.report().item(report.took(began.elapsed()));
    Ok(())
}
