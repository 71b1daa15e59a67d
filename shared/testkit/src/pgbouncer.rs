//! PgBouncer in transaction mode in front of a [`PgCluster`], as the platform has it.

use std::sync::Mutex;

use anyhow::{Context as _, Result};

use crate::pg::{PASSWORD, PgCluster, SUPERUSER, keywords, url};
use crate::process::{Home, Port, Server, Signal, accepts, give_away, lock, unprivileged, write_private};

/// A PgBouncer that passes every database name on; gone when it is dropped, or with this process.
#[derive(Debug)]
pub struct PgBouncer {
    port: Port,
    server: Mutex<Option<Server>>,
    home: Home,
}

impl PgBouncer {
    /// Starts one; it knows the superuser's password.
    pub fn start(cluster: &PgCluster) -> Result<Self> {
        Self::with_users(cluster, &[])
    }

    /// Starts one that knows further users and their passwords.
    pub fn with_users(cluster: &PgCluster, users: &[(&str, &str)]) -> Result<Self> {
        let home = Home::new("pgbouncer")?;
        give_away(home.path())?;
        let bouncer = Self { port: Port::claim()?, server: Mutex::new(None), home };
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let known = [(SUPERUSER, PASSWORD)].iter().chain(users).map(|(user, password)| format!("{} {}\n", quoted(user), quoted(password)));
        bouncer.write("users.txt", &known.collect::<String>())?;
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\nadmin_users = {SUPERUSER}\npool_mode = transaction\ndefault_pool_size = 20\n\
             ignore_startup_parameters = extra_float_digits\n",
            cluster.port(),
            bouncer.port(),
            bouncer.home.join("users.txt").display()
        );
        bouncer.write("pgbouncer.ini", &configuration)?;
        bouncer.restart().context("failed to start PgBouncer")?;
        Ok(bouncer)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.home.join(name);
        write_private(&path, text)?;
        give_away(&path)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// A URL through it as the superuser.
    #[must_use]
    pub fn dsn(&self, database: &str) -> String {
        url(self.port(), SUPERUSER, PASSWORD, database)
    }

    /// A URL through it as that user.
    #[must_use]
    pub fn dsn_as(&self, user: &str, password: &str, database: &str) -> String {
        url(self.port(), user, password, database)
    }

    /// The keyword form through it as the superuser.
    #[must_use]
    pub fn keyword_dsn(&self, database: &str) -> String {
        keywords(self.port(), SUPERUSER, PASSWORD, database)
    }

    /// Stops it at once.
    pub fn stop(&self) {
        if let Some(mut server) = lock(&self.server).take() {
            server.end(&self.home);
        }
    }

    /// Starts it again on the same port.
    pub fn restart(&self) -> Result<()> {
        self.stop();
        // Debian has it in /usr/sbin, which is not in everybody's PATH.
        let program = ["/usr/sbin/pgbouncer"].into_iter().find(|path| std::path::Path::new(path).exists()).unwrap_or("pgbouncer");
        let mut command = unprivileged(program);
        let mut server = Server::spawn(&self.home, "pgbouncer", command.arg(self.home.join("pgbouncer.ini")), Signal::TERM)?;
        let ready = server.wait_ready(|| accepts(self.port()));
        if ready.is_err() {
            server.end(&self.home);
        }
        ready.map(|()| *lock(&self.server) = Some(server))
    }

    /// Freezes it, or lets it go on.
    pub fn pause(&self, paused: bool) -> Result<()> {
        let signal = if paused { Signal::STOP } else { Signal::CONT };
        lock(&self.server).as_ref().context("failed to signal PgBouncer: it is stopped")?.signal(signal)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.stop();
    }
}
