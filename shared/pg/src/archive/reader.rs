//! The reader: bytes in, a summary out.

use plana_plan::manifest::{LargeObjectFacts, TableFacts};

use super::{
    ArchiveError, ArchiveHeader, ArchiveVisitor, DataKind, Limits, TocEntry,
    rows::RowCounter,
    wire::{Cursor, INT_BYTES, Stop},
};

const BLOCK_DATA: u8 = 1;
const BLOCK_LARGE_OBJECTS: u8 = 3;
/// What a whole archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveSummary {
    /// What the archive says of itself.
    pub header: ArchiveHeader,
    /// Entries in the table of contents.
    pub entries: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Every table with data, in the archive's order.
    pub tables: Vec<TableFacts>,
    /// Large objects, where there are any.
    pub large_objects: Option<LargeObjectFacts>,
    /// Bytes of the whole archive.
    pub content_bytes: u64,
}

/// Where in the archive the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Header,
    EntryCount,
    Entry { left: u64 },
    BlockKind,
    BlockId { kind: u8 },
    PieceLength,
    Piece { left: usize },
    LargeObjectOid,
    LargeObjectPieceLength { oid: u32 },
    LargeObjectPiece { oid: u32, left: usize },
    Failed,
}

/// Follows an archive that is fed to it in pieces of any size.
pub struct ArchiveReader<V = ()> {
    visitor: V,
    limits: Limits,
    position: Position,
    /// The beginning of a value whose end has not arrived.
    pending: Vec<u8>,
    /// How long `pending` must be before it is worth another look.
    needed: usize,
    consumed: u64,
    header: Option<ArchiveHeader>,
    entries: u64,
    promised: Vec<(TocEntry, DataKind)>,
    kept_bytes: usize,
    /// Blocks that are over.
    done: usize,
    counter: RowCounter,
    rows: u64,
    tables: Vec<TableFacts>,
    large_objects: LargeObjectFacts,
}

impl ArchiveReader<()> {
    /// A reader that counts.
    pub fn new() -> Self {
        Self::with_visitor(())
    }
}

impl Default for ArchiveReader<()> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: ArchiveVisitor> ArchiveReader<V> {
    /// A reader that also shows everything to `visitor`.
    pub fn with_visitor(visitor: V) -> Self {
        Self::with_limits(visitor, Limits::default())
    }

    /// A reader with limits of one's own.
    pub fn with_limits(visitor: V, limits: Limits) -> Self {
        ArchiveReader {
            visitor,
            limits,
            position: Position::Header,
            pending: Vec::new(),
            needed: 0,
            consumed: 0,
            header: None,
            entries: 0,
            promised: Vec::new(),
            kept_bytes: 0,
            done: 0,
            counter: RowCounter::new(),
            rows: 0,
            tables: Vec::new(),
            large_objects: LargeObjectFacts { count: 0, bytes: 0 },
        }
    }

    /// The header, once it has passed.
    pub fn header(&self) -> Option<&ArchiveHeader> {
        self.header.as_ref()
    }

    /// Rows of the tables that are over.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes read so far.
    pub fn content_bytes(&self) -> u64 {
        self.consumed + self.pending.len() as u64
    }

    /// Whoever looks at what passes.
    pub fn visitor(&self) -> &V {
        &self.visitor
    }

    /// The same, to take something from it.
    pub fn visitor_mut(&mut self) -> &mut V {
        &mut self.visitor
    }

    /// Whether the whole table of contents has passed.
    pub fn has_contents(&self) -> bool {
        !matches!(self.position, Position::Header | Position::EntryCount | Position::Entry { .. } | Position::Failed)
    }

    /// The entry whose data is passing or comes next.
    pub fn current(&self) -> Option<&TocEntry> {
        self.promised.get(self.done).map(|(entry, _)| entry)
    }

    /// Reads the next piece of the archive.
    ///
    /// # Errors
    /// When the archive cannot be whole any more; every later call fails too.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), ArchiveError> {
        let outcome = self.follow(piece);
        if outcome.is_err() {
            self.position = Position::Failed;
            self.pending = Vec::new();
        }
        outcome
    }

    /// Says whether the archive was whole, and what it held.
    ///
    /// # Errors
    /// When it was cut or broke a promise of its table of contents.
    pub fn finish(self) -> Result<ArchiveSummary, ArchiveError> {
        self.finish_with_visitor().map(|(summary, _)| summary)
    }

    /// As [`finish`](Self::finish), and gives the visitor back.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_with_visitor(self) -> Result<(ArchiveSummary, V), ArchiveError> {
        let bytes = self.content_bytes();
        let cut = |inside: String| Err(ArchiveError::Cut { inside, bytes });
        match self.position {
            Position::Failed => return Err(ArchiveError::AlreadyFailed),
            Position::BlockKind => {}
            Position::Header => return cut("the header".to_owned()),
            Position::EntryCount | Position::Entry { .. } => return cut("the table of contents".to_owned()),
            _ => return cut(self.current().map_or_else(|| "a block".to_owned(), |entry| format!("the data of {entry}"))),
        }
        if let Some(next) = self.current() {
            let promised = self.promised.len();
            return Err(ArchiveError::MissingBlocks { next: next.to_string(), missing: promised - self.done, promised });
        }
        let Some(header) = self.header else { return Err(ArchiveError::AlreadyFailed) };
        let has_large_objects = self.promised.iter().any(|(_, kind)| *kind == DataKind::LargeObjects);
        let summary = ArchiveSummary {
            header,
            entries: self.entries,
            rows: self.rows,
            tables: self.tables,
            large_objects: has_large_objects.then_some(self.large_objects),
            content_bytes: bytes,
        };
        Ok((summary, self.visitor))
    }

    fn follow(&mut self, mut input: &[u8]) -> Result<(), ArchiveError> {
        // An empty piece is no news, and nobody is shown one.
        while !input.is_empty() {
            match self.position {
                Position::Failed => return Err(ArchiveError::AlreadyFailed),
                Position::Piece { left } => {
                    let piece = split(&mut input, left);
                    self.take_rows(piece);
                    self.consumed += piece.len() as u64;
                    let left = left - piece.len();
                    self.position = if left == 0 { Position::PieceLength } else { Position::Piece { left } };
                }
                Position::LargeObjectPiece { oid, left } => {
                    let piece = split(&mut input, left);
                    self.take_large_object(oid, piece);
                    self.consumed += piece.len() as u64;
                    let left = left - piece.len();
                    self.position =
                        if left == 0 { Position::LargeObjectPieceLength { oid } } else { Position::LargeObjectPiece { oid, left } };
                }
                _ => {
                    if !self.read_value(&mut input)? {
                        return Ok(());
                    }
                }
            }
        }
        if self.position == Position::Failed { Err(ArchiveError::AlreadyFailed) } else { Ok(()) }
    }

    /// Reads one value from `pending` and `input`; `false` when its end has not arrived.
    fn read_value(&mut self, input: &mut &[u8]) -> Result<bool, ArchiveError> {
        if self.pending.is_empty() {
            let (whole, taken) = self.step(input)?;
            if whole {
                *input = input.get(taken..).unwrap_or_default();
            } else {
                self.pending.extend_from_slice(input);
                *input = &[];
            }
            return Ok(whole);
        }
        // A value is spread over pieces: join what is needed, a little at a time where values are small.
        let had = self.pending.len();
        let more = match self.position {
            Position::Header | Position::Entry { .. } => input.len(),
            _ => input.len().min(1 + INT_BYTES),
        };
        self.pending.extend_from_slice(input.get(..more).unwrap_or_default());
        if self.pending.len() < self.needed {
            *input = input.get(more..).unwrap_or_default();
            return Ok(false);
        }
        let pending = std::mem::take(&mut self.pending);
        let (whole, taken) = self.step(&pending)?;
        if whole {
            // What was joined but not needed is still in `input`.
            *input = input.get(taken.saturating_sub(had)..).unwrap_or_default();
            return Ok(true);
        }
        *input = input.get(more..).unwrap_or_default();
        self.pending = pending;
        Ok(false)
    }

    /// Takes one value from the front of `bytes` and moves on; says whether it was whole and how long.
    fn step(&mut self, bytes: &[u8]) -> Result<(bool, usize), ArchiveError> {
        let limits = self.limits;
        let mut cursor = Cursor::new(bytes, self.consumed, &limits);
        let next = match self.advance(&mut cursor) {
            Ok(next) => next,
            Err(Stop::Incomplete(needed)) => {
                self.needed = needed;
                return Ok((false, 0));
            }
            Err(Stop::Failed(error)) => return Err(error),
        };
        // The length of a piece of rows comes before nothing but its rows.
        if !matches!(next, Position::Piece { .. }) {
            self.visitor.outside(bytes.get(..cursor.taken()).unwrap_or_default());
        }
        self.position = next;
        self.consumed += cursor.taken() as u64;
        Ok((true, cursor.taken()))
    }

    fn advance(&mut self, cursor: &mut Cursor<'_>) -> Result<Position, Stop> {
        match self.position {
            Position::Header => {
                let header = ArchiveHeader::read(cursor)?;
                self.visitor.header(&header);
                self.header = Some(header);
                Ok(Position::EntryCount)
            }
            Position::EntryCount => {
                let count = cursor.int()?;
                let count = u64::try_from(count).map_err(|_| cursor.damaged(format!("{count} is not a number of entries")))?;
                if count > self.limits.entries {
                    return Err(ArchiveError::TooLarge(format!("{count} entries")).into());
                }
                self.entries = count;
                Ok(after_entry(count))
            }
            Position::Entry { left } => {
                let Some(header) = &self.header else { return Err(ArchiveError::AlreadyFailed.into()) };
                let entry = TocEntry::read(cursor, header)?;
                self.take_entry(entry)?;
                Ok(after_entry(left - 1))
            }
            Position::BlockKind => match cursor.byte()? {
                kind @ (BLOCK_DATA | BLOCK_LARGE_OBJECTS) => Ok(Position::BlockId { kind }),
                other => Err(cursor.damaged(format!("{other} is not a kind of block"))),
            },
            Position::BlockId { kind } => {
                let found = cursor.int()?;
                self.begin_block(kind, found)
            }
            Position::PieceLength => match length(cursor)? {
                0 => {
                    self.end_table()?;
                    Ok(Position::BlockKind)
                }
                left => Ok(Position::Piece { left }),
            },
            Position::LargeObjectOid => match cursor.int()? {
                0 => {
                    self.end_block(0);
                    Ok(Position::BlockKind)
                }
                // An oid is unsigned, and pg_dump writes it as a signed number.
                oid => {
                    let oid = i32::try_from(oid).map(i32::cast_unsigned).or_else(|_| u32::try_from(oid.unsigned_abs()));
                    let oid = oid.map_err(|_| cursor.damaged("a large object's oid is out of range"))?;
                    self.large_objects.count += 1;
                    if let Some((entry, _)) = self.promised.get(self.done) {
                        self.visitor.large_object(entry, oid);
                    }
                    Ok(Position::LargeObjectPieceLength { oid })
                }
            },
            Position::LargeObjectPieceLength { oid } => match length(cursor)? {
                0 => Ok(Position::LargeObjectOid),
                left => Ok(Position::LargeObjectPiece { oid, left }),
            },
            position @ (Position::Piece { .. } | Position::LargeObjectPiece { .. } | Position::Failed) => Ok(position),
        }
    }

    fn take_entry(&mut self, entry: TocEntry) -> Result<(), ArchiveError> {
        self.visitor.entry(&entry);
        if let Some(kind) = entry.data_kind()? {
            self.kept_bytes += entry.weight();
            if self.kept_bytes > self.limits.kept_bytes {
                return Err(ArchiveError::TooLarge(format!("more than {} bytes of entries with data", self.limits.kept_bytes)));
            }
            self.promised.push((entry, kind));
        }
        Ok(())
    }

    fn begin_block(&mut self, kind: u8, found: i64) -> Result<Position, Stop> {
        let at = self.consumed;
        let Some((entry, expected)) = self.promised.get(self.done) else {
            return Err(ArchiveError::UnexpectedBlock { at, found, expected: "the end".to_owned() }.into());
        };
        let next = match expected {
            DataKind::Table => (BLOCK_DATA, Position::PieceLength),
            DataKind::LargeObjects => (BLOCK_LARGE_OBJECTS, Position::LargeObjectOid),
        };
        if entry.dump_id != found || next.0 != kind {
            return Err(ArchiveError::UnexpectedBlock { at, found, expected: format!("{entry} (dump id {})", entry.dump_id) }.into());
        }
        self.counter = RowCounter::new();
        self.visitor.begin(entry);
        Ok(next.1)
    }

    fn take_rows(&mut self, piece: &[u8]) {
        self.counter.take(piece);
        if let Some((entry, _)) = self.promised.get(self.done) {
            self.visitor.rows(entry, piece);
        }
    }

    fn take_large_object(&mut self, oid: u32, piece: &[u8]) {
        self.large_objects.bytes += piece.len() as u64;
        if let Some((entry, _)) = self.promised.get(self.done) {
            self.visitor.large_object_data(entry, oid, piece);
        }
    }

    fn end_table(&mut self) -> Result<(), ArchiveError> {
        let Some((entry, _)) = self.promised.get(self.done) else { return Err(ArchiveError::AlreadyFailed) };
        let Some((rows, bytes)) = self.counter.finish() else {
            return Err(ArchiveError::Unterminated(entry.to_string()));
        };
        self.tables.push(TableFacts { schema: entry.namespace.clone().unwrap_or_default(), table: entry.tag.clone(), rows, bytes });
        self.rows += rows;
        self.end_block(rows);
        Ok(())
    }

    fn end_block(&mut self, rows: u64) {
        if let Some((entry, _)) = self.promised.get(self.done) {
            self.visitor.end(entry, rows);
        }
        self.done += 1;
    }
}

fn after_entry(left: u64) -> Position {
    if left == 0 { Position::BlockKind } else { Position::Entry { left } }
}

fn length(cursor: &mut Cursor<'_>) -> Result<usize, Stop> {
    let length = cursor.int()?;
    usize::try_from(length).map_err(|_| cursor.damaged(format!("{length} is not the length of a piece")))
}

/// Takes at most `count` bytes off the front of `input`.
fn split<'a>(input: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (piece, rest) = input.split_at(count.min(input.len()));
    *input = rest;
    piece
}
