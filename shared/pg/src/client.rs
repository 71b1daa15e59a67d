//! The installed programs of PostgreSQL.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use plana_plan::pgclient::{Fit, PgVersion, choose_client};

/// A program that comes with PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Dumps one database.
    PgDump,
    /// Dumps what belongs to no database.
    PgDumpAll,
    /// Restores an archive.
    PgRestore,
    /// Runs SQL.
    Psql,
    /// The server itself.
    Postgres,
}

impl Program {
    /// The executable's name.
    pub const fn file_name(self) -> &'static str {
        match self {
            Program::PgDump => "pg_dump",
            Program::PgDumpAll => "pg_dumpall",
            Program::PgRestore => "pg_restore",
            Program::Psql => "psql",
            Program::Postgres => "postgres",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.file_name())
    }
}

/// An installed program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// What it is.
    pub program: Program,
    /// Where it is.
    pub path: PathBuf,
    /// Its version.
    pub version: PgVersion,
    /// Its version as it prints it.
    pub version_text: String,
}

/// The program to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The program.
    pub client: Installed,
    /// How well it fits the server.
    pub fit: Fit,
}

/// Why no program fits. Each message completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// None is installed.
    #[error("find {program}: it is neither in postgres.bin_dirs nor in PATH; install postgresql-client-{major}")]
    NoneFound {
        /// The program.
        program: Program,
        /// The server's major version.
        major: u32,
    },
    /// Each would refuse the server.
    #[error(
        "find a {program} for PostgreSQL {server}: each installed one is older and refuses a newer server ({}); \
         install postgresql-client-{}, or name its directory in postgres.bin_dirs", list(.installed), .server.major
    )]
    AllOlder {
        /// The program.
        program: Program,
        /// The server's version.
        server: PgVersion,
        /// What is installed.
        installed: Vec<Installed>,
    },
}

fn list(installed: &[Installed]) -> String {
    installed.iter().map(|i| format!("{} {}", i.path.display(), i.version)).collect::<Vec<_>>().join(", ")
}

/// Starting a program to ask for its version takes milliseconds, unless its disk is away.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Every installed `program`, in the directories `bin_dirs` (one segment may be or hold `*`) and then in `path`.
pub async fn find(program: Program, bin_dirs: &[String], path: Option<&str>) -> Vec<Installed> {
    let from_path = path.into_iter().flat_map(|path| path.split(':')).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let directories: Vec<PathBuf> = bin_dirs.iter().flat_map(|pattern| expand(pattern)).chain(from_path).collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for directory in directories {
        let path = directory.join(program.file_name());
        let Ok(real) = path.canonicalize() else { continue };
        // Debian's wrapper picks a version by the local clusters, not by the server; the real ones stand elsewhere.
        if real.file_name().is_some_and(|name| name == "pg_wrapper") || !seen.insert(real) {
            continue;
        }
        match version_of(&path).await {
            Ok((version, version_text)) => found.push(Installed { program, path, version, version_text }),
            Err(reason) => tracing::warn!(path = %path.display(), reason, "this program is left aside"),
        }
    }
    found
}

/// The directories that a pattern means, in the order of their names.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let mut directories = vec![PathBuf::new()];
    for segment in Path::new(pattern) {
        let Some(text) = segment.to_str().filter(|text| text.contains('*')) else {
            directories.iter_mut().for_each(|directory| directory.push(segment));
            continue;
        };
        let matches = |name: &str| {
            let (head, tail) = text.split_once('*').unwrap_or((text, ""));
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        };
        let mut next = Vec::new();
        for directory in &directories {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            next.extend(entries.filter(|entry| entry.file_name().to_str().is_some_and(matches)).map(|entry| entry.path()));
        }
        next.sort();
        directories = next;
    }
    directories
}

async fn version_of(path: &Path) -> Result<(PgVersion, String), String> {
    let mut command = tokio::process::Command::new(path);
    command.arg("--version").stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(VERSION_TIMEOUT, command.output()).await.map_err(|_| "it does not tell its version".to_owned())?;
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        return Err(format!("asked for its version it ended with {}", output.status));
    }
    let version = text.parse().map_err(|_| "it prints no version".to_owned())?;
    Ok((version, text))
}

/// The program of the server's own major version, else the oldest newer one.
///
/// # Errors
/// When none is installed, or each is older than the server.
pub fn choose(program: Program, server: PgVersion, installed: &[Installed]) -> Result<Chosen, ClientError> {
    if installed.is_empty() {
        return Err(ClientError::NoneFound { program, major: server.major });
    }
    let versions: Vec<_> = installed.iter().map(|i| i.version).collect();
    let chosen = choose_client(server, &versions).and_then(|(index, fit)| Some(Chosen { client: installed.get(index)?.clone(), fit }));
    chosen.ok_or_else(|| ClientError::AllOlder { program, server, installed: installed.to_vec() })
}
