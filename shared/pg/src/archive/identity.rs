//! What a dump holds, whatever order it is written in.
//!
//! Two dumps of one content differ: in the time of their header, in object ids and dependencies, in the order in which rows
//! lie in their tables and grants in their lists. The identity is over what is left when all that is taken away: every
//! definition, every row, every large object, each as often as it is there. It is read in passing, in memory that grows with
//! nothing.
//!
//! The text of definitions is pg_dump's own, so an identity holds for one major version of it, which is part of it. So are
//! the facts that no archive holds and a restore brings back: extensions' versions, and the database's owner, encoding,
//! locale, settings and grants. Its name is not: a template that was renamed is the same.
//!
//! Never to be changed without another number in [`ALGORITHM`]: seeds are kept for ever.

mod entry;
mod multiset;
mod text;

use std::collections::BTreeMap;

use plana_plan::{manifest::DatabaseFacts, seed::ContentSha};
use sha2::{Digest as _, Sha256};

use super::{ArchiveHeader, ArchiveVisitor, TocEntry};
use entry::Entries;
use multiset::Multiset;
use text::Fields;

/// The number of this way to compute an identity.
pub const ALGORITHM: u32 = 1;

/// Why an archive has no identity. Completes "failed to tell the dump's content: …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Two different texts would look alike.
    #[error("{0} is not UTF-8: dump with --encoding=UTF8")]
    NotUtf8(String),
    /// The planner's statistics change by themselves, and what is left out of an identity must not be in what it stands for.
    #[error("it holds {0}, which is no content: dump with --no-statistics")]
    Statistics(String),
    /// A restore carries entries out in the archive's order, which is no part of the identity beyond that of its sections, and of
    /// grants behind the group of large objects that they are for.
    #[error("{0} does not stand where entries of its kind belong")]
    Order(String),
    /// The header's pg_dump has no version.
    #[error("the version of its pg_dump, `{0}`, is none")]
    Version(String),
}

/// Follows an archive and tells its identity at the end.
pub struct ContentIdentity {
    pg_dump: String,
    entries: Entries,
    /// Definitions, tables with their rows, large objects.
    records: Multiset,
    /// The rows of the table that is passing.
    rows: Multiset,
    row: Sha256,
    object: Option<Sha256>,
}

impl Default for ContentIdentity {
    fn default() -> Self {
        ContentIdentity {
            pg_dump: String::new(),
            entries: Entries::default(),
            records: Multiset::default(),
            rows: Multiset::default(),
            row: Sha256::new(),
            object: None,
        }
    }
}

impl ContentIdentity {
    /// The major version of the pg_dump that wrote the archive.
    ///
    /// # Errors
    /// When the header names none.
    pub fn pg_dump_major(&self) -> Result<u32, IdentityError> {
        let digits = self.pg_dump.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        digits.parse().map_err(|_| IdentityError::Version(plana_plan::name::printable(&self.pg_dump)))
    }

    /// The identity of an archive that was whole, together with what its manifest says of the database.
    ///
    /// # Errors
    /// When it holds what no identity stands for.
    pub fn finish(self, facts: &DatabaseFacts) -> Result<ContentSha, IdentityError> {
        let major = self.pg_dump_major()?;
        self.entries.finish()?;
        let mut whole = Fields::new("plana-jobs/content");
        whole.number(ALGORITHM.into());
        whole.number(major.into());
        whole.digest(&database(facts));
        whole.digest(&self.records.digest());
        Ok(ContentSha(whole.finish()))
    }

    fn end_object(&mut self) {
        if let Some(object) = self.object.take() {
            self.records.add(&object.finalize().into());
        }
    }
}

impl ArchiveVisitor for ContentIdentity {
    fn header(&mut self, header: &ArchiveHeader) {
        self.pg_dump.clone_from(&header.pg_dump_version);
    }

    fn entry(&mut self, entry: &TocEntry) {
        self.entries.take(entry, &mut self.records);
    }

    fn rows(&mut self, _entry: &TocEntry, mut piece: &[u8]) {
        // The terminator's lines count as rows: every table has them.
        while let Some(at) = memchr::memchr(b'\n', piece) {
            self.row.update(&piece[..at]);
            self.rows.add(&self.row.finalize_reset().into());
            piece = &piece[at + 1..];
        }
        self.row.update(piece);
    }

    fn large_object(&mut self, _entry: &TocEntry, oid: u32) {
        self.end_object();
        // The oid is content: rows refer to it.
        let mut object = Fields::new("large object");
        object.number(oid.into());
        self.object = Some(object.open());
    }

    fn large_object_data(&mut self, _entry: &TocEntry, _oid: u32, piece: &[u8]) {
        if let Some(object) = &mut self.object {
            object.update(piece);
        }
    }

    fn end(&mut self, entry: &TocEntry, _rows: u64) {
        self.end_object();
        if entry.desc == "TABLE DATA" {
            let mut table = Fields::new("rows");
            table.text(entry.namespace.as_deref());
            table.text(Some(&entry.tag));
            table.digest(&std::mem::take(&mut self.rows).digest());
            self.records.add(&table.finish());
        }
    }
}

/// What a restore brings back that no archive holds.
fn database(facts: &DatabaseFacts) -> [u8; 32] {
    let mut database = Fields::new("database");
    for text in [&facts.owner, &facts.encoding, &facts.collate, &facts.ctype] {
        database.text(Some(text));
    }
    // Not the version of the provider's rules: it is the host's, and a restore takes the one that it finds.
    let locale = facts.locale.as_ref();
    database.text(locale.map(|locale| &*locale.provider));
    database.text(locale.and_then(|locale| locale.name.as_deref()));
    database.text(locale.and_then(|locale| locale.icu_rules.as_deref()));
    let settings: BTreeMap<&String, Vec<&String>> = facts.settings.iter().map(|(role, values)| (role, sorted(values))).collect();
    database.number(settings.len() as u64);
    for (role, values) in settings {
        database.text(Some(role));
        database.texts(&values);
    }
    database.texts(&grants(facts));
    database.number(facts.extensions.len() as u64);
    for (name, version) in &facts.extensions {
        database.text(Some(name));
        database.text(Some(version));
    }
    database.finish()
}

fn sorted(texts: &[String]) -> Vec<&String> {
    let mut texts: Vec<&String> = texts.iter().collect();
    texts.sort();
    texts
}

/// The database's grants; none while they are the defaults, whether anybody wrote those down or not.
fn grants(facts: &DatabaseFacts) -> Vec<&String> {
    let plain = facts.owner.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let owner = if plain { facts.owner.clone() } else { plana_plan::sql::identifier(&facts.owner) };
    let mut defaults = [format!("=Tc/{owner}"), format!("{owner}=CTc/{owner}")];
    defaults.sort();
    let grants = sorted(&facts.grants);
    if grants.iter().copied().eq(&defaults) { Vec::new() } else { grants }
}

#[cfg(test)]
mod tests;
