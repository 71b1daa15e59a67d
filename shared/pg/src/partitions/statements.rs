//! Each step as SQL, for whoever runs it and for whoever only wants to see it.

use plana_plan::partition::{
    KeyType, NewPartition, Partition, Table,
    ddl::{self, ReplicaIdentity, Step, relation},
    detached::Mark,
};
use plana_plan::sql::{identifier, literal};

use super::{Detached, Plan, References, session::lock_only};

/// The check by which DEFAULT is known to hold nothing of a new partition before its lock is taken.
pub(super) const PROOF: &str = "plana_roller_proof";

impl Plan<'_> {
    /// What making the partition takes, as it is shown.
    pub fn steps(&self) -> Vec<Step> {
        let (table, new) = (self.table, self.new);
        let key = table.key;
        let mut sql = vec![format!("SET LOCAL ROLE {}", identifier(&self.traits.owner))];
        sql.extend(ddl::create(table, self.traits, new));
        sql.extend(self.attach());
        let mut locks = format!("SHARE UPDATE EXCLUSIVE on {} (readers and writers go on)", table.full_name());
        if let Some(default) = table.default_partition() {
            locks.push_str(&format!(", ACCESS EXCLUSIVE on {}", default.full_name()));
        }
        for (_, target) in &self.references.outgoing {
            locks.push_str(&format!(", SHARE ROW EXCLUSIVE on {target}"));
        }
        let what = if new.fills_gap { "a gap in the past" } else { "the present or the future" };
        let why = format!("no partition holds {} to {}, {what}", key.text(new.from), key.text(new.to));
        vec![Step { sql, locks, why }]
    }

    /// The statement that attaches the table, and what can only follow it.
    pub(super) fn attach(&self) -> Vec<String> {
        let (table, new) = (self.table, self.new);
        let mut sql = vec![ddl::attach(table, &table.schema, &new.name, new.from, new.to)];
        if let ReplicaIdentity::Index(schema, name) = &self.traits.replica_identity {
            sql.push(replica_index(table, new, schema, name));
        }
        sql
    }
}

/// The partition's index that was attached to the parent's is its replica identity too. Its name is PostgreSQL's choice.
fn replica_index(table: &Table, new: &NewPartition, schema: &str, name: &str) -> String {
    let (child, index) = (relation(&table.schema, &new.name), relation(schema, name));
    let body = format!(
        "BEGIN EXECUTE (SELECT pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', i.indrelid::regclass, c.relname) \
         FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_index i ON i.indexrelid = h.inhrelid \
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         WHERE h.inhparent = {}::regclass AND i.indrelid = {}::regclass); END",
        literal(&index),
        literal(&child)
    );
    format!("DO {}", literal(&body))
}

/// The check that proves DEFAULT to hold nothing of the new partition.
pub(super) fn add_proof(table: &Table, default: &Partition, new: &NewPartition) -> String {
    let condition = ddl::holds(table, new.from, new.to);
    format!("ALTER TABLE {} ADD CONSTRAINT {PROOF} CHECK (NOT ({condition})) NOT VALID", of(default))
}

pub(super) fn validate_proof(default: &Partition) -> String {
    format!("ALTER TABLE {} VALIDATE CONSTRAINT {PROOF}", of(default))
}

pub(super) fn drop_proof(default: &Partition) -> String {
    format!("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {PROOF}", of(default))
}

/// Moves the rows of DEFAULT that belong to the new partition, whose table stands there unattached.
pub(super) fn move_rows(table: &Table, default: &Partition, new: &NewPartition, columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    let columns = columns.join(", ");
    format!(
        "WITH moved AS (DELETE FROM ONLY {} WHERE {} RETURNING {columns}) \
         INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM moved",
        of(default),
        ddl::holds(table, new.from, new.to),
        relation(&table.schema, &new.name)
    )
}

fn of(partition: &Partition) -> String {
    relation(&partition.schema, &partition.name)
}

/// What retiring a partition takes, as it is shown.
pub fn retire_steps(table: &Table, owner: &str, partition: &Partition, mark: &Mark, why: &str) -> Vec<Step> {
    let concurrently = table.default_partition().is_none();
    let note = Step {
        sql: vec![format!("SET LOCAL ROLE {}", identifier(owner)), ddl::mark(partition, mark)],
        locks: format!("SHARE UPDATE EXCLUSIVE on {}", partition.full_name()),
        why: format!("{} {why}; the mark is set first, so that no crash leaves a table that nobody knows of", partition.full_name()),
    };
    let locks = match concurrently {
        true => format!(
            "SHARE UPDATE EXCLUSIVE on {} (readers and writers go on), ACCESS EXCLUSIVE on {}",
            table.full_name(),
            partition.full_name()
        ),
        false => format!("ACCESS EXCLUSIVE on {} and its partition, since there is a DEFAULT", table.full_name()),
    };
    vec![note, Step { sql: vec![ddl::detach(table, partition, concurrently)], locks, why: "nobody holds a lock on it for long".to_owned() }]
}

/// What dropping a retired partition takes, as it is shown.
pub fn drop_steps(detached: &Detached, references: Option<&References>) -> Vec<Step> {
    let mut locks = format!("ACCESS EXCLUSIVE on {}, which is detached", detached.full_name());
    for (_, target) in references.map(|references| references.outgoing.as_slice()).unwrap_or_default() {
        locks.push_str(&format!(", ACCESS EXCLUSIVE on {target}"));
    }
    let sql = vec![lock_only(&detached.schema, &detached.name, "ACCESS EXCLUSIVE"), ddl::drop_table(&detached.schema, &detached.name)];
    vec![Step { sql, locks, why: format!("it is retired since {}", detached.mark.since) }]
}

/// The statement that deletes the expired rows of some pages of one leaf: parameters are the deployments, their cutoffs, the
/// first page's address and that of the page behind the last.
pub(super) fn delete_expired(leaf: &str, table: &Table, deployment: &str) -> String {
    let (column, deployment) = (identifier(&table.column), identifier(deployment));
    let kind = match table.key {
        KeyType::Timestamptz => "timestamptz",
        KeyType::Timestamp => "timestamp",
        KeyType::Date => "date",
    };
    format!(
        "DELETE FROM ONLY {leaf} WHERE ctid = ANY (ARRAY( \
           SELECT r.ctid FROM ONLY {leaf} r JOIN unnest($1::text[], $2::text[]) AS d (deployment, cutoff) \
             ON r.{deployment}::text = d.deployment \
           WHERE r.ctid >= $3::text::tid AND r.ctid < $4::text::tid AND r.{column} < d.cutoff::{kind} \
           FOR UPDATE OF r SKIP LOCKED))"
    )
}
