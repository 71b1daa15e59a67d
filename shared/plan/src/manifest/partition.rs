//! Where an archived partition comes from.

use serde::{Deserialize, Serialize};

use super::Manifest;
use crate::{Area, name::printable};

/// Where an archived partition comes from, and so where it goes back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionFacts {
    /// The database.
    pub database: String,
    /// The partition's schema.
    pub schema: String,
    /// The partition's own name.
    pub table: String,
    /// The schema of the table that it was a partition of.
    pub parent_schema: String,
    /// That table.
    pub parent: String,
    /// Its bounds as the catalog wrote them, in UTC: `FOR VALUES FROM (…) TO (…)`.
    pub bounds: String,
}

impl PartitionFacts {
    /// The three parts of the name under which it is kept.
    pub fn names(&self) -> [&str; 3] {
        [&self.database, &self.schema, &self.table]
    }

    /// What its manifest says otherwise.
    pub(super) fn contradiction(&self, manifest: &Manifest) -> Option<String> {
        if manifest.area != Area::Partition {
            return Some(format!("it names a partition and lies in {}", manifest.area));
        }
        let tables = manifest.database.as_ref().map(|facts| facts.tables.as_slice()).unwrap_or_default();
        let holds = tables.iter().any(|table| table.schema == self.schema && table.table == self.table);
        (!holds || tables.len() != 1).then(|| format!("its dump is not of {} alone", printable(&self.names().join("."))))
    }
}
