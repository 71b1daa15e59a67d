//! Redis, as a stand-in for Valkey 7, which speaks the same protocol.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::process::{Home, Port, Server, Signal, clean, lock, output, write_private};

/// A Redis server without persistence; gone when it is dropped, or with this process.
#[derive(Debug)]
pub struct RedisServer {
    password: Option<String>,
    port: Port,
    server: Mutex<Option<Server>>,
    home: Home,
}

impl RedisServer {
    /// A server open to everybody.
    pub fn start() -> Result<Self> {
        Self::create(None)
    }

    /// A server that demands this password (`requirepass`).
    pub fn with_password(password: &str) -> Result<Self> {
        Self::create(Some(password.to_owned()))
    }

    fn create(password: Option<String>) -> Result<Self> {
        let home = Home::new("redis")?;
        let redis = Self { password, port: Port::claim()?, server: Mutex::new(None), home };
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""));
        let demand = redis.password.as_deref().map(|password| format!("requirepass {}\n", quoted(password))).unwrap_or_default();
        let configuration = format!(
            "bind 127.0.0.1\nport {}\ndir {}\nsave \"\"\nappendonly no\ndaemonize no\n{demand}",
            redis.port(),
            redis.home.path().display()
        );
        write_private(&redis.home.join("redis.conf"), &configuration)?;
        redis.restart().context("failed to start Redis")?;
        Ok(redis)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `redis://127.0.0.1:PORT/`, with the password in it where there is one.
    #[must_use]
    pub fn url(&self) -> String {
        let password = self.password.as_deref().map(|password| format!(":{}@", utf8_percent_encode(password, NON_ALPHANUMERIC)));
        format!("redis://{}127.0.0.1:{}/", password.unwrap_or_default(), self.port())
    }

    /// The URL without a password.
    #[must_use]
    pub fn url_without_password(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port())
    }

    /// Runs a command by redis-cli, such as `["XLEN", "PLANA:events"]`, and gives its raw output.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("redis-cli");
        clean(&mut command);
        command.args(["--no-auth-warning", "-e", "-h", "127.0.0.1", "-p", &self.port().to_string()]).args(arguments);
        if let Some(password) = &self.password {
            command.env("REDISCLI_AUTH", password);
        }
        output(&mut command).map(|text| text.trim_end().to_owned())
    }

    /// Freezes it: connections are taken by the kernel and never answered.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Stops it at once; nothing is kept.
    pub fn stop(&self) {
        if let Some(mut server) = lock(&self.server).take() {
            server.end(&self.home);
        }
    }

    /// Starts it again, empty, on the same port.
    pub fn restart(&self) -> Result<()> {
        self.stop();
        let mut command = Command::new("redis-server");
        clean(&mut command);
        let mut server = Server::spawn(&self.home, "redis", command.arg(self.home.join("redis.conf")), Signal::KILL)?;
        let ready = server.wait_ready(|| self.answers().unwrap_or(false));
        if ready.is_err() {
            server.end(&self.home);
        }
        ready.map(|()| *lock(&self.server) = Some(server))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        lock(&self.server).as_ref().context("failed to signal Redis: it is stopped")?.signal(signal)
    }

    /// Whether it answers a ping, be it by asking for the password.
    fn answers(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port()))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"PING\r\n")?;
        let mut start = [0_u8; 5];
        stream.read_exact(&mut start)?;
        Ok(matches!(&start, b"+PONG" | b"-NOAU"))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}
