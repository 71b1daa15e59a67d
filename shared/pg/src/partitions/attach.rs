//! Making a partition: a table beside its parent, and then attached.

use chrono::{DateTime, Utc};
use plana_plan::partition::{NewPartition, Partition, Table, ddl::Traits};
use sqlx::{AssertSqlSafe, postgres::types::Oid};

use super::{
    PartitionError, References, Tables,
    default_rows::InDefault,
    error::Answer,
    session::{pause, shown},
    statements::{PROOF, add_proof, drop_proof, validate_proof},
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

impl Plan<'_> {
    /// What is done, as errors tell it.
    pub(super) fn doing(&self) -> String {
        format!("make the partition {}", shown(&self.table.schema, &self.new.name))
    }
}

impl Tables {
    /// Makes a partition.
    ///
    /// # Errors
    /// When it is refused, or its locks are not to be had. Nothing of it is left then.
    pub async fn make(&mut self, plan: &Plan<'_>) -> Result<Made, PartitionError> {
        let doing = plan.doing();
        let default = plan.table.default_partition();
        let mut contended = plan.references.targets();
        contended.extend(default.map(|default| default.oid));
        // Writers would queue behind us there while we wait.
        self.refuse_blocked(&doing, &contended).await?;
        let found = self.in_default(plan).await?;
        let proven = match default {
            Some(default) if found == InDefault::ToProve => self.prove_empty(plan, default, &doing).await?,
            _ => false,
        };
        let mut watched = contended;
        watched.push(plan.table.oid);
        let made = self.make_and_attach(plan, &found, proven, &doing, &watched).await;
        if let (Some(default), true, Err(_)) = (default, proven, &made) {
            self.together(&doing, &plan.traits.owner, &[drop_proof(default)], &watched).await?;
        }
        made
    }

    async fn make_and_attach(
        &mut self,
        plan: &Plan<'_>,
        found: &InDefault,
        proven: bool,
        doing: &str,
        watched: &[u32],
    ) -> Result<Made, PartitionError> {
        for attempt in 1.. {
            match self.try_to_make(plan, found, proven).await {
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
    async fn try_to_make(&mut self, plan: &Plan<'_>, found: &InDefault, proven: bool) -> Result<u64, sqlx::Error> {
        let mut before = vec!["BEGIN".to_owned()];
        before.extend(plan.create());
        let mut rows = 0;
        match plan.move_rows(found) {
            None => self.run(before).await?,
            Some((locks, moving)) => {
                before.extend(locks);
                self.run(before).await?;
                rows = sqlx::raw_sql(AssertSqlSafe(moving)).execute(&mut self.connection).await?.rows_affected();
            }
        }
        let mut behind = plan.attach(proven);
        behind.push("COMMIT".to_owned());
        self.run(behind).await?;
        Ok(rows)
    }

    async fn run(&mut self, sql: Vec<String>) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql.join("; "))).execute(&mut self.connection).await.map(drop)
    }

    /// Lets DEFAULT be proven empty of a range, so that attaching need not look through it under its lock.
    async fn prove_empty(&mut self, plan: &Plan<'_>, default: &Partition, doing: &str) -> Result<bool, PartitionError> {
        let owner = &plan.traits.owner;
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

    /// Takes away what a killed run has left of such a proof: it refuses rows.
    ///
    /// # Errors
    /// When its lock is not to be had, or a right is missing.
    pub async fn drop_old_proof(&mut self, table: &Table, owner: &str) -> Result<(), PartitionError> {
        let Some(default) = table.default_partition() else { return Ok(()) };
        let doing = format!("take the constraint {PROOF} off {}", default.full_name());
        let left = "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = $1 AND conname = $2)";
        if self.ask(&doing, sqlx::query_scalar(left).bind(Oid(default.oid)).bind(PROOF)).await? {
            self.together(&doing, owner, &[drop_proof(default)], &[default.oid]).await?;
        }
        Ok(())
    }

    /// Whether the parent has a partition that holds all of the new one's range.
    async fn is_there(&mut self, plan: &Plan<'_>) -> Result<bool, PartitionError> {
        let holds = |partition: &Partition| {
            !partition.pending && partition.bounds.finite().is_some_and(|(from, to)| from <= plan.new.from && plan.new.to <= to)
        };
        Ok(self.partitions(plan.table).await?.iter().any(holds))
    }
}
