//! The table of contents: what the archive promises to hold.

use std::fmt;

use plana_plan::name::printable;

use super::{
    ArchiveError, ArchiveHeader, ArchiveVersion,
    wire::{Cursor, Stop},
};

/// What kind of data an entry has in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKind {
    /// Rows in COPY's text format.
    Table,
    /// Large objects.
    LargeObjects,
}

/// One entry of the table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TocEntry {
    /// The entry's number within the archive.
    pub dump_id: i64,
    /// Whether a block of data belongs to the entry.
    pub has_data: bool,
    /// The oid of the catalog that the object is listed in, as text.
    pub catalog_oid: Option<String>,
    /// The object's oid, as text.
    pub oid: Option<String>,
    /// The object's name.
    pub tag: String,
    /// What it is: `TABLE`, `TABLE DATA`, `FUNCTION`, `BLOBS`, …
    pub desc: String,
    /// 1: none, 2: before the data, 3: data, 4: after the data.
    pub section: i64,
    /// The SQL that makes it.
    pub definition: Option<String>,
    /// The SQL that drops it.
    pub drop_statement: Option<String>,
    /// The COPY statement that loads a table's data.
    pub copy_statement: Option<String>,
    /// Its schema.
    pub namespace: Option<String>,
    /// Its tablespace.
    pub tablespace: Option<String>,
    /// A table's access method.
    pub table_access_method: Option<String>,
    /// `pg_class.relkind` as a number, from format 1.16 on.
    pub relation_kind: Option<i64>,
    /// Its owner.
    pub owner: Option<String>,
    /// The dump ids that it depends on.
    pub dependencies: Vec<i64>,
    /// Whether a text of it is not UTF-8, and was changed to be read.
    pub is_lossy: bool,
}

impl TocEntry {
    /// What kind of data the entry has; `None` without any.
    ///
    /// # Errors
    /// When it has data of an unknown kind, or rows that are not COPY data.
    pub fn data_kind(&self) -> Result<Option<DataKind>, ArchiveError> {
        match (self.has_data, self.desc.as_str()) {
            (false, _) => Ok(None),
            (true, "TABLE DATA") if self.copy_statement.as_deref().unwrap_or_default().is_empty() => {
                Err(ArchiveError::NotCopy(self.to_string()))
            }
            (true, "TABLE DATA") => Ok(Some(DataKind::Table)),
            (true, "BLOBS") => Ok(Some(DataKind::LargeObjects)),
            (true, _) => Err(ArchiveError::UnknownData(self.to_string())),
        }
    }

    /// Bytes that the entry takes in memory, roughly.
    pub(super) fn weight(&self) -> usize {
        let texts = [
            &self.catalog_oid,
            &self.oid,
            &self.definition,
            &self.drop_statement,
            &self.copy_statement,
            &self.namespace,
            &self.tablespace,
            &self.table_access_method,
            &self.owner,
        ];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        size_of::<Self>() + texts + self.tag.len() + self.desc.len() + self.dependencies.len() * size_of::<i64>()
    }

    pub(super) fn read(cursor: &mut Cursor<'_>, header: &ArchiveHeader) -> Result<Self, Stop> {
        let dump_id = cursor.int()?;
        if dump_id <= 0 {
            return Err(cursor.damaged(format!("{dump_id} is not a dump id")));
        }
        let has_data = match cursor.int()? {
            0 => false,
            1 => true,
            other => return Err(cursor.damaged(format!("{other} does not say whether entry {dump_id} has data"))),
        };
        let mut entry = TocEntry {
            dump_id,
            has_data,
            catalog_oid: cursor.string()?,
            oid: cursor.string()?,
            tag: required(cursor, "name")?,
            desc: required(cursor, "kind")?,
            section: cursor.int()?,
            definition: cursor.string()?,
            drop_statement: cursor.string()?,
            copy_statement: cursor.string()?,
            namespace: cursor.string()?,
            tablespace: cursor.string()?,
            table_access_method: cursor.string()?,
            relation_kind: if header.archive_version >= ArchiveVersion::V1_16 { Some(cursor.int()?) } else { None },
            owner: cursor.string()?,
            dependencies: {
                // Once "with oids"; "false" since PostgreSQL 12.
                let _with_oids = cursor.text()?;
                dependencies(cursor)?
            },
            is_lossy: false,
        };
        entry.is_lossy = cursor.is_lossy();
        // Where its data begins. pg_dump fills it in afterwards where it can seek; a pipe it leaves at "not set".
        let state = cursor.byte()?;
        let _offset = cursor.take(header.offset_bytes)?;
        match (state, has_data) {
            (1 | 2, true) | (3, false) => Ok(entry),
            _ => Err(cursor.damaged(format!("{state} does not say where the data of {entry} is"))),
        }
    }
}

impl fmt::Display for TocEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.namespace {
            Some(namespace) if !namespace.is_empty() => format!("{namespace}.{}", self.tag),
            _ => self.tag.clone(),
        };
        write!(f, "{} {}", self.desc, printable(&name))
    }
}

fn required(cursor: &mut Cursor<'_>, what: &str) -> Result<String, Stop> {
    let text = cursor.string()?;
    text.ok_or_else(|| cursor.damaged(format!("an entry has no {what}")))
}

/// Numbers as texts, ended by NULL.
fn dependencies(cursor: &mut Cursor<'_>) -> Result<Vec<i64>, Stop> {
    let mut ids = Vec::new();
    while let Some(text) = cursor.text()? {
        let id = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        ids.push(id.ok_or_else(|| cursor.damaged("a dependency is not a number"))?);
        if ids.len() > cursor.limits().dependencies {
            return Err(ArchiveError::TooLarge(format!("more than {} dependencies of one entry", cursor.limits().dependencies)).into());
        }
    }
    Ok(ids)
}
