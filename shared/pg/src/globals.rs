//! Roles and tablespaces of another server, made on this one.

use std::collections::BTreeSet;

use plana_plan::globals::{Statement, shown};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::server::{Server, ServerError, close, connect, reason};

/// Why the globals could not be restored. Each message completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobalsError {
    /// The server failed.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A statement failed.
    #[error("run `{statement}`: {reason}{}", if *.undone { "; no role was made" } else { "; roles are there, this tablespace is not: make its directory, and run it again" })]
    Statement {
        /// The statement, without any verifier.
        statement: String,
        /// What the server said.
        reason: String,
        /// Whether all is as before.
        undone: bool,
    },
}

/// The roles and tablespaces that a server has.
///
/// # Errors
/// When the server does not answer.
pub async fn existing(server: &Server) -> Result<(BTreeSet<String>, BTreeSet<String>), ServerError> {
    let (mut connection, _) = connect(server.settings(), server.timeout()).await?;
    let found = async {
        let roles: Vec<String> = sqlx::query_scalar("SELECT rolname::text FROM pg_catalog.pg_roles").fetch_all(&mut connection).await?;
        let spaces: Vec<String> =
            sqlx::query_scalar("SELECT spcname::text FROM pg_catalog.pg_tablespace").fetch_all(&mut connection).await?;
        Ok((roles.into_iter().collect(), spaces.into_iter().collect()))
    };
    let found = found.await.map_err(|error| ServerError::from_query("list roles and tablespaces", server.settings(), error));
    close(connection).await;
    found
}

/// Runs statements about roles, all of them or none, and then those about tablespaces one by one, as the server's superuser.
///
/// # Errors
/// At the first statement that fails.
pub async fn make(server: &Server, roles: &[Statement], tablespaces: &[Statement]) -> Result<(), GlobalsError> {
    let (mut connection, _) = connect(server.settings(), server.timeout()).await?;
    let begin = "SET default_transaction_read_only = off; SET standard_conforming_strings = on; SET client_min_messages = error; BEGIN";
    let prepared = sqlx::raw_sql(begin).execute(&mut connection).await;
    prepared.map_err(|error| ServerError::from_query("prepare a session", server.settings(), error))?;
    // After an error the transaction ends with its session.
    run(&mut connection, roles, true).await?;
    let ended = sqlx::raw_sql("COMMIT").execute(&mut connection).await;
    ended.map_err(|error| ServerError::from_query("make the roles", server.settings(), error))?;
    run(&mut connection, tablespaces, false).await?;
    close(connection).await;
    Ok(())
}

async fn run(connection: &mut PgConnection, statements: &[Statement], undone: bool) -> Result<(), GlobalsError> {
    for statement in statements {
        let done = sqlx::raw_sql(AssertSqlSafe(statement.sql.clone())).execute(&mut *connection).await;
        done.map_err(|error| GlobalsError::Statement { statement: shown(&statement.sql), reason: reason(&error), undone })?;
    }
    Ok(())
}
