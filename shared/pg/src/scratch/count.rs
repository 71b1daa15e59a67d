//! What is in a database that was restored.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use plana_plan::{manifest::TableFacts, name::printable};
use sqlx::{AssertSqlSafe, PgConnection};

use super::Admin;
use crate::{
    server::{ServerError, close, reason, sql_state},
    sql,
};

/// Why a table's rows are unknown. Each message completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CountError {
    /// There is no such table.
    #[error("count the rows of `{}`: there is no such table", printable(.table))]
    Missing {
        /// Its schema and name.
        table: String,
    },
    /// Row-level security hides rows from our role.
    #[error("count the rows of `{}`: {reason}; ALTER ROLE {} BYPASSRLS", printable(.table), sql::identifier(.role))]
    RowSecurity {
        /// Its schema and name.
        table: String,
        /// What the server said.
        reason: String,
        /// Our role.
        role: String,
    },
    /// Another reason.
    #[error("count the rows of `{}`: {reason}", printable(.table))]
    Failed {
        /// Its schema and name.
        table: String,
        /// What the server said.
        reason: String,
    },
}

// Of a table that belongs to an extension only what the extension says to hold configuration is dumped; the rest it
// brings itself when it is made.
const CONDITIONS: &str = "
    SELECT n.nspname::text, c.relname::text, x.condition
    FROM pg_catalog.pg_extension e CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition)) x (oid, condition)
    JOIN pg_catalog.pg_class c ON c.oid = x.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE x.condition <> ''";

/// Schema and name of an extension's table → the condition of the rows that a dump takes of it.
type Conditions = HashMap<(String, String), String>;

impl Admin {
    /// Counts the rows of each table as a dump would take them: without those of its children, and of an extension's table
    /// only what is not the extension's own. The counts stand in the tables' order: to compare with the dump's. So many
    /// connections count at once; each table is counted as it is then.
    ///
    /// # Errors
    /// When the database cannot be connected to, or a connection is lost. What concerns one table stands in its place.
    pub async fn count_rows(
        &self,
        database: &str,
        tables: &[TableFacts],
        connections: usize,
    ) -> Result<Vec<Result<u64, CountError>>, ServerError> {
        // The largest first: one that is begun last keeps all others waiting.
        let mut order: Vec<_> = tables.iter().enumerate().collect();
        order.sort_by_key(|(_, table)| Reverse(table.bytes));
        let next = AtomicUsize::new(0);
        let conditions = self.conditions(database).await?;
        let workers = (0..connections.max(1).min(tables.len())).map(|_| self.count_some(database, &order, &conditions, &next));
        let counted = futures::future::try_join_all(workers).await?;
        let mut counted: Vec<_> = counted.into_iter().flatten().collect();
        counted.sort_by_key(|(index, _)| *index);
        Ok(counted.into_iter().map(|(_, count)| count).collect())
    }

    async fn count_some(
        &self,
        database: &str,
        order: &[(usize, &TableFacts)],
        conditions: &Conditions,
        next: &AtomicUsize,
    ) -> Result<Vec<(usize, Result<u64, CountError>)>, ServerError> {
        let mut connection = self.session(Some(database)).await?;
        let mut counted = Vec::new();
        while let Some((index, table)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let condition = conditions.get(&(table.schema.clone(), table.table.clone())).map_or("", String::as_str);
            counted.push((*index, self.count(&mut connection, table, condition).await?));
        }
        close(connection).await;
        Ok(counted)
    }

    async fn conditions(&self, database: &str) -> Result<Conditions, ServerError> {
        let mut connection = self.session(Some(database)).await?;
        let found = sqlx::query_as::<_, (String, String, String)>(CONDITIONS).fetch_all(&mut connection).await;
        close(connection).await;
        let found = self.answered("ask which rows are the extensions' own", found)?.into_iter();
        Ok(found.map(|(schema, table, condition)| ((schema, table), condition)).collect())
    }

    async fn count(
        &self,
        connection: &mut PgConnection,
        table: &TableFacts,
        condition: &str,
    ) -> Result<Result<u64, CountError>, ServerError> {
        let from = format!("{}.{}", sql::identifier(&table.schema), sql::identifier(&table.table));
        let query = AssertSqlSafe(format!("SELECT pg_catalog.count(*) FROM ONLY {from} {condition}"));
        let error = match sqlx::query_scalar::<_, i64>(query).fetch_one(connection).await {
            Ok(count) => return Ok(Ok(count.unsigned_abs())),
            Err(error) => error,
        };
        let (state, reason, role) = (sql_state(&error), reason(&error), self.server.facts().role.clone());
        let table = format!("{}.{}", table.schema, table.table);
        match ServerError::from_query("count rows", self.server.settings(), error) {
            lost @ ServerError::Lost { .. } => Err(lost),
            _ => Ok(Err(match state.as_deref() {
                // No such table, or no such schema.
                Some("42P01" | "3F000") => CountError::Missing { table },
                Some("42501") if reason.contains("row-level security") => CountError::RowSecurity { table, reason, role },
                _ => CountError::Failed { table, reason },
            })),
        }
    }

    /// How many large objects the database has.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn large_objects(&self, database: &str) -> Result<u64, ServerError> {
        let mut connection = self.session(Some(database)).await?;
        let query = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata";
        let count = sqlx::query_scalar::<_, i64>(query).fetch_one(&mut connection).await;
        close(connection).await;
        count.map(i64::unsigned_abs).map_err(|error| self.failed_in(database, "count the large objects", error))
    }

    /// Collects the statistics of every table that is ours, which an archive does not hold: without them the first
    /// queries are planned blindly.
    ///
    /// # Errors
    /// When the database cannot be connected to, or ANALYZE fails.
    pub async fn analyze(&self, database: &str) -> Result<(), ServerError> {
        let mut connection = self.session(Some(database)).await?;
        let done = sqlx::raw_sql("ANALYZE").execute(&mut connection).await;
        close(connection).await;
        done.map(drop).map_err(|error| self.failed_in(database, "analyze the tables", error))
    }

    fn failed_in(&self, database: &str, doing: &str, error: sqlx::Error) -> ServerError {
        ServerError::from_query(doing, &self.server.settings().with_database(database), error)
    }
}
