//! pg_restore as a child.
//!
//! It reads the archive as a stream, one table after the other, or from a file with several jobs.
//! The exit status decides here too: [`Running::wait`] must say that all is restored before anybody
//! uses the database.

mod failure;
mod select;
mod step;

use std::{ffi::OsString, path::Path};

use plana_plan::pgclient::PgVersion;

pub use crate::child::{ConnectionFailure, Finished};
use crate::{
    child::{Input, Launch, Running},
    client::Installed,
    dsn::{ConnectionSettings, conninfo_item},
    session,
};
pub use failure::{RestoreError, RestoreFailure};
pub use step::RestoreStep;

/// Where pg_restore finds the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveSource<'a> {
    /// It is written into [`Running::take_stdin`].
    Stream,
    /// It is this file, in which pg_restore can seek. Its steps are told: [`Running::take_steps`].
    File(&'a Path),
}

/// A part of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// What the data needs: schemas, types, functions, tables.
    PreData,
    /// Rows, large objects and the values of sequences.
    Data,
    /// What is faster or only possible once the data is there: indexes, constraints, triggers.
    PostData,
}

impl Section {
    /// The name that pg_restore gives it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Section::PreData => "pre-data",
            Section::Data => "data",
            Section::PostData => "post-data",
        }
    }
}

/// How an archive is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreOptions {
    /// How many connections restore at once, from a file; a stream has one.
    pub jobs: u32,
    /// Everything belongs to the role that restores it, or to `role`.
    pub no_owner: bool,
    /// Leaves the grants out.
    pub no_privileges: bool,
    /// The role that restores, where it is not the one that connects.
    pub role: Option<String>,
    /// (schema, table): only these, without their indexes and constraints. Empty for everything.
    pub tables: Vec<(String, String)>,
    /// Only these sections. Empty for all.
    pub sections: Vec<Section>,
    /// Further arguments.
    pub extra_args: Vec<String>,
    /// Further settings of its sessions, such as (`maintenance_work_mem`, `1GB`).
    pub session: Vec<(String, String)>,
    /// How far it stands back for others, 0 to 19.
    pub nice: u8,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        RestoreOptions {
            jobs: 1,
            no_owner: false,
            no_privileges: false,
            role: None,
            tables: Vec::new(),
            sections: Vec::new(),
            extra_args: Vec::new(),
            session: Vec::new(),
            nice: 0,
        }
    }
}

/// A running restore. Dropped, it is told to stop.
pub type RestoreChild = Running<RestoreFailure>;

/// Starts `pg_restore --exit-on-error` into the settings' database.
///
/// # Errors
/// When it cannot be started, or the tables cannot be told to it.
pub async fn start_restore(
    client: &Installed,
    server: PgVersion,
    settings: &ConnectionSettings,
    source: ArchiveSource<'_>,
    options: &RestoreOptions,
) -> Result<RestoreChild, RestoreError> {
    let what = settings.database().to_owned();
    let mut arguments = arguments(options);
    arguments.extend(select::arguments(&what, &options.tables)?);
    let (input, file) = match source {
        ArchiveSource::Stream => (Input::Piped, None),
        ArchiveSource::File(path) => {
            arguments.push(format!("--jobs={}", options.jobs.max(1)).into());
            arguments.push("--verbose".into());
            (Input::Null, Some(path))
        }
    };
    arguments.extend(options.extra_args.iter().map(OsString::from));
    let mut session = session::patient_writer(server);
    // The database counts only after a later transaction, of another session, has given it its name, and that one's commit
    // reaches the disk with everything before it: none of these thousands has to wait for it.
    session.push(("synchronous_commit", "off"));
    let session = session::with(session, &options.session);
    // Without the argument pg_restore writes SQL to its output and touches no database.
    let conninfo = Some(conninfo_item("dbname", settings.database()));
    let tells_steps = file.is_some();
    let launch = Launch { client, settings, session, conninfo, arguments, file, input, nice: options.nice, tells_steps, what };
    let mut restore = RestoreChild::start(launch).await?;
    // It has nothing to say there: should it try, it fails and does not wait for a reader.
    drop(restore.take_stdout());
    Ok(restore)
}

fn arguments(options: &RestoreOptions) -> Vec<OsString> {
    let mut arguments = vec![OsString::from("--exit-on-error"), OsString::from("--no-password")];
    if options.no_owner {
        arguments.push("--no-owner".into());
    }
    if options.no_privileges {
        arguments.push("--no-privileges".into());
    }
    arguments.extend(options.role.iter().map(|role| format!("--role={role}").into()));
    arguments.extend(options.sections.iter().map(|section| format!("--section={}", section.as_str()).into()));
    arguments
}
