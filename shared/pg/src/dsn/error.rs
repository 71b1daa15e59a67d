//! Why connection settings cannot be used.

use std::path::PathBuf;

/// Why connection settings cannot be used. No message holds a value that could be, or be a part of, a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DsnError {
    /// The string is neither a URL nor `keyword=value` pairs.
    #[error("the connection string is malformed: {0}")]
    Malformed(String),
    /// A keyword that libpq does not know.
    #[error("{place} has an unknown keyword{}", hint(.keyword, .nearest))]
    UnknownKeyword {
        /// Where it stands.
        place: String,
        /// The keyword, where it cannot be a part of a password.
        keyword: Option<String>,
        /// The known one that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A value that cannot be.
    #[error("`{keyword}` is wrong: {reason}")]
    BadValue {
        /// The keyword.
        keyword: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Something that libpq can and this suite cannot.
    #[error("`{keyword}` is not supported: {advice}")]
    Unsupported {
        /// The keyword.
        keyword: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// The service is in none of the service files.
    #[error("the service `{service}` is not in {}: add it there or set PGSERVICEFILE", list(.files))]
    NoSuchService {
        /// The service's name.
        service: String,
        /// The files that were looked at.
        files: Vec<PathBuf>,
    },
    /// A service file cannot be used.
    #[error("the service file {} cannot be used: {reason}", .file.display())]
    ServiceFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody said as whom to connect.
    #[error("no user is named, and the account that runs this has no name: set `user` in the connection string, or PGUSER")]
    NoUser,
    /// The password cannot be written into a passfile.
    #[error("the password holds a line break or a zero byte, which no passfile can carry to pg_dump: change the password")]
    PasswordNotPortable,
    /// The private passfile cannot be made.
    #[error("the password cannot be handed to pg_dump: {0}")]
    PassFile(String),
}

fn hint(keyword: &Option<String>, nearest: &Option<&'static str>) -> String {
    let name = keyword.as_ref().map(|k| format!(" `{k}`")).unwrap_or_default();
    match nearest {
        Some(nearest) => format!("{name}: did you mean `{nearest}`?"),
        None if name.is_empty() => ": a value with a space or a quote must stand in single quotes".to_owned(),
        None => name,
    }
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(" or ")
}
