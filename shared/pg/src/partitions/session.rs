//! One session in the tables' database, set so that nothing depends on a role's, a database's or an environment's settings.

use std::time::Duration;

use plana_plan::{name::printable, partition::ddl::relation, sql::identifier};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{Blocker, PartitionError, error::Answer};
use crate::{
    dsn::ConnectionSettings,
    server::{Server, ServerError, close, connect},
    session, sql,
};

/// How long locks are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long one statement waits.
    pub lock_timeout: Duration,
    /// How often it is tried.
    pub attempts: u32,
}

/// A session that looks at partitioned tables and changes them.
#[derive(Debug)]
pub struct Tables {
    settings: ConnectionSettings,
    pub(super) connection: PgConnection,
    pub(super) patience: Patience,
    role: String,
}

impl Tables {
    /// Opens the session, in the settings' database.
    ///
    /// # Errors
    /// When the server does not let us in.
    pub async fn open(server: &Server, settings: &ConnectionSettings, patience: Patience) -> Result<Self, ServerError> {
        let (mut connection, _) = connect(settings, server.timeout()).await?;
        let lock_timeout = format!("{}ms", patience.lock_timeout.as_millis());
        let mut wanted = session::patient_writer(server.facts().version);
        wanted.extend([
            ("lock_timeout", lock_timeout.as_str()),
            // Bounds are read and written in UTC and ISO, whatever the role's, the database's or our own environment's zone.
            ("TimeZone", "UTC"),
            ("DateStyle", "ISO, YMD"),
            ("search_path", "pg_catalog"),
            ("row_security", "off"),
            ("client_min_messages", "error"),
            ("default_transaction_isolation", "read committed"),
        ]);
        let set: Vec<String> = wanted.iter().map(|(name, value)| format!("SET {name} = {}", value_of(name, value))).collect();
        let set = sqlx::raw_sql(AssertSqlSafe(set.join("; "))).execute(&mut connection).await;
        set.map_err(|error| ServerError::from_query("prepare a session", settings, error))?;
        Ok(Tables { settings: settings.clone(), connection, patience, role: server.facts().role.clone() })
    }

    /// Says goodbye.
    pub async fn close(self) {
        close(self.connection).await;
    }

    /// How the server is reached.
    pub(super) fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// A question that failed.
    pub(super) fn failed(&self, doing: &str, error: sqlx::Error) -> ServerError {
        ServerError::from_query(doing, &self.settings, error)
    }

    /// The SQL that gives the right that the server misses.
    pub(super) fn missing_right(&self, reason: &str) -> String {
        let me = identifier(&self.role);
        // permission denied to set role "exo", permission denied for schema public, must be owner of table x
        match reason.split_once("set role \"").and_then(|(_, rest)| rest.split_once('"')) {
            Some((owner, _)) => format!("GRANT {} TO {me}", identifier(owner)),
            None if reason.contains("for schema") => "GRANT USAGE, CREATE ON SCHEMA … TO the tables' owner".to_owned(),
            None => format!("make {me} a member of the owner's role: GRANT owner TO {me}"),
        }
    }

    /// Runs statements that take effect together, as `role`; tries again where a lock is not to be had in time.
    ///
    /// # Errors
    /// When they are refused, or no attempt gets its locks; `watched` are the tables whose holders are then named.
    pub(super) async fn together(&mut self, doing: &str, role: &str, sql: &[String], watched: &[u32]) -> Result<(), PartitionError> {
        let text = transaction(role, sql);
        for attempt in 1.. {
            let done = sqlx::raw_sql(AssertSqlSafe(text.clone())).execute(&mut self.connection).await;
            let Err(error) = done else { break };
            self.roll_back().await;
            match Answer::of(error, doing, self) {
                Answer::Locked if attempt < self.patience.attempts => pause(attempt).await,
                answer => return Err(self.give_up(answer, doing, watched).await),
            }
        }
        Ok(())
    }

    /// Runs one statement that no transaction may hold, as `role`, once.
    pub(super) async fn alone(&mut self, role: &str, sql: &str) -> Result<(), sqlx::Error> {
        let become_role = format!("SET ROLE {}", identifier(role));
        sqlx::raw_sql(AssertSqlSafe(become_role)).execute(&mut self.connection).await?;
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.connection).await;
        let back = sqlx::raw_sql("RESET ROLE").execute(&mut self.connection).await;
        done?;
        back.map(drop)
    }

    /// Ends a transaction that failed; where there is none, or no server, nothing is lost.
    pub(super) async fn roll_back(&mut self) {
        if let Err(error) = sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await {
            tracing::debug!(%error, "nothing to roll back");
        }
    }

    /// What is said when a step is given up.
    pub(super) async fn give_up(&mut self, answer: Answer, doing: &str, watched: &[u32]) -> PartitionError {
        match answer {
            Answer::Locked => {
                let blockers = self.holders(watched).await.unwrap_or_default();
                PartitionError::Blocked { doing: doing.to_owned(), blockers: blockers.into_iter().map(Blocker::from).collect() }
            }
            Answer::Changed(what) => PartitionError::changed(doing, what),
            Answer::NotConcurrently => {
                PartitionError::Refused { doing: doing.to_owned(), reason: "it cannot be detached concurrently".to_owned() }
            }
            Answer::Final(error) => error,
        }
    }
}

/// The isolation level and the path are words, and what they hold needs quotes of another kind.
fn value_of(name: &str, value: &str) -> String {
    if name == "search_path" || name == "DateStyle" { value.to_owned() } else { sql::literal(value) }
}

/// Statements as one transaction of that role.
pub(super) fn transaction(role: &str, sql: &[String]) -> String {
    format!("BEGIN; SET LOCAL ROLE {}; {}; COMMIT", identifier(role), sql.join("; "))
}

/// A pause between two attempts that grows, and that is different each time: two that wait for each other must not meet again.
pub(super) async fn pause(attempt: u32) {
    let longest = Duration::from_millis(200) * 2u32.saturating_pow(attempt.min(5));
    tokio::time::sleep(longest.mul_f64(0.5 + chance() / 2.0)).await;
}

/// A number from 0 to 1. The clock's last digits do for a pause.
fn chance() -> f64 {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    f64::from(nanos % 1000) / 1000.0
}

/// A name for people.
pub(super) fn shown(schema: &str, name: &str) -> String {
    printable(&format!("{schema}.{name}"))
}

/// A lock on exactly this table, none of its partitions.
pub(super) fn lock_only(schema: &str, name: &str, mode: &str) -> String {
    format!("LOCK TABLE ONLY {} IN {mode} MODE", relation(schema, name))
}

impl Tables {
    /// Whether our role may act as that one.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn is_member(&mut self, owner: &str) -> Result<bool, PartitionError> {
        let doing = "look at the role's memberships";
        let query = "SELECT COALESCE((SELECT pg_catalog.pg_has_role(oid, 'MEMBER') FROM pg_catalog.pg_roles WHERE rolname = $1), false)";
        self.ask(doing, sqlx::query_scalar(query).bind(owner)).await
    }

    /// The SQL that lets a role act as the owner.
    pub fn grant_of(owner: &str, role: &str) -> String {
        format!("GRANT {} TO {}", identifier(owner), identifier(role))
    }
}
