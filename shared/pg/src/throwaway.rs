//! A server of our own, for as long as somebody needs it: made with `initdb`, reached by a socket that nobody else can
//! open, without fsync, and removed again whatever happens.
//!
//! It ends with this process: the kernel tells it so when this process is killed. What a kill leaves is its directory,
//! which the next one to be made removes ([`sweep`]).

mod account;
mod error;
mod leftovers;

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use plana_plan::name::printable;
use rustix::process::Signal;
use tempfile::TempDir;

pub use self::{error::ThrowawayError, leftovers::sweep};
use crate::{
    child::{Account, Child, ChildCommand, Input},
    client::Installed,
    dsn::{ChildConnection, ConnectionSettings, Environment, conninfo_item},
    server::{Server, close, connect},
};

/// What the names of their directories begin with.
const PREFIX: &str = "plana-drill-";
/// The file that is locked for as long as a server is needed.
const LOCK: &str = "in-use";
/// Its superuser, who has a password that nobody is told.
const SUPERUSER: &str = "plana_drill_superuser";
/// The role that restores: it may make databases, and reads its own rows whatever policies say.
const ROLE: &str = "plana_drill";
/// It is in the socket's name, and means nothing else.
const PORT: u16 = 5432;
/// The longest path of a socket that Linux knows.
const SOCKET_PATH_BYTES: usize = 107;
/// Making a cluster takes a second or two.
const START_LIMIT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// Whether a server could run as that user here.
///
/// # Errors
/// When there is no such user, or it is root.
pub fn check_user(user: &str) -> Result<(), ThrowawayError> {
    account::to_run_as(user).map(drop)
}

/// How a server of our own is made.
#[derive(Debug, Clone, Copy)]
pub struct ThrowawayOptions<'a> {
    /// The program `postgres`; `initdb` stands beside it.
    pub postgres: &'a Installed,
    /// The directory that its own is made in.
    pub parent: &'a Path,
    /// As which user of this system it runs when we are root, which PostgreSQL refuses.
    pub user: &'a str,
}

/// A server of our own. [`Throwaway::stop`] ends and removes it; dropped, it is told to end.
#[derive(Debug)]
pub struct Throwaway {
    // In this order: the server is told to end before its directory goes.
    child: Child,
    superuser: Server,
    role: ConnectionSettings,
    // Held until all is gone.
    _lock: File,
    directory: TempDir,
}

impl Throwaway {
    /// Makes a cluster and starts its server.
    ///
    /// # Errors
    /// When a program is missing or fails, or the directory cannot be used. Nothing is left then.
    pub async fn start(options: ThrowawayOptions<'_>) -> Result<Self, ThrowawayError> {
        let account = account::to_run_as(options.user)?;
        let (directory, lock) = make_directory(options.parent, account)?;
        let path = directory.path();
        let password = random_hex().map_err(|source| ThrowawayError::Directory { path: path.to_path_buf(), source })?;
        init(options.postgres, path, account, &password).await?;
        let mut child = run(options.postgres, path, account).await?;
        match open(&mut child, options.postgres, path, &password).await {
            Ok((superuser, role)) => Ok(Throwaway { child, superuser, role, _lock: lock, directory }),
            Err(error) => {
                child.stop().await.map(drop).unwrap_or_else(|error| tracing::debug!(%error, "a server's end is unknown"));
                Err(error)
            }
        }
    }

    /// How the role that restores reaches it; it may make databases and is no superuser.
    pub fn settings(&self) -> &ConnectionSettings {
        &self.role
    }

    /// The server as its superuser sees it, for what only one may do.
    pub fn superuser(&self) -> &Server {
        &self.superuser
    }

    /// Where its data lie.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Ends the server and removes all of it.
    ///
    /// # Errors
    /// When something could not be removed; the next sweep tries again.
    pub async fn stop(mut self) -> Result<(), ThrowawayError> {
        let path = self.directory.path().to_path_buf();
        let failed = |source| ThrowawayError::Directory { path: path.clone(), source };
        self.child.stop().await.map_err(failed)?;
        let removed = tokio::task::spawn_blocking(move || self.directory.close()).await;
        removed.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
    }
}

fn make_directory(parent: &Path, account: Option<Account>) -> Result<(TempDir, File), ThrowawayError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| ThrowawayError::Directory { path: path.clone(), source }
    };
    let directory = tempfile::Builder::new().prefix(PREFIX).permissions(fs::Permissions::from_mode(0o700)).tempdir_in(parent);
    let directory = directory.map_err(failed(parent))?;
    let path = directory.path();
    let lock = leftovers::lock_new(&path.join(LOCK)).map_err(failed(path))?;
    let socket = path.join(format!(".s.PGSQL.{PORT}"));
    if socket.as_os_str().len() > SOCKET_PATH_BYTES {
        return Err(ThrowawayError::LongPath { path: socket });
    }
    // Only the server's own user enters it, and root.
    if let Some(Account { uid, gid }) = account {
        chown(path, Some(uid), Some(gid)).map_err(failed(path))?;
    }
    Ok((directory, lock))
}

fn random_hex() -> io::Result<String> {
    let mut random = [0u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn command(program: PathBuf, arguments: Vec<OsString>, account: Option<Account>) -> ChildCommand {
    let mut connection = ChildConnection::none();
    connection.remove.push("PGDATA");
    // The death signal of a server: at once, whoever is connected.
    ChildCommand { program, arguments, input: Input::Null, connection, nice: 0, stop: Signal::QUIT, account, steps: None }
}

/// `initdb`, with a password for the superuser that only we know.
async fn init(postgres: &Installed, directory: &Path, account: Option<Account>, password: &str) -> Result<(), ThrowawayError> {
    let program = postgres.path.with_file_name("initdb");
    let failed = |reason: String| ThrowawayError::Program { program: program.clone(), reason };
    let secret = directory.join("superuser");
    let written = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&secret)?;
        io::Write::write_all(&mut file, password.as_bytes())?;
        account.map_or(Ok(()), |Account { uid, gid }| chown(&secret, Some(uid), Some(gid)))
    };
    written().map_err(|source| ThrowawayError::Directory { path: secret.clone(), source })?;
    let mut arguments: Vec<OsString> =
        ["--auth-local=scram-sha-256", "--auth-host=reject", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
            .map(OsString::from)
            .into();
    arguments.push(format!("--username={SUPERUSER}").into());
    for (option, path) in [("--pwfile", secret.clone()), ("-D", directory.join("data"))] {
        arguments.extend([option.into(), path.into()]);
    }
    let mut child = Child::start(command(program.clone(), arguments, account)).await.map_err(|error| failed(error.to_string()))?;
    // It tells of its steps, and ends when nobody listens.
    let listener = child.take_stdout().map(|mut output| tokio::task::spawn_blocking(move || io::copy(&mut output, &mut io::sink())));
    let exit = match tokio::time::timeout(START_LIMIT, child.wait()).await {
        Ok(exit) => exit.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("it did not end within {} s", START_LIMIT.as_secs()))),
    };
    drop(listener);
    fs::remove_file(&secret).map_err(|source| ThrowawayError::Directory { path: secret, source })?;
    if exit.status.success() { Ok(()) } else { Err(failed(said(&exit.stderr, &exit.status.to_string()))) }
}

async fn run(postgres: &Installed, directory: &Path, account: Option<Account>) -> Result<Child, ThrowawayError> {
    let failed = |reason: String| ThrowawayError::Program { program: postgres.path.clone(), reason };
    let hba = directory.join("pg_hba.conf");
    // Whoever can open the socket is that role; the superuser must know the password, also a function of a dump.
    let access = format!("local all {ROLE} trust\nlocal all all scram-sha-256\n");
    fs::write(&hba, access).map_err(|source| ThrowawayError::Directory { path: hba.clone(), source })?;
    let settings = [
        ("listen_addresses", String::new()),
        ("port", PORT.to_string()),
        ("unix_socket_directories", directory.display().to_string()),
        ("unix_socket_permissions", "0700".to_owned()),
        ("hba_file", hba.display().to_string()),
        ("fsync", "off".to_owned()),
        ("full_page_writes", "off".to_owned()),
        ("synchronous_commit", "off".to_owned()),
        ("wal_level", "minimal".to_owned()),
        ("max_wal_senders", "0".to_owned()),
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("lc_messages", "C".to_owned()),
        // Many drills at once may have many jobs each.
        ("max_connections", "200".to_owned()),
    ];
    let mut arguments = vec![OsString::from("-D"), directory.join("data").into()];
    for (name, value) in settings {
        arguments.extend(["-c".into(), format!("{name}={value}").into()]);
    }
    let mut child = Child::start(command(postgres.path.clone(), arguments, account)).await.map_err(|error| failed(error.to_string()))?;
    drop(child.take_stdout());
    Ok(child)
}

/// Waits until it answers, and makes the role that restores.
async fn open(
    child: &mut Child,
    postgres: &Installed,
    directory: &Path,
    password: &str,
) -> Result<(Server, ConnectionSettings), ThrowawayError> {
    let settings = |user: &str, password: Option<&str>| {
        let mut items = vec![
            conninfo_item("host", &directory.display().to_string()),
            conninfo_item("port", &PORT.to_string()),
            conninfo_item("user", user),
            conninfo_item("dbname", "postgres"),
            conninfo_item("application_name", "plana-jobs/drill"),
        ];
        items.extend(password.map(|password| conninfo_item("password", password)));
        ConnectionSettings::resolve(Some(&items.join(" ")), &Environment::new()).map_err(|error| ThrowawayError::Server(error.into()))
    };
    let (superuser, role) = (settings(SUPERUSER, Some(password))?, settings(ROLE, None)?);
    let begun = Instant::now();
    let server = loop {
        let error = match Server::connect(&superuser, START_LIMIT).await {
            Ok(server) => break server,
            Err(error) => error,
        };
        if child.process().has_ended() {
            let exit = child.wait().await;
            let reason = exit.map_or_else(|error| error.to_string(), |exit| said(&exit.stderr, &exit.status.to_string()));
            return Err(ThrowawayError::Program { program: postgres.path.clone(), reason });
        }
        if begun.elapsed() > START_LIMIT {
            return Err(error.into());
        }
        tokio::time::sleep(PAUSE).await;
    };
    let (mut connection, _) = connect(server.settings(), START_LIMIT).await?;
    let made = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE ROLE {ROLE} LOGIN CREATEDB BYPASSRLS"))).execute(&mut connection).await;
    close(connection).await;
    made.map_err(|error| crate::server::ServerError::from_query("make the role that restores", server.settings(), error))?;
    Ok((server, role))
}

/// What a program said last, else how it ended.
fn said(stderr: &[String], status: &str) -> String {
    let lines: Vec<&str> = stderr.iter().rev().map(|line| line.trim()).filter(|line| !line.is_empty()).take(3).collect();
    if lines.is_empty() {
        return format!("it ended with {status}");
    }
    printable(&lines.into_iter().rev().collect::<Vec<_>>().join("; "))
}
