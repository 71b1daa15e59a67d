//! The files that an Odoo dump names, read from its rows as they pass.

use memchr::memchr2;
use plana_plan::attachment::{NameCollector, NamedFiles, TooManyNames};

use super::{ArchiveVisitor, TocEntry};

const SCHEMA: &str = "public";
const TABLE: &str = "ir_attachment";
const COLUMN: &str = "store_fname";
/// A path of an attachment is far shorter; whatever is longer is none.
const LONGEST: usize = 64;
const NULL: &[u8] = b"\\N";

/// Collects what `ir_attachment.store_fname` names. Rows may be of any size; no more of one is held than a path.
#[derive(Debug, Default)]
pub struct DumpedAttachments {
    names: NameCollector,
    /// The column that names files, where the table has passed.
    wanted: Option<usize>,
    column: usize,
    field: Vec<u8>,
    overflow: Option<TooManyNames>,
}

impl DumpedAttachments {
    /// The files that the dump names; `None` where it holds no table of attachments.
    ///
    /// # Errors
    /// When it names more than are kept.
    pub fn finish(self) -> Result<Option<NamedFiles>, TooManyNames> {
        match self.overflow {
            Some(too_many) => Err(too_many),
            None => Ok(self.wanted.map(|_| self.names.finish())),
        }
    }

    fn take(&mut self, piece: &[u8]) {
        // One byte more than a path can have shows that it is none.
        let room = (LONGEST + 1).saturating_sub(self.field.len());
        if Some(self.column) == self.wanted {
            self.field.extend_from_slice(&piece[..piece.len().min(room)]);
        }
    }

    fn end_field(&mut self) {
        let field = std::mem::take(&mut self.field);
        if Some(self.column) != self.wanted || field == NULL || self.overflow.is_some() {
            return;
        }
        self.overflow = self.names.take(&String::from_utf8_lossy(&field)).err();
    }
}

impl ArchiveVisitor for DumpedAttachments {
    fn entry(&mut self, entry: &TocEntry) {
        let is_table = entry.has_data && entry.tag == TABLE && entry.namespace.as_deref() == Some(SCHEMA);
        if let Some(copy) = entry.copy_statement.as_deref().filter(|_| is_table) {
            self.wanted = columns(copy).position(|column| column == COLUMN);
        }
    }

    fn rows(&mut self, entry: &TocEntry, mut piece: &[u8]) {
        if self.wanted.is_none() || entry.tag != TABLE || entry.namespace.as_deref() != Some(SCHEMA) {
            return;
        }
        while let Some(at) = memchr2(b'\t', b'\n', piece) {
            self.take(&piece[..at]);
            self.end_field();
            // The terminator's lines are rows of one column that name no file.
            self.column = if piece[at] == b'\t' { self.column + 1 } else { 0 };
            piece = &piece[at + 1..];
        }
        self.take(piece);
    }
}

/// The columns of `COPY public.ir_attachment (id, name) FROM stdin;`. Neither name that counts is ever quoted.
fn columns(copy: &str) -> impl Iterator<Item = &str> {
    let list = copy.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(list, _)| list);
    list.split(", ").map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: &str, copy: &str) -> TocEntry {
        TocEntry {
            dump_id: 1,
            has_data: true,
            catalog_oid: None,
            oid: None,
            tag: tag.to_owned(),
            desc: "TABLE DATA".to_owned(),
            section: 3,
            definition: None,
            drop_statement: None,
            copy_statement: Some(copy.to_owned()),
            namespace: Some("public".to_owned()),
            tablespace: None,
            table_access_method: None,
            relation_kind: None,
            owner: None,
            dependencies: Vec::new(),
            is_lossy: false,
        }
    }

    fn path(number: u8) -> String {
        let name = format!("{number:02x}{}", "0".repeat(38));
        format!("{}/{name}", &name[..2])
    }

    #[test]
    fn names_are_read_from_rows_of_any_size_in_pieces_of_any_size() {
        let attachments = entry(TABLE, "COPY public.ir_attachment (id, \"order\", store_fname, db_datas) FROM stdin;\n");
        let other = entry("res_partner", "COPY public.res_partner (id, a, store_fname) FROM stdin;\n");
        let long = "x".repeat(10_000);
        let rows = format!("1\ta\t{}\t{long}\n2\t\\N\t\\N\t\\N\n3\t{}\t{long}\t\n4\tb\t{}\t\\N\n\\.\n\n\n", path(1), path(7), path(2));
        for size in [1, 2, 7, 4096, rows.len()] {
            let mut visitor = DumpedAttachments::default();
            visitor.entry(&other);
            visitor.entry(&attachments);
            visitor.rows(&other, format!("1\ta\t{}\n", path(9)).as_bytes());
            rows.as_bytes().chunks(size).for_each(|piece| visitor.rows(&attachments, piece));
            let mut named = visitor.finish().expect("few").expect("a table");
            // Row 3 names no path.
            assert_eq!((named.len(), named.others()), (2, 1), "in pieces of {size}");
            named.see(&plana_plan::attachment::AttachmentName::parse(path(1).as_bytes()).expect("a path"));
            assert_eq!(named.lacking().map(ToString::to_string).collect::<Vec<_>>(), [path(2)]);
        }
    }

    #[test]
    fn a_dump_without_the_table_names_nothing() {
        assert!(DumpedAttachments::default().finish().expect("few").is_none());
        let mut visitor = DumpedAttachments::default();
        visitor.entry(&entry(TABLE, "COPY public.ir_attachment (id, name) FROM stdin;\n"));
        visitor.rows(&entry(TABLE, ""), b"1\tx\n\\.\n\n\n");
        assert!(visitor.finish().expect("few").is_none());
    }
}
