//! A server: whether it answers, what it is, and which databases it holds.

mod connect;
mod databases;
mod error;
mod facts;

use std::{collections::BTreeMap, time::Duration};

use sqlx::{Connection, PgConnection};

use crate::dsn::ConnectionSettings;
pub(crate) use connect::connect;
pub use databases::{DatabaseInfo, Obstacle};
pub use error::ServerError;
pub(crate) use error::{reason, sql_state};
pub use facts::ServerFacts;

/// A server that answered. No connection is kept: a run takes hours, and firewalls forget idle ones.
#[derive(Debug, Clone)]
pub struct Server {
    settings: ConnectionSettings,
    timeout: Duration,
    facts: ServerFacts,
}

impl Server {
    /// Connects, makes sure that it is PostgreSQL itself and not a pooler, and asks what it is.
    ///
    /// # Errors
    /// When no host answers in `timeout`, refuses us, or is a pooler.
    pub async fn connect(settings: &ConnectionSettings, timeout: Duration) -> Result<Self, ServerError> {
        let (mut connection, index) = connect(settings, timeout).await?;
        let settings = settings.pinned_to(index).with_default_connect_timeout(timeout);
        connect::refuse_pooler(&settings, timeout).await?;
        let facts = facts::read(&mut connection).await.map_err(|e| ServerError::from_query("ask the server what it is", &settings, e))?;
        close(connection).await;
        Ok(Server { settings, timeout, facts })
    }

    /// What it is.
    pub fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    /// What it is, where, and who we are there, for people.
    pub fn describe(&self) -> String {
        let standby = if self.facts.in_recovery { ", a standby" } else { "" };
        format!("PostgreSQL {} at {}{standby}, as role {}", self.facts.version, self.settings.server_label(), self.facts.role)
    }

    /// Settings of a child's session that our role may choose: failures are told apart by the server's words, in English.
    /// A role that is no superuser may be given the same by one (`ALTER ROLE … SET lc_messages`).
    pub fn child_session(&self) -> Vec<(String, String)> {
        let messages = self.facts.is_superuser.then(|| ("lc_messages".to_owned(), "C".to_owned()));
        messages.into_iter().collect()
    }

    /// How it is reached: of several hosts only the one that answered, so that a dump comes from the same server.
    pub fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// How long a connection may take to open.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Every database but `template0`, which nobody may connect to or change.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn databases(&self) -> Result<Vec<DatabaseInfo>, ServerError> {
        let mut connection = self.session().await?;
        let listed = databases::list(&mut connection).await;
        close(connection).await;
        listed.map_err(|e| ServerError::from_query("list the databases", &self.settings, e))
    }

    /// Whether there is a database of that name now.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn database_exists(&self, name: &str) -> Result<bool, ServerError> {
        let mut connection = self.session().await?;
        let query = sqlx::query_scalar::<_, bool>("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)");
        let exists = query.bind(name).fetch_one(&mut connection).await;
        close(connection).await;
        exists.map_err(|e| ServerError::from_query("look for a database", &self.settings, e))
    }

    /// The extensions of a database and their versions, which a dump does not hold.
    ///
    /// # Errors
    /// When the database cannot be connected to.
    pub async fn extensions(&self, database: &str) -> Result<BTreeMap<String, String>, ServerError> {
        let settings = self.settings.with_database(database);
        let (mut connection, _) = connect(&settings, self.timeout).await?;
        let query = sqlx::query_as::<_, (String, String)>("SELECT extname::text, extversion FROM pg_catalog.pg_extension");
        let found = query.fetch_all(&mut connection).await;
        close(connection).await;
        Ok(found.map_err(|e| ServerError::from_query("list the extensions", &settings, e))?.into_iter().collect())
    }

    /// Rows that were ever inserted, updated or deleted in a database, by the server's own statistics. Sessions tell theirs up to
    /// a second late, busy ones at the end of a transaction.
    ///
    /// # Errors
    /// When the server does not answer, or has no such database.
    pub async fn rows_written(&self, database: &str) -> Result<u64, ServerError> {
        let mut connection = self.session().await?;
        let query = "SELECT tup_inserted + tup_updated + tup_deleted FROM pg_catalog.pg_stat_database WHERE datname = $1";
        let written = sqlx::query_scalar::<_, i64>(query).bind(database).fetch_one(&mut connection).await;
        close(connection).await;
        let written = written.map_err(|e| ServerError::from_query("count the rows that were written", &self.settings, e))?;
        Ok(written.unsigned_abs())
    }

    async fn session(&self) -> Result<PgConnection, ServerError> {
        let (mut connection, _) = connect(&self.settings, self.timeout).await?;
        // The sizes of a thousand databases take longer than what a role's own limit is meant for.
        let lifted = sqlx::raw_sql("SET statement_timeout = 0").execute(&mut connection).await;
        lifted.map_err(|error| ServerError::from_query("prepare a session", &self.settings, error))?;
        Ok(connection)
    }
}

/// Says goodbye; a server that does not hear it has nothing of ours any more.
pub(crate) async fn close(connection: PgConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "the server did not hear that a session ended");
    }
}
