//! One table after the other, by one session.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use plana_plan::manifest::TableFacts;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{Admin, CountError};
use crate::{
    server::{ServerError, close, reason, sql_state},
    sql,
};

// Of a table that belongs to an extension only what the extension says to hold configuration is dumped; the rest it
// brings itself when it is made.
const CONDITIONS: &str = "
    SELECT n.nspname::text, c.relname::text, x.condition
    FROM pg_catalog.pg_extension e CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition)) x (oid, condition)
    JOIN pg_catalog.pg_class c ON c.oid = x.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE x.condition <> ''";

// What ANALYZE takes by itself (get_all_vacuum_rels in vacuum.c) without what is done. A partition is analyzed with its root,
// which takes all of them along; the statistics of a parent are also of its children, which may have come later.
const OTHERS: &str = "
    SELECT n.nspname::text, c.relname::text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) done (schema, name) ON done.schema = n.nspname AND done.name = c.relname
    WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition AND (done.name IS NULL OR c.relhassubclass)";
// A session tells what it has done before it leaves this list.
const OTHER_SESSIONS: &str = "
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
    WHERE datname = pg_catalog.current_database() AND usename = session_user AND pid <> pg_catalog.pg_backend_pid()";
// After a TRUNCATE no row is alive. What was inserted counts on.
const UNTOUCHED: &str = "
    SELECT s.schemaname::text, s.relname::text FROM pg_catalog.pg_stat_all_tables s
    JOIN ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::bigint[])) wanted (schema, name, rows)
        ON wanted.schema = s.schemaname AND wanted.name = s.relname
    WHERE s.n_tup_ins = wanted.rows AND s.n_tup_upd = 0 AND s.n_tup_del = 0 AND (s.n_live_tup > 0 OR wanted.rows = 0)";
/// How long a session may take to leave when its client has ended.
const STATISTICS_DELAY: Duration = Duration::from_secs(1);
const IS_PARTITION: &str = "
    SELECT c.relispartition FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2";

/// Schema and name of an extension's table → the condition of the rows that a dump takes of it.
type Conditions = HashMap<(String, String), String>;

/// A session that looks at the tables of one database.
pub struct Inspector {
    admin: Admin,
    database: String,
    connection: PgConnection,
    conditions: Conditions,
}

impl Admin {
    /// A session to count and analyze tables one by one. Extensions must have been made by then.
    ///
    /// # Errors
    /// When the database cannot be connected to.
    pub async fn inspector(&self, database: &str) -> Result<Inspector, ServerError> {
        let mut connection = self.session(Some(database)).await?;
        let found = sqlx::query_as::<_, (String, String, String)>(CONDITIONS).fetch_all(&mut connection).await;
        let found = self.answered("ask which rows are the extensions' own", found)?.into_iter();
        let conditions = found.map(|(schema, table, condition)| ((schema, table), condition)).collect();
        Ok(Inspector { admin: self.clone(), database: database.to_owned(), connection, conditions })
    }
}

impl Inspector {
    /// Counts the rows of a table as a dump would take them: without those of its children, and of an extension's table only
    /// what is not the extension's own.
    ///
    /// # Errors
    /// When the connection is lost. What concerns the table alone is the inner error.
    pub async fn count(&mut self, table: &TableFacts) -> Result<Result<u64, CountError>, ServerError> {
        let condition = self.conditions.get(&(table.schema.clone(), table.table.clone())).map_or("", String::as_str);
        let query = AssertSqlSafe(format!("SELECT pg_catalog.count(*) FROM ONLY {} {condition}", qualified(&table.schema, &table.table)));
        let error = match sqlx::query_scalar::<_, i64>(query).fetch_one(&mut self.connection).await {
            Ok(count) => return Ok(Ok(count.unsigned_abs())),
            Err(error) => error,
        };
        let server = &self.admin.server;
        let (state, reason, role) = (sql_state(&error), reason(&error), server.facts().role.clone());
        let table = format!("{}.{}", table.schema, table.table);
        match ServerError::from_query("count rows", server.settings(), error) {
            lost @ ServerError::Lost { .. } => Err(lost),
            _ => Ok(Err(match state.as_deref() {
                // No such table, or no such schema.
                Some("42P01" | "3F000") => CountError::Missing { table },
                Some("42501") if reason.contains("row-level security") => CountError::RowSecurity { table, reason, role },
                _ => CountError::Failed { table, reason },
            })),
        }
    }

    /// Collects the statistics of one table, unless it is a partition: then they come with those of the others.
    ///
    /// # Errors
    /// When ANALYZE fails.
    pub async fn analyze(&mut self, table: &TableFacts) -> Result<(), ServerError> {
        let asked = sqlx::query_scalar(IS_PARTITION).bind(&table.schema).bind(&table.table).fetch_optional(&mut self.connection).await;
        let asked: Option<bool> = asked.map_err(|error| self.admin.failed_in(&self.database, "look at a table", error))?;
        if asked.unwrap_or(true) { Ok(()) } else { self.run_analyze(&[qualified(&table.schema, &table.table)]).await }
    }

    /// Collects the statistics of every table that is ours but these, whose statistics are there.
    ///
    /// # Errors
    /// When ANALYZE fails.
    pub async fn analyze_others(&mut self, done: &[&TableFacts]) -> Result<(), ServerError> {
        if done.is_empty() {
            return self.run_analyze(&[]).await;
        }
        let schemas: Vec<&str> = done.iter().map(|table| &*table.schema).collect();
        let tables: Vec<&str> = done.iter().map(|table| &*table.table).collect();
        let others = sqlx::query_as::<_, (String, String)>(OTHERS).bind(schemas).bind(tables).fetch_all(&mut self.connection).await;
        let others = others.map_err(|error| self.admin.failed_in(&self.database, "list the tables to analyze", error))?;
        let others: Vec<_> = others.iter().map(|(schema, table)| qualified(schema, table)).collect();
        if others.is_empty() { Ok(()) } else { self.run_analyze(&others).await }
    }

    /// Which of these tables have had the rows inserted that they should have and nothing else done to them, as the server's
    /// statistics tell once every other session of our role in the database is gone: schema and name. Where they are not
    /// collected, or come late (before PostgreSQL 15), none is known.
    ///
    /// # Errors
    /// When the connection is lost, or the database cannot be asked.
    pub async fn untouched(&mut self, tables: &[&TableFacts]) -> Result<HashSet<(String, String)>, ServerError> {
        let failed = |inspector: &Self, error| inspector.admin.failed_in(&inspector.database, "ask what was done to the tables", error);
        let deadline = Instant::now() + STATISTICS_DELAY;
        loop {
            let others = sqlx::query_scalar::<_, i64>(OTHER_SESSIONS).fetch_one(&mut self.connection).await;
            match others.map_err(|error| failed(self, error))? {
                0 => break,
                _ if Instant::now() > deadline => return Ok(HashSet::new()),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        if self.admin.server.facts().version.major < 15 {
            return Ok(HashSet::new());
        }
        let schemas: Vec<&str> = tables.iter().map(|table| &*table.schema).collect();
        let names: Vec<&str> = tables.iter().map(|table| &*table.table).collect();
        let rows: Vec<i64> = tables.iter().map(|table| i64::try_from(table.rows).unwrap_or(i64::MAX)).collect();
        let query = sqlx::query_as::<_, (String, String)>(UNTOUCHED).bind(schemas).bind(names).bind(rows);
        let found = query.fetch_all(&mut self.connection).await.map_err(|error| failed(self, error))?;
        Ok(found.into_iter().collect())
    }

    /// Ends the session.
    pub async fn close(self) {
        close(self.connection).await;
    }

    /// Of these tables; of all without any.
    async fn run_analyze(&mut self, tables: &[String]) -> Result<(), ServerError> {
        let done = sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE {}", tables.join(", ")))).execute(&mut self.connection).await;
        done.map(drop).map_err(|error| self.admin.failed_in(&self.database, "analyze the tables", error))
    }
}

fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", sql::identifier(schema), sql::identifier(table))
}
