//! Entries of a table of contents as records, without what differs between two dumps of the same.

use std::collections::VecDeque;

use super::{
    IdentityError,
    multiset::Multiset,
    text::{Fields, sorted_grants},
};
use crate::archive::TocEntry;

/// Before the data, the data, after the data; other entries lie anywhere.
const SECTIONS: std::ops::RangeInclusive<i64> = 2..=4;

/// So many groups of large objects are remembered: pg_dump writes a group's grants right behind it, and there may be millions of
/// objects.
const GROUPS: usize = 16;

/// Takes entries in the archive's order.
#[derive(Default)]
pub(super) struct Entries {
    section: i64,
    /// From PostgreSQL 17 on one entry stands for many large objects: which, by the entry's number; the last ones.
    groups: VecDeque<(i64, Vec<u32>)>,
    refusal: Option<IdentityError>,
}

impl Entries {
    /// Adds what the entry says to the records.
    pub(super) fn take(&mut self, entry: &TocEntry, records: &mut Multiset) {
        if let Some(refusal) = self.refusal_of(entry) {
            self.refusal.get_or_insert(refusal);
        }
        if is_of_the_database(entry) {
            return;
        }
        match &*entry.desc {
            // The objects themselves are told one by one; how they are grouped depends on the server's catalog.
            "BLOBS" if [&entry.definition, &entry.copy_statement].into_iter().flatten().all(String::is_empty) => {}
            "BLOB METADATA" => {
                let (oids, rest) = oids(entry.definition.as_deref().unwrap_or_default());
                for oid in &oids {
                    records.add(&record(entry, "", Some(&format!("{oid}{rest}"))));
                }
                self.groups.truncate(GROUPS - 1);
                self.groups.push_front((entry.dump_id, oids));
            }
            "ACL" => self.take_grants(entry, records),
            "DEFAULT ACL" => records.add(&grants(entry, &entry.tag, entry.definition.as_deref().unwrap_or_default())),
            _ => records.add(&record(entry, &entry.tag, entry.definition.as_deref())),
        }
    }

    /// Why there can be no identity.
    pub(super) fn finish(self) -> Result<(), IdentityError> {
        self.refusal.map_or(Ok(()), Err)
    }

    fn refusal_of(&mut self, entry: &TocEntry) -> Option<IdentityError> {
        if entry.is_lossy {
            return Some(IdentityError::NotUtf8(entry.to_string()));
        }
        if entry.desc == "STATISTICS DATA" {
            return Some(IdentityError::Statistics(entry.to_string()));
        }
        if SECTIONS.contains(&entry.section) {
            let before = std::mem::replace(&mut self.section, entry.section);
            return (entry.section < before).then(|| IdentityError::Order(entry.to_string()));
        }
        None
    }

    fn take_grants(&mut self, entry: &TocEntry, records: &mut Multiset) {
        let definition = entry.definition.as_deref().unwrap_or_default();
        let one = entry.tag.strip_prefix("LARGE OBJECT ").and_then(|oid| oid.parse::<u32>().ok());
        let many = entry.tag.strip_prefix("LARGE OBJECTS ").and_then(|range| range.split("..").next()?.parse::<u32>().ok());
        let Some(first) = one.or(many) else {
            records.add(&grants(entry, &entry.tag, definition));
            return;
        };
        // pg_restore repeats the first object's grants for each of its group.
        let pattern = definition.replace(&format!(" ON LARGE OBJECT {first} "), " ON LARGE OBJECT ");
        let group = self.groups.iter().find(|(id, _)| entry.dependencies.contains(id)).filter(|_| many.is_some());
        if many.is_some() && group.is_none() {
            self.refusal.get_or_insert(IdentityError::Order(entry.to_string()));
        }
        for oid in group.map_or(&[first][..], |(_, oids)| oids) {
            records.add(&grants(entry, &format!("LARGE OBJECT {oid}"), &pattern));
        }
    }
}

/// What concerns the database as a whole: pg_restore leaves it out unless it makes the database itself. A restore takes all that
/// from the manifest.
fn is_of_the_database(entry: &TocEntry) -> bool {
    match &*entry.desc {
        "DATABASE" | "DATABASE PROPERTIES" => true,
        "ACL" | "COMMENT" | "SECURITY LABEL" => entry.tag.starts_with("DATABASE "),
        _ => false,
    }
}

/// The oids of a group of large objects, a line each; and what else stands there, which is nothing.
fn oids(definition: &str) -> (Vec<u32>, &str) {
    let (mut oids, mut rest) = (Vec::new(), definition);
    while let Some((line, after)) = rest.split_once('\n') {
        let Ok(oid) = line.parse() else { break };
        oids.push(oid);
        rest = after;
    }
    (oids, rest)
}

fn begin(entry: &TocEntry, tag: &str) -> Fields {
    let mut fields = Fields::new("entry");
    fields.text(Some(&entry.desc));
    fields.text(entry.namespace.as_deref());
    fields.text(Some(tag));
    fields.number(entry.section.cast_unsigned());
    fields.number(u64::from(entry.has_data));
    fields.number(entry.relation_kind.unwrap_or_default().cast_unsigned());
    for text in [&entry.owner, &entry.tablespace, &entry.table_access_method, &entry.drop_statement, &entry.copy_statement] {
        fields.text(text.as_deref());
    }
    fields
}

fn record(entry: &TocEntry, tag: &str, definition: Option<&str>) -> [u8; 32] {
    let mut fields = begin(entry, tag);
    fields.text(definition);
    fields.finish()
}

fn grants(entry: &TocEntry, tag: &str, definition: &str) -> [u8; 32] {
    let mut fields = begin(entry, tag);
    fields.texts(&sorted_grants(definition));
    fields.finish()
}
