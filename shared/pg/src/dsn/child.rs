//! What a child such as pg_dump is told of the connection.

use std::{
    io::{Seek, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    path::PathBuf,
};

use rustix::fs::{MemfdFlags, Mode};

use super::{
    ConnectionSettings, DsnError, HostAddress,
    keywords::{KEYWORDS, OTHER_VARIABLES},
    options::escape_option,
    passfile::escape,
    settings::{passfile_host, variable_of},
};

/// A child's environment, and the passfile that it reads its password from.
#[derive(Debug)]
pub struct ChildConnection {
    /// Variables to remove, so that nothing of ours contradicts the settings.
    pub remove: Vec<&'static str>,
    /// Variables to set; none of them is secret.
    pub set: Vec<(&'static str, String)>,
    /// Settings that have no variable, as a connection string without any secret.
    pub conninfo: Option<String>,
    /// Must live, and be inherited where it is a descriptor, until the child has connected.
    pub passfile: Option<PassFile>,
}

/// A passfile that only this account can read, and that is gone with its owner.
#[derive(Debug)]
pub enum PassFile {
    /// In memory; the child must inherit the descriptor.
    Memory(std::fs::File),
    /// A file with a random name, removed on drop.
    Disk(PathBuf),
}

impl PassFile {
    /// The path by which the child opens it.
    pub fn path(&self) -> String {
        match self {
            PassFile::Memory(file) => format!("/proc/self/fd/{}", file.as_raw_fd()),
            PassFile::Disk(path) => path.display().to_string(),
        }
    }

    /// The descriptor that the child must inherit.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            PassFile::Memory(file) => Some(file.as_fd()),
            PassFile::Disk(_) => None,
        }
    }

    pub(super) fn make(content: &str) -> Result<Self, DsnError> {
        let failed = |error: std::io::Error| DsnError::PassFile(error.to_string());
        match Self::in_memory(content) {
            Ok(file) => Ok(PassFile::Memory(file)),
            // A kernel without memfd, or no /proc.
            Err(_) => Self::on_disk(content).map_err(failed),
        }
    }

    fn in_memory(content: &str) -> std::io::Result<std::fs::File> {
        let fd = rustix::fs::memfd_create("passfile", MemfdFlags::CLOEXEC)?;
        // libpq refuses a passfile that others may read, and a new memfd has mode 0777.
        rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
        let mut file = std::fs::File::from(fd);
        file.write_all(content.as_bytes())?;
        file.rewind()?;
        std::fs::metadata(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(file)
    }

    fn on_disk(content: &str) -> std::io::Result<Self> {
        let mut random = [0u8; 16];
        std::fs::File::open("/dev/urandom").and_then(|mut source| std::io::Read::read_exact(&mut source, &mut random))?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!(".plana-passfile-{name}"));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let made = PassFile::Disk(path);
        file.write_all(content.as_bytes())?;
        Ok(made)
    }
}

impl Drop for PassFile {
    fn drop(&mut self) {
        if let PassFile::Disk(path) = self {
            std::fs::remove_file(path).ok();
        }
    }
}

/// A keyword and its value in a connection string, whatever characters the value holds.
pub(crate) fn conninfo_item(keyword: &str, value: &str) -> String {
    format!("{keyword}='{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

impl ChildConnection {
    /// For a program that is no client: no setting of ours reaches it.
    pub fn none() -> Self {
        let remove = KEYWORDS.iter().filter_map(|(_, variable)| *variable).chain(OTHER_VARIABLES.iter().copied()).collect();
        ChildConnection { remove, set: Vec::new(), conninfo: None, passfile: None }
    }
}

impl ConnectionSettings {
    /// What a child is told: its environment, with `session` settings added to the user's own
    /// PGOPTIONS, and the password by a passfile.
    ///
    /// The database goes by PGDATABASE, which libpq takes as it is; as an argument a name with `=` or
    /// one that looks like a URL would be read as a connection string.
    ///
    /// # Errors
    /// When the password cannot be handed over.
    pub fn child_connection(&self, session: &[(String, String)]) -> Result<ChildConnection, DsnError> {
        let mut set = vec![("PGUSER", self.user.clone()), ("PGDATABASE", self.database().to_owned())];
        let join = |values: Vec<String>| values.join(",");
        set.push(("PGPORT", join(self.hosts.iter().map(|host| host.port.to_string()).collect())));
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        for host in &self.hosts {
            match &host.address {
                HostAddress::Socket(directory) => {
                    names.push(directory.display().to_string());
                    addresses.push(String::new());
                }
                HostAddress::Tcp { name, address } => {
                    names.push(name.clone());
                    addresses.push(address.clone().unwrap_or_default());
                }
            }
        }
        set.push(("PGHOST", join(names)));
        if addresses.iter().any(|address| !address.is_empty()) {
            set.push(("PGHOSTADDR", join(addresses)));
        }
        let mut conninfo = Vec::new();
        for (keyword, value) in &self.others {
            match variable_of(keyword) {
                Some("PGOPTIONS") => {}
                Some(variable) => set.push((variable, value.clone())),
                None => conninfo.push(conninfo_item(keyword, value)),
            }
        }
        // Of two values for one setting the server takes the later.
        let user_options = self.keyword("options").map(str::to_owned);
        let options: Vec<_> = user_options.into_iter().chain(session.iter().map(|(name, value)| escape_option(name, value))).collect();
        if !options.is_empty() {
            set.push(("PGOPTIONS", options.join(" ")));
        }
        let passfile = self.passfile_for_child()?;
        match (&passfile, &self.passfile) {
            (Some(made), _) => set.push(("PGPASSFILE", made.path())),
            (None, Some(path)) => set.push(("PGPASSFILE", path.display().to_string())),
            (None, None) => {}
        }
        let ChildConnection { remove, .. } = ChildConnection::none();
        Ok(ChildConnection { remove, set, conninfo: (!conninfo.is_empty()).then(|| conninfo.join(" ")), passfile })
    }

    fn passfile_for_child(&self) -> Result<Option<PassFile>, DsnError> {
        let mut content = String::new();
        for host in &self.hosts {
            let Some(password) = self.password_for(host) else { continue };
            if password.contains(['\n', '\r', '\0']) {
                return Err(DsnError::PasswordNotPortable);
            }
            // A pg_dump that was built elsewhere may have another default socket directory.
            let names = match &host.address {
                HostAddress::Socket(directory) => vec![passfile_host(&host.address), directory.display().to_string()],
                HostAddress::Tcp { name, .. } => vec![name.clone()],
            };
            for name in names {
                content.push_str(&format!("{}:{}:*:*:{}\n", escape(&name), host.port, escape(password)));
            }
        }
        if content.is_empty() { Ok(None) } else { PassFile::make(&content).map(Some) }
    }
}
