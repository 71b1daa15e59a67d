//! What a preflight looks for where file stores are.

use std::path::Path;

use plana_harness::{CheckLine, Context, Exit, Failure};

use crate::sources::{self, Discovered, Memory, Source};

/// A line of what keeps a source from being taken.
pub fn check_failure(subject: &str, failure: &Failure) -> CheckLine {
    let (found, advice) = (format!("failed to {}", failure.message), "mend this first: a run would leave it out");
    if failure.exit == Exit::BadConfig { CheckLine::bad_config(subject, found, advice) } else { CheckLine::problem(subject, found, advice) }
}

/// What is in a source, and whether this user can read it.
pub async fn check_source(context: &Context, source: Source, accept_empty: bool) -> Vec<CheckLine> {
    let subject = format!("source {}", source.key);
    let memory = Memory::read(context.state());
    let path = source.path.display().to_string();
    let discovered = sources::discover(context, vec![source], &memory, accept_empty).await;
    if let Some(failure) = &discovered.failure {
        return vec![check_failure(&subject, failure)];
    }
    let mut lines = Vec::new();
    let stores: usize = discovered.stores.values().map(Vec::len).sum();
    lines.push(CheckLine::ok(&subject, format!("{path}: {stores} file store{}", if stores == 1 { "" } else { "s" })));
    for unnamed in &discovered.unnamed {
        lines.push(CheckLine::problem(
            &subject,
            format!("{unnamed} has a name that is not UTF-8"),
            "rename it, or leave it out by `names`",
        ));
    }
    lines.extend(unreadable(&subject, discovered).await);
    lines
}

/// Directories that this user cannot list, and files that it cannot open, as far as one look at each store shows.
async fn unreadable(subject: &str, discovered: Discovered) -> Vec<CheckLine> {
    let subject = subject.to_owned();
    let looking = tokio::task::spawn_blocking(move || {
        let places = discovered.stores.values().flatten().map(|found| found.place.path());
        let line = |(path, error)| {
            CheckLine::problem(&subject, format!("{path} cannot be read: {error}"), "let this job's user read it (its group, or an ACL)")
        };
        places.filter_map(|path| one_look(&path).err().map(|error| (path.display().to_string(), error))).map(line).collect()
    });
    looking.await.unwrap_or_default()
}

/// Lists a store's top, one directory in it, and opens one file there.
fn one_look(path: &Path) -> std::io::Result<()> {
    let mut directory = path.to_path_buf();
    for _ in 0..3 {
        let Some(entry) = std::fs::read_dir(&directory)?.next().transpose()? else { return Ok(()) };
        let kind = entry.file_type()?;
        if kind.is_file() {
            return std::fs::File::open(entry.path()).map(drop);
        }
        if !kind.is_dir() {
            return Ok(());
        }
        directory = entry.path();
    }
    Ok(())
}
