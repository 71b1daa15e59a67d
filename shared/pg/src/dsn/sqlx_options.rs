//! Our own connections.

use std::path::{Path, PathBuf};

use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::{ConnectionSettings, Host, HostAddress, options::parse_options};

/// Where systems keep the authorities that they trust, for `sslrootcert=system`.
const SYSTEM_AUTHORITIES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

impl ConnectionSettings {
    /// Options for a connection to the first host.
    pub fn connect_options(&self) -> PgConnectOptions {
        // There is always a host; an empty list would be a mistake of ours, and then the defaults apply.
        self.hosts.first().map_or_else(PgConnectOptions::new_without_pgpass, |host| self.connect_options_for(host))
    }

    pub(crate) fn connect_options_for(&self, host: &Host) -> PgConnectOptions {
        let mut options = PgConnectOptions::new_without_pgpass().port(host.port).username(&self.user).database(self.database());
        let mode = self.ssl_mode(host);
        options = match &host.address {
            HostAddress::Socket(directory) => options.socket(directory),
            // Names are checked against what was asked for, so a certificate's check needs the name.
            HostAddress::Tcp { name, address } => {
                let checks_name = matches!(mode, PgSslMode::VerifyFull);
                options.host(address.as_deref().filter(|_| !checks_name).unwrap_or(name))
            }
        };
        if let Some(password) = self.password_for(host) {
            options = options.password(password);
        }
        options = options.ssl_mode(mode);
        if let Some(path) = self.root_certificate() {
            options = options.ssl_root_cert(path);
        }
        if let (Some(certificate), Some(key)) = (self.tls_file("sslcert", "postgresql.crt"), self.tls_file("sslkey", "postgresql.key")) {
            options = options.ssl_client_cert(certificate).ssl_client_key(key);
        }
        if let Some(name) = self.keyword("application_name").or_else(|| self.keyword("fallback_application_name")) {
            options = options.application_name(name);
        }
        // Statements are logged nowhere: they may hold names that belong to tenants.
        options.options(parse_options(self.keyword("options").unwrap_or_default())).disable_statement_logging()
    }

    /// libpq's modes. No socket has TLS, and `require` with authorities at hand checks the certificate.
    fn ssl_mode(&self, host: &Host) -> PgSslMode {
        if matches!(host.address, HostAddress::Socket(_)) {
            return PgSslMode::Disable;
        }
        let system = self.keyword("sslrootcert") == Some("system");
        match self.keyword("sslmode") {
            Some("disable") => PgSslMode::Disable,
            Some("allow") => PgSslMode::Allow,
            Some("require") if self.root_certificate().is_some() => PgSslMode::VerifyCa,
            Some("require") => PgSslMode::Require,
            Some("verify-ca") => PgSslMode::VerifyCa,
            Some("verify-full") => PgSslMode::VerifyFull,
            None if system => PgSslMode::VerifyFull,
            _ => PgSslMode::Prefer,
        }
    }

    fn root_certificate(&self) -> Option<PathBuf> {
        if self.keyword("sslrootcert") == Some("system") {
            return SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
        }
        self.tls_file("sslrootcert", "root.crt")
    }

    /// The named file, else the one in `~/.postgresql` where there is one.
    fn tls_file(&self, keyword: &str, default: &str) -> Option<PathBuf> {
        if let Some(path) = self.keyword(keyword) {
            return Some(PathBuf::from(path));
        }
        let path = Path::new(self.home.as_ref()?).join(".postgresql").join(default);
        path.exists().then_some(path)
    }
}
