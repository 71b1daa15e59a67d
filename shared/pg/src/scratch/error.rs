//! Why a database could not be made, changed or put in place.

use plana_plan::name::printable;

use super::Admin;
use crate::{
    server::{ServerError, reason, sql_state},
    sql,
};

/// Why a database could not be made, changed or put in place. Each message completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The name is taken.
    #[error("{doing}: a database of that name exists; choose another name, or replace it with --replace")]
    Exists {
        /// What was tried.
        doing: String,
    },
    /// There is no such database.
    #[error("{doing}: {reason}")]
    Gone {
        /// What was tried.
        doing: String,
        /// What the server said.
        reason: String,
    },
    /// The server has no such locale or encoding, or they do not go together.
    #[error(
        "{doing} with {locale}: {reason}; \
         install that locale on the database server (locale -a lists what it has) and restart PostgreSQL, or use a server that has it{}",
        if .locale.contains("PROVIDER icu") { ", built with ICU" } else { "" }
    )]
    Locale {
        /// What was tried.
        doing: String,
        /// Encoding, `LC_COLLATE`, `LC_CTYPE`, and the provider where it is not the server's choice.
        locale: String,
        /// What the server said.
        reason: String,
    },
    /// Our role may not create databases.
    #[error("{doing}: role {} may not create databases; ALTER ROLE {} CREATEDB", sql::identifier(.role), sql::identifier(.role))]
    MayNotCreate {
        /// What was tried.
        doing: String,
        /// Our role.
        role: String,
    },
    /// A role that should own it does not exist.
    #[error("{doing}: role {0} does not exist; CREATE ROLE {0}, restore the globals first, or choose another owner", sql::identifier(.role))]
    NoSuchRole {
        /// What was tried.
        doing: String,
        /// The role.
        role: String,
    },
    /// A right is missing.
    #[error("{doing}: {reason}; {advice}")]
    Denied {
        /// What was tried.
        doing: String,
        /// What the server said.
        reason: String,
        /// What mends it.
        advice: String,
    },
    /// Sessions in the database do not end.
    #[error("{doing}: {reason}{sessions}; end them, or GRANT pg_signal_backend TO {}", sql::identifier(.role))]
    InUse {
        /// What was tried.
        doing: String,
        /// What the server said.
        reason: String,
        /// Whose they are; empty where nobody knows.
        sessions: String,
        /// Our role.
        role: String,
    },
    /// It is not ours to drop.
    #[error(
        "drop database `{}`: it is no scratch database, whose name is `{}` and eight hex digits; drop it by hand if it may go",
        printable(.name), printable(.prefix)
    )]
    NotScratch {
        /// The database.
        name: String,
        /// How the names of scratch databases begin.
        prefix: String,
    },
    /// PostgreSQL would make another name of it.
    #[error("{doing}: `{}` is no name for a database: it must have 1 to 63 bytes and no zero byte", printable(.name))]
    BadName {
        /// What was tried.
        doing: String,
        /// The name.
        name: String,
    },
    /// The server did not do it, for another reason.
    #[error("{doing}: {reason}")]
    Refused {
        /// What was tried.
        doing: String,
        /// What the server said.
        reason: String,
    },
    /// The server could not be reached, or the connection broke.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl AdminError {
    pub(super) fn from_query(doing: &str, admin: &Admin, error: sqlx::Error) -> Self {
        let (said, state) = (reason(&error), sql_state(&error));
        let (doing, role) = (doing.to_owned(), admin.server.facts().role.clone());
        match state.as_deref() {
            Some("42P04") => AdminError::Exists { doing },
            Some("3D000") => AdminError::Gone { doing, reason: said },
            Some("42501") => {
                let advice = format!("GRANT the owner's role TO {}, which needs CREATEDB too", sql::identifier(&role));
                AdminError::Denied { doing, reason: said, advice }
            }
            Some("55006" | "55P03") => AdminError::InUse { doing, reason: said, sessions: String::new(), role },
            _ => match ServerError::from_query(&doing, admin.server.settings(), error) {
                lost @ ServerError::Lost { .. } => AdminError::Server(lost),
                _ => AdminError::Refused { doing, reason: said },
            },
        }
    }

    /// Whether the database, or the one whose name is wanted, does not exist.
    pub fn is_gone(&self) -> bool {
        matches!(self, AdminError::Gone { .. }) || matches!(self, AdminError::Server(error) if error.is_gone())
    }
}
