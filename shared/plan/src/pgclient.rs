//! Which installed pg_dump is right for a server.

use std::{fmt, str::FromStr};

/// A version of PostgreSQL: 16.4 is `PgVersion { major: 16, minor: 4 }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PgVersion {
    /// The major version.
    pub major: u32,
    /// The minor release.
    pub minor: u32,
}

impl PgVersion {
    /// From `server_version_num`, such as 160004.
    pub const fn from_num(num: u32) -> Self {
        PgVersion { major: num / 10_000, minor: num % 10_000 }
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text holds no PostgreSQL version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no PostgreSQL version in `{0}`")]
pub struct VersionError(pub String);

impl FromStr for PgVersion {
    type Err = VersionError;

    /// Reads `16.4`, `pg_dump (PostgreSQL) 16.4 (Debian 16.4-1)` and `18beta1` alike.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let read = |word: &str| {
            let (major, rest) = match word.split_once('.') {
                Some((major, minor)) => (major, minor),
                None => (word.trim_end_matches(|c: char| c != 'b' && c != 'd' && c != 'r' && !c.is_ascii_digit()), "0"),
            };
            let digits = |s: &str| s.split(|c: char| !c.is_ascii_digit()).next().and_then(|d| d.parse::<u32>().ok());
            Some(PgVersion { major: digits(major)?, minor: digits(rest)? })
        };
        text.split_whitespace().find_map(read).ok_or_else(|| VersionError(text.to_owned()))
    }
}

/// How well the chosen client fits the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// The server's own major: its archives restore into the same major.
    SameMajor,
    /// A newer major: its archives may not restore into the server's own.
    Newer,
}

/// The client to use, as an index into `installed`: of the server's own major (the newest minor),
/// else of the *oldest* newer one. `None` when every client is older than the server, which
/// pg_dump refuses ("server version mismatch").
pub fn choose_client(server: PgVersion, installed: &[PgVersion]) -> Option<(usize, Fit)> {
    let usable = installed.iter().enumerate().filter(|(_, version)| version.major >= server.major);
    let (index, version) = usable.min_by_key(|(_, version)| (version.major, u32::MAX - version.minor))?;
    Some((index, if version.major == server.major { Fit::SameMajor } else { Fit::Newer }))
}

/// Whether PostgreSQL's own programs, which a job starts, are given this variable of its environment: what libpq, its Kerberos and
/// its OpenSSL read.
pub fn is_of_postgres(variable: &str) -> bool {
    ["PG", "KRB5", "SSL_", "OPENSSL_"].iter().any(|prefix| variable.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> PgVersion {
        text.parse().expect("a version")
    }

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        assert_eq!(v("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), PgVersion { major: 15, minor: 18 });
        assert_eq!(v("pg_dump (PostgreSQL) 18beta1"), PgVersion { major: 18, minor: 0 });
        assert_eq!(PgVersion::from_num(160_004), v("16.4"));
        assert!("pg_dump".parse::<PgVersion>().is_err());
    }

    #[test]
    fn the_servers_own_major_wins_then_the_oldest_newer_one() {
        let installed = [v("18.1"), v("15.3"), v("15.18"), v("16.4")];
        assert_eq!(choose_client(v("15.1"), &installed), Some((2, Fit::SameMajor)));
        assert_eq!(choose_client(v("14.9"), &installed), Some((2, Fit::Newer)));
        assert_eq!(choose_client(v("17.0"), &installed), Some((0, Fit::Newer)));
        assert_eq!(choose_client(v("19.0"), &installed), None);
        assert_eq!(choose_client(v("15.0"), &[]), None);
    }
}
