//! Rows in DEFAULT that belong to a partition that is about to be made.

use chrono::TimeDelta;
use plana_plan::partition::{NewPartition, Partition, Table, ddl};
use plana_plan::sql::identifier;
use sqlx::{AssertSqlSafe, postgres::types::Oid};

use super::{PartitionError, Plan, Tables};

/// Rows in DEFAULT of one month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonthCount {
    /// `2026-11`.
    pub month: String,
    /// How many.
    pub rows: i64,
}

/// More months than that are no histogram for a message.
const MOST_MONTHS: i64 = 24;

/// What DEFAULT holds of a new partition, and so what its making begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InDefault {
    /// Nothing, or there is no DEFAULT.
    Nothing,
    /// Nothing, but it is so large that this is proven before its lock is taken.
    ToProve,
    /// Rows that may be moved; their columns.
    Movable(Vec<String>),
}

/// A DEFAULT of more bytes than this is proven to hold nothing of the partition before its lock is taken: looking through it
/// under the lock takes 80 ms for 1.5 million rows (measured), and everybody waits.
const SMALL_DEFAULT_BYTES: i64 = 4 << 20;

/// Triggers would fire for a move as for a change, and a key that refers to the rows would lose them in cascade.
const OBSTACLES: &str = "
    SELECT 'the trigger ' || tgname || ' would fire for each of them' FROM pg_catalog.pg_trigger
    WHERE tgrelid = ANY ($1) AND NOT tgisinternal AND tgenabled <> 'D'
    UNION ALL
    SELECT 'the foreign key ' || conname || ' of ' || conrelid::regclass::text || ' refers to them' FROM pg_catalog.pg_constraint
    WHERE contype = 'f' AND confrelid = ANY ($1)
    LIMIT 1";

const COLUMNS: &str = "
    SELECT attname::text FROM pg_catalog.pg_attribute
    WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum";

impl Tables {
    /// Whether DEFAULT holds rows of the new partition, and whether they may be moved.
    ///
    /// # Errors
    /// When there are some and they may not.
    pub async fn in_default(&mut self, plan: &Plan<'_>) -> Result<InDefault, PartitionError> {
        let doing = &plan.doing();
        let Some(default) = plan.table.default_partition() else { return Ok(InDefault::Nothing) };
        let holds = ddl::holds(plan.table, plan.new.from, plan.new.to);
        let leaf = ddl::relation(&default.schema, &default.name);
        // One more than may be moved tells enough.
        let count = format!("SELECT count(*) FROM (SELECT FROM ONLY {leaf} WHERE {holds} LIMIT {}) r", plan.move_at_most.saturating_add(1));
        let count: i64 = self.ask(doing, sqlx::query_scalar(AssertSqlSafe(count))).await?;
        if count == 0 {
            let size = "SELECT pg_catalog.pg_relation_size($1::text::regclass)";
            let size: i64 = self.ask(doing, sqlx::query_scalar(size).bind(&leaf)).await?;
            // Until it is made, the proof refuses rows of that range: of the present, where rows come in, nothing is proven.
            let is_future = plan.now.naive_utc() + TimeDelta::days(1) < plan.new.from;
            return Ok(if size > SMALL_DEFAULT_BYTES && is_future { InDefault::ToProve } else { InDefault::Nothing });
        }
        let tables = vec![Oid(plan.table.oid), Oid(default.oid)];
        let obstacle: Option<String> = sqlx::query_scalar(OBSTACLES)
            .bind(tables)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| self.failed(doing, error))?;
        let too_many = count.unsigned_abs() > plan.move_at_most;
        let why = obstacle.map(|why| format!("they are not moved, since {why}: move them by hand"));
        let why = why.or_else(|| {
            too_many.then(|| format!("there are more than partitions.move_at_most ({}): raise it, or move them by hand", plan.move_at_most))
        });
        if let Some(why) = why {
            let months = self.histogram(plan.table, plan.new, default, doing).await?;
            return Err(PartitionError::RowsInDefault { doing: doing.clone(), why, months });
        }
        let columns = sqlx::query_scalar(COLUMNS).bind(Oid(default.oid)).fetch_all(&mut self.connection).await;
        Ok(InDefault::Movable(columns.map_err(|error| self.failed(doing, error))?))
    }

    async fn histogram(
        &mut self,
        table: &Table,
        new: &NewPartition,
        default: &Partition,
        doing: &str,
    ) -> Result<Vec<MonthCount>, PartitionError> {
        let (leaf, column) = (ddl::relation(&default.schema, &default.name), identifier(&table.column));
        let holds = ddl::holds(table, new.from, new.to);
        let query = format!(
            "SELECT pg_catalog.to_char({column}, 'YYYY-MM') AS month, count(*) FROM ONLY {leaf} WHERE {holds} \
             GROUP BY 1 ORDER BY 1 LIMIT {MOST_MONTHS}"
        );
        let counted: Result<Vec<(String, i64)>, _> = sqlx::query_as(AssertSqlSafe(query)).fetch_all(&mut self.connection).await;
        let counted = counted.map_err(|error| self.failed(doing, error))?;
        Ok(counted.into_iter().map(|(month, rows)| MonthCount { month, rows }).collect())
    }

    /// The one value that a question answers.
    pub(super) async fn ask<T>(
        &mut self,
        doing: &str,
        question: sqlx::query::QueryScalar<'_, sqlx::Postgres, T, sqlx::postgres::PgArguments>,
    ) -> Result<T, PartitionError>
    where
        T: Send + Unpin,
        (T,): Send + Unpin + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
    {
        let answer = question.fetch_one(&mut self.connection).await;
        Ok(answer.map_err(|error| self.failed(doing, error))?)
    }
}
