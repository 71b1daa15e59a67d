//! What the catalog says of partitioned tables: in five questions however many there are, and of a single one in one.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use plana_plan::partition::{Bounds, KeyType, Names, Occupant, Partition, PartitionKind, Table, detached::Mark};
use sqlx::postgres::types::Oid;

use super::{Tables, session::shown};
use crate::server::ServerError;

/// All partitioned tables of a database, as of one moment.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// The server's clock.
    pub now: DateTime<Utc>,
    /// Tables whose partitions can be rolled.
    pub tables: Vec<Table>,
    /// Those whose partitions cannot, and why.
    pub others: Vec<(String, String, String)>,
    /// Owners by the table's id.
    pub owners: BTreeMap<u32, String>,
    /// Foreign keys by the table's id.
    pub references: BTreeMap<u32, References>,
    /// The names that are taken, by schema.
    pub names: BTreeMap<String, Names>,
    /// What was retired and is still there.
    pub detached: Vec<Detached>,
}

/// The foreign keys of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Tables that it refers to: (id, name).
    pub outgoing: Vec<(u32, String)>,
    /// Tables that refer to it.
    pub incoming: Vec<String>,
}

impl References {
    /// The ids of the tables that it refers to.
    pub fn targets(&self) -> Vec<u32> {
        self.outgoing.iter().map(|(oid, _)| *oid).collect()
    }
}

/// A table that was a partition, and was retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detached {
    /// Its id.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Where it comes from.
    pub mark: Mark,
    /// Its comment, which must still be the same when it is dropped.
    pub comment: String,
}

type TableRow = (Oid, String, String, String, String, i16, Option<String>, Option<String>, bool);

const TABLES: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, pg_catalog.pg_get_userbyid(c.relowner)::text, p.partstrat::text, p.partnatts,
           a.attname::text, pg_catalog.format_type(a.atttypid, NULL), c.relispartition
    FROM pg_catalog.pg_partitioned_table p JOIN pg_catalog.pg_class c ON c.oid = p.partrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0] AND a.attnum > 0
    ORDER BY 2, 3";

/// Of one parent; of all of them where there is none.
const PARTITIONS: &str = "
    SELECT i.inhparent, c.oid, n.nspname::text, c.relname::text, pg_catalog.pg_get_expr(c.relpartbound, c.oid), i.inhdetachpending,
           c.relkind::text
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = i.inhparent
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f') AND ($1::oid IS NULL OR i.inhparent = $1)";

const NAMES: &str = "
    SELECT n.nspname::text, c.relname::text, c.relkind = 'r' AND NOT c.relispartition, i.inhparent
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid AND c.relispartition
    WHERE n.oid IN (SELECT relnamespace FROM pg_catalog.pg_class WHERE relkind = 'p')";

/// Of all tables, or of one.
const REFERENCES: &str = "
    SELECT k.conrelid, k.confrelid, k.conrelid::regclass::text, k.confrelid::regclass::text
    FROM pg_catalog.pg_constraint k
    WHERE k.contype = 'f' AND k.conparentid = 0 AND ($1::oid IS NULL OR k.conrelid = $1 OR k.confrelid = $1)";

const DETACHED: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, pg_catalog.pg_get_userbyid(c.relowner)::text, d.description
    FROM pg_catalog.pg_description d JOIN pg_catalog.pg_class c ON c.oid = d.objoid AND d.objsubid = 0
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE d.classoid = 'pg_catalog.pg_class'::regclass AND c.relkind = 'r' AND NOT c.relispartition AND d.description LIKE $1
    ORDER BY c.oid";

type PartitionRow = (Oid, Oid, String, String, Option<String>, bool, String);

impl Tables {
    /// Reads the catalog.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn catalog(&mut self) -> Result<Catalog, ServerError> {
        let read = self.read_catalog().await;
        read.map_err(|error| self.failed("read which tables are partitioned", error))
    }

    /// The partitions of one table as they are now; none where it is gone.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn partitions(&mut self, table: &Table) -> Result<Vec<Partition>, ServerError> {
        let read = sqlx::query_as(PARTITIONS).bind(Oid(table.oid)).fetch_all(&mut self.connection).await;
        let rows: Vec<PartitionRow> = read.map_err(|error| self.failed("read a table's partitions", error))?;
        Ok(rows.into_iter().map(|row| partition(row, table.key)).collect())
    }

    /// What was retired and is still there, of all tables.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn retired(&mut self) -> Result<Vec<Detached>, ServerError> {
        let read = sqlx::query_as(DETACHED).bind(Mark::pattern()).fetch_all(&mut self.connection).await;
        Ok(marked(read.map_err(|error| self.failed("read what was retired", error))?))
    }

    /// The foreign keys of one table as they are now.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn references(&mut self, oid: u32) -> Result<References, ServerError> {
        let read = sqlx::query_as(REFERENCES).bind(Oid(oid)).fetch_all(&mut self.connection).await;
        let rows = read.map_err(|error| self.failed("read a table's foreign keys", error))?;
        Ok(all_references(rows).remove(&oid).unwrap_or_default())
    }

    async fn read_catalog(&mut self) -> Result<Catalog, sqlx::Error> {
        let connection = &mut self.connection;
        let now = sqlx::query_scalar("SELECT pg_catalog.clock_timestamp()").fetch_one(&mut *connection).await?;
        let rows: Vec<TableRow> = sqlx::query_as(TABLES).fetch_all(&mut *connection).await?;
        let partitions: Vec<PartitionRow> = sqlx::query_as(PARTITIONS).bind(None::<Oid>).fetch_all(&mut *connection).await?;
        let names: Vec<(String, String, bool, Option<Oid>)> = sqlx::query_as(NAMES).fetch_all(&mut *connection).await?;
        let references: Vec<(Oid, Oid, String, String)> = sqlx::query_as(REFERENCES).bind(None::<Oid>).fetch_all(&mut *connection).await?;
        let detached: Vec<(Oid, String, String, String, String)> =
            sqlx::query_as(DETACHED).bind(Mark::pattern()).fetch_all(&mut *connection).await?;

        let owners = rows.iter().map(|(oid, _, _, owner, ..)| (oid.0, owner.clone())).collect();
        let (tables, others) = tables(rows, partitions);
        Ok(Catalog {
            now,
            tables,
            others,
            owners,
            references: all_references(references),
            names: all_names(names),
            detached: marked(detached),
        })
    }
}

fn tables(rows: Vec<TableRow>, partitions: Vec<PartitionRow>) -> (Vec<Table>, Vec<(String, String, String)>) {
    let mut of_parent: BTreeMap<u32, Vec<PartitionRow>> = BTreeMap::new();
    for row in partitions {
        of_parent.entry(row.0.0).or_default().push(row);
    }
    let (mut tables, mut others) = (Vec::new(), Vec::new());
    for (oid, schema, name, _, strategy, columns, column, column_type, is_partition) in rows {
        let key = column_type.as_deref().and_then(KeyType::of);
        let why = match (strategy.as_str(), columns, key) {
            _ if is_partition => "it is itself a partition",
            ("r", 1, Some(_)) => "",
            ("r", 1, None) => "its key is no column of type timestamptz, timestamp or date",
            ("r", ..) => "its key has several columns",
            _ => "it is not partitioned by range",
        };
        match (why, key, column) {
            ("", Some(key), Some(column)) => {
                let partitions = of_parent.remove(&oid.0).unwrap_or_default();
                let partitions = partitions.into_iter().map(|row| partition(row, key)).collect();
                tables.push(Table { oid: oid.0, schema, name, column, key, partitions });
            }
            _ => others.push((schema, name, why.to_owned())),
        }
    }
    (tables, others)
}

fn partition((_, oid, schema, name, bounds, pending, kind): PartitionRow, key: KeyType) -> Partition {
    let bounds_text = bounds.unwrap_or_default();
    let kind = match kind.as_str() {
        "r" => PartitionKind::Leaf,
        "p" => PartitionKind::Partitioned,
        _ => PartitionKind::Elsewhere,
    };
    Partition { oid: oid.0, schema, name, bounds: Bounds::parse(&bounds_text, key), bounds_text, pending, kind }
}

fn all_references(rows: Vec<(Oid, Oid, String, String)>) -> BTreeMap<u32, References> {
    let mut all: BTreeMap<u32, References> = BTreeMap::new();
    for (from, to, from_name, to_name) in rows {
        all.entry(from.0).or_default().outgoing.push((to.0, to_name));
        all.entry(to.0).or_default().incoming.push(from_name);
    }
    all
}

fn all_names(rows: Vec<(String, String, bool, Option<Oid>)>) -> BTreeMap<String, Names> {
    let mut all: BTreeMap<String, Names> = BTreeMap::new();
    for (schema, name, is_loose, parent) in rows {
        let occupant = match parent {
            Some(parent) => Occupant::PartitionOf(parent.0),
            None if is_loose => Occupant::LooseTable,
            None => Occupant::Other,
        };
        all.entry(schema).or_default().insert(name, occupant);
    }
    all
}

fn marked(rows: Vec<(Oid, String, String, String, String)>) -> Vec<Detached> {
    let read = |(oid, schema, name, owner, comment): (Oid, String, String, String, String)| {
        let mark = Mark::read(&comment)?;
        Some(Detached { oid: oid.0, schema, name, owner, mark, comment })
    };
    rows.into_iter().filter_map(read).collect()
}

impl Detached {
    /// `schema.table`, for people.
    pub fn full_name(&self) -> String {
        shown(&self.schema, &self.name)
    }
}
