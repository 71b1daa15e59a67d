//! Whether what was read is what the manifest says.

use std::io::Read;

use plana_pg::archive::{ArchiveReader, ArchiveSummary, ArchiveVisitor, ContentIdentity, IdentityError, Repacker, identity::ALGORITHM};
use plana_plan::{
    Area, SetKey,
    compare::{differences, summary},
    manifest::{DatabaseFacts, Manifest},
    seed::ContentSha,
};
use plana_tree::extract::{ExtractError, read_tree};

use crate::{
    error::RestoreError,
    filestore::{filestore_facts, known_gaps, of_tree},
    open::OpenSet,
    read::{Reading, of_io, read_payload},
};

/// What a check has seen with its own eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Bytes of content.
    pub content_bytes: u64,
    /// Bytes as they are stored.
    pub stored_bytes: u64,
    /// Rows that were counted, of a database.
    pub rows: Option<u64>,
    /// Files that were read, of a file store.
    pub files: Option<u64>,
    /// Those of them whose SHA-1 is the one that names them.
    pub proven: Option<u64>,
    /// What was not as it should be already when the backup was made.
    pub warnings: Vec<String>,
}

/// How much content is asked for at once.
const READ_BYTES: usize = 256 << 10;

/// Reads a set back to its end and compares hashes, sizes and rows with its manifest. Nothing touches the disk.
///
/// # Errors
/// Whatever is not as it should be.
pub async fn check_set(reading: Reading<'_>) -> Result<Checked, RestoreError> {
    let set = reading.set;
    let payload = &set.manifest.payload;
    let (content_bytes, stored_bytes) = (payload.content_bytes, payload.stored_bytes);
    let checked = Checked { content_bytes, stored_bytes, rows: None, files: None, proven: None, warnings: Vec::new() };
    if matches!(set.key.area, Area::Filestore | Area::InsuranceFilestore) {
        let facts = filestore_facts(set)?.clone();
        let key = set.key.clone();
        let warnings = known_gaps(&facts);
        let tree = read_payload(reading, move |content| {
            read_tree(content, &facts, &mut ()).map_err(|error| match error {
                ExtractError::Input(error) => of_io(&key, error),
                error => of_tree(&key.to_string(), error),
            })
        });
        let tree = tree.await?;
        return Ok(Checked { files: Some(tree.files), proven: Some(tree.proven), warnings, ..checked });
    }
    let proof = Proof::of(set);
    let archive = read_payload(reading, move |content| proof.read(content, (), |()| Ok(()))).await?;
    Ok(Checked { rows: archive.map(|(archive, ())| archive.rows), ..checked })
}

/// What is proven of a content while it passes.
pub(crate) struct Proof {
    set: SetKey,
    database: Option<DatabaseFacts>,
    /// The content that a seed's key names, and the way in which that was computed.
    content: Option<(ContentSha, u32)>,
}

impl Proof {
    pub(crate) fn of(set: &OpenSet) -> Self {
        let Manifest { database, seed, .. } = &set.manifest;
        let content = set.key.content().zip(seed.as_ref().map(|seed| seed.identity));
        Proof { set: set.key.clone(), database: database.clone(), content }
    }

    /// Whether there is something to compare a dump with: a manifest that leaves it out would prove nothing and look like proof.
    fn is_possible(&self) -> Result<(), RestoreError> {
        let fails = |what: String| Err(RestoreError::Mismatch { set: self.set.to_string(), what });
        let is_dump = matches!(self.set.area, Area::Pg | Area::InsurancePg | Area::Partition | Area::Seed);
        if is_dump && self.database.is_none() {
            return fails("its manifest does not say what its dump holds".to_owned());
        }
        match self.content {
            None if self.set.area == Area::Seed => fails("its manifest does not say how its SHA was computed".to_owned()),
            Some((_, way)) if way != ALGORITHM => {
                fails(format!("its SHA was computed in the way {way}, and this version knows {ALGORITHM}: use a newer plana-jobs"))
            }
            _ => Ok(()),
        }
    }

    /// Passes an archive on in the form that pg_restore is fastest with, and gives what has passed all of it on. Somebody else may
    /// look too.
    pub(crate) fn repack<V: ArchiveVisitor>(
        self,
        content: &mut dyn Read,
        also: V,
        mut pass: impl FnMut(&[u8]) -> Result<(), RestoreError>,
    ) -> Result<Repacker, RestoreError> {
        let set = self.set.to_string();
        let read = self.read(content, (Repacker::default(), also), |(repacker, _)| repacker.take(&mut pass))?;
        read.map(|(_, (repacker, _))| repacker).ok_or(RestoreError::Mismatch { set, what: "it holds no database".to_owned() })
    }

    /// Reads the content to its end, with a visitor of it, who is called upon after each piece; gives what was found on the way, of
    /// a database.
    fn read<V: ArchiveVisitor>(
        self,
        content: &mut dyn Read,
        visitor: V,
        mut after: impl FnMut(&mut V) -> Result<(), RestoreError>,
    ) -> Result<Option<(ArchiveSummary, V)>, RestoreError> {
        self.is_possible()?;
        let identity = || self.content.map(|_| ContentIdentity::default());
        let mut archive = self.database.is_some().then(|| ArchiveReader::with_visitor((identity(), visitor)));
        let damaged = |reason| RestoreError::Archive { set: self.set.to_string(), reason };
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(crate::read::of_io(&self.set, error)),
            };
            if let Some(archive) = &mut archive {
                archive.feed(&buffer[..read]).map_err(damaged)?;
                after(&mut archive.visitor_mut().1)?;
            }
        }
        let Some((archive, facts)) = archive.zip(self.database.as_ref()) else { return Ok(None) };
        let (found, (identity, visitor)) = archive.finish_with_visitor().map_err(damaged)?;
        compare(&self.set, facts, &found)?;
        if let Some(((wanted, _), identity)) = self.content.zip(identity) {
            self.same_content(wanted, identity.finish(facts))?;
        }
        Ok(Some((found, visitor)))
    }

    /// Whether the content is the one that the key names. Hashes in a manifest can be forged together with what they stand for.
    fn same_content(&self, wanted: ContentSha, found: Result<ContentSha, IdentityError>) -> Result<(), RestoreError> {
        let what = match found {
            Ok(found) if found == wanted => return Ok(()),
            Ok(found) => format!("its content has the SHA {found}, which is not the one of its key"),
            Err(error) => format!("failed to tell its content: {error}"),
        };
        Err(RestoreError::Mismatch { set: self.set.to_string(), what })
    }
}

/// Whether an archive holds what the manifest says.
fn compare(set: &SetKey, facts: &DatabaseFacts, found: &ArchiveSummary) -> Result<(), RestoreError> {
    let differs = |what: String| Err(RestoreError::Mismatch { set: set.to_string(), what });
    let tables = found.tables.iter().map(|table| (&*table.schema, &*table.table, table.rows));
    let tables = differences(&facts.tables, tables);
    if !tables.is_empty() {
        return differs(format!("its archive does not hold the rows that its manifest names: {}", summary(&tables)));
    }
    if facts.large_objects != found.large_objects {
        return differs("its archive does not hold the large objects that its manifest names".to_owned());
    }
    Ok(())
}
