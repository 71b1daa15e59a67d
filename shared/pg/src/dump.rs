//! pg_dump and pg_dumpall as children that stream.
//!
//! The exit status decides. A child that is killed, or that fails after it closed its pipe, looks
//! like success to whoever reads only the pipe: [`Running::wait`] must say so before anybody
//! commits what was read.

mod failure;

use std::{ffi::OsString, time::Duration};

use plana_plan::pgclient::PgVersion;

pub use crate::child::Finished;
use crate::{
    child::{Input, Launch, Running},
    client::Installed,
    dsn::{ConnectionSettings, conninfo_item},
    session,
};
pub use failure::{DumpError, DumpFailure};

/// How a dump is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpOptions {
    /// How long it waits for a table's lock.
    pub lock_wait_timeout: Duration,
    /// How far it stands back for others, 0 to 19.
    pub nice: u8,
    /// Further arguments.
    pub extra_args: Vec<String>,
    /// Further settings of its session, such as (`timezone`, `UTC`).
    pub session: Vec<(String, String)>,
}

impl Default for DumpOptions {
    fn default() -> Self {
        DumpOptions { lock_wait_timeout: Duration::from_secs(300), nice: 0, extra_args: Vec::new(), session: Vec::new() }
    }
}

/// What a server may be set to that changes how pg_dump writes the same content. Dates, intervals and floats it settles itself.
/// `lc_monetary` stays: amounts of the type money are read back by it.
const FORM: [(&str, &str); 4] =
    [("timezone", "UTC"), ("bytea_output", "hex"), ("standard_conforming_strings", "on"), ("quote_all_identifiers", "off")];

impl DumpOptions {
    /// The same for a dump of a snapshot in a form that depends on the content alone, by a pg_dump of that version. It fails where
    /// texts are not what the database's encoding says.
    #[must_use]
    pub fn of_content(&self, snapshot: &str, pg_dump: PgVersion) -> Self {
        let mut options = self.clone();
        options.extra_args.extend([format!("--snapshot={snapshot}"), "--encoding=UTF8".to_owned()]);
        if pg_dump.major >= 18 {
            options.extra_args.push("--no-statistics".to_owned());
        }
        options.session.extend(FORM.map(|(name, value)| (name.to_owned(), value.to_owned())));
        options
    }
}

/// A running dump. Dropped, it is told to stop.
pub type DumpChild = Running<DumpFailure>;

/// Starts `pg_dump -Fc -Z0` of the settings' database.
///
/// # Errors
/// When it cannot be started.
pub async fn start_dump(
    client: &Installed,
    server: PgVersion,
    settings: &ConnectionSettings,
    options: &DumpOptions,
) -> Result<DumpChild, DumpError> {
    let arguments = ["--format=custom", "--compress=0", "--no-password"].map(OsString::from);
    start(client, server, settings, options, arguments.into(), settings.database().to_owned()).await
}

/// Starts `pg_dumpall --globals-only`: roles, tablespaces and their settings, as SQL.
///
/// # Errors
/// When it cannot be started.
pub async fn start_globals(
    client: &Installed,
    server: PgVersion,
    settings: &ConnectionSettings,
    role_passwords: bool,
    options: &DumpOptions,
) -> Result<DumpChild, DumpError> {
    let mut arguments = vec![OsString::from("--globals-only"), OsString::from("--no-password")];
    if !role_passwords {
        arguments.push("--no-role-passwords".into());
    }
    // pg_dumpall takes no PGDATABASE, and reads this argument as a connection string where it can.
    arguments.push(format!("--database={}", conninfo_item("dbname", settings.database())).into());
    start(client, server, settings, options, arguments, "the globals".to_owned()).await
}

async fn start(
    client: &Installed,
    server: PgVersion,
    settings: &ConnectionSettings,
    options: &DumpOptions,
    mut arguments: Vec<OsString>,
    what: String,
) -> Result<DumpChild, DumpError> {
    arguments.push(format!("--lock-wait-timeout={}", options.lock_wait_timeout.as_millis()).into());
    arguments.extend(options.extra_args.iter().map(OsString::from));
    let session = session::with(session::patient(server), &options.session);
    let (input, nice) = (Input::Null, options.nice);
    Running::start(Launch { client, settings, session, conninfo: None, arguments, file: None, input, nice, tells_steps: false, what }).await
}
