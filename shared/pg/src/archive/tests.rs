//! Archives made here, byte by byte, so that each promise can be broken alone. Real ones are in `tests/archive.rs`.

use proptest::prelude::*;

use super::*;

/// Writes the format as pg_dump does.
struct Writer {
    bytes: Vec<u8>,
    minor: u8,
}

impl Writer {
    fn new(minor: u8) -> Self {
        let mut writer = Writer { bytes: b"PGDMP\x01".to_vec(), minor };
        writer.bytes.extend([minor, 0, 4, 8, 1]);
        if minor >= 15 {
            writer.bytes.push(0)
        } else {
            writer.int(0)
        }
        for number in [1, 2, 3, 4, 5, 126, 0] {
            writer.int(number);
        }
        for text in ["acme", "16.4 (Debian 16.4-1)", "16.4"] {
            writer.text(Some(text));
        }
        writer
    }

    fn int(&mut self, number: i32) {
        self.bytes.push(u8::from(number < 0));
        self.bytes.extend(number.unsigned_abs().to_le_bytes());
    }

    fn text(&mut self, text: Option<&str>) {
        match text {
            None => self.int(-1),
            Some(text) => {
                self.int(i32::try_from(text.len()).expect("a short text"));
                self.bytes.extend(text.as_bytes());
            }
        }
    }

    fn entry(&mut self, id: i32, desc: &str, tag: &str, copy: Option<&str>, has_data: bool) {
        self.int(id);
        self.int(i32::from(has_data));
        self.text(Some("1259"));
        self.text(Some("16384"));
        self.text(Some(tag));
        self.text(Some(desc));
        self.int(3);
        self.text(Some("a definition"));
        self.text(None);
        self.text(copy);
        self.text(Some("public"));
        self.text(Some(""));
        self.text(None);
        if self.minor >= 16 {
            self.int(i32::from(b'r'));
        }
        self.text(Some("plana"));
        self.text(Some("false"));
        self.text(Some("7"));
        self.text(None);
        self.bytes.push(if has_data { 1 } else { 3 });
        self.bytes.extend([0; 8]);
    }

    fn table(&mut self, id: i32, pieces: &[&str]) {
        self.bytes.push(1);
        self.int(id);
        for piece in pieces {
            self.text(Some(piece));
        }
        self.int(0);
    }
}

const COPY: Option<&str> = Some("COPY public.t (a) FROM stdin;\n");

/// Two tables, a function and two large objects: 3 rows and none, 2 objects of 5 bytes.
fn whole(minor: u8) -> Vec<u8> {
    let mut writer = Writer::new(minor);
    writer.int(4);
    writer.entry(10, "FUNCTION", "f", None, false);
    writer.entry(11, "TABLE DATA", "t", COPY, true);
    writer.entry(12, "TABLE DATA", "empty", COPY, true);
    writer.entry(13, "BLOBS", "BLOBS", None, true);
    writer.table(11, &["1\tone\n", "2\ttwo\n3\t\\\\.\n", "\\.\n\n\n"]);
    writer.table(12, &["\\", ".", "\n", "\n", "\n"]);
    writer.bytes.push(3);
    writer.int(13);
    for (oid, content) in [(16_500, "abc"), (-2, "de")] {
        writer.int(oid);
        writer.text(Some(content));
        writer.int(0);
    }
    writer.int(0);
    writer.bytes
}

fn read(bytes: &[u8]) -> Result<ArchiveSummary, ArchiveError> {
    let mut reader = ArchiveReader::new();
    reader.feed(bytes)?;
    reader.finish()
}

#[test]
fn a_whole_archive_is_counted() {
    for minor in [14, 15, 16] {
        let bytes = whole(minor);
        let summary = read(&bytes).expect("a whole archive");
        assert_eq!(summary.header.archive_version, ArchiveVersion { major: 1, minor });
        assert_eq!(summary.header.database.as_deref(), Some("acme"));
        assert_eq!(summary.header.server_version, "16.4 (Debian 16.4-1)");
        assert_eq!(summary.header.created_at.map(|at| at.to_string()).as_deref(), Some("2026-06-04 03:02:01"));
        let tables: Vec<_> = summary.tables.iter().map(|t| (t.schema.as_str(), t.table.as_str(), t.rows, t.bytes)).collect();
        assert_eq!(tables, [("public", "t", 3, 23), ("public", "empty", 0, 5)]);
        assert_eq!((summary.rows, summary.entries), (3, 4));
        assert_eq!(summary.large_objects.map(|l| (l.count, l.bytes)), Some((2, 5)));
        assert_eq!(summary.content_bytes, bytes.len() as u64);
    }
}

#[test]
fn pieces_of_any_size_make_the_same_archive() {
    let bytes = whole(16);
    let expected = read(&bytes);
    for size in 1..bytes.len() {
        let mut reader = ArchiveReader::new();
        for piece in bytes.chunks(size) {
            reader.feed(piece).expect("a whole archive");
        }
        assert_eq!(reader.finish(), expected, "pieces of {size}");
    }
}

#[test]
fn every_cut_is_noticed() {
    for minor in [14, 16] {
        let bytes = whole(minor);
        for length in 0..bytes.len() {
            let error = read(&bytes[..length]).expect_err("a cut archive");
            assert!(matches!(error, ArchiveError::Cut { .. } | ArchiveError::MissingBlocks { .. }), "{length}: {error:?}");
        }
    }
}

#[test]
fn a_cut_between_blocks_says_what_is_missing() {
    let bytes = whole(15);
    let second = bytes.windows(6).position(|w| w == [1, 0, 12, 0, 0, 0]).expect("the second block");
    let error = read(&bytes[..second]).expect_err("a cut archive");
    assert_eq!(error.to_string(), "it ends before the data of TABLE DATA public.empty, 2 of 3 blocks are missing: it was cut");
}

/// Into a file that was opened by the shell (`>`), pg_dump 18 writes its table of contents a second time behind the data.
#[test]
fn trailing_bytes_are_noticed() {
    let length = whole(15).len() as u64;
    assert_eq!(
        read(&[&whole(15), &b"\0"[..]].concat()),
        Err(ArchiveError::Damaged { at: length, what: "0 is not a kind of block".into() })
    );
    for extra in [&b"\0"[..], b"\x01\0\x0b\0\0\0", b"PGDMP"] {
        let error = read(&[&whole(15), extra].concat()).expect_err("an archive with more behind it");
        assert!(matches!(error, ArchiveError::Damaged { .. } | ArchiveError::UnexpectedBlock { .. }), "{error:?}");
    }
}

/// One table with this data.
fn table_of(copy: Option<&str>, desc: &str, pieces: &[&str]) -> Vec<u8> {
    let mut writer = Writer::new(15);
    writer.int(1);
    writer.entry(11, desc, "t", copy, true);
    writer.table(11, pieces);
    writer.bytes
}

#[test]
fn data_without_its_terminator_is_refused() {
    let refused: [&[&str]; 7] = [&[], &["1\n"], &["1\n\\.\n\n"], &["1\n\n\n\n"], &["1\\.\n\n\n"], &["\\.\n\n\n", "1\n"], &["x\n\n\n"]];
    for pieces in refused {
        let error = read(&table_of(COPY, "TABLE DATA", pieces));
        assert_eq!(error, Err(ArchiveError::Unterminated("TABLE DATA public.t".to_owned())), "{pieces:?}");
    }
    // Zero columns: rows are empty lines.
    assert_eq!(read(&table_of(COPY, "TABLE DATA", &["\n\n", "\\.\n\n\n"])).map(|s| s.rows), Ok(2));
}

#[test]
fn what_cannot_be_counted_is_refused() {
    assert!(matches!(read(&table_of(None, "TABLE DATA", &["INSERT INTO t VALUES (1);\n"])), Err(ArchiveError::NotCopy(_))));
    assert!(matches!(read(&table_of(COPY, "NEW KIND", &["\\.\n\n\n"])), Err(ArchiveError::UnknownData(_))));
}

#[test]
fn blocks_in_another_order_are_refused() {
    let mut writer = Writer::new(14);
    writer.int(2);
    writer.entry(11, "TABLE DATA", "t", COPY, true);
    writer.entry(12, "TABLE DATA", "u", COPY, true);
    writer.table(12, &["\\.\n\n\n"]);
    writer.table(11, &["\\.\n\n\n"]);
    let error = read(&writer.bytes).expect_err("blocks in another order");
    assert!(matches!(&error, ArchiveError::UnexpectedBlock { found: 12, .. }), "{error:?}");
    assert!(error.to_string().ends_with("a block of dump id 12 stands where that of TABLE DATA public.t (dump id 11) belongs"));
}

#[test]
fn other_files_are_named_at_once() {
    let header = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole(16);
        change(&mut bytes);
        read(&bytes).expect_err("not this format")
    };
    assert_eq!(read(b"-- PostgreSQL database dump"), Err(ArchiveError::NotAnArchive));
    let version = header(&|b| b[6] = 17);
    assert_eq!(version, ArchiveError::UnknownVersion(ArchiveVersion { major: 1, minor: 17 }));
    assert_eq!(header(&|b| b[6] = 13), ArchiveError::UnknownVersion(ArchiveVersion { major: 1, minor: 13 }));
    assert_eq!(header(&|b| b[8] = 8), ArchiveError::OddSizes { int_bytes: 8, offset_bytes: 8 });
    assert_eq!(header(&|b| b[10] = 3), ArchiveError::OtherFormat("tar"));
    assert_eq!(header(&|b| b[11] = 3), ArchiveError::Compressed("zstd".to_owned()));
}

#[test]
fn a_failed_reader_stays_failed() {
    let mut reader = ArchiveReader::new();
    reader.feed(b"x").expect_err("not an archive");
    assert_eq!(reader.feed(&whole(15)), Err(ArchiveError::AlreadyFailed));
    assert_eq!(reader.finish(), Err(ArchiveError::AlreadyFailed));
}

#[test]
fn claims_reserve_no_memory_and_limits_hold() {
    let mut huge = Writer::new(15);
    huge.int(i32::MAX);
    assert!(matches!(read(&huge.bytes), Err(ArchiveError::TooLarge(_))));
    let mut text = Writer::new(15);
    text.int(1);
    text.int(1);
    text.int(0);
    text.int(i32::MAX);
    assert!(matches!(read(&text.bytes), Err(ArchiveError::TooLarge(_))));
    let small = Limits { kept_bytes: 100, ..Limits::default() };
    let mut reader = ArchiveReader::with_limits((), small);
    assert!(matches!(reader.feed(&whole(15)), Err(ArchiveError::TooLarge(_))));
    let small = Limits { dependencies: 0, ..Limits::default() };
    assert!(matches!(ArchiveReader::with_limits((), small).feed(&whole(15)), Err(ArchiveError::TooLarge(_))));
}

#[derive(Default)]
struct Seen {
    entries: Vec<String>,
    rows: Vec<u8>,
    objects: Vec<(u32, Vec<u8>)>,
    ended: Vec<(i64, u64)>,
}

impl ArchiveVisitor for Seen {
    fn entry(&mut self, entry: &TocEntry) {
        self.entries.push(format!("{entry} {:?} {:?}", entry.definition, entry.dependencies));
    }

    fn rows(&mut self, _entry: &TocEntry, piece: &[u8]) {
        self.rows.extend_from_slice(piece);
    }

    fn large_object(&mut self, _entry: &TocEntry, oid: u32) {
        self.objects.push((oid, Vec::new()));
    }

    fn large_object_data(&mut self, _entry: &TocEntry, oid: u32, piece: &[u8]) {
        let (last, content) = self.objects.last_mut().expect("an object");
        assert!(*last == oid && !piece.is_empty());
        content.extend_from_slice(piece);
    }

    fn end(&mut self, entry: &TocEntry, rows: u64) {
        self.ended.push((entry.dump_id, rows));
    }
}

#[test]
fn a_visitor_sees_all_of_it() {
    for size in [1, 7, 10_000] {
        let mut reader = ArchiveReader::with_visitor(Seen::default());
        whole(16).chunks(size).for_each(|piece| reader.feed(piece).expect("a whole archive"));
        let (_, seen) = reader.finish_with_visitor().expect("a whole archive");
        assert_eq!(seen.entries[0], "FUNCTION public.f Some(\"a definition\") [7]");
        assert_eq!(seen.entries.len(), 4);
        assert_eq!(seen.rows, b"1\tone\n2\ttwo\n3\t\\\\.\n\\.\n\n\n\\.\n\n\n");
        assert_eq!(seen.objects, [(16_500, b"abc".to_vec()), (4_294_967_294, b"de".to_vec())]);
        assert_eq!(seen.ended, [(11, 3), (12, 0), (13, 0)]);
    }
}

proptest! {
    #[test]
    fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), whole_header in any::<bool>(), minor in 14u8..17) {
        let mut input = if whole_header { Writer::new(minor).bytes } else { b"PGDMP".to_vec() };
        input.extend(bytes);
        prop_assert!(read(&input).is_err() || input.len() > 80);
    }

    /// A flipped bit in the data may pass; whatever happens, the counts stay those of what was read.
    #[test]
    fn flipped_bits_never_make_it_panic(minor in 14u8..17, flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4), size in 1usize..50) {
        let mut bytes = whole(minor);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let mut reader = ArchiveReader::new();
        let fed = bytes.chunks(size).try_for_each(|piece| reader.feed(piece));
        let summary = fed.and_then(|()| reader.finish());
        prop_assert_eq!(&summary, &read(&bytes).map_err(|e| if summary == Err(e.clone()) { e } else { ArchiveError::AlreadyFailed }));
        if let Ok(summary) = summary {
            prop_assert_eq!(summary.content_bytes, bytes.len() as u64);
            prop_assert_eq!(summary.tables.len(), 2);
        }
    }

    /// Bits that hold the structure together: each flip in a block's frame is an error.
    #[test]
    fn a_flipped_bit_in_the_frame_of_a_block_is_an_error(bit in 0usize..48) {
        let mut bytes = whole(15);
        let at = bytes.windows(6).position(|w| w == [1, 0, 12, 0, 0, 0]).expect("the second block");
        bytes[at + bit / 8] ^= 1 << (bit % 8);
        prop_assert!(read(&bytes).is_err());
    }
}
