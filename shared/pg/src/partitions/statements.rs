//! Each step as SQL, for whoever runs it and for whoever only wants to see it.

use plana_plan::partition::{
    KeyType, NewPartition, Partition, Table,
    ddl::{self, ReplicaIdentity, Step, relation},
    detached::Mark,
};
use plana_plan::sql::{identifier, literal};

use super::{Detached, Expiry, InDefault, Plan, References, session::lock_only};

/// The check by which DEFAULT is known to hold nothing of a new partition before its lock is taken.
pub(super) const PROOF: &str = "plana_roller_proof";

impl Plan<'_> {
    /// What making the partition takes, as it is shown; it depends on what DEFAULT holds.
    pub fn steps(&self, found: &InDefault) -> Vec<Step> {
        let (table, new) = (self.table, self.new);
        let key = table.key;
        let proof = table.default_partition().filter(|_| *found == InDefault::ToProve);
        let mut steps = proof.map(|default| self.proof_steps(default)).unwrap_or_default();
        let mut sql = self.create();
        let mut locks = format!("SHARE UPDATE EXCLUSIVE on {} (readers and writers go on)", table.full_name());
        if let Some(default) = table.default_partition() {
            locks.push_str(&format!(", ACCESS EXCLUSIVE on {}", default.full_name()));
        }
        if let Some((before, moving)) = self.move_rows(found) {
            sql.extend(before);
            sql.push(moving);
            locks.push_str(" while rows are moved out of it");
        }
        sql.extend(self.attach(proof.is_some()));
        for (_, target) in &self.references.outgoing {
            locks.push_str(&format!(", SHARE ROW EXCLUSIVE on {target}"));
        }
        let what = if new.fills_gap { "a gap in the past" } else { "the present or the future" };
        let why = format!("no partition holds {} to {}, {what}", key.text(new.from), key.text(new.to));
        steps.push(Step { sql, locks, why });
        steps
    }

    /// A lock for a moment, and then one that lets everybody go on while DEFAULT is looked through.
    fn proof_steps(&self, default: &Partition) -> Vec<Step> {
        let role = format!("SET LOCAL ROLE {}", identifier(&self.traits.owner));
        let step = |sql, lock: &str, why: &str| Step {
            sql: vec![role.clone(), sql],
            locks: format!("{lock} on {}", default.full_name()),
            why: why.to_owned(),
        };
        vec![
            step(
                add_proof(self.table, default, self.new),
                "ACCESS EXCLUSIVE",
                "DEFAULT is large: that it holds nothing of the new partition is proven before its lock is taken",
            ),
            step(validate_proof(default), "SHARE UPDATE EXCLUSIVE", "DEFAULT is looked through while readers and writers go on"),
        ]
    }

    /// The statements that make the table, as its owner.
    pub(super) fn create(&self) -> Vec<String> {
        let mut sql = vec![format!("SET LOCAL ROLE {}", identifier(&self.traits.owner))];
        sql.extend(ddl::create(self.table, self.traits, self.new));
        sql
    }

    /// Where rows are moved out of DEFAULT: the locks, and the statement.
    pub(super) fn move_rows(&self, found: &InDefault) -> Option<(Vec<String>, String)> {
        let (table, InDefault::Movable(columns)) = (self.table, found) else { return None };
        let default = table.default_partition()?;
        let locks = vec![
            lock_only(&table.schema, &table.name, "SHARE UPDATE EXCLUSIVE"),
            lock_only(&default.schema, &default.name, "ACCESS EXCLUSIVE"),
        ];
        Some((locks, move_rows(table, default, self.new, columns)))
    }

    /// The statement that attaches the table, and what can only follow it.
    pub(super) fn attach(&self, proven: bool) -> Vec<String> {
        let (table, new) = (self.table, self.new);
        let mut sql = vec![ddl::attach(table, &table.schema, &new.name, new.from, new.to)];
        if let ReplicaIdentity::Index(schema, name) = &self.traits.replica_identity {
            sql.push(replica_index(table, new, schema, name));
        }
        sql.extend(table.default_partition().filter(|_| proven).map(drop_proof));
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
fn move_rows(table: &Table, default: &Partition, new: &NewPartition, columns: &[String]) -> String {
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

/// What setting a retired partition aside takes, as it is shown; nothing where it is aside already.
pub fn set_aside_steps(detached: &Detached, suffix: Option<&str>, move_to: Option<&str>) -> Vec<Step> {
    let sql = ddl::set_aside((&detached.schema, &detached.name), &detached.mark.partition, suffix, move_to);
    if sql.is_empty() {
        return Vec::new();
    }
    let sql = std::iter::once(format!("SET LOCAL ROLE {}", identifier(&detached.owner))).chain(sql).collect();
    let locks = format!("ACCESS EXCLUSIVE on {}, which is detached", detached.full_name());
    vec![Step { sql, locks, why: "what is retired is kept, as `move_to` and `suffix` say".to_owned() }]
}

/// What deleting a leaf's expired rows takes, as it is shown.
pub fn delete_steps(expiry: &Expiry<'_>, leaf: &Partition) -> Vec<Step> {
    let (at, pages) = (of(leaf), expiry.pace.batch_pages);
    let delete = Step {
        sql: vec![format!("SET LOCAL ROLE {}", identifier(expiry.owner)), delete_expired(&at, expiry.table, expiry.column)],
        locks: format!("ROW EXCLUSIVE on {}, and those rows that nobody else holds", leaf.full_name()),
        why: format!(
            "it may hold rows past their deployment's own window; {pages} pages ($3 to $4) and a commit at a time, for deployments $1 with cutoffs $2"
        ),
    };
    let vacuum = Step {
        sql: vec![vacuum(&at)],
        locks: format!("SHARE UPDATE EXCLUSIVE on {} (readers and writers go on)", leaf.full_name()),
        why: "where something was deleted its room becomes usable again".to_owned(),
    };
    vec![delete, vacuum]
}

/// Makes the room of deleted rows usable. It takes no lock that anybody waits for.
pub(super) fn vacuum(leaf: &str) -> String {
    format!("VACUUM (SKIP_LOCKED, TRUNCATE false) {leaf}")
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
