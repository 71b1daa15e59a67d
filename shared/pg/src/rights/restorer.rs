//! Whether our role may do what a restore does, and no more.

use sqlx::PgConnection;

use super::{Finding, Grade};
use crate::{
    server::{Server, ServerError, close, connect},
    sql,
};

/// Makes the role that restores, with psql as a superuser. pg_restore runs as it, and so do the functions of a dump.
pub const RESTORER_SQL: &str = r"-- As a superuser, in psql. Then give it a password: \password plana_restore
CREATE ROLE plana_restore LOGIN CREATEDB;
GRANT plana TO plana_restore;    -- each role that owns what is restored
-- Failures are told apart by the server's words: in English.
ALTER ROLE plana_restore SET lc_messages = 'C';
";

// Whoever is not a member of an owner cannot give it what it owned.
const FOREIGN_OWNERS: &str = "
    SELECT DISTINCT r.rolname::text FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba
    WHERE NOT r.rolsuper AND NOT pg_catalog.pg_has_role(r.oid, 'MEMBER') ORDER BY 1";

const ROLE: &str = "
    SELECT rolcreatedb, pg_catalog.current_setting('lc_messages') FROM pg_catalog.pg_roles WHERE rolname = current_user";

/// What is missing for a restore, and what is too much.
///
/// # Errors
/// When the server cannot be asked.
pub async fn check_restorer(server: &Server) -> Result<Vec<Finding>, ServerError> {
    let facts = server.facts();
    let role = sql::identifier(&facts.role);
    let mut findings = Vec::new();
    let mut found = |grade, problem: String, mend: String| findings.push(Finding { database: None, grade, problem, mend: Some(mend) });
    if facts.in_recovery {
        found(Grade::Missing, "it is a standby, into which nothing can be restored".to_owned(), "connect to the primary".to_owned());
    }
    if facts.is_superuser {
        let problem = format!("role {role} is a superuser, and functions of a dump that run while it is restored would be one too");
        found(Grade::Missing, problem, RESTORER_SQL.to_owned());
        return Ok(findings);
    }
    let (mut connection, _) = connect(server.settings(), server.timeout()).await?;
    let seen = look(&mut connection).await;
    close(connection).await;
    let (may_create, messages, owners) = seen.map_err(|error| ServerError::from_query("ask for our own role", server.settings(), error))?;
    if !may_create {
        found(Grade::Missing, format!("role {role} may not make databases"), format!("ALTER ROLE {role} CREATEDB"));
    }
    for owner in owners.iter().map(|owner| sql::identifier(owner)) {
        let problem = format!("role {role} is no member of {owner}, which owns databases here: theirs restore with --no-owner only");
        found(Grade::Note, problem, format!("GRANT {owner} TO {role}"));
    }
    if !is_english(&messages) {
        let problem = format!("the server's messages are not English (lc_messages = {messages}): failures are told apart less well");
        found(Grade::Note, problem, format!("ALTER ROLE {role} SET lc_messages = 'C'"));
    }
    Ok(findings)
}

async fn look(connection: &mut PgConnection) -> Result<(bool, String, Vec<String>), sqlx::Error> {
    let (may_create, messages) = sqlx::query_as::<_, (bool, String)>(ROLE).fetch_one(&mut *connection).await?;
    let owners = sqlx::query_scalar(FOREIGN_OWNERS).fetch_all(connection).await?;
    Ok((may_create, messages, owners))
}

/// Whether a locale of messages means English; an empty one means the server's own environment, mostly C.
pub(crate) fn is_english(locale: &str) -> bool {
    let name = locale.split(['.', '@']).next().unwrap_or_default();
    matches!(name, "" | "C" | "POSIX" | "en") || name.starts_with("en_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_is_known() {
        for locale in ["", "C", "C.UTF-8", "POSIX", "en_US.UTF-8", "en"] {
            assert!(is_english(locale), "{locale}");
        }
        for locale in ["de_DE.UTF-8", "bg_BG", "ens"] {
            assert!(!is_english(locale), "{locale}");
        }
    }
}
