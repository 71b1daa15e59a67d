//! Where file stores are, and which there are.

mod memory;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use plana_config::{Config, schema::FilestoreSource};
use plana_harness::{Context, Exit, Failure};
use plana_pg::server::Server;
use plana_plan::{
    filestore::{StoreCandidate, looks_unmounted},
    name::printable,
};
use plana_tree::TreeOptions;

pub use self::memory::{Memory, Store};
use crate::filestore::{NamingDatabase, StorePlace};

/// A source and where it is.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in the configuration; for one of the command line, the flag.
    pub key: String,
    /// What is said of it.
    pub config: FilestoreSource,
    /// The root, or the single directory.
    pub path: PathBuf,
}

impl Source {
    /// Those of the command line, or else those of the configuration.
    ///
    /// # Errors
    /// When there are none, or one does not say where it is.
    pub fn all(context: &Context, roots: &[PathBuf], directories: &[PathBuf]) -> Result<Vec<Self>, Failure> {
        let of_root = |path: &PathBuf| Source {
            key: "--root".to_owned(),
            config: FilestoreSource { root: Some(path.clone()), ..FilestoreSource::default() },
            path: path.clone(),
        };
        let of_directory = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let config = FilestoreSource { path: Some(path.clone()), name, ..FilestoreSource::default() };
            Source { key: "--directory".to_owned(), config, path: path.clone() }
        };
        let mut sources: Vec<Source> = roots.iter().map(of_root).chain(directories.iter().map(of_directory)).collect();
        if sources.is_empty() {
            for (key, config) in &context.config().filestore.sources {
                let named = config.path_env.as_deref().and_then(|name| context.env().get(name)).filter(|path| !path.is_empty());
                let path = config.root.clone().or_else(|| named.map(PathBuf::from)).or_else(|| config.path.clone());
                let path = path.ok_or_else(|| {
                    let variable = config.path_env.as_deref().unwrap_or_default();
                    Failure::bad_config(format!("find filestore.sources.{key}: {variable} is not set, and there is no path besides"))
                })?;
                sources.push(Source { key: key.clone(), config: config.clone(), path });
            }
        }
        if sources.is_empty() {
            return Err(Failure::bad_config("find any file store: configure [filestore.sources], or give --root or --directory"));
        }
        Ok(sources)
    }

    /// Under what name the single directory is kept.
    fn single_name(&self) -> String {
        self.config.name.clone().unwrap_or_else(|| self.key.clone())
    }

    /// How its trees are read.
    pub fn tree_options(&self, config: &Config) -> TreeOptions {
        TreeOptions {
            layout: self.config.layout(),
            growing: self.config.growing,
            special: self.config.special,
            exclude: self.config.exclude.clone(),
            workers: config.filestore.workers as usize,
            memory_bytes: config.filestore.memory.0,
        }
    }

    /// Whether a sub-directory of the root is a tenant's. Names with a dot in front are those of file systems and people.
    fn takes(&self, name: &str) -> bool {
        if self.config.names.is_empty() {
            return !name.starts_with('.') && name != "lost+found";
        }
        self.config.names.iter().any(|pattern| pattern.matches(name))
    }
}

/// A file store that is there.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its source.
    pub source: Source,
    /// Under what name it is kept.
    pub name: String,
    /// The tenant's own name.
    pub tenant: String,
    /// Where it is.
    pub place: StorePlace,
}

impl Found {
    /// As the plan sees it.
    pub fn candidate(&self, memory: &Memory) -> StoreCandidate {
        StoreCandidate {
            name: self.name.clone(),
            tenant: self.tenant.clone(),
            source: self.source.key.clone(),
            path: self.place.path(),
            class: self.source.config.class,
            size_bytes: memory.store(&self.name).map(|store| store.content_bytes),
        }
    }
}

impl Found {
    /// The tenant's database, where files are to be looked for.
    pub fn naming_database(&self, config: &Config, server: Option<&Server>) -> Option<NamingDatabase> {
        let server = server.filter(|_| self.source.config.asks_database())?;
        Some(NamingDatabase {
            settings: server.settings().with_database(&self.tenant),
            connect_timeout: config.postgres.connect_timeout.0,
            limit: config.filestore.stall_timeout.0,
        })
    }
}

/// What there is.
#[derive(Debug, Default)]
pub struct Discovered {
    /// By name; more than one is a conflict.
    pub stores: BTreeMap<String, Vec<Found>>,
    /// Directories whose names are not UTF-8.
    pub unnamed: Vec<String>,
    /// Why a source was not taken.
    pub failure: Option<Failure>,
}

impl Discovered {
    /// What may be taken.
    pub fn candidates(&self, memory: &Memory) -> Vec<StoreCandidate> {
        self.stores.values().flatten().map(|found| found.candidate(memory)).collect()
    }
}

/// How long a mount may take at most to say what is in a directory.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks at every source. One that is not to be had keeps the others from nothing.
pub async fn discover(context: &Context, sources: Vec<Source>, memory: &Memory, accept_empty: bool) -> Discovered {
    let mut discovered = Discovered::default();
    let patience = context.config().filestore.stall_timeout.0.min(PATIENCE);
    for source in sources {
        let path = source.path.clone();
        let held = match look(&source, patience).await {
            Ok(listing) => {
                let held = listing.held(&source);
                take_in(&mut discovered, &source, listing);
                Ok(held)
            }
            Err(error) => Err(error),
        };
        match judge(&source, held, memory, accept_empty) {
            Ok(held) => memory.note_source(&path, held),
            Err(failure) => {
                tracing::error!("failed to {}", failure.message);
                discovered.failure = Some(worse(discovered.failure.take(), failure));
            }
        }
    }
    if discovered.stores.is_empty() && discovered.failure.is_none() {
        context.report().warn("no source has any file store: is that right? Look at filestore.sources");
    }
    discovered
}

/// Whether what a source holds can be believed.
fn judge(source: &Source, held: io::Result<u64>, memory: &Memory, accept_empty: bool) -> Result<u64, Failure> {
    let (key, path) = (&source.key, source.path.display());
    let unmounted = looks_unmounted(held.as_ref().ok().copied(), memory.source(&source.path)) && !accept_empty;
    match held {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::failed(format!("list {path} ({key}): {error}; look at the mount, and at its rights")))
        }
        _ if unmounted => {
            let before = memory.source(&source.path).unwrap_or_default().held;
            let what = if source.config.root.is_some() { format!("{before} tenants were") } else { "something was".to_owned() };
            Err(Failure::refused(format!(
                "take {path} ({key}) for empty: {what} in it at the last run, and nothing is there now; is it mounted? If it is meant \
                 to be empty, run once with --accept-empty"
            )))
        }
        Err(_) if accept_empty => Ok(0),
        Err(error) => Err(Failure::bad_config(format!("list {path} ({key}): {error}; mount it, or correct filestore.sources"))),
        Ok(held) => Ok(held),
    }
}

/// The worse of two reasons why a source was not taken: a guard rail that held, then the configuration, then the rest.
fn worse(one: Option<Failure>, other: Failure) -> Failure {
    let rank = |failure: &Failure| match failure.exit {
        Exit::Refused => 2,
        Exit::BadConfig => 1,
        _ => 0,
    };
    match one {
        Some(one) if rank(&one) >= rank(&other) => Failure::new(one.exit, format!("{}; failed to {}", one.message, other.message)),
        Some(one) => Failure::new(other.exit, format!("{}; failed to {}", other.message, one.message)),
        None => other,
    }
}

/// What is in a source.
#[derive(Debug)]
enum Listing {
    Tenants { names: Vec<OsString> },
    Directory { is_empty: bool },
}

impl Listing {
    fn held(&self, source: &Source) -> u64 {
        match self {
            Listing::Tenants { names } => names.iter().filter(|name| source.takes(&name.to_string_lossy())).count() as u64,
            Listing::Directory { is_empty } => u64::from(!is_empty),
        }
    }
}

async fn look(source: &Source, patience: Duration) -> io::Result<Listing> {
    let (path, is_root) = (source.path.clone(), source.config.root.is_some());
    let looking = tokio::task::spawn_blocking(move || if is_root { tenants(&path) } else { directory(&path) });
    match tokio::time::timeout(patience, looking).await {
        Ok(looked) => looked.map_err(io::Error::other)?,
        Err(_elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", patience.as_secs()))),
    }
}

/// All sub-directories, and links, which are refused when it is their turn: a tenant that nobody sees is not backed up.
fn tenants(root: &Path) -> io::Result<Listing> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() || kind.is_symlink() {
            names.push(entry.file_name());
        }
    }
    Ok(Listing::Tenants { names })
}

fn directory(path: &Path) -> io::Result<Listing> {
    Ok(Listing::Directory { is_empty: std::fs::read_dir(path)?.next().transpose()?.is_none() })
}

fn take_in(discovered: &mut Discovered, source: &Source, listing: Listing) {
    let mut add = |name: String, tenant: String, place: StorePlace| {
        let found = Found { source: source.clone(), name: name.clone(), tenant, place };
        discovered.stores.entry(name).or_default().push(found);
    };
    match listing {
        Listing::Directory { .. } => {
            let name = source.single_name();
            add(name.clone(), name, StorePlace::Single(source.path.clone()));
        }
        Listing::Tenants { names } => {
            for name in names.into_iter().filter(|name| source.takes(&name.to_string_lossy())) {
                match name.to_str().map(str::to_owned) {
                    Some(tenant) => {
                        let kept_as = format!("{tenant}{}", source.config.suffix.as_deref().unwrap_or_default());
                        add(kept_as, tenant, StorePlace::Tenant { root: source.path.clone(), name });
                    }
                    None => discovered.unnamed.push(printable(&source.path.join(name).to_string_lossy())),
                }
            }
        }
    }
}
