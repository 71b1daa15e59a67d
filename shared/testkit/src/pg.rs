//! Throwaway PostgreSQL servers.

mod install;
mod template;

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::process::{Home, Port, START_LIMIT, Server, Signal, clean, give_away, lock, random_suffix, send, unprivileged};
pub use install::PgMajor;
pub(crate) use install::cache_directories;

/// The superuser of every cluster.
pub const SUPERUSER: &str = "postgres";
/// Its password, with all that URLs, passfiles and keyword strings must escape.
pub const PASSWORD: &str = r"pa:ss@wo\rd/%1 'x'";

/// How a server is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// SIGTERM: waits until all clients have left.
    Smart,
    /// SIGINT: rolls back and disconnects.
    Fast,
    /// SIGQUIT: as if the power went.
    Immediate,
    /// SIGKILL to the postmaster: as if the kernel ran out of memory.
    Kill,
}

/// Settings for a [`PgCluster`].
#[derive(Debug)]
pub struct PgBuilder {
    major: PgMajor,
    settings: Vec<String>,
    host_auth: String,
    local_auth: String,
    hba: Vec<String>,
}

impl PgBuilder {
    /// A line for postgresql.conf, such as `max_connections = 20`.
    #[must_use]
    pub fn setting(mut self, line: impl Into<String>) -> Self {
        self.settings.push(line.into());
        self
    }

    /// The authentication method over TCP: `scram-sha-256` unless set here to `md5`, `trust`, `reject`…
    #[must_use]
    pub fn host_auth(mut self, method: impl Into<String>) -> Self {
        self.host_auth = method.into();
        self
    }

    /// The authentication method over the socket: `trust` unless set here. [`PgCluster::psql`] sends the password.
    #[must_use]
    pub fn local_auth(mut self, method: impl Into<String>) -> Self {
        self.local_auth = method.into();
        self
    }

    /// A line of pg_hba.conf in front of all others.
    #[must_use]
    pub fn hba(mut self, line: impl Into<String>) -> Self {
        self.hba.push(line.into());
        self
    }

    /// Makes the cluster and starts its server.
    pub fn start(self) -> Result<PgCluster> {
        PgCluster::create(&self).with_context(|| format!("failed to start PostgreSQL {}", self.major))
    }
}

/// A PostgreSQL server of its own data directory, socket directory and port; removed when it is dropped.
///
/// Local sockets are open to everybody (`trust`), TCP wants a password (`scram-sha-256`).
#[derive(Debug)]
pub struct PgCluster {
    major: PgMajor,
    bin: PathBuf,
    port: Port,
    server: Mutex<Option<Server>>,
    // After the server: fields are dropped in this order, and the home takes the files with it.
    home: Home,
}

impl PgCluster {
    /// Starts a server of that major version with nothing in it.
    pub fn start(major: PgMajor) -> Result<Self> {
        Self::builder(major).start()
    }

    /// Settings first, then [`PgBuilder::start`].
    #[must_use]
    pub fn builder(major: PgMajor) -> PgBuilder {
        PgBuilder { major, settings: Vec::new(), host_auth: "scram-sha-256".into(), local_auth: "trust".into(), hba: Vec::new() }
    }

    /// The server of that major version that all tests of this process share; started by the first that asks.
    ///
    /// Use [`PgCluster::fresh_database`] there, and leave roles and settings of the server alone.
    pub fn shared(major: PgMajor) -> &'static Self {
        static SHARED: [OnceLock<PgCluster>; 3] = [const { OnceLock::new() }; 3];
        let slot = match major {
            PgMajor::V15 => 0,
            PgMajor::V16 => 1,
            PgMajor::V18 => 2,
        };
        SHARED[slot].get_or_init(|| Self::start(major).unwrap_or_else(|error| panic!("{error:#}")))
    }

    fn create(builder: &PgBuilder) -> Result<Self> {
        let bin = builder.major.bin_dir()?;
        let home = Home::new("pg")?;
        give_away(home.path())?;
        let port = Port::claim()?;
        template::copy(builder.major, &bin, &home.join("data"))?;
        let cluster = Self { major: builder.major, bin, port, server: Mutex::new(None), home };
        cluster.configure(builder)?;
        cluster.launch()?;
        Ok(cluster)
    }

    fn configure(&self, builder: &PgBuilder) -> Result<()> {
        let mut conf = std::fs::OpenOptions::new().append(true).open(self.data_dir().join("postgresql.conf"))?;
        let own = [
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("port = {}", self.port.number()),
            format!("unix_socket_directories = '{}'", self.socket_dir().display()),
            "fsync = off".into(),
            "full_page_writes = off".into(),
            "synchronous_commit = off".into(),
            "wal_level = minimal".into(),
            "max_wal_senders = 0".into(),
            "wal_init_zero = off".into(),
            "shared_buffers = 64MB".into(),
            "log_line_prefix = '%m [%p] %q%u@%d '".into(),
            "logging_collector = off".into(),
        ];
        for line in own.iter().chain(&builder.settings) {
            writeln!(conf, "{line}")?;
        }
        let mut hba = builder.hba.join("\n");
        hba.push_str(&format!("\nlocal all all {}\nhost all all 127.0.0.1/32 {}\n", builder.local_auth, builder.host_auth));
        let path = self.data_dir().join("pg_hba.conf");
        std::fs::write(&path, hba).with_context(|| format!("failed to write {}", path.display()))
    }

    fn launch(&self) -> Result<()> {
        let mut slot = lock(&self.server);
        let mut command = unprivileged(self.bin.join("postgres"));
        command.arg("-D").arg(self.data_dir());
        let mut server = Server::spawn(&self.home, "postgres", &mut command, Signal::QUIT)?;
        let state = self.data_dir().join("postmaster.pid");
        let pid = server.pid().to_string();
        let ready = server.wait_ready(|| {
            // The eighth line is the state, as pg_ctl reads it; the first tells this server's file from an older one's.
            std::fs::read_to_string(&state).is_ok_and(|text| {
                let mut lines = text.lines();
                lines.next() == Some(&pid) && lines.nth(6).is_some_and(|line| line.trim() == "ready")
            })
        });
        if ready.is_err() {
            server.end(&self.home);
        }
        ready.map(|()| *slot = Some(server))
    }

    /// Its major version.
    #[must_use]
    pub fn major(&self) -> PgMajor {
        self.major
    }

    /// `127.0.0.1`.
    #[must_use]
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// Its TCP port, which is also in the name of its socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The directory of its Unix socket: a value for PGHOST, where no password is asked for.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        self.home.path()
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The directory of this major's `pg_dump`, `psql` and the others.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.bin
    }

    /// The end of the server's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(self.home.join("postgres.log")).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(16_000)..]).into_owned()
    }

    /// A URL over TCP as the superuser, all parts percent-encoded.
    #[must_use]
    pub fn dsn(&self, database: &str) -> String {
        self.dsn_as(SUPERUSER, PASSWORD, database)
    }

    /// A URL over TCP as that user.
    #[must_use]
    pub fn dsn_as(&self, user: &str, password: &str, database: &str) -> String {
        url(self.port(), user, password, database)
    }

    /// The keyword form over TCP as the superuser, all values quoted.
    #[must_use]
    pub fn keyword_dsn(&self, database: &str) -> String {
        self.keyword_dsn_as(SUPERUSER, PASSWORD, database)
    }

    /// The keyword form over TCP as that user.
    #[must_use]
    pub fn keyword_dsn_as(&self, user: &str, password: &str, database: &str) -> String {
        keywords(self.port(), user, password, database)
    }

    /// Settings of libpq for this server over its socket as the superuser: a zero configuration.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("PGHOST", self.socket_dir().display().to_string()),
            ("PGPORT", self.port().to_string()),
            ("PGUSER", SUPERUSER.into()),
            ("PGPASSWORD", PASSWORD.into()),
        ]
    }

    /// Runs `sql` (statements, or psql's own commands) as the superuser and gives what psql prints, unaligned and
    /// without headers or the last newline. The first error ends it.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        self.psql_as(SUPERUSER, PASSWORD, database, sql)
    }

    /// [`PgCluster::psql`] as another user, over the socket.
    pub fn psql_as(&self, user: &str, password: &str, database: &str, sql: &str) -> Result<String> {
        let mut command = self.psql_command(user, password, database);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("failed to run psql")?;
        let mut input = child.stdin.take().context("failed to run psql: no standard input")?;
        let text = sql.to_owned();
        // From a thread: psql may print more than a pipe holds before it has read all of its input.
        let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
        let done = child.wait_with_output()?;
        ensure!(
            done.status.success(),
            "failed to run psql on {database}: {}: {}",
            done.status,
            String::from_utf8_lossy(&done.stderr).trim()
        );
        writer.join().ok();
        let text = String::from_utf8(done.stdout).context("failed to read what psql printed")?;
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }

    /// Runs a file of SQL, with variables for psql.
    pub fn psql_file(&self, database: &str, file: &Path, variables: &[(&str, &str)]) -> Result<String> {
        let mut command = self.psql_command(SUPERUSER, PASSWORD, database);
        for (name, value) in variables {
            command.arg("-v").arg(format!("{name}={value}"));
        }
        crate::process::output(command.arg("-f").arg(file))
    }

    fn psql_command(&self, user: &str, password: &str, database: &str) -> Command {
        let mut command = Command::new(self.bin.join("psql"));
        clean(&mut command);
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
        // The database by the environment: as an argument a name with `=` or `://` would be read as a DSN.
        command.env("PGDATABASE", database).env("PGUSER", user).env("PGPASSWORD", password);
        command.env("PGHOST", self.socket_dir()).env("PGPORT", self.port().to_string()).env("PGCLIENTENCODING", "UTF8");
        command
    }

    /// Makes a database with a name of its own, `{prefix}_xxxxxx`, and gives that name.
    pub fn fresh_database(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}_{}", random_suffix()?);
        self.psql("postgres", &format!("CREATE DATABASE {}", quote_identifier(&name)))?;
        Ok(name)
    }

    /// The postmaster's process id; none while it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        lock(&self.server).as_ref().map(Server::pid)
    }

    /// Sends a signal to the postmaster.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid().context("failed to signal PostgreSQL: it is stopped")?, signal)
    }

    /// Stops the server and keeps its data.
    pub fn stop(&self, mode: Mode) -> Result<()> {
        let mut slot = lock(&self.server);
        let Some(server) = slot.as_mut() else { return Ok(()) };
        server.signal(match mode {
            Mode::Smart => Signal::TERM,
            Mode::Fast => Signal::INT,
            Mode::Immediate => Signal::QUIT,
            Mode::Kill => Signal::KILL,
        })?;
        server.wait(&self.home, START_LIMIT)?;
        *slot = None;
        Ok(())
    }

    /// Stops the server (fast), where it runs, and starts it again on the same port.
    pub fn restart(&self) -> Result<()> {
        self.stop(Mode::Fast)?;
        // A killed postmaster's backends hold its shared memory for a moment, and a new one refuses to start till then.
        let begun = std::time::Instant::now();
        loop {
            match self.launch() {
                Err(_) if begun.elapsed() < Duration::from_secs(5) => std::thread::sleep(Duration::from_millis(100)),
                done => return done,
            }
        }
    }

    /// A command of this major's programs, such as `pg_restore`, with this server's settings in its environment.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        clean(&mut command);
        command.envs(self.env());
        command.arg0(program);
        command
    }
}

impl Drop for PgCluster {
    fn drop(&mut self) {
        if let Some(mut server) = lock(&self.server).take() {
            server.end(&self.home);
        }
    }
}

/// A DSN in URL form for a port of 127.0.0.1.
pub(crate) fn url(port: u16, user: &str, password: &str, database: &str) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    format!("postgres://{}:{}@127.0.0.1:{port}/{}", encode(user), encode(password), encode(database))
}

/// A DSN in libpq's keyword form for a port of 127.0.0.1.
pub(crate) fn keywords(port: u16, user: &str, password: &str, database: &str) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
    format!("host=127.0.0.1 port={port} user={} password={} dbname={}", quote(user), quote(password), quote(database))
}

/// `name` as an identifier in SQL.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `text` as a literal in SQL.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}
