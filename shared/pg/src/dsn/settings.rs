//! Everything that is known about how to reach a server.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    DsnError,
    keywords::{KEYWORDS, variable},
    parse::{self, Pairs},
    passfile::Passwords,
    service,
};

/// Environment variables, handed in so that no decision depends on the process.
pub type Environment = BTreeMap<String, String>;

/// The variables of this process; those that are not UTF-8 mean nothing to libpq's settings and are left out.
pub fn process_environment() -> Environment {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// One server that may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Where it listens.
    pub address: HostAddress,
    /// Its port, which is also in the name of its socket.
    pub port: u16,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAddress {
    /// The directory of a Unix socket.
    Socket(PathBuf),
    /// A host's name or address.
    Tcp {
        /// The name, by which certificates and passfile lines are checked.
        name: String,
        /// The address to connect to, where it is not looked up by name.
        address: Option<String>,
    },
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            HostAddress::Socket(directory) => write!(f, "{}/.s.PGSQL.{}", directory.display(), self.port),
            HostAddress::Tcp { name, .. } if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            HostAddress::Tcp { name, .. } => write!(f, "{name}:{}", self.port),
        }
    }
}

/// How a server is reached. Made by [`ConnectionSettings::resolve`]; `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionSettings {
    pub(super) hosts: Vec<Host>,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) passwords: Arc<Passwords>,
    pub(super) passfile: Option<PathBuf>,
    pub(super) database: Option<String>,
    pub(super) home: Option<PathBuf>,
    /// The other keywords, such as `sslmode`.
    pub(super) others: BTreeMap<&'static str, String>,
    warnings: Vec<String>,
}

impl fmt::Debug for ConnectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionSettings")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "[secret]"))
            .field("passfile", &self.passfile)
            .field("database", &self.database)
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}

impl ConnectionSettings {
    /// Brings together a connection string, its service, the environment and libpq's defaults.
    ///
    /// # Errors
    /// When the string, the service file or a value is wrong; no message shows a password.
    pub fn resolve(dsn: Option<&str>, environment: &Environment) -> Result<Self, DsnError> {
        let mut values: BTreeMap<&'static str, String> = BTreeMap::new();
        // Within one source the last of two values wins, as in libpq; an earlier source wins over a later one.
        let mut add = |pairs: Pairs| {
            let source: BTreeMap<_, _> = pairs.into_iter().collect();
            for (keyword, value) in source {
                values.entry(keyword).or_insert(value);
            }
            values.get("service").cloned()
        };
        let service = add(parse::parse(dsn.unwrap_or_default())?).or_else(|| environment.get("PGSERVICE").cloned());
        if let Some(service) = service.filter(|service| !service.is_empty()) {
            add(service::load(&service, environment)?);
        }
        let from_environment = |(keyword, variable): &(&'static str, Option<&str>)| {
            let value = environment.get((*variable)?)?;
            Some((*keyword, value.clone()))
        };
        add(KEYWORDS.iter().filter_map(from_environment).collect());
        values.retain(|_, value| !value.is_empty());
        Self::build(values, environment)
    }

    fn build(mut values: BTreeMap<&'static str, String>, environment: &Environment) -> Result<Self, DsnError> {
        check_values(&values)?;
        let home = environment.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let hosts = hosts(values.remove("host"), values.remove("hostaddr"), values.remove("port"))?;
        let user = values.remove("user").or_else(|| account_name(environment)).ok_or(DsnError::NoUser)?;
        let password = values.remove("password");
        let passfile = values.remove("passfile").map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(".pgpass")));
        let (passwords, warning) = match &passfile {
            Some(path) if password.is_none() => Passwords::load(path),
            _ => (Passwords::default(), None),
        };
        values.remove("service");
        // A dump is made in its database's own encoding: anything else could fail or lose characters.
        values.remove("client_encoding");
        Ok(ConnectionSettings {
            hosts,
            user,
            password,
            passwords: Arc::new(passwords),
            passfile,
            database: values.remove("dbname"),
            home,
            others: values,
            warnings: warning.into_iter().collect(),
        })
    }

    /// The same server, another database. Any name is safe, whatever characters it holds.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        ConnectionSettings { database: Some(name.to_owned()), ..self.clone() }
    }

    /// This database where none was named.
    #[must_use]
    pub fn with_default_database(&self, name: &str) -> Self {
        if self.database.is_some() { self.clone() } else { self.with_database(name) }
    }

    /// The name under which sessions show in `pg_stat_activity`.
    #[must_use]
    pub fn with_application_name(&self, name: &str) -> Self {
        let mut settings = self.clone();
        settings.others.insert("application_name", name.to_owned());
        settings
    }

    /// A child's patience with a server that does not answer, where the settings name none: libpq's own is endless.
    #[must_use]
    pub fn with_default_connect_timeout(&self, timeout: Duration) -> Self {
        let mut settings = self.clone();
        // libpq takes whole seconds, and no less than two.
        settings.others.entry("connect_timeout").or_insert_with(|| timeout.as_secs().max(2).to_string());
        settings
    }

    /// The same, with only the host at `index`.
    #[must_use]
    pub fn pinned_to(&self, index: usize) -> Self {
        let mut settings = self.clone();
        if let Some(host) = self.hosts.get(index) {
            settings.hosts = vec![host.clone()];
        }
        settings
    }

    /// The servers to try, in order; at least one.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// As whom to connect.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database: libpq's default is the one named like the user.
    pub fn database(&self) -> &str {
        self.database.as_deref().unwrap_or(&self.user)
    }

    /// The servers as people write them, for logs and messages: nothing secret.
    pub fn server_label(&self) -> String {
        self.hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(",")
    }

    /// A keyword's value, such as `sslmode`.
    pub fn keyword(&self, keyword: &str) -> Option<&str> {
        self.others.get(keyword).map(String::as_str)
    }

    /// What was odd about the settings, such as a passfile that others may read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether the connection string itself (or PGPASSWORD) holds a password.
    pub fn holds_password(&self) -> bool {
        self.password.is_some()
    }

    /// The password for one of the hosts, as libpq would find it.
    pub(super) fn password_for(&self, host: &Host) -> Option<&str> {
        if self.password.is_some() {
            return self.password.as_deref();
        }
        let name = passfile_host(&host.address);
        self.passwords.find(&name, host.port, self.database(), &self.user)
    }
}

/// The host as a passfile names it: libpq's default socket directory is called `localhost` there.
pub(super) fn passfile_host(address: &HostAddress) -> String {
    match address {
        HostAddress::Socket(directory) if DEFAULT_SOCKET_DIRECTORIES.iter().any(|d| Path::new(d) == directory) => "localhost".to_owned(),
        HostAddress::Socket(directory) => directory.display().to_string(),
        HostAddress::Tcp { name, .. } => name.clone(),
    }
}

/// Where servers put their sockets: Debian's place, then PostgreSQL's own.
const DEFAULT_SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

fn hosts(host: Option<String>, hostaddr: Option<String>, port: Option<String>) -> Result<Vec<Host>, DsnError> {
    let list = |text: &Option<String>| -> Vec<String> {
        text.as_deref().map(|text| text.split(',').map(|part| part.trim().to_owned()).collect()).unwrap_or_default()
    };
    let (names, addresses, ports) = (list(&host), list(&hostaddr), list(&port));
    let count = names.len().max(addresses.len()).max(1);
    if (!names.is_empty() && names.len() != count) || (!addresses.is_empty() && addresses.len() != count) {
        return Err(bad("hostaddr", "it names another number of servers than `host`"));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(bad("port", "it names another number of servers than `host`"));
    }
    let one = |index: usize| {
        let port = match ports.get(if ports.len() == 1 { 0 } else { index }).map_or("", String::as_str) {
            "" => 5432,
            text => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| bad("port", "it is not a number from 1 to 65535"))?,
        };
        let name = names.get(index).filter(|name| !name.is_empty());
        let address = addresses.get(index).filter(|address| !address.is_empty());
        let address = match (name, address) {
            (Some(name), None) if name.starts_with('@') => {
                return Err(DsnError::Unsupported { keyword: "host", advice: "name the directory of a Unix socket, not an abstract one" });
            }
            (Some(name), None) if name.starts_with('/') => HostAddress::Socket(PathBuf::from(name)),
            (Some(name), address) => HostAddress::Tcp { name: name.clone(), address: address.cloned() },
            (None, Some(address)) => HostAddress::Tcp { name: address.clone(), address: Some(address.clone()) },
            (None, None) => default_address(port),
        };
        Ok(Host { address, port })
    };
    (0..count).map(one).collect()
}

/// The socket that is there; this settles it for us and for a pg_dump that was built with another default.
fn default_address(port: u16) -> HostAddress {
    let directories = DEFAULT_SOCKET_DIRECTORIES.map(PathBuf::from);
    let has_socket = |directory: &&PathBuf| directory.join(format!(".s.PGSQL.{port}")).exists();
    let found = directories.iter().find(has_socket).or_else(|| directories.iter().find(|directory| directory.is_dir()));
    match found {
        Some(directory) => HostAddress::Socket(directory.clone()),
        None => HostAddress::Tcp { name: "localhost".to_owned(), address: None },
    }
}

fn bad(keyword: &'static str, reason: &str) -> DsnError {
    DsnError::BadValue { keyword, reason: reason.to_owned() }
}

fn check_values(values: &BTreeMap<&'static str, String>) -> Result<(), DsnError> {
    const CHOICES: [(&str, &[&str]); 3] = [
        ("sslmode", &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]),
        ("target_session_attrs", &["any", "read-write", "read-only", "primary", "standby", "prefer-standby"]),
        ("load_balance_hosts", &["disable", "random"]),
    ];
    for (keyword, choices) in CHOICES {
        if values.get(keyword).is_some_and(|value| !choices.contains(&value.as_str())) {
            return Err(bad(keyword, &format!("it must be one of {}", choices.join(", "))));
        }
    }
    if values.get("connect_timeout").is_some_and(|value| value.parse::<i32>().is_err()) {
        return Err(bad("connect_timeout", "it is not a number of seconds"));
    }
    if values.get("replication").is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "no" | "0")) {
        return Err(DsnError::Unsupported { keyword: "replication", advice: "a backup needs an ordinary connection: leave it out" });
    }
    if values.contains_key("sslpassword") {
        let advice = "it would have to be shown to every user of this machine: use a key file without a passphrase and with mode 0600";
        return Err(DsnError::Unsupported { keyword: "sslpassword", advice });
    }
    let zero = values.iter().find(|(_, value)| value.contains('\0'));
    zero.map_or(Ok(()), |(keyword, _)| Err(bad(keyword, "it holds a zero byte")))
}

/// The name of the account that runs this, as libpq takes it for the default user.
fn account_name(environment: &Environment) -> Option<String> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let by_uid = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(&uid)).then(|| name.to_owned())
    });
    // systemd's dynamic users are not in the file; their name is in the environment.
    by_uid.or_else(|| ["USER", "LOGNAME"].iter().find_map(|name| environment.get(*name).filter(|name| !name.is_empty()).cloned()))
}

/// The environment variable of a keyword that has one.
pub(super) fn variable_of(keyword: &str) -> Option<&'static str> {
    variable(keyword)
}
