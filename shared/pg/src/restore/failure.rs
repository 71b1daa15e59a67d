//! Why a restore failed, from what it said.

use crate::{
    child::{ConnectionFailure, FailureKind, ProgramError, Sign, Subject},
    sql,
};

/// What kind of failure it was, as far as callers act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RestoreFailure {
    /// The server could not be reached, or the connection broke.
    Connection(ConnectionFailure),
    /// A role that owns something, or that something is granted to, does not exist.
    MissingRole,
    /// Our role may not give objects to their owner.
    OwnerDenied,
    /// The server does not have an extension.
    MissingExtension,
    /// Our role may not create or change an extension.
    ExtensionDenied,
    /// A tablespace does not exist.
    MissingTablespace,
    /// The archive was made by a newer pg_dump than this pg_restore reads.
    ArchiveTooNew,
    /// The server is older than this pg_restore.
    ServerTooOld,
    /// The archive is cut, or none.
    DamagedArchive,
    /// A schema or table that was asked for is not in the archive.
    NotInArchive,
    /// Something that it restores is there already.
    NotEmpty,
    /// A right is missing.
    Permission,
    /// The server's disk is full.
    ServerDiskFull,
    /// Somebody killed it.
    Killed,
    /// It could not be started.
    Start,
    /// Anything else.
    Other,
}

/// Why a restore failed. Completes the sentence "failed to …".
pub type RestoreError = ProgramError<RestoreFailure>;

const MISSING_ROLE: Sign = &["ERROR:  role \"", "\" does not exist"];
const TOO_NEW: Sign = &["unsupported version (", ") in file header"];

impl FailureKind for RestoreFailure {
    const DOING: &'static str = "restore";
    const KILLED: Self = RestoreFailure::Killed;
    const START: Self = RestoreFailure::Start;
    const OTHER: Self = RestoreFailure::Other;
    const SIGNS: &'static [(Self, Sign)] = &[
        (RestoreFailure::ArchiveTooNew, TOO_NEW),
        (RestoreFailure::DamagedArchive, &["could not read from input file"]),
        (RestoreFailure::DamagedArchive, &["input file is too short"]),
        (RestoreFailure::DamagedArchive, &["input file does not appear to be a valid"]),
        (RestoreFailure::DamagedArchive, &["possibly corrupt archive"]),
        (RestoreFailure::NotInArchive, &["pg_restore: error: schema \"", "\" not found"]),
        (RestoreFailure::NotInArchive, &["pg_restore: error: table \"", "\" not found"]),
        (RestoreFailure::ServerTooOld, &["ERROR:  unrecognized configuration parameter"]),
        (RestoreFailure::MissingExtension, &["ERROR:  extension \"", "\" is not available"]),
        (RestoreFailure::MissingExtension, &["ERROR:  could not open extension control file"]),
        (RestoreFailure::ExtensionDenied, &["ERROR:  permission denied to create extension"]),
        (RestoreFailure::ExtensionDenied, &["ERROR:  must be owner of extension"]),
        (RestoreFailure::MissingTablespace, &["ERROR:  invalid value for parameter \"default_tablespace\""]),
        (RestoreFailure::MissingRole, MISSING_ROLE),
        (RestoreFailure::OwnerDenied, &["ERROR:  must be member of role"]),
        (RestoreFailure::OwnerDenied, &["ERROR:  must be able to SET ROLE"]),
        (RestoreFailure::OwnerDenied, &["ERROR:  permission denied to set role"]),
        (RestoreFailure::ServerDiskFull, &["No space left on device"]),
        (RestoreFailure::ServerDiskFull, &["Disk quota exceeded"]),
        // The last bytes may just fit.
        (RestoreFailure::ServerDiskFull, &["ERROR:  could not extend file", "wrote only"]),
        (RestoreFailure::NotEmpty, &["ERROR:  ", "already exists"]),
        (RestoreFailure::Permission, &["ERROR:  permission denied"]),
        (RestoreFailure::Permission, &["ERROR:  must be owner of"]),
        (RestoreFailure::Permission, &["ERROR:  must be superuser"]),
        (RestoreFailure::Killed, &["pg_restore: terminated by user"]),
    ];

    fn from_connection(failure: ConnectionFailure) -> Self {
        RestoreFailure::Connection(failure)
    }

    fn advice(self, subject: &Subject<'_>) -> String {
        let advice = match self {
            RestoreFailure::Connection(failure) => return connection_advice(failure, subject),
            RestoreFailure::MissingRole => return missing_role(subject),
            RestoreFailure::ArchiveTooNew => return newer_client(subject),
            RestoreFailure::OwnerDenied => {
                return format!("GRANT that role TO {}, or restore with --no-owner", sql::identifier(subject.user));
            }
            RestoreFailure::MissingExtension => "install the extension's package on the server, in the dumped version or a newer one",
            RestoreFailure::ExtensionDenied => {
                "restore as a superuser, or let one make the extension in the database first and restore with the further argument --no-comments"
            }
            RestoreFailure::MissingTablespace => "create the tablespace, or restore with the further argument --no-tablespaces",
            RestoreFailure::ServerTooOld => {
                "pg_restore 17 and newer restore into no server before 17: use the pg_restore of the server's own major version"
            }
            RestoreFailure::DamagedArchive => "the archive is cut or damaged: verify the backup, and take another one",
            RestoreFailure::NotInArchive => "check the spelling, upper and lower case included",
            RestoreFailure::NotEmpty => "restore into a new database",
            RestoreFailure::Permission => {
                "grant what is missing; where it is about owners or grants, restore with --no-owner and --no-privileges"
            }
            RestoreFailure::ServerDiskFull => "free space on the server",
            RestoreFailure::Killed => "look for who killed it: the kernel's log tells of memory running out",
            RestoreFailure::Start | RestoreFailure::Other => "",
        };
        advice.to_owned()
    }
}

fn connection_advice(failure: ConnectionFailure, subject: &Subject<'_>) -> String {
    let (database, role) = (sql::identifier(subject.what), sql::identifier(subject.user));
    match failure {
        ConnectionFailure::Gone => "create it first".to_owned(),
        ConnectionFailure::Permission => format!("GRANT CONNECT ON DATABASE {database} TO {role}"),
        ConnectionFailure::Disallowed => format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"),
        ConnectionFailure::Lost => "look into the server's log".to_owned(),
        ConnectionFailure::Unreachable | ConnectionFailure::Authentication | ConnectionFailure::TooMany => failure.advice().to_owned(),
    }
}

/// What stands between a sign's two parts.
fn named(said: &str, sign: Sign) -> Option<&str> {
    let [before, after] = sign else { return None };
    Some(said.split_once(before)?.1.rsplit_once(after)?.0)
}

fn missing_role(subject: &Subject<'_>) -> String {
    let create = match named(subject.said, MISSING_ROLE) {
        // The server shows a quote in a name as it is.
        Some(role) => format!("CREATE ROLE {}", plana_plan::name::printable(&sql::identifier(role))),
        None => "create it".to_owned(),
    };
    format!("{create}, restore the globals first, or restore with --no-owner and --no-privileges")
}

fn newer_client(subject: &Subject<'_>) -> String {
    let package = match named(subject.said, TOO_NEW) {
        Some("1.15") => "postgresql-client-16 or newer",
        Some("1.16") => "postgresql-client-17 or newer",
        _ => "a newer postgresql-client",
    };
    format!("a newer pg_dump made the archive: install {package}, and restore into a server of that version")
}

#[cfg(test)]
mod tests;
