//! `list` and `show`: what there is, and what a manifest says.

use std::{cmp::Reverse, sync::Arc};

use chrono::{DateTime, SecondsFormat, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use plana_backup::setup;
use plana_drill::{Refusal, failure};
use plana_harness::{Answer, Column, Context, Failure, OutputFormat, Tone, human};
use plana_plan::{Area, SetKey, expiry::Windows, inventory::StoredSet, manifest::Manifest};
use plana_restore::{Group, Wanted, groups, known_gaps, open_set};
use plana_storage::DynStore;
use serde_json::{Value, json};

use crate::args::ListArgs;

/// Manifests that are read at the same time.
const AT_ONCE: usize = 16;

/// A line of the list: small, since there may be a hundred thousand.
struct Line {
    key: SetKey,
    name: Arc<str>,
    bytes: u64,
    is_committed: bool,
    is_held: bool,
    kept_until: Option<DateTime<Utc>>,
    manifest: Option<Result<Told, String>>,
}

/// What a manifest tells of a set in a list.
struct Told {
    rows: Option<u64>,
    content_bytes: u64,
    verified: Vec<&'static str>,
}

/// Lists sets, newest first.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list(context: Context, args: ListArgs, format: OutputFormat) -> Result<Answer, Failure> {
    let store = setup::open_store(context.config(), context.env(), false).await.map_err(Refusal::from).map_err(failure)?;
    let areas = if args.area.is_empty() { Area::ALL.to_vec() } else { args.area.iter().flat_map(|areas| areas.0.clone()).collect() };
    let wanted = Wanted { areas, name: args.name.clone() };
    let windows = context.config().retention.windows();
    let now = context.now();
    let mut lines = Vec::new();
    let mut found = groups(&store, &wanted);
    while let Some(group) = found.try_next().await.map_err(Refusal::from).map_err(failure)? {
        lines.extend(lines_of(group, &args, &windows, now));
    }
    drop(found);
    lines.sort_by(|a, b| (Reverse(a.key.stamp), &a.key).cmp(&(Reverse(b.key.stamp), &b.key)));
    if args.long {
        read_manifests(&store, &mut lines).await;
    }
    Ok(match format {
        OutputFormat::Text => for_people(&store, &lines, now),
        OutputFormat::Json => for_programs(&store, lines, now),
    })
}

fn lines_of(group: Group, args: &ListArgs, windows: &Windows, now: DateTime<Utc>) -> Vec<Line> {
    let Group { name, inventory, .. } = group;
    let name: Arc<str> = name.into();
    let newest = inventory.newest_committed(now).map(|set| set.key.label.label.clone());
    let line = |set: StoredSet| {
        let kept_until = set.is_committed().then(|| set.kept_until(newest.as_ref(), windows)).flatten();
        let (bytes, is_committed, is_held) = (set.payload_bytes(), set.is_committed(), set.hold.is_some());
        Line { key: set.key, name: name.clone(), bytes, is_committed, is_held, kept_until, manifest: None }
    };
    match args.at {
        Some(at) => inventory.newest_committed(at.instant().min(now)).cloned().map(line).into_iter().collect(),
        None => inventory.sets.into_values().filter(|set| args.all || set.is_committed()).map(line).collect(),
    }
}

async fn read_manifests(store: &DynStore, lines: &mut [Line]) {
    let committed = lines.iter_mut().filter(|line| line.is_committed);
    stream::iter(committed)
        .for_each_concurrent(AT_ONCE, |line| async {
            let opened = open_set(store, &line.key).await;
            line.manifest = Some(opened.map(|set| told(&set.manifest)).map_err(|error| error.to_string()));
        })
        .await;
}

fn told(manifest: &Manifest) -> Told {
    Told {
        rows: manifest.database.as_ref().map(|database| database.rows),
        content_bytes: manifest.payload.content_bytes,
        verified: manifest.payload.volumes.iter().map(|volume| volume.verified.as_str()).collect(),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn for_people(store: &DynStore, lines: &[Line], now: DateTime<Utc>) -> Answer {
    let texts = |text: &dyn Fn(&Line) -> String| lines.iter().map(text).collect::<Vec<_>>();
    let manifest = |line: &Line, text: &dyn Fn(&Told) -> String| match &line.manifest {
        Some(Ok(manifest)) => text(manifest),
        Some(Err(_)) => "?".to_owned(),
        None => String::new(),
    };
    // The whole key in one piece: it is what the other subcommands are given.
    let columns = vec![
        Column::words("set", texts(&|line| line.key.to_string())),
        Column::numbers("age", texts(&|line| human::age(now - line.key.stamp.instant()))),
        Column::numbers("stored", texts(&|line| human::bytes(line.bytes))),
        Column::numbers(
            "rows",
            texts(&|line| manifest(line, &|told| told.rows.map_or_else(String::new, |rows| human::integer(rows.into())))),
        ),
        Column::words("verified", texts(&|line| manifest(line, &|told| told.verified.first().copied().unwrap_or_default().to_owned()))),
        Column::words("kept until", texts(&|line| kept(line))),
        Column::toned(
            "state",
            lines.iter().map(|line| if line.is_committed { (String::new(), Tone::Plain) } else { ("incomplete".to_owned(), Tone::Bad) }),
        ),
    ];
    let groups: std::collections::BTreeSet<_> = lines.iter().map(|line| (line.key.area, &line.name)).collect();
    let bytes = lines.iter().map(|line| line.bytes).sum();
    let summary = format!(
        "{} of {}, {} in {}",
        human::count(lines.len(), "set"),
        human::count(groups.len(), "name"),
        human::bytes(bytes),
        store.url()
    );
    let unread = lines.iter().filter_map(|line| match &line.manifest {
        Some(Err(error)) => Some(format!("failed to {error}")),
        _ => None,
    });
    let answer = if lines.is_empty() { Answer::default() } else { Answer::default().grid(columns) };
    answer.text(unread.chain([summary]).collect::<Vec<_>>().join("\n"))
}

fn for_programs(store: &DynStore, lines: Vec<Line>, now: DateTime<Utc>) -> Answer {
    let sets = lines.into_iter().map(move |line| as_json(&line, now).to_string());
    Answer::default().json("store", store.url()).json_rows("sets", sets)
}

fn kept(line: &Line) -> String {
    match (line.is_held, line.kept_until) {
        _ if !line.is_committed => String::new(),
        (true, _) => "released (held)".to_owned(),
        (false, Some(until)) => until.format("%Y-%m-%d").to_string(),
        (false, None) => "for ever".to_owned(),
    }
}

fn as_json(line: &Line, now: DateTime<Utc>) -> Value {
    let Line { key, name, bytes, is_committed, is_held, kept_until, manifest } = line;
    let mut value = json!({
        "set": key.to_string(),
        "area": key.area,
        "name": &**name,
        "label": key.label.label.as_str(),
        "stamp": time(key.stamp.instant()),
        "age_seconds": (now - key.stamp.instant()).num_seconds(),
        "bytes": bytes,
        "committed": is_committed,
        "held": is_held,
        "kept_until": kept_until.map(time),
    });
    match manifest {
        Some(Ok(told)) => {
            value["rows"] = json!(told.rows);
            value["verified"] = json!(told.verified);
            value["content_bytes"] = json!(told.content_bytes);
        }
        Some(Err(error)) => value["error"] = json!(error),
        None => {}
    }
    value
}

/// Shows what a set's manifest says.
///
/// # Errors
/// When the set cannot be opened.
pub async fn show(context: Context, key: SetKey) -> Result<Answer, Failure> {
    let store = setup::open_store(context.config(), context.env(), false).await.map_err(Refusal::from).map_err(failure)?;
    let set = open_set(&store, &key).await.map_err(Refusal::from).map_err(failure)?;
    let manifest = &set.manifest;
    let mut answer = Answer::default().text(facts(manifest));
    if let Some(database) = manifest.database.as_ref().filter(|database| !database.tables.is_empty()) {
        let mut tables: Vec<_> = database.tables.iter().collect();
        tables.sort_by_key(|table| (Reverse(table.rows), &table.schema, &table.table));
        answer = answer.grid(vec![
            Column::words("table", tables.iter().map(|table| format!("{}.{}", table.schema, table.table))),
            Column::numbers("rows", tables.iter().map(|table| human::integer(table.rows.into()))),
            Column::numbers("size", tables.iter().map(|table| human::bytes(table.bytes))),
        ]);
    }
    if !set.warnings.is_empty() {
        answer = answer.text(format!("Warnings:\n  {}", set.warnings.join("\n  ")));
    }
    let whole = serde_json::to_value(manifest).map_err(|error| Failure::failed(format!("show the manifest: {error}")))?;
    Ok(answer.json("set", key.to_string()).json("manifest", whole).json("warnings", set.warnings))
}

fn facts(manifest: &Manifest) -> String {
    let mut facts: Vec<(&str, String)> =
        vec![("name", manifest.name.clone()), ("begun", time(manifest.stamp.instant())), ("label", manifest.label.to_string())];
    facts.extend(manifest.until.map(|until| ("kept until", time(until.instant()))));
    facts.extend(manifest.tier.clone().map(|tier| ("tier", tier)));
    let made = &manifest.made_by;
    facts.push(("made by", format!("{} {} on {}, run {}", made.job, made.version, made.host, made.run_id)));
    if let Some(database) = &manifest.database {
        facts.push(("server", format!("PostgreSQL {}, dumped by pg_dump {}", database.server_version, database.pg_dump_version)));
        facts.push((
            "database",
            format!(
                "owner {}, {}, {}, {} on the server",
                database.owner,
                database.encoding,
                database.collate,
                human::bytes(database.size_bytes)
            ),
        ));
        facts.push(("rows", format!("{} in {}", human::integer(database.rows.into()), human::count(database.tables.len(), "table"))));
        facts.extend(
            database
                .large_objects
                .as_ref()
                .map(|large| ("large objects", format!("{}, {}", human::integer(large.count.into()), human::bytes(large.bytes)))),
        );
        let extensions: Vec<String> = database.extensions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        facts.push(("extensions", extensions.join(", ")));
    }
    if let Some(globals) = &manifest.globals {
        let passwords = match (&globals.role_passwords, &globals.role_passwords_omitted_because) {
            (true, _) => "with the roles' passwords".to_owned(),
            (false, Some(why)) => format!("without the roles' passwords: {why}"),
            (false, None) => "without the roles' passwords".to_owned(),
        };
        facts.push(("globals", format!("PostgreSQL {}, {passwords}", globals.server_version)));
    }
    if let Some(filestore) = &manifest.filestore {
        facts.push((
            "file store",
            format!(
                "{} in {}, {}, of {}",
                human::count(filestore.files as usize, "file"),
                human::bytes(filestore.bytes),
                filestore.layout.as_str(),
                filestore.directory
            ),
        ));
        facts.push(("proven", format!("{} of them are what their names say", human::integer(filestore.proven.into()))));
        facts.extend(known_gaps(filestore).into_iter().map(|gap| ("", gap)));
    }
    let payload = &manifest.payload;
    facts.push((
        "payload",
        format!("{}, {} stored as {}", payload.format, human::bytes(payload.content_bytes), human::bytes(payload.stored_bytes)),
    ));
    for volume in &payload.volumes {
        facts.push(("object", volume.key.clone()));
        facts.push((
            "",
            format!(
                "{} in {}, {}, SHA-256 {}",
                human::bytes(volume.bytes),
                human::count(volume.parts as usize, "part"),
                volume.verified.as_str(),
                volume.sha256
            ),
        ));
    }
    facts.push((
        "encryption",
        manifest.encryption.as_ref().map_or_else(|| "none".to_owned(), |e| format!("{} to {}", e.method, e.recipients.join(", "))),
    ));
    let keys: Vec<String> = manifest.requires_key.iter().map(|key| format!("{} ({})", key.name, key.fingerprint)).collect();
    if !keys.is_empty() {
        facts.push(("requires key", keys.join(", ")));
    }
    let width = facts.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let line = |(label, text): &(&str, String)| format!("{label:<width$}  {}", plana_plan::name::printable(text));
    facts.iter().map(line).collect::<Vec<_>>().join("\n")
}
