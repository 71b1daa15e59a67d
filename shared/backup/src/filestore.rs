//! One file store, from its directory to a committed set.

use std::{ffi::OsString, os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc, time::Duration};

use chrono::Utc;
use plana_archive::{Compression, Gzip, Zstandard};
use plana_config::{Config, schema::TarballCompression};
use plana_pg::{attachments, dsn::ConnectionSettings, server::ServerError};
use plana_plan::{
    Area, SetLabel, Stamp,
    attachment::{AttachmentName, NamedFiles},
    classify::Classified,
    manifest::{FileStoreFacts, Manifest, PathList},
};
use plana_tree::{Place, Stop, TreeError, TreeOptions, archive};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;

use crate::{
    commit::{Committed, commit},
    error::BackupError,
    escrow::KeyNeeds,
    payload::{Content, Meter, PayloadKind, PayloadStream, stream_payload},
    target::{Origin, Patience, Target, begin_set, compression_workers, cpus},
};

/// A directory to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// A sub-directory of a root, which is never reached through a link.
    Tenant {
        /// The root.
        root: PathBuf,
        /// The sub-directory's name.
        name: OsString,
    },
    /// A directory that the configuration names.
    Single(PathBuf),
}

impl StorePlace {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        match self {
            StorePlace::Tenant { root, name } => root.join(name),
            StorePlace::Single(path) => path.clone(),
        }
    }

    fn open(&self) -> Result<Place, TreeError> {
        let opened = match self {
            StorePlace::Tenant { root, name } => Place::open_beneath(root, name),
            StorePlace::Single(path) => Place::open(path),
        };
        opened.map_err(|source| TreeError::of_top(&self.path(), source))
    }
}

/// The database that names a store's files.
pub struct NamingDatabase {
    /// How it is reached.
    pub settings: ConnectionSettings,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub limit: Duration,
}

/// What names a store's files.
pub enum Naming<'a> {
    /// Nobody: whether files are missing is not asked.
    Unknown,
    /// The rows of a database, as they are when the work begins. What they name and the store lacks is listed.
    Database(&'a NamingDatabase),
    /// A dump that was just made of a database. What it names, the store lacks and the database no longer names was removed
    /// since: then there is no set, for nobody could restore that dump whole.
    Dump(&'a NamedFiles, &'a NamingDatabase),
}

/// What may be wrong with a file store that is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// Anything: it is listed, and the item is partial. Most of a file store is better than nothing.
    Anything,
    /// What was wrong with it before: no file that was not archived as it was.
    Whole,
    /// Nothing at all.
    Faultless,
}

impl Accepts {
    fn judge(self, facts: &FileStoreFacts) -> Result<(), BackupError> {
        let (missing, damaged) = (facts.missing.total, facts.damaged.total);
        if self != Accepts::Anything && !facts.is_whole() {
            return Err(BackupError::NotWhole(summary(&facts.not_whole, "not archived as they were")));
        }
        if self == Accepts::Faultless && missing + damaged > 0 {
            let lists = complaints(facts).join("; ");
            return Err(BackupError::Faulty { missing, damaged, lists });
        }
        Ok(())
    }
}

/// What is taken, and how.
pub struct FileStoreDump<'a> {
    /// The directory.
    pub place: &'a StorePlace,
    /// The name under which it is kept.
    pub name: &'a str,
    /// The source's name in the configuration.
    pub source: &'a str,
    /// How the tree is read.
    pub options: &'a TreeOptions,
    /// How the tarball is compressed.
    pub compression: Compression,
    /// What names its files.
    pub naming: Naming<'a>,
    /// What may be wrong with it.
    pub accepts: Accepts,
    /// About how many bytes will be stored, where that is remembered.
    pub hint_bytes: u64,
    /// How long all of it may take.
    pub timeout: Duration,
    /// Where the set goes: `filestore`, or `insurance-filestore`.
    pub area: Area,
    /// What it is and how long the set is kept.
    pub classified: &'a Classified,
    /// The set's label; for insurance with its until.
    pub label: SetLabel,
    /// The set's stamp: now, or when the operation was begun that it insures.
    pub stamp: Stamp,
    /// The keys that its content needs.
    pub keys: &'a KeyNeeds,
}

/// How tarballs are compressed, for `jobs` at the same time.
pub fn tarball_compression(config: &Config, jobs: u32) -> Compression {
    let workers = compression_workers(cpus(), jobs);
    let level = config.filestore.compression_level;
    match config.filestore.compression {
        TarballCompression::Gzip => Compression::Gzip(Gzip { level: level.unwrap_or(6), workers }),
        TarballCompression::Zstd => Compression::Zstd(Zstandard { level: level.unwrap_or(3), workers }),
    }
}

/// How long a file store may stand still.
pub fn patience(config: &Config) -> Patience {
    Patience {
        after: config.filestore.stall_timeout.0,
        key: "filestore.stall_timeout",
        look: "whether the file system answers (an NFS mount may hang), and at the connection to the store",
    }
}

/// Directories are held open while their files are read ahead: as many files as may be open, not only as many as old programs
/// can bear.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of open files stays: {error}");
    }
}

/// Takes one file store into one committed set, or leaves nothing that counts. What is wrong with single files stands in
/// the manifest, and in the warnings.
///
/// # Errors
/// Whatever failed first; nothing is committed then.
pub async fn dump_file_store(
    target: &Target,
    origin: &Origin,
    dump: &FileStoreDump<'_>,
    meter: &Meter,
    cancel: &CancellationToken,
) -> Result<Committed, BackupError> {
    // The deadline ends the work like a cancellation does, and is told apart by whether anybody cancelled.
    let late = cancel.child_token();
    let made = make(target, origin, dump, meter, &late);
    tokio::pin!(made);
    tokio::select! {
        made = &mut made => return made,
        () = tokio::time::sleep(dump.timeout) => late.cancel(),
    }
    match made.await {
        Err(BackupError::Cancelled) if !cancel.is_cancelled() => Err(BackupError::Deadline { after: dump.timeout }),
        made => made,
    }
}

async fn make(
    target: &Target,
    origin: &Origin,
    dump: &FileStoreDump<'_>,
    meter: &Meter,
    cancel: &CancellationToken,
) -> Result<Committed, BackupError> {
    dump.keys.require_escrow()?;
    let started_at = Utc::now();
    let set = begin_set(dump.area, dump.name, dump.label.clone(), dump.stamp)?;
    let mut warnings = Vec::new();
    // Before the tree is read: a file is written before the row that names it is committed.
    let named = match &dump.naming {
        Naming::Unknown => None,
        Naming::Dump(named, _) => Some((*named).clone()),
        Naming::Database(database) => match cancel.run_until_cancelled(named(database)).await.ok_or(BackupError::Cancelled)? {
            Ok(named) => Some(named),
            Err(error) => {
                warnings.push(format!("whether files are missing was not asked: failed to {error}"));
                None
            }
        },
    };

    let stop = Stop::default();
    let (place, options, stopping) = (dump.place.clone(), dump.options.clone(), stop.clone());
    let facts = FileStoreFacts::new(options.layout, dump.source, dump.place.path().as_os_str().as_bytes());
    let produce = move |content: Content<'_>| read_tree(&place, &options, &stopping, facts, named, content);
    let kind = PayloadKind { suffix: ".tar", format: "tar", compression: dump.compression };
    let stream = PayloadStream { target, set: &set, kind, hint_bytes: dump.hint_bytes, meter, cancel };
    let (pending, (mut facts, named)) = stream_payload(stream, move || stop.stop(), produce).await?;
    if let Some(named) = &named {
        facts.named_by_database = Some(named.len() as u64);
        match missing(named, &dump.naming, &mut warnings).await {
            Ok(missing) => facts.missing = missing,
            Err(error) => {
                pending.abandon().await;
                return Err(error);
            }
        }
    }
    if let Err(error) = dump.accepts.judge(&facts) {
        pending.abandon().await;
        return Err(error);
    }
    let payload = pending.complete().await?;

    warnings.extend(complaints(&facts));
    warnings.extend(dump.keys.complaints.iter().cloned());
    let manifest = Manifest {
        class: Some(dump.classified.class.to_string()),
        tier: dump.classified.tier.clone(),
        filestore: Some(facts),
        encryption: target.encryption(),
        requires_key: dump.keys.required.clone(),
        ..Manifest::new(&set, dump.name, origin.made_by(started_at, Utc::now()), payload)
    };
    commit(&target.store, set, manifest, warnings).await
}

fn read_tree(
    place: &StorePlace,
    options: &TreeOptions,
    stop: &Stop,
    mut facts: FileStoreFacts,
    mut named: Option<NamedFiles>,
    content: Content<'_>,
) -> Result<(FileStoreFacts, Option<NamedFiles>), BackupError> {
    let place = Arc::new(place.open()?);
    let mut see = |name: &AttachmentName| {
        if let Some(named) = &mut named {
            named.see(name);
        }
    };
    match archive(&place, options, stop, content, &mut facts, &mut see) {
        Ok(_) => Ok((facts, named)),
        Err(TreeError::Output(error)) => Err(BackupError::Encode(error)),
        Err(TreeError::Stopped) => Err(BackupError::Cancelled),
        Err(error) => Err(error.into()),
    }
}

async fn named(database: &NamingDatabase) -> Result<NamedFiles, ServerError> {
    attachments::named_files(&database.settings, database.connect_timeout, database.limit).await
}

/// The files that were named before the tree was read, were not in it, and are still named.
async fn missing(named: &NamedFiles, naming: &Naming<'_>, warnings: &mut Vec<String>) -> Result<PathList, BackupError> {
    let (mut missing, mut removed) = (PathList::default(), PathList::default());
    let lacking: Vec<AttachmentName> = named.lacking().copied().collect();
    let (Naming::Database(database) | Naming::Dump(_, database)) = naming else { return Ok(missing) };
    if lacking.is_empty() {
        return Ok(missing);
    }
    let is_dump = matches!(naming, Naming::Dump(..));
    match attachments::still_named(&database.settings, &lacking, database.connect_timeout, database.limit).await {
        Ok(still) => {
            for name in &lacking {
                let list = if still.contains(name) { &mut missing } else { &mut removed };
                list.add(name.to_string().as_bytes(), None);
            }
        }
        Err(error) if is_dump => return Err(error.into()),
        Err(error) => {
            warnings.push(format!("whether missing files are still named could not be asked again: failed to {error}"));
            let reason = || Some("whether it is still named could not be asked".to_owned());
            lacking.iter().for_each(|name| missing.add(name.to_string().as_bytes(), reason()));
        }
    }
    if is_dump && removed.total > 0 { Err(BackupError::FilesRemoved(summary(&removed, "removed"))) } else { Ok(missing) }
}

/// What deserves attention; what is not whole is more than that, and said elsewhere.
fn complaints(facts: &FileStoreFacts) -> Vec<String> {
    let told = [
        (&facts.damaged, "damaged: the content is not what the name says; the tarball has it as it is"),
        (&facts.missing, "missing: the database names it, and the store does not have it"),
        (&facts.skipped, "special"),
    ];
    told.into_iter().filter(|(list, _)| list.total > 0).map(|(list, what)| summary(list, what)).collect()
}

/// `3 files are damaged: …, such as ab/abcd`.
pub fn summary(list: &PathList, what: &str) -> String {
    /// More would fill a terminal; the manifest has them.
    const SHOWN: usize = 3;
    let shown: Vec<String> = list
        .listed
        .iter()
        .take(SHOWN)
        .map(|listed| match &listed.reason {
            Some(reason) => format!("{} ({reason})", listed.path),
            None => listed.path.clone(),
        })
        .collect();
    let (s, more) = (if list.total == 1 { "" } else { "s" }, if list.total as usize > SHOWN { ", …" } else { "" });
    format!("{} file{s} {what}: {}{more}", list.total, shown.join(", "))
}
