//! What a restore does around pg_restore: a database beside the others, looked at, and put in its place.
//!
//! A restore goes into a database of a random name that nobody else may connect to, and that takes its
//! real name last, when it is proven. Whatever is killed before that leaves the old data as it was and
//! a scratch database that [`Admin::list_scratch`] finds. All of it needs a role with CREATEDB and no
//! superuser; what such a role may not do is said with the GRANT that mends it.

mod acl;
mod count;
mod create;
mod error;
mod evict;
mod extensions;
mod grants;
mod inspect;
mod names;
mod place;
mod public_schema;
mod settings;

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    server::{Server, ServerError, close, connect},
    session, sql,
};
pub use count::CountError;
pub use create::{NewDatabase, Scratch};
pub use error::AdminError;
pub use extensions::{Available, Wanted};
pub use inspect::Inspector;
pub use names::{is_scratch, kept_name, scratch_name};
pub use public_schema::grants_create;

/// Makes, changes, puts in place and drops databases of a server. Each call has a connection of its own.
#[derive(Debug, Clone)]
pub struct Admin {
    server: Server,
}

impl Admin {
    /// For the server, as the role of its settings. Their database must not be one that is renamed, replaced or dropped.
    pub fn new(server: Server) -> Self {
        Admin { server }
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Which of the roles do not exist, in their order.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn missing_roles(&self, names: &[String]) -> Result<Vec<String>, ServerError> {
        let roles = self.column("look for roles", "SELECT rolname::text FROM pg_catalog.pg_roles").await?;
        let roles: BTreeSet<_> = roles.into_iter().collect();
        Ok(names.iter().filter(|name| !roles.contains(*name)).cloned().collect())
    }

    /// The tablespaces.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn tablespaces(&self) -> Result<BTreeSet<String>, ServerError> {
        let found = self.column("list the tablespaces", "SELECT spcname::text FROM pg_catalog.pg_tablespace").await?;
        Ok(found.into_iter().collect())
    }

    async fn column(&self, doing: &str, query: &'static str) -> Result<Vec<String>, ServerError> {
        let mut connection = self.session(None).await?;
        let found = sqlx::query_scalar(query).fetch_all(&mut connection).await;
        close(connection).await;
        self.answered(doing, found)
    }

    fn answered<T>(&self, doing: &str, answer: Result<T, sqlx::Error>) -> Result<T, ServerError> {
        answer.map_err(|error| ServerError::from_query(doing, self.server.settings(), error))
    }

    /// Runs statements that take effect together, or one alone that no transaction may hold.
    async fn execute(&self, doing: &str, statements: &[String]) -> Result<(), AdminError> {
        let text = match statements {
            [one] => one.clone(),
            many => format!("BEGIN; {}; COMMIT", many.join("; ")),
        };
        let mut connection = self.session(None).await?;
        let done = sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await;
        // After an error the transaction ends with its session.
        close(connection).await;
        done.map(drop).map_err(|error| AdminError::from_query(doing, self, error))
    }

    /// A session that waits as long as it takes and sees every row or fails, in `database` or that of the settings.
    async fn session(&self, database: Option<&str>) -> Result<PgConnection, ServerError> {
        let settings = match database {
            Some(database) => &self.server.settings().with_database(database),
            None => self.server.settings(),
        };
        let (mut connection, _) = connect(settings, self.server.timeout()).await?;
        let mut session = session::patient_writer(self.server.facts().version);
        // A database that was just restored has settings of its own, and names that could stand in for the system's.
        session.extend([("row_security", "off"), ("search_path", ""), ("client_min_messages", "error")]);
        let set = session.iter().map(|(name, value)| format!("SET {name} = {}", sql::literal(value)));
        let set = sqlx::raw_sql(AssertSqlSafe(set.collect::<Vec<_>>().join("; "))).execute(&mut connection).await;
        set.map_err(|error| ServerError::from_query("prepare a session", settings, error))?;
        Ok(connection)
    }
}
