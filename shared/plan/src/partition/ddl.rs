//! The SQL that makes and retires partitions, with the locks that it takes.

use chrono::NaiveDateTime;

use super::{NewPartition, Partition, Table, detached::Mark};
use crate::sql::{identifier, literal};

/// One step: statements that take effect together (or one alone, where no transaction may hold it), and what they mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The statements, in their order.
    pub sql: Vec<String>,
    /// The locks on what others use; each waits at most `lock_timeout`.
    pub locks: String,
    /// Why.
    pub why: String,
}

/// `schema.table` in SQL.
pub fn relation(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

fn parent(table: &Table) -> String {
    relation(&table.schema, &table.name)
}

fn values(table: &Table, from: NaiveDateTime, to: NaiveDateTime) -> String {
    format!("FOR VALUES FROM ({}) TO ({})", literal(&table.key.text(from)), literal(&table.key.text(to)))
}

/// Attaches a table.
pub fn attach(table: &Table, schema: &str, name: &str, from: NaiveDateTime, to: NaiveDateTime) -> String {
    format!("ALTER TABLE {} ATTACH PARTITION {} {}", parent(table), relation(schema, name), values(table, from, to))
}

/// Gives a partition other bounds.
pub fn reattach(table: &Table, partition: &Partition, from: NaiveDateTime, to: NaiveDateTime) -> String {
    let detach = detach(table, partition, false);
    format!("BEGIN; {detach}; {}; COMMIT", attach(table, &partition.schema, &partition.name, from, to))
}

/// Renames a table.
pub fn rename(schema: &str, name: &str, to: &str) -> String {
    format!("ALTER TABLE {} RENAME TO {}", relation(schema, name), identifier(to))
}

/// Detaches a partition.
pub fn detach(table: &Table, partition: &Partition, concurrently: bool) -> String {
    let how = if concurrently { " CONCURRENTLY" } else { "" };
    format!("ALTER TABLE {} DETACH PARTITION {}{how}", parent(table), relation(&partition.schema, &partition.name))
}

/// Finishes a DETACH CONCURRENTLY that was cut short.
pub fn finalize(table: &Table, partition: &Partition) -> String {
    format!("ALTER TABLE {} DETACH PARTITION {} FINALIZE", parent(table), relation(&partition.schema, &partition.name))
}

/// Marks a partition as retired.
pub fn mark(partition: &Partition, mark: &Mark) -> String {
    format!("COMMENT ON TABLE {} IS {}", relation(&partition.schema, &partition.name), literal(&mark.comment()))
}

/// Where a table that is kept goes: to another schema, and under another name; nothing where it is there already.
pub fn set_aside(detached: (&str, &str), was: &str, suffix: Option<&str>, move_to: Option<&str>) -> Vec<String> {
    let (mut schema, name) = detached;
    let mut sql = Vec::new();
    if let Some(other) = move_to.filter(|other| *other != schema) {
        sql.push(format!("ALTER TABLE {} SET SCHEMA {}", relation(schema, name), identifier(other)));
        schema = other;
    }
    if let Some(suffix) = suffix.filter(|_| name == was) {
        sql.push(rename(schema, name, &format!("{name}{suffix}")));
    }
    sql
}

/// Drops a table and nothing that depends on it.
pub fn drop_table(schema: &str, name: &str) -> String {
    format!("DROP TABLE {}", relation(schema, name))
}

/// Who may do what with a table, or with one of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The role; `None` for PUBLIC.
    pub grantee: Option<String>,
    /// What it may: `SELECT`.
    pub privilege: String,
    /// Only for this column.
    pub column: Option<String>,
    /// Whether it may pass it on.
    pub grantable: bool,
}

/// A policy of row-level security.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPolicy {
    /// Its name.
    pub name: String,
    /// Whether one that permits is enough.
    pub permissive: bool,
    /// `ALL`, `SELECT`, …
    pub command: String,
    /// For whom, as SQL; empty means PUBLIC.
    pub roles: Vec<String>,
    /// Which rows are seen.
    pub using: Option<String>,
    /// Which rows may be written.
    pub check: Option<String>,
}

/// What a table has and `LIKE … INCLUDING ALL` does not copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traits {
    /// Its owner.
    pub owner: String,
    /// Its tablespace, where it is not the database's.
    pub tablespace: Option<String>,
    /// Its grants, the owner's own left out.
    pub grants: Vec<Grant>,
    /// Whom the owner's default privileges give every new table to, `None` for PUBLIC: its parent may not be given to them.
    pub given_by_default: Vec<Option<String>>,
    /// Whether row-level security is on, and whether it holds for the owner too.
    pub row_security: (bool, bool),
    /// The policies.
    pub policies: Vec<RowPolicy>,
    /// `DEFAULT`, `FULL`, `NOTHING`; or the name of an index, whose counterpart the partition gets.
    pub replica_identity: ReplicaIdentity,
    /// Statistics targets by column.
    pub statistics: Vec<(String, i32)>,
    /// Storage options, `fillfactor=90`: those of the newest partition, since a partitioned table has none of its own.
    pub options: Vec<(String, String)>,
}

/// What tells rows apart for logical replication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// The primary key.
    #[default]
    Default,
    /// All columns.
    Full,
    /// Nothing.
    Nothing,
    /// This index of the parent: (schema, name).
    Index(String, String),
}

/// The statements that make a partition's table, unattached, as its parent is.
pub fn create(table: &Table, traits: &Traits, new: &NewPartition) -> Vec<String> {
    let child = relation(&table.schema, &new.name);
    let mut options: Vec<String> =
        traits.options.iter().map(|(name, value)| format!("{} = {}", option_name(name), literal(value))).collect();
    options.sort();
    let with = if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) };
    let space = traits.tablespace.as_ref().map(|name| format!(" TABLESPACE {}", identifier(name))).unwrap_or_default();
    let mut sql = vec![format!("CREATE TABLE {child} (LIKE {} INCLUDING ALL EXCLUDING IDENTITY){with}{space}", parent(table))];
    // Before its own grants: revoking a right on a table takes it from the columns as well.
    sql.extend(traits.given_by_default.iter().map(|grantee| format!("REVOKE ALL ON {child} FROM {}", role(grantee.as_ref()))));
    for (column, target) in &traits.statistics {
        sql.push(format!("ALTER TABLE {child} ALTER COLUMN {} SET STATISTICS {target}", identifier(column)));
    }
    match traits.replica_identity {
        ReplicaIdentity::Full => sql.push(format!("ALTER TABLE {child} REPLICA IDENTITY FULL")),
        ReplicaIdentity::Nothing => sql.push(format!("ALTER TABLE {child} REPLICA IDENTITY NOTHING")),
        // The counterpart of an index is known once the table is attached.
        ReplicaIdentity::Default | ReplicaIdentity::Index(..) => {}
    }
    sql.extend(traits.policies.iter().map(|policy| policy.create(&child)));
    if traits.row_security.0 {
        sql.push(format!("ALTER TABLE {child} ENABLE ROW LEVEL SECURITY"));
    }
    if traits.row_security.1 {
        sql.push(format!("ALTER TABLE {child} FORCE ROW LEVEL SECURITY"));
    }
    sql.extend(traits.grants.iter().map(|grant| grant.give(&child)));
    sql
}

/// A role in SQL; none is everybody.
fn role(name: Option<&String>) -> String {
    name.map_or_else(|| "PUBLIC".to_owned(), |name| identifier(name))
}

/// `toast.autovacuum_enabled` has two parts.
fn option_name(name: &str) -> String {
    name.split('.').map(identifier).collect::<Vec<_>>().join(".")
}

impl Grant {
    fn give(&self, relation: &str) -> String {
        let column = self.column.as_ref().map(|column| format!(" ({})", identifier(column))).unwrap_or_default();
        let grantee = role(self.grantee.as_ref());
        let option = if self.grantable { " WITH GRANT OPTION" } else { "" };
        format!("GRANT {}{column} ON {relation} TO {grantee}{option}", self.privilege)
    }
}

impl RowPolicy {
    fn create(&self, relation: &str) -> String {
        let kind = if self.permissive { "PERMISSIVE" } else { "RESTRICTIVE" };
        let roles = if self.roles.is_empty() {
            "PUBLIC".to_owned()
        } else {
            self.roles.iter().map(|role| identifier(role)).collect::<Vec<_>>().join(", ")
        };
        let clause = |word: &str, text: &Option<String>| text.as_ref().map(|text| format!(" {word} ({text})")).unwrap_or_default();
        let (using, check) = (clause("USING", &self.using), clause("WITH CHECK", &self.check));
        format!("CREATE POLICY {} ON {relation} AS {kind} FOR {} TO {roles}{using}{check}", identifier(&self.name), self.command)
    }
}

/// The condition of a partition's rows, as PostgreSQL itself writes it: only so it proves DEFAULT to hold none of them.
pub fn holds(table: &Table, from: NaiveDateTime, to: NaiveDateTime) -> String {
    let (column, kind) = (identifier(&table.column), table.key.sql());
    let point = |at| format!("{}::{kind}", literal(&table.key.text(at)));
    format!("{column} IS NOT NULL AND {column} >= {} AND {column} < {}", point(from), point(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::{Bounds, KeyType, PartitionKind};
    use chrono::NaiveDate;

    fn table() -> Table {
        Table {
            oid: 1,
            schema: "public".to_owned(),
            name: "ev\"ents".to_owned(),
            column: "at".to_owned(),
            key: KeyType::Timestamptz,
            partitions: Vec::new(),
        }
    }

    fn first(month: u32) -> NaiveDateTime {
        NaiveDate::from_ymd_opt(2026, month, 1).and_then(|date| date.and_hms_opt(0, 0, 0)).expect("a time")
    }

    #[test]
    fn a_partition_is_made_beside_its_parent_and_then_attached() {
        let new = NewPartition { name: "e_2026_11".to_owned(), from: first(11), to: first(12), fills_gap: false };
        let traits = Traits {
            owner: "exo".to_owned(),
            grants: vec![Grant { grantee: None, privilege: "SELECT".to_owned(), column: Some("at".to_owned()), grantable: true }],
            given_by_default: vec![None, Some("a b".to_owned())],
            row_security: (true, true),
            policies: vec![RowPolicy {
                name: "own".to_owned(),
                permissive: false,
                command: "SELECT".to_owned(),
                roles: vec!["a b".to_owned()],
                using: Some("true".to_owned()),
                check: None,
            }],
            replica_identity: ReplicaIdentity::Full,
            statistics: vec![("at".to_owned(), 500)],
            options: vec![("toast.autovacuum_enabled".to_owned(), "false".to_owned()), ("fillfactor".to_owned(), "90".to_owned())],
            tablespace: Some("fast".to_owned()),
        };
        assert_eq!(
            create(&table(), &traits, &new),
            [
                "CREATE TABLE \"public\".\"e_2026_11\" (LIKE \"public\".\"ev\"\"ents\" INCLUDING ALL EXCLUDING IDENTITY) \
                 WITH (\"fillfactor\" = '90', \"toast\".\"autovacuum_enabled\" = 'false') TABLESPACE \"fast\"",
                "REVOKE ALL ON \"public\".\"e_2026_11\" FROM PUBLIC",
                "REVOKE ALL ON \"public\".\"e_2026_11\" FROM \"a b\"",
                "ALTER TABLE \"public\".\"e_2026_11\" ALTER COLUMN \"at\" SET STATISTICS 500",
                "ALTER TABLE \"public\".\"e_2026_11\" REPLICA IDENTITY FULL",
                "CREATE POLICY \"own\" ON \"public\".\"e_2026_11\" AS RESTRICTIVE FOR SELECT TO \"a b\" USING (true)",
                "ALTER TABLE \"public\".\"e_2026_11\" ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE \"public\".\"e_2026_11\" FORCE ROW LEVEL SECURITY",
                "GRANT SELECT (\"at\") ON \"public\".\"e_2026_11\" TO PUBLIC WITH GRANT OPTION",
            ]
        );
        assert_eq!(
            attach(&table(), "public", &new.name, new.from, new.to),
            "ALTER TABLE \"public\".\"ev\"\"ents\" ATTACH PARTITION \"public\".\"e_2026_11\" FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00')"
        );
    }

    #[test]
    fn nothing_is_ever_dropped_with_what_depends_on_it() {
        let partition = Partition {
            oid: 2,
            schema: "public".to_owned(),
            name: "e'1".to_owned(),
            bounds: Bounds::Default,
            bounds_text: "DEFAULT".to_owned(),
            pending: false,
            kind: PartitionKind::Leaf,
        };
        let since = "20261125T000000Z".parse().expect("a stamp");
        let made = Mark { schema: "s".to_owned(), table: "t".to_owned(), partition: "e'1".to_owned(), bounds: String::new(), since };
        assert!(mark(&partition, &made).contains("\"partition\":\"e''1\""));
        assert_eq!(drop_table("public", "e'1"), "DROP TABLE \"public\".\"e'1\"");
        assert!(detach(&table(), &partition, true).ends_with("\"e'1\" CONCURRENTLY"));
    }
}
