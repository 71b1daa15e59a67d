//! One database, from a set to its place on a server.
//!
//! It is restored under a short random name that no application looks for, with CONNECT revoked and another owner, and takes
//! its own name at the very end: whatever fails before leaves what was there as it was.

mod extensions;
mod finished;
pub(crate) mod load;
mod place;
mod prove;
mod ready;

use std::path::Path;

use plana_pg::{
    client::Installed,
    locks::AdvisoryLocks,
    restore::RestoreOptions,
    scratch::{Admin, grants_create, scratch_name},
};
use plana_plan::{Area, manifest::DatabaseFacts};

use crate::{error::RestoreError, hook::run_hook, read::Reading};
use load::Load;
use ready::Contents;

/// What is restored, from where, and whereto.
pub struct DatabaseRestore<'a> {
    /// The set and how it is read.
    pub reading: Reading<'a>,
    /// The server, and our rights on it.
    pub admin: &'a Admin,
    /// Locks that show others that the unfinished database is in use.
    pub locks: &'a AdvisoryLocks,
    /// The server as its superuser, where it is our own: extensions that only one may make are then made first.
    pub superuser: Option<&'a Admin>,
    /// The chosen pg_restore.
    pub pg_restore: &'a Installed,
    /// How it is run.
    pub options: RestoreOptions,
    /// What the names of unfinished databases begin with.
    pub scratch_prefix: &'a str,
    /// Where an archive is unpacked for a parallel restore.
    pub spool: Option<&'a Path>,
    /// A command that is run before the database takes its name.
    pub hook: Option<&'a str>,
    /// Leave the unfinished database when the restore fails.
    pub keep_failed: bool,
    /// What becomes of the restored database.
    pub purpose: Purpose<'a>,
}

/// What becomes of a restored database.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// It takes this name, which must be free.
    Place(&'a str),
    /// It takes this name; the database that has it is kept under another.
    Replace(&'a str),
    /// It is dropped again: only the proof counts.
    Drill,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The name under which it stands; `None` after a drill.
    pub database: Option<String>,
    /// The name under which the replaced one is kept.
    pub kept_as: Option<String>,
    /// Rows that were counted in it, table by table.
    pub rows: u64,
    /// Tables that were compared.
    pub tables: usize,
    /// What deserves attention.
    pub warnings: Vec<String>,
}

/// Whether a restore could begin: all that it asks before it makes anything, for whoever has much to do before.
///
/// # Errors
/// Why it could not.
pub async fn could_restore(restore: &DatabaseRestore<'_>) -> Result<(), RestoreError> {
    ready::check(restore, facts(restore)?).await.map(drop)
}

/// What the server lacks, each with what to do: what a restore would be refused for, whatever has its name.
///
/// # Errors
/// When that cannot be told.
pub async fn lacking(restore: &DatabaseRestore<'_>) -> Result<Vec<String>, RestoreError> {
    Ok(ready::look(restore, facts(restore)?).await?.1)
}

fn facts<'a>(restore: &DatabaseRestore<'a>) -> Result<&'a DatabaseFacts, RestoreError> {
    let set = restore.reading.set;
    let refused = || RestoreError::Refused(format!("restore {}: it is no dump of a database; use `fetch`", set.key));
    set.manifest.database.as_ref().ok_or_else(refused)
}

/// Restores one database, proves it, and puts it in its place.
///
/// # Errors
/// Whatever failed first; nothing was put in place then.
pub async fn restore_database(restore: &DatabaseRestore<'_>) -> Result<Restored, RestoreError> {
    let (set, facts) = (restore.reading.set, facts(restore)?);
    let contents = ready::check(restore, facts).await?;
    let random = getrandom::u32().map_err(|error| RestoreError::Internal(format!("no random number can be had: {error}")))?;
    let scratch = scratch_name(restore.scratch_prefix, random);
    // Before it is made, until it has its place or is gone: no sweep takes it for what a killed run left.
    let taken = restore.locks.try_lock(Area::Pg, &scratch).await.map_err(|error| RestoreError::Internal(error.to_string()))?;
    let lock = taken.ok_or_else(|| RestoreError::Internal(format!("another restore uses the random name {scratch}")))?;
    restore.admin.create_database(&scratch, &load::new_database(facts)).await?;
    tracing::info!(database = scratch, "restoring {}", set.key);
    let lost = lock.lost();
    let restored = tokio::select! {
        restored = fill(restore, facts, &contents, &scratch) => restored,
        () = lost.cancelled() => Err(RestoreError::LockLost),
    };
    match (&restored, restore.purpose) {
        (Ok(_), Purpose::Place(_) | Purpose::Replace(_)) => {}
        (Err(_), _) if restore.keep_failed => {
            restore.admin.keep(&scratch).await?;
            tracing::warn!(database = scratch, "the unfinished database is left for a look; drop it when you are done");
        }
        _ => discard(restore, &scratch).await,
    }
    lock.release().await;
    restored
}

async fn fill(restore: &DatabaseRestore<'_>, facts: &DatabaseFacts, contents: &Contents, scratch: &str) -> Result<Restored, RestoreError> {
    let work = async {
        let prepared = extensions::prepare(restore, contents, scratch).await?;
        if let Some(superuser) = restore.superuser {
            superuser.make_roles(&contents.policy_roles).await?;
        }
        restore.admin.allow_in_public(scratch, &contents.owners, true).await?;
        let mut warnings = prepared.warnings.clone();
        let expected = prove::expected(restore, facts);
        let loaded = load::load(Load { restore, options: &prepared.options, work: &contents.work, expected: &expected, scratch }).await?;
        warnings.extend(loaded.warnings);
        let borrowed = contents.owners.iter().filter(|role| !grants_create(&contents.public_acl, role)).cloned().collect();
        restore.admin.allow_in_public(scratch, &borrowed, false).await?;
        let (rows, tables) = prove::prove(restore, facts, &expected, scratch, loaded.early).await?;
        tracing::info!(rows, tables, "every table has the rows that the manifest names");
        if let Some(command) = restore.hook {
            run_hook(command, restore.admin.server(), scratch).await?;
        }
        Ok((rows, tables, warnings))
    };
    let worked = restore.reading.cancel.run_until_cancelled(work).await;
    let (rows, tables, mut warnings) = worked.unwrap_or(Err(RestoreError::Cancelled))?;
    // From here on a signal is too late: the steps are short, and each leaves either the old database or the new one whole.
    let placed = place::place(restore, facts, scratch, &mut warnings).await?;
    Ok(Restored { database: placed.database, kept_as: placed.kept_as, rows, tables, warnings })
}

/// Drops what is not wanted; what cannot be dropped is named, and no dump ever takes it.
async fn discard(restore: &DatabaseRestore<'_>, scratch: &str) {
    if let Err(error) = restore.admin.drop_database(scratch, restore.scratch_prefix).await {
        tracing::warn!(database = scratch, "an unfinished database stays behind: failed to {error}");
    }
}
