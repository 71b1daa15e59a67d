//! What a table has and `LIKE … INCLUDING ALL` does not copy.

use plana_plan::partition::{
    Edge, Partition, PartitionKind, Table,
    ddl::{Grant, ReplicaIdentity, RowPolicy, Traits},
};
use sqlx::postgres::types::Oid;

use super::Tables;
use crate::server::ServerError;

const OF_TABLE: &str = "
    SELECT pg_catalog.pg_get_userbyid(c.relowner)::text, t.spcname::text, c.relrowsecurity, c.relforcerowsecurity, c.relreplident::text,
           n.nspname::text, x.relname::text
    FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace
    LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisreplident
    LEFT JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid LEFT JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
    WHERE c.oid = $1";

const GRANTS: &str = "
    SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END, a.privilege_type, NULL::text, a.is_grantable
    FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a WHERE c.oid = $1 AND a.grantee <> c.relowner
    UNION ALL
    SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END, a.privilege_type, t.attname::text, a.is_grantable
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid AND NOT t.attisdropped,
         pg_catalog.aclexplode(t.attacl) a WHERE c.oid = $1 AND a.grantee <> c.relowner
    ORDER BY 1, 3, 2";

const GIVEN_BY_DEFAULT: &str = "
    SELECT DISTINCT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_default_acl d ON d.defaclrole = c.relowner AND d.defaclobjtype = 'r'
      AND d.defaclnamespace IN (0, c.relnamespace), pg_catalog.aclexplode(d.defaclacl) a
    WHERE c.oid = $1 AND a.grantee <> c.relowner ORDER BY 1";

const POLICIES: &str = "
    SELECT p.polname::text, p.polpermissive,
           CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
           ARRAY(SELECT pg_catalog.pg_get_userbyid(r)::text FROM pg_catalog.unnest(p.polroles) r WHERE r <> 0),
           pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
    FROM pg_catalog.pg_policy p WHERE p.polrelid = $1 ORDER BY 1";

// Without a target it is -1 up to PostgreSQL 16, and NULL from 17 on.
const STATISTICS: &str = "
    SELECT attname::text, attstattarget::int4 FROM pg_catalog.pg_attribute
    WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attstattarget >= 0 ORDER BY attnum";

const OPTIONS: &str = "
    SELECT o.option_name, o.option_value FROM pg_catalog.pg_class c, pg_catalog.pg_options_to_table(c.reloptions) o WHERE c.oid = $1
    UNION ALL
    SELECT 'toast.' || o.option_name, o.option_value
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid, pg_catalog.pg_options_to_table(t.reloptions) o
    WHERE c.oid = $1";

type PolicyRow = (String, bool, String, Vec<String>, Option<String>, Option<String>);

impl Tables {
    /// What the table's new partitions must be given.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn traits(&mut self, table: &Table) -> Result<Traits, ServerError> {
        let read = self.read_traits(table).await;
        read.map_err(|error| self.failed("read what a partitioned table is like", error))
    }

    async fn read_traits(&mut self, table: &Table) -> Result<Traits, sqlx::Error> {
        type Row = (String, Option<String>, bool, bool, String, Option<String>, Option<String>);
        let (connection, oid) = (&mut self.connection, Oid(table.oid));
        let (owner, tablespace, on, forced, identity, index_schema, index): Row =
            sqlx::query_as(OF_TABLE).bind(oid).fetch_one(&mut *connection).await?;
        let grants: Vec<(Option<String>, String, Option<String>, bool)> =
            sqlx::query_as(GRANTS).bind(oid).fetch_all(&mut *connection).await?;
        let given_by_default = sqlx::query_scalar(GIVEN_BY_DEFAULT).bind(oid).fetch_all(&mut *connection).await?;
        let policies: Vec<PolicyRow> = sqlx::query_as(POLICIES).bind(oid).fetch_all(&mut *connection).await?;
        let statistics = sqlx::query_as(STATISTICS).bind(oid).fetch_all(&mut *connection).await?;
        let options = match newest(&table.partitions) {
            Some(newest) => sqlx::query_as(OPTIONS).bind(Oid(newest.oid)).fetch_all(&mut *connection).await?,
            None => Vec::new(),
        };
        let replica_identity = match (identity.as_str(), index_schema.zip(index)) {
            ("f", _) => ReplicaIdentity::Full,
            ("n", _) => ReplicaIdentity::Nothing,
            ("i", Some((schema, name))) => ReplicaIdentity::Index(schema, name),
            _ => ReplicaIdentity::Default,
        };
        let grant = |(grantee, privilege, column, grantable)| Grant { grantee, privilege, column, grantable };
        let policy = |(name, permissive, command, roles, using, check)| RowPolicy { name, permissive, command, roles, using, check };
        Ok(Traits {
            owner,
            tablespace,
            grants: grants.into_iter().map(grant).collect(),
            given_by_default,
            row_security: (on, forced),
            policies: policies.into_iter().map(policy).collect(),
            replica_identity,
            statistics,
            options,
        })
    }
}

/// The partition that ends last and is a plain table.
fn newest(partitions: &[Partition]) -> Option<&Partition> {
    let end = |partition: &&Partition| partition.bounds.finite().map(|(_, to)| Edge::At(to));
    partitions
        .iter()
        .filter(|partition| partition.kind == PartitionKind::Leaf && !partition.pending)
        .filter(|p| end(p).is_some())
        .max_by_key(end)
}
