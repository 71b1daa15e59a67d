//! Retention per deployment: the query, and the deletion of rows a few pages at a time.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use plana_plan::{
    partition::{
        Grid, Partition, PartitionKind, Table,
        ddl::relation,
        deployments::{DeploymentWindows, DeploymentsRefused},
    },
    sql::identifier,
};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tokio_util::sync::CancellationToken;

use super::{
    PartitionError, Tables,
    error::Answer,
    session::pause,
    statements::{delete_expired, vacuum},
};

/// How fast rows are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Pages for each commit.
    pub batch_pages: u32,
    /// Rows in a second, on average.
    pub rows_per_second: u32,
}

/// Whose rows expire when.
#[derive(Debug, Clone, Copy)]
pub struct Expiry<'a> {
    /// The table.
    pub table: &'a Table,
    /// Its owner, as whom rows are deleted.
    pub owner: &'a str,
    /// The column that names the deployment.
    pub column: &'a str,
    /// How long each deployment's rows are kept.
    pub windows: &'a DeploymentWindows,
    /// The table's calendar.
    pub grid: Grid,
    /// The server's clock.
    pub now: DateTime<Utc>,
    /// How fast.
    pub pace: Pace,
}

impl Expiry<'_> {
    /// Whether that partition may hold rows that have expired: what begins after the last cutoff holds none.
    pub fn is_due(&self, leaf: &Partition) -> bool {
        let begins = leaf.bounds.finite().map(|(from, _)| from);
        let due = |cutoff| begins.is_none_or(|from| from < cutoff);
        leaf.kind == PartitionKind::Leaf && self.windows.cutoffs(&self.grid, self.now).iter().any(|(_, cutoff)| due(*cutoff))
    }
}

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Rows.
    pub rows: u64,
    /// Batches, each its own transaction.
    pub batches: u64,
}

impl Tables {
    /// Asks how long each deployment's rows are kept.
    ///
    /// # Errors
    /// When the query fails, takes too long, or answers nothing that can be believed.
    pub async fn deployment_windows(&mut self, query: &str, timeout: Duration) -> Result<DeploymentWindows, DeploymentsRefused> {
        let limit = format!("SET statement_timeout = {}", timeout.as_millis().max(1));
        let read = async {
            sqlx::raw_sql(AssertSqlSafe(limit)).execute(&mut self.connection).await?;
            let mut transaction = self.connection.begin_with("BEGIN READ ONLY").await?;
            sqlx::raw_sql("SET LOCAL search_path TO DEFAULT; SET LOCAL row_security TO on").execute(&mut *transaction).await?;
            // What an administrator has configured is run as it stands.
            let rows = sqlx::query(AssertSqlSafe(query.to_owned())).fetch_all(&mut *transaction).await?;
            transaction.rollback().await?;
            rows.iter().map(|row| Ok((row.try_get::<Option<String>, _>(0)?, days(row)?))).collect::<Result<Vec<_>, sqlx::Error>>()
        };
        let rows = read.await;
        if let Err(error) = sqlx::raw_sql("SET statement_timeout = 0").execute(&mut self.connection).await {
            return Err(DeploymentsRefused(error.to_string()));
        }
        DeploymentWindows::read(rows.map_err(|error| DeploymentsRefused(format!("the query fails: {}", crate::server::reason(&error))))?)
    }

    /// A deployment that has rows in the partition and that is not among `known`: its rows count as not expired.
    ///
    /// # Errors
    /// When the partition cannot be read.
    pub async fn unknown_deployment(
        &mut self,
        partition: &Partition,
        owner: &str,
        column: &str,
        known: &[String],
    ) -> Result<Option<String>, PartitionError> {
        let doing = format!("look which deployments have rows in {}", partition.full_name());
        let column = identifier(column);
        let query = format!(
            "SELECT COALESCE({column}::text, 'NULL') FROM ONLY {} WHERE {column} IS NULL OR NOT ({column}::text = ANY ($1)) LIMIT 1",
            relation(&partition.schema, &partition.name)
        );
        let found = self.as_owner(owner, query, known).await;
        found.map_err(|error| match Answer::of(error, &doing, self) {
            Answer::Final(error) => error,
            Answer::Locked => PartitionError::Blocked { doing, blockers: Vec::new() },
            Answer::Changed(what) => PartitionError::changed(&doing, what),
            Answer::NotConcurrently => PartitionError::changed(&doing, "it cannot be read"),
        })
    }

    async fn as_owner(&mut self, owner: &str, query: String, known: &[String]) -> Result<Option<String>, sqlx::Error> {
        let mut transaction = self.connection.begin().await?;
        sqlx::raw_sql(AssertSqlSafe(format!("SET LOCAL ROLE {}", identifier(owner)))).execute(&mut *transaction).await?;
        let found = sqlx::query_scalar(AssertSqlSafe(query)).bind(known).fetch_optional(&mut *transaction).await?;
        transaction.rollback().await?;
        Ok(found)
    }

    /// Deletes the rows of a leaf that have expired by their deployment's own window: some pages, a commit, a pause, and so on.
    /// Rows that somebody holds are left to the next run. VACUUM follows where something was deleted.
    ///
    /// # Errors
    /// When a batch is refused; what earlier batches deleted is deleted.
    pub async fn delete_expired(
        &mut self,
        expiry: &Expiry<'_>,
        leaf: &Partition,
        cancel: &CancellationToken,
    ) -> Result<Deleted, PartitionError> {
        let Expiry { table, owner, column, windows, grid, now, pace } = *expiry;
        let doing = format!("delete expired rows of {}", leaf.full_name());
        let at = relation(&leaf.schema, &leaf.name);
        if !expiry.is_due(leaf) {
            return Ok(Deleted::default());
        }
        let cutoffs = windows.cutoffs(&grid, now);
        let sql = delete_expired(&at, table, column);
        let (names, points): (Vec<String>, Vec<String>) = cutoffs.into_iter().map(|(name, cutoff)| (name, grid.key.text(cutoff))).unzip();
        let pages = "SELECT pg_catalog.pg_relation_size($1::text::regclass) / pg_catalog.current_setting('block_size')::int8";
        let pages: i64 = self.ask(&doing, sqlx::query_scalar(pages).bind(&at)).await?;
        let mut deleted = Deleted::default();
        let began = Instant::now();
        for first in (0..pages).step_by(pace.batch_pages.max(1) as usize) {
            if cancel.is_cancelled() {
                break;
            }
            let range = (format!("({first},0)"), format!("({},0)", first + i64::from(pace.batch_pages.max(1))));
            deleted.rows += self.batch(&doing, owner, &sql, (&names, &points), &range).await?;
            deleted.batches += 1;
            let due = Duration::from_secs_f64(deleted.rows as f64 / f64::from(pace.rows_per_second.max(1)));
            tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
        }
        if deleted.rows > 0 {
            self.vacuum(owner, &at).await;
        }
        Ok(deleted)
    }

    async fn batch(
        &mut self,
        doing: &str,
        owner: &str,
        sql: &str,
        (names, points): (&[String], &[String]),
        (from, to): &(String, String),
    ) -> Result<u64, PartitionError> {
        for attempt in 1.. {
            let deleting = async {
                let mut transaction = self.connection.begin().await?;
                sqlx::raw_sql(AssertSqlSafe(format!("SET LOCAL ROLE {}", identifier(owner)))).execute(&mut *transaction).await?;
                let query = sqlx::query(AssertSqlSafe(sql.to_owned())).bind(names).bind(points).bind(from).bind(to);
                let done = query.execute(&mut *transaction).await?;
                transaction.commit().await?;
                Ok::<_, sqlx::Error>(done.rows_affected())
            };
            let error = match deleting.await {
                Ok(rows) => return Ok(rows),
                Err(error) => error,
            };
            match Answer::of(error, doing, self) {
                Answer::Locked if attempt < self.patience.attempts => pause(attempt).await,
                answer => return Err(self.give_up(answer, doing, &[]).await),
            }
        }
        Ok(0)
    }

    /// Makes the room usable again; autovacuum does it where this does not.
    async fn vacuum(&mut self, owner: &str, leaf: &str) {
        if let Err(error) = self.alone(owner, &vacuum(leaf)).await {
            tracing::warn!(leaf, "its room is left to autovacuum: {}", crate::server::reason(&error));
        }
    }
}

fn days(row: &sqlx::postgres::PgRow) -> Result<Option<i64>, sqlx::Error> {
    let narrow = row.try_get::<Option<i32>, _>(1).map(|days| days.map(i64::from));
    narrow.or_else(|_| row.try_get::<Option<i64>, _>(1)).or_else(|_| row.try_get::<Option<i16>, _>(1).map(|days| days.map(i64::from)))
}
