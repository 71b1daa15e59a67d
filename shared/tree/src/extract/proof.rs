//! What is in an archive, compared with its manifest while it passes.

use std::{collections::BTreeSet, io::Read};

use plana_plan::{
    attachment::AttachmentName,
    manifest::{FileStoreFacts, FileStoreLayout, PathList},
};
use sha1::{Digest, Sha1};

use super::{
    ExtractError,
    header::{Kind, next_entry},
    order::{Order, Position},
    stream::Blocks,
};

/// What takes a tree as it comes: each entry by how many directories deep it stands in those given last, and its name. The top
/// itself is not given.
pub trait TreeSink {
    /// A directory, which later entries stand in.
    ///
    /// # Errors
    /// When it cannot be taken; that ends the reading.
    fn directory(&mut self, depth: usize, name: &[u8]) -> Result<(), ExtractError>;

    /// A file begins, of so many bytes.
    ///
    /// # Errors
    /// As [`TreeSink::directory`].
    fn file(&mut self, depth: usize, name: &[u8], bytes: u64) -> Result<(), ExtractError>;

    /// The next piece of its content.
    ///
    /// # Errors
    /// As [`TreeSink::directory`].
    fn piece(&mut self, piece: &[u8]) -> Result<(), ExtractError>;

    /// The file ends.
    ///
    /// # Errors
    /// As [`TreeSink::directory`].
    fn end_file(&mut self) -> Result<(), ExtractError>;
}

/// Keeps nothing: for whoever wants the proof alone.
impl TreeSink for () {
    fn directory(&mut self, _: usize, _: &[u8]) -> Result<(), ExtractError> {
        Ok(())
    }

    fn file(&mut self, _: usize, _: &[u8], _: u64) -> Result<(), ExtractError> {
        Ok(())
    }

    fn piece(&mut self, _: &[u8]) -> Result<(), ExtractError> {
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), ExtractError> {
        Ok(())
    }
}

/// A file of an Odoo store whose content is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    /// Its path.
    pub name: AttachmentName,
    /// The SHA-1 of its content, in hex.
    pub found: String,
}

/// What an archive holds, and that its manifest says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeProof {
    /// Files.
    pub files: u64,
    /// Directories, the top included.
    pub directories: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files whose SHA-1 is the one that names them.
    pub proven: u64,
    /// Files whose SHA-1 is not, as the manifest says of them, in order.
    pub unproven: Vec<Unproven>,
    /// Symbolic links, which are never made.
    pub links: PathList,
}

/// Reads an archive to its end, gives it to `sink`, and compares it with what its manifest says.
///
/// # Errors
/// Whatever is wrong first. Nothing that `sink` has taken can be believed then.
pub fn read_tree(content: &mut dyn Read, facts: &FileStoreFacts, sink: &mut dyn TreeSink) -> Result<TreeProof, ExtractError> {
    let mut reading = Reading { facts, sink, order: Order::default(), proof: TreeProof::default() };
    let mut blocks = Blocks::new(content);
    while let Some(entry) = next_entry(&mut blocks)? {
        let position = reading.order.take(&entry.path, entry.kind == Kind::Directory)?;
        match entry.kind {
            Kind::Directory => reading.directory(&position)?,
            Kind::Symlink => reading.link(&entry.path)?,
            Kind::File { bytes } => reading.file(&entry.path, &position, bytes, &mut blocks)?,
        }
    }
    reading.end()
}

struct Reading<'a> {
    facts: &'a FileStoreFacts,
    sink: &'a mut dyn TreeSink,
    order: Order,
    proof: TreeProof,
}

impl Reading<'_> {
    fn directory(&mut self, position: &Position) -> Result<(), ExtractError> {
        self.proof.directories += 1;
        no_more("directories", self.proof.directories, self.facts.directories)?;
        match position {
            Position::Top => Ok(()),
            Position::Below { depth, name } => self.sink.directory(*depth, name),
        }
    }

    /// Where a link leads is the archive's word against the target's safety: it is left out and named.
    fn link(&mut self, path: &[u8]) -> Result<(), ExtractError> {
        if self.facts.links == 0 {
            return Err(ExtractError::entry(path, "it is a symbolic link"));
        }
        self.proof.links.add(below(path), None);
        no_more("symbolic links", self.proof.links.total, self.facts.links)
    }

    fn file(&mut self, path: &[u8], position: &Position, bytes: u64, blocks: &mut Blocks<'_>) -> Result<(), ExtractError> {
        let Position::Below { depth, name } = position else {
            return Err(ExtractError::entry(path, "it is a file in the place of the directory"));
        };
        self.proof.files += 1;
        // Before a byte of it is written: a bomb ends here.
        self.proof.bytes = self.proof.bytes.saturating_add(bytes);
        no_more("files", self.proof.files, self.facts.files)?;
        no_more("bytes in files", self.proof.bytes, self.facts.bytes)?;
        let expected = if self.facts.layout == FileStoreLayout::Odoo { AttachmentName::parse(below(path)) } else { None };
        let mut sha1 = expected.map(|_| Sha1::new());
        self.sink.file(*depth, name, bytes)?;
        blocks.pass(bytes, |piece| {
            if let Some(sha1) = &mut sha1 {
                sha1.update(piece);
            }
            self.sink.piece(piece)
        })?;
        self.sink.end_file()?;
        if let Some((name, sha1)) = expected.zip(sha1) {
            self.judge(name, sha1.finalize().into())?;
        }
        Ok(())
    }

    fn judge(&mut self, name: AttachmentName, found: [u8; 20]) -> Result<(), ExtractError> {
        if found == *name.sha1() {
            self.proof.proven += 1;
            return Ok(());
        }
        let found = found.iter().map(|byte| format!("{byte:02x}")).collect();
        self.proof.unproven.push(Unproven { name, found });
        let facts = self.facts;
        let known = facts.damaged.total.saturating_add(facts.not_whole.total).saturating_add(facts.growing.total);
        no_more("files whose content is not what their names say", self.proof.unproven.len() as u64, known)
    }

    fn end(self) -> Result<TreeProof, ExtractError> {
        let Reading { facts, proof, .. } = self;
        for (what, found, said) in [
            ("files", proof.files, facts.files),
            ("directories", proof.directories, facts.directories),
            ("bytes in files", proof.bytes, facts.bytes),
            ("symbolic links", proof.links.total, facts.links),
        ] {
            if found != said {
                return Err(ExtractError::Different(format!("it holds {found} {what}, and its manifest names {said}")));
            }
        }
        // What changed while it was read may be right by chance.
        if proof.proven < facts.proven {
            let what = format!("{} files are what their names say, and its manifest names {}", proof.proven, facts.proven);
            return Err(ExtractError::Different(what));
        }
        let lists = [&facts.damaged, &facts.not_whole, &facts.growing];
        let known: BTreeSet<&str> = lists.iter().flat_map(|list| &list.listed).map(|listed| listed.path.as_str()).collect();
        // Of those for which the lists had no room, the number alone is known.
        let unlisted: u64 = lists.iter().map(|list| list.total.saturating_sub(list.listed.len() as u64)).sum();
        let mut strange = proof.unproven.iter().filter(|file| !known.contains(file.name.to_string().as_str()));
        if let Some(file) = strange.nth(usize::try_from(unlisted).unwrap_or(usize::MAX)) {
            let what = format!("the content of {} has the SHA-1 {}, and its manifest does not know of it", file.name, file.found);
            return Err(ExtractError::Different(what));
        }
        Ok(proof)
    }
}

/// More than a manifest names is an error at once, whatever else the archive would bring.
fn no_more(what: &str, found: u64, said: u64) -> Result<(), ExtractError> {
    if found <= said {
        return Ok(());
    }
    Err(ExtractError::Different(format!("it holds more {what} than the {said} that its manifest names")))
}

/// A path as manifests write it. It was checked before.
fn below(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"./").unwrap_or(path)
}
