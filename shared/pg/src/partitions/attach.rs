//! Making a partition: a table beside its parent, and then attached.

use chrono::{DateTime, Utc};
use plana_plan::partition::{
    NewPartition, Partition, Table,
    ddl::{self, Traits, relation},
};
use plana_plan::sql::identifier;
use sqlx::AssertSqlSafe;

use super::{
    PartitionError, References, Tables,
    default_rows::InDefault,
    error::Answer,
    session::{lock_only, pause, shown},
    statements::{add_proof, drop_proof, move_rows, validate_proof},
};

/// A partition that is to be made, and what its making depends on.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Its parent.
    pub table: &'a Table,
    /// What its parent is like.
    pub traits: &'a Traits,
    /// Its parent's foreign keys.
    pub references: &'a References,
    /// The partition.
    pub new: &'a NewPartition,
    /// At most so many rows are moved out of DEFAULT.
    pub move_at_most: u64,
    /// The server's clock when it was planned.
    pub now: DateTime<Utc>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It was made, and so many rows came out of DEFAULT.
    Made {
        /// The rows.
        moved: u64,
    },
    /// Somebody else had just made one that holds the same.
    ThereAlready,
}

/// A DEFAULT of more bytes than this is proven to hold nothing of the partition before its lock is taken: looking through it
/// under the lock takes 80 ms for 1.5 million rows (measured), and everybody waits.
const SMALL_DEFAULT_BYTES: i64 = 4 << 20;

impl Tables {
    /// Makes a partition.
    ///
    /// # Errors
    /// When it is refused, or its locks are not to be had. Nothing of it is left then.
    pub async fn make(&mut self, plan: &Plan<'_>) -> Result<Made, PartitionError> {
        let doing = format!("make the partition {}", shown(&plan.table.schema, &plan.new.name));
        let default = plan.table.default_partition();
        let mut contended = plan.references.targets();
        contended.extend(default.map(|default| default.oid));
        // Writers would queue behind us there while we wait.
        self.refuse_blocked(&doing, &contended).await?;
        let moved = match default {
            None => InDefault::Nothing,
            Some(default) => self.in_default(plan, default, &doing).await?,
        };
        let proven = match (default, &moved) {
            (Some(default), InDefault::Nothing) => self.prove_empty(plan, default, &doing).await?,
            _ => false,
        };
        let mut watched = contended;
        watched.push(plan.table.oid);
        let made = self.make_and_attach(plan, &moved, proven, &doing, &watched).await;
        if let (Some(default), true, Err(_)) = (default, proven, &made) {
            self.together(&doing, &plan.traits.owner, &[drop_proof(default)], &watched).await?;
        }
        made
    }

    async fn make_and_attach(
        &mut self,
        plan: &Plan<'_>,
        moved: &InDefault,
        proven: bool,
        doing: &str,
        watched: &[u32],
    ) -> Result<Made, PartitionError> {
        for attempt in 1.. {
            match self.try_to_make(plan, moved, proven).await {
                Ok(moved) => return Ok(Made::Made { moved }),
                Err(error) => {
                    self.roll_back().await;
                    match Answer::of(error, doing, self) {
                        Answer::Locked if attempt < self.patience.attempts => pause(attempt).await,
                        Answer::Changed(_) if self.is_there(plan).await? => return Ok(Made::ThereAlready),
                        answer => return Err(self.give_up(answer, doing, watched).await),
                    }
                }
            }
        }
        Ok(Made::ThereAlready)
    }

    /// One transaction: the table, its rows, its place.
    async fn try_to_make(&mut self, plan: &Plan<'_>, moved: &InDefault, proven: bool) -> Result<u64, sqlx::Error> {
        let (table, new) = (plan.table, plan.new);
        let mut before = vec!["BEGIN".to_owned(), format!("SET LOCAL ROLE {}", identifier(&plan.traits.owner))];
        let mut create = ddl::create(table, plan.traits, new).into_iter();
        before.extend(create.next());
        self.run(before).await?;
        // Before its own grants: revoking a right on a table takes it from the columns as well.
        self.revoke_defaults(plan).await?;
        self.run(create.collect()).await?;
        let mut rows = 0;
        if let (Some(default), InDefault::Movable(columns)) = (table.default_partition(), moved) {
            let locks = [
                lock_only(&table.schema, &table.name, "SHARE UPDATE EXCLUSIVE"),
                lock_only(&default.schema, &default.name, "ACCESS EXCLUSIVE"),
            ];
            self.run(locks.to_vec()).await?;
            let done = sqlx::raw_sql(AssertSqlSafe(move_rows(table, default, new, columns))).execute(&mut self.connection).await?;
            rows = done.rows_affected();
        }
        let mut behind = plan.attach();
        behind.extend(table.default_partition().filter(|_| proven).map(drop_proof));
        behind.push("COMMIT".to_owned());
        self.run(behind).await?;
        Ok(rows)
    }

    /// Default privileges may have given the new table to others than its parent is given to.
    async fn revoke_defaults(&mut self, plan: &Plan<'_>) -> Result<(), sqlx::Error> {
        let child = relation(&plan.table.schema, &plan.new.name);
        let given = "SELECT DISTINCT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END
                     FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a WHERE c.oid = $1::text::regclass AND a.grantee <> c.relowner";
        let given: Vec<Option<String>> = sqlx::query_scalar(given).bind(&child).fetch_all(&mut self.connection).await?;
        let revoke = |grantee: Option<String>| {
            let grantee = grantee.map_or_else(|| "PUBLIC".to_owned(), |role| identifier(&role));
            format!("REVOKE ALL ON {child} FROM {grantee}")
        };
        self.run(given.into_iter().map(revoke).collect()).await
    }

    async fn run(&mut self, sql: Vec<String>) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql.join("; "))).execute(&mut self.connection).await.map(drop)
    }

    /// Lets DEFAULT be proven empty of a range of the future, so that attaching need not look through it under its lock. Until
    /// then a row of that range would be refused: of the present, where rows come in, nothing is proven beforehand.
    async fn prove_empty(&mut self, plan: &Plan<'_>, default: &Partition, doing: &str) -> Result<bool, PartitionError> {
        let owner = &plan.traits.owner;
        let leaf = relation(&default.schema, &default.name);
        let left = "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = $1::text::regclass AND conname = $2)";
        if self.ask(doing, sqlx::query_scalar(left).bind(&leaf).bind(super::statements::PROOF)).await? {
            // What a killed run has left refuses rows.
            self.together(doing, owner, &[drop_proof(default)], &[default.oid]).await?;
        }
        let size: i64 = self.ask(doing, sqlx::query_scalar("SELECT pg_catalog.pg_relation_size($1::text::regclass)").bind(&leaf)).await?;
        if size <= SMALL_DEFAULT_BYTES || plan.now.naive_utc() + chrono::TimeDelta::days(1) >= plan.new.from {
            return Ok(false);
        }
        self.together(doing, owner, &[add_proof(plan.table, default, plan.new)], &[default.oid]).await?;
        match self.together(doing, owner, &[validate_proof(default)], &[default.oid]).await {
            Ok(()) => Ok(true),
            // A row has just come in: attaching will say so.
            Err(error) => {
                tracing::debug!(%error, "DEFAULT is not proven beforehand");
                self.together(doing, owner, &[drop_proof(default)], &[default.oid]).await?;
                Ok(false)
            }
        }
    }

    /// Whether the parent has a partition that holds all of the new one's range.
    async fn is_there(&mut self, plan: &Plan<'_>) -> Result<bool, PartitionError> {
        let now = self.catalog().await?;
        let table = now.tables.iter().find(|table| table.oid == plan.table.oid);
        let holds = |partition: &Partition| {
            !partition.pending && partition.bounds.finite().is_some_and(|(from, to)| from <= plan.new.from && plan.new.to <= to)
        };
        Ok(table.is_some_and(|table| table.partitions.iter().any(holds)))
    }
}
