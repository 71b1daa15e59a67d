//! What is in a database that was restored.

use std::{
    cmp::Reverse,
    sync::atomic::{AtomicUsize, Ordering},
};

use plana_plan::{manifest::TableFacts, name::printable};

use super::Admin;
use crate::{
    server::{ServerError, close},
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

impl Admin {
    /// Counts the rows of each table as [`Inspector::count`](super::Inspector::count) does. The counts stand in the tables' order:
    /// to compare with the dump's. So many connections count at once; each table is counted as it is then.
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
        let workers = (0..connections.max(1).min(tables.len())).map(|_| self.count_some(database, &order, &next));
        let counted = futures::future::try_join_all(workers).await?;
        let mut counted: Vec<_> = counted.into_iter().flatten().collect();
        counted.sort_by_key(|(index, _)| *index);
        Ok(counted.into_iter().map(|(_, count)| count).collect())
    }

    async fn count_some(
        &self,
        database: &str,
        order: &[(usize, &TableFacts)],
        next: &AtomicUsize,
    ) -> Result<Vec<(usize, Result<u64, CountError>)>, ServerError> {
        let mut inspector = self.inspector(database).await?;
        let mut counted = Vec::new();
        while let Some((index, table)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            counted.push((*index, inspector.count(table).await?));
        }
        inspector.close().await;
        Ok(counted)
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
        let mut inspector = self.inspector(database).await?;
        inspector.analyze_others(&[]).await?;
        inspector.close().await;
        Ok(())
    }

    pub(super) fn failed_in(&self, database: &str, doing: &str, error: sqlx::Error) -> ServerError {
        ServerError::from_query(doing, &self.server.settings().with_database(database), error)
    }
}
