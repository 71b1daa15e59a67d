//! Bringing an archived partition back.

use plana_plan::{
    manifest::PartitionFacts,
    partition::{
        Bounds, Table,
        ddl::{attach, drop_table, relation},
    },
};
use sqlx::AssertSqlSafe;

use super::{PartitionError, Tables, session::shown};

impl Tables {
    /// Whether there is anything of that name.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn exists(&mut self, schema: &str, name: &str) -> Result<bool, PartitionError> {
        let exists = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
        self.ask("look for a table", sqlx::query_scalar(exists).bind(relation(schema, name))).await
    }

    /// How many rows a table has.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn rows(&mut self, schema: &str, name: &str) -> Result<u64, PartitionError> {
        let count = format!("SELECT count(*) FROM ONLY {}", relation(schema, name));
        let rows: i64 = self.ask(&format!("count the rows of {}", shown(schema, name)), sqlx::query_scalar(AssertSqlSafe(count))).await?;
        Ok(rows.unsigned_abs())
    }

    /// Takes the mark off a table that came back, so that nobody drops it as retired, and attaches it to its parent.
    ///
    /// # Errors
    /// When it is refused, or a lock is not to be had; the table stays unattached then.
    pub async fn bring_back(&mut self, parent: Option<&Table>, facts: &PartitionFacts) -> Result<(), PartitionError> {
        let doing = format!("attach {}", shown(&facts.schema, &facts.table));
        let owner = self.owner_of(&facts.schema, &facts.table).await?;
        let mut sql = vec![format!("COMMENT ON TABLE {} IS NULL", relation(&facts.schema, &facts.table))];
        if let Some(parent) = parent
            && let Some((from, to)) = Bounds::parse(&facts.bounds, parent.key).finite()
        {
            sql.push(attach(parent, &facts.schema, &facts.table, from, to));
        }
        self.together(&doing, &owner, &sql, &parent.map(|parent| vec![parent.oid]).unwrap_or_default()).await
    }

    /// Drops a table that could not be proven.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn discard(&mut self, schema: &str, name: &str) -> Result<(), PartitionError> {
        let owner = self.owner_of(schema, name).await?;
        self.together(&format!("drop {}", shown(schema, name)), &owner, &[drop_table(schema, name)], &[]).await
    }

    async fn owner_of(&mut self, schema: &str, name: &str) -> Result<String, PartitionError> {
        let owner = "SELECT pg_catalog.pg_get_userbyid(relowner)::text FROM pg_catalog.pg_class WHERE oid = $1::text::regclass";
        self.ask("look whose a table is", sqlx::query_scalar(owner).bind(relation(schema, name))).await
    }
}
