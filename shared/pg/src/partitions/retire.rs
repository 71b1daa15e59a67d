//! Retiring a partition: marked, detached, and later kept under another name or dropped.

use plana_plan::partition::{
    Partition, Table,
    ddl::{self, relation},
    detached::Mark,
};
use plana_plan::sql::identifier;
use sqlx::{AssertSqlSafe, postgres::types::Oid};

pub use super::statements::{delete_steps, drop_steps, retire_steps, set_aside_steps};
use super::{
    Detached, PartitionError, References, Tables,
    error::Answer,
    session::{lock_only, pause},
};

/// A retired table that nobody can write to for as long as this is held.
#[derive(Debug)]
pub struct Held<'a> {
    tables: &'a mut Tables,
    detached: &'a Detached,
}

const STILL: &str = "
    SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_expr(c.relpartbound, c.oid), i.inhdetachpending
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE i.inhrelid = $1 AND i.inhparent = $2";

impl Tables {
    /// Finishes a detach that an earlier run began, and that was cut short.
    ///
    /// # Errors
    /// When its lock is not to be had.
    pub async fn finalize(&mut self, table: &Table, owner: &str, partition: &Partition) -> Result<(), PartitionError> {
        let doing = format!("finish detaching {}", partition.full_name());
        self.finish(table, owner, partition, &doing).await
    }

    async fn finish(&mut self, table: &Table, owner: &str, partition: &Partition, doing: &str) -> Result<(), PartitionError> {
        let sql = ddl::finalize(table, partition);
        for attempt in 1.. {
            let Err(error) = self.alone(owner, &sql).await else { break };
            match Answer::of(error, doing, self) {
                Answer::Locked if attempt < self.patience.attempts => pause(attempt).await,
                answer => return Err(self.give_up(answer, doing, &[table.oid, partition.oid]).await),
            }
        }
        Ok(())
    }

    /// Marks a partition and detaches it; never waits behind a transaction that has lasted for long, and lets nobody wait.
    ///
    /// # Errors
    /// When somebody holds a lock for too long, rows refer to it, or it is not what it was any more.
    pub async fn detach(
        &mut self,
        table: &Table,
        owner: &str,
        partition: &Partition,
        mark: &Mark,
        references: &References,
    ) -> Result<(), PartitionError> {
        let doing = format!("detach {}", partition.full_name());
        let mut contended = vec![table.oid, partition.oid];
        contended.extend(references.targets());
        self.refuse_blocked(&doing, &contended).await?;
        self.still_there(table, partition, &doing).await?;
        self.together(&doing, owner, &[ddl::mark(partition, mark)], &contended).await?;
        if table.default_partition().is_none() {
            let done = self.alone(owner, &ddl::detach(table, partition, true)).await;
            let Err(error) = done else { return Ok(()) };
            match Answer::of(error, &doing, self) {
                // It waited for somebody, and is pending now, or it never began.
                Answer::Locked if self.is_pending(table, partition, &doing).await? => {
                    return self.finish(table, owner, partition, &doing).await;
                }
                Answer::Locked | Answer::NotConcurrently => {}
                answer => return Err(self.give_up(answer, &doing, &contended).await),
            }
        }
        self.detach_plainly(table, owner, partition, &doing, &contended).await
    }

    /// With everybody's lock, for as long as it takes to change the catalog.
    async fn detach_plainly(
        &mut self,
        table: &Table,
        owner: &str,
        partition: &Partition,
        doing: &str,
        contended: &[u32],
    ) -> Result<(), PartitionError> {
        for attempt in 1.. {
            match self.try_to_detach(table, owner, partition).await {
                Ok(true) => break,
                Ok(false) => return Err(PartitionError::changed(doing, "its name, its bounds or its parent is another")),
                Err(error) => {
                    self.roll_back().await;
                    match Answer::of(error, doing, self) {
                        Answer::Locked if attempt < self.patience.attempts => pause(attempt).await,
                        answer => return Err(self.give_up(answer, doing, contended).await),
                    }
                }
            }
        }
        Ok(())
    }

    async fn try_to_detach(&mut self, table: &Table, owner: &str, partition: &Partition) -> Result<bool, sqlx::Error> {
        let lock = lock_only(&table.schema, &table.name, "ACCESS EXCLUSIVE");
        let begin = format!("BEGIN; SET LOCAL ROLE {}; {lock}", identifier(owner));
        sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut self.connection).await?;
        if !self.is_the_same(table, partition).await? {
            self.roll_back().await;
            return Ok(false);
        }
        let detach = format!("{}; COMMIT", ddl::detach(table, partition, false));
        sqlx::raw_sql(AssertSqlSafe(detach)).execute(&mut self.connection).await?;
        Ok(true)
    }

    async fn is_the_same(&mut self, table: &Table, partition: &Partition) -> Result<bool, sqlx::Error> {
        let still: Option<(String, String, Option<String>, bool)> =
            sqlx::query_as(STILL).bind(Oid(partition.oid)).bind(Oid(table.oid)).fetch_optional(&mut self.connection).await?;
        Ok(still.is_some_and(|(schema, name, bounds, pending)| {
            schema == partition.schema && name == partition.name && bounds.as_deref() == Some(&partition.bounds_text) && !pending
        }))
    }

    async fn still_there(&mut self, table: &Table, partition: &Partition, doing: &str) -> Result<(), PartitionError> {
        match self.is_the_same(table, partition).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(PartitionError::changed(doing, "somebody else has detached, renamed or dropped it")),
            Err(error) => Err(self.failed(doing, error).into()),
        }
    }

    async fn is_pending(&mut self, table: &Table, partition: &Partition, doing: &str) -> Result<bool, PartitionError> {
        let pending = "SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = $1 AND inhparent = $2 AND inhdetachpending)";
        self.ask(doing, sqlx::query_scalar(pending).bind(Oid(partition.oid)).bind(Oid(table.oid))).await
    }

    /// Renames what is kept, and moves it to another schema; what is so already stays as it is.
    ///
    /// # Errors
    /// When the name is taken, or a right is missing.
    pub async fn set_aside(&mut self, detached: &Detached, suffix: Option<&str>, move_to: Option<&str>) -> Result<(), PartitionError> {
        let doing = format!("set {} aside", detached.full_name());
        let sql = ddl::set_aside((&detached.schema, &detached.name), &detached.mark.partition, suffix, move_to);
        if sql.is_empty() { Ok(()) } else { self.together(&doing, &detached.owner, &sql, &[detached.oid]).await }
    }

    /// Lets nobody write to a retired table, for as long as its archive is made and compared.
    ///
    /// # Errors
    /// When somebody holds a lock for too long, or it is not what it was any more.
    pub async fn hold<'a>(&'a mut self, detached: &'a Detached, references: &References) -> Result<Held<'a>, PartitionError> {
        let doing = format!("drop {}", detached.full_name());
        let mut contended = references.targets();
        contended.push(detached.oid);
        self.refuse_blocked(&doing, &contended).await?;
        let lock = lock_only(&detached.schema, &detached.name, "SHARE");
        let sql = format!("BEGIN; SET LOCAL ROLE {}; {lock}", identifier(&detached.owner));
        for attempt in 1.. {
            let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut self.connection).await else { break };
            self.roll_back().await;
            match Answer::of(error, &doing, self) {
                Answer::Locked if attempt < self.patience.attempts => pause(attempt).await,
                answer => return Err(self.give_up(answer, &doing, &contended).await),
            }
        }
        let same =
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = $1 AND c.oid = $2::text::regclass AND NOT c.relispartition
                    AND pg_catalog.obj_description(c.oid, 'pg_class') = $3)";
        let at = relation(&detached.schema, &detached.name);
        let same = sqlx::query_scalar(same).bind(Oid(detached.oid)).bind(at).bind(&detached.comment).fetch_one(&mut self.connection).await;
        match same {
            Ok(true) => Ok(Held { tables: self, detached }),
            Ok(false) => {
                self.roll_back().await;
                Err(PartitionError::changed(&doing, "it is attached again, or is another table"))
            }
            Err(error) => {
                let error = self.failed(&doing, error);
                self.roll_back().await;
                Err(error.into())
            }
        }
    }
}

impl Held<'_> {
    /// Drops the table, when it has as many rows as its archive, where there is one.
    ///
    /// # Errors
    /// When it has not, something depends on it, or its lock is not to be had. It is whole then.
    pub async fn drop_table(self, archived: Option<u64>) -> Result<(), PartitionError> {
        let (tables, detached) = (self.tables, self.detached);
        let doing = format!("drop {}", detached.full_name());
        let dropped = dropped(tables, detached, archived, &doing).await;
        if dropped.is_err() {
            tables.roll_back().await;
        }
        dropped
    }

    /// Lets it go as it is.
    pub async fn release(self) {
        self.tables.roll_back().await;
    }
}

/// Whoever reads it just now is waited for as everywhere; an archive that has taken an hour is not made again for a moment's
/// reader, so that what is held stays held between the attempts.
async fn lock_for_drop(tables: &mut Tables, detached: &Detached, doing: &str) -> Result<(), PartitionError> {
    let lock = format!("SAVEPOINT held; {}", lock_only(&detached.schema, &detached.name, "ACCESS EXCLUSIVE"));
    for attempt in 1.. {
        let Err(error) = sqlx::raw_sql(AssertSqlSafe(lock.clone())).execute(&mut tables.connection).await else { break };
        match Answer::of(error, doing, tables) {
            Answer::Locked if attempt < tables.patience.attempts => {
                let back = sqlx::raw_sql("ROLLBACK TO SAVEPOINT held; RELEASE SAVEPOINT held").execute(&mut tables.connection).await;
                back.map_err(|error| tables.failed(doing, error))?;
                pause(attempt).await;
            }
            answer => {
                tables.roll_back().await;
                return Err(tables.give_up(answer, doing, &[detached.oid]).await);
            }
        }
    }
    Ok(())
}

async fn dropped(tables: &mut Tables, detached: &Detached, archived: Option<u64>, doing: &str) -> Result<(), PartitionError> {
    lock_for_drop(tables, detached, doing).await?;
    if let Some(archived) = archived {
        let count = format!("SELECT count(*) FROM ONLY {}", relation(&detached.schema, &detached.name));
        let found: i64 = tables.ask(doing, sqlx::query_scalar(AssertSqlSafe(count))).await?;
        if found.unsigned_abs() != archived {
            return Err(PartitionError::RowsDiffer { doing: doing.to_owned(), archived, found: found.unsigned_abs() });
        }
    }
    let sql = format!("{}; COMMIT", ddl::drop_table(&detached.schema, &detached.name));
    match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut tables.connection).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let answer = Answer::of(error, doing, tables);
            tables.roll_back().await;
            Err(tables.give_up(answer, doing, &[detached.oid]).await)
        }
    }
}
