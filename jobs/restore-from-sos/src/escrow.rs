//! `escrow`: keys that backups need, listed, and written out again by whoever has an offline identity.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use futures::TryStreamExt as _;
use plana_archive::{Identities, open_sealed};
use plana_backup::{
    escrow::{list, require_apart, take_fingerprint},
    setup,
};
use plana_config::{Secret, StoreName};
use plana_drill::{Refusal, failure, identities};
use plana_harness::{Answer, Column, Context, Failure};
use plana_plan::{
    escrow::{ESCROW, Entry, EntryKey, Fingerprint, Sought},
    name::printable,
    select::NamePattern,
};
use plana_storage::{DynStore, StoreError, listing};
use serde_json::json;

use crate::args::EscrowCommand;

/// No key is longer, and no entry much longer than its key.
const MOST_KEY_BYTES: u64 = 64 << 10;
const MOST_ENTRY_BYTES: u64 = 256 << 10;

/// Lists keys, or writes one out.
///
/// # Errors
/// When the store cannot be used, or the key cannot be had.
pub async fn escrow(context: Context, command: EscrowCommand, identity: Option<PathBuf>) -> Result<Answer, Failure> {
    let config = context.config();
    require_apart(config)?;
    let opened = setup::open_named_store(config, context.env(), StoreName::Escrow, false).await;
    let store = opened.map_err(Refusal::from).map_err(failure)?;
    let mut entries = list(&store, &format!("{ESCROW}/")).await.map_err(Refusal::from).map_err(failure)?;
    entries.sort_by(|a, b| (&a.key.name, a.key.stamp).cmp(&(&b.key.name, b.key.stamp)));
    match command {
        EscrowCommand::List { name } => Ok(listed(&entries, name.as_ref())),
        EscrowCommand::Recover { what, to, .. } => recover(&context, &store, &entries, &what, to.as_deref(), identity).await,
    }
}

fn listed(entries: &[Entry], name: Option<&NamePattern>) -> Answer {
    let shown: Vec<&EntryKey> =
        entries.iter().map(|entry| &entry.key).filter(|key| name.is_none_or(|pattern| pattern.matches(&key.name))).collect();
    let column = |label: &str, text: &dyn Fn(&EntryKey) -> String| Column::words(label, shown.iter().map(|key| text(key)));
    let rows: Vec<_> = shown
        .iter()
        .map(|key| {
            json!({
                "name": key.name, "fingerprint": key.fingerprint.to_string(), "since": key.stamp.instant(),
                "recipients": key.recipients.to_string(), "entry": key.to_string(),
            })
        })
        .collect();
    let answer = Answer::default().json("keys", rows);
    if shown.is_empty() {
        return answer.text("No key is there.");
    }
    answer.grid(vec![
        column("key", &|key| format!("{}@{}", printable(&key.name), key.fingerprint.short())),
        column("since", &|key| key.stamp.instant().format("%Y-%m-%d %H:%M:%S").to_string()),
        column("recipients", &|key| key.recipients.to_string()),
        column("fingerprint", &|key| key.fingerprint.to_string()),
    ])
}

async fn recover(
    context: &Context,
    store: &DynStore,
    entries: &[Entry],
    what: &Sought,
    to: Option<&Path>,
    identity: Option<PathBuf>,
) -> Result<Answer, Failure> {
    let Some(identity) = identity.or_else(|| context.config().restore.identity_file.clone()) else {
        return Err(Failure::usage("open a key: give the private key of one of its recipients with --identity"));
    };
    let identities = identities(identity).map_err(Refusal::from).map_err(failure)?;
    let meant: Vec<&Entry> = entries.iter().filter(|entry| what.means(&entry.key)).collect();
    let fingerprint = the_one(&meant, what)?;
    // Whoever may put may have put something else under the same fingerprint: the first that is the key is it.
    let mut reasons = Vec::new();
    for entry in meant.iter().rev() {
        match opened(store, entry, &identities).await {
            Ok(key) => return written(&entry.key, &key, to),
            Err(reason) => reasons.push(format!("{}: {reason}", entry.key)),
        }
    }
    Err(Failure::failed(format!("recover {}@{}: {}", printable(&what.name), fingerprint.short(), reasons.join("; "))))
}

/// The fingerprint that is meant, which must be one.
fn the_one(meant: &[&Entry], what: &Sought) -> Result<Fingerprint, Failure> {
    let name = printable(&what.name);
    let by_fingerprint: BTreeMap<Fingerprint, &EntryKey> = meant.iter().map(|entry| (entry.key.fingerprint, &entry.key)).collect();
    let mut found = by_fingerprint.into_values();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.fingerprint),
        (None, _) => {
            Err(Failure::failed(format!("find the key {name}: none of that name and fingerprint is there; look at `escrow list`")))
        }
        (Some(_), Some(_)) => {
            let mut keys: Vec<&EntryKey> = meant.iter().map(|entry| &entry.key).collect();
            keys.dedup_by_key(|key| key.fingerprint);
            let keys: Vec<String> = keys.into_iter().map(|key| format!("{name}@{} of {}", key.fingerprint.short(), key.stamp)).collect();
            Err(Failure::usage(format!(
                "tell which key {name} is meant: there are {}; give the one whose fingerprint the backup's manifest names (`show SET`)",
                keys.join(", ")
            )))
        }
    }
}

/// The key of an entry, proven by its fingerprint; an earlier version of the entry, where it was written over.
async fn opened(store: &DynStore, entry: &Entry, identities: &Identities) -> Result<Secret, String> {
    let key = entry.key.to_string();
    let versions = match listing::versions(&**store, &key).try_collect::<Vec<_>>().await {
        Ok(versions) => versions.into_iter().filter(|version| version.key == key && !version.is_delete_marker).collect(),
        Err(StoreError::Unsupported(_) | StoreError::AccessDenied(_)) => Vec::new(),
        Err(error) => return Err(format!("failed to {error}")),
    };
    // Listed newest first; the oldest is the one that was meant.
    let mut tried: Vec<Option<String>> = versions.into_iter().rev().map(|version| Some(version.version)).collect();
    if tried.is_empty() {
        tried.push(None);
    }
    let mut reason = String::new();
    for version in tried {
        match proven(store, &entry.key, version.as_deref(), identities).await {
            Ok(secret) => return Ok(secret),
            Err(why) => reason = why,
        }
    }
    Err(reason)
}

async fn proven(store: &DynStore, key: &EntryKey, version: Option<&str>, identities: &Identities) -> Result<Secret, String> {
    let body = store.get(&key.to_string(), Some(0..MOST_ENTRY_BYTES), version).await.map_err(|error| format!("failed to {error}"))?;
    let read = body.stream.try_fold(Vec::new(), |mut whole, piece| async move {
        whole.extend_from_slice(&piece);
        Ok(whole)
    });
    let sealed = read.await.map_err(|error| format!("failed to {error}"))?;
    let opened = open_sealed(&sealed, identities, MOST_KEY_BYTES).map_err(|error| format!("failed to {error}"))?;
    let secret = Secret::new(String::from_utf8(opened).map_err(|_| "it is not UTF-8: somebody else put it there".to_owned())?);
    let taken = take_fingerprint(&key.name, key.fingerprint.salt, &secret).await?;
    if taken == key.fingerprint {
        Ok(secret)
    } else {
        Err("what it holds is another key than its name says: somebody else put it there".to_owned())
    }
}

fn written(key: &EntryKey, secret: &Secret, to: Option<&Path>) -> Result<Answer, Failure> {
    let Some(path) = to else {
        return Ok(Answer::default().text(secret.expose()).json("key", secret.expose()).json("name", key.name.clone()));
    };
    match write_new(path, secret) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Failure::refused(format!(
                "write {}: there is such a file, and it is not written over; name another",
                path.display()
            )));
        }
        Err(error) => return Err(Failure::failed(format!("write {}: {error}", path.display()))),
    }
    let (name, short) = (printable(&key.name), key.fingerprint.short());
    let text = format!("{}: the key {name} ({short}), in escrow since {}, compared with its fingerprint", path.display(), key.stamp);
    Ok(Answer::default()
        .text(text)
        .json("name", key.name.clone())
        .json("fingerprint", key.fingerprint.to_string())
        .json("file", path.display().to_string()))
}

/// Writes a file that nobody else can read, not even while it is written. What is there already, a link that leads nowhere
/// included, is not touched.
fn write_new(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(secret.expose().as_bytes()).and_then(|()| file.sync_all());
    // Half a key would be in the way of the next attempt, and pass for a key.
    written.inspect_err(|_| drop(fs::remove_file(path)))
}
