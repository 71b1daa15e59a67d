//! Contents made here, so that each difference can be made alone. Real ones are in `tests/real/identity.rs`.

use plana_plan::manifest::{DatabaseFacts, LocaleFacts};
use proptest::prelude::*;

use super::*;
use crate::archive::{ArchiveHeader, ArchiveVersion};

fn facts() -> DatabaseFacts {
    DatabaseFacts {
        server_version: "16.4".to_owned(),
        pg_dump_version: "16.4".to_owned(),
        archive_version: "1.15".to_owned(),
        owner: "plana".to_owned(),
        encoding: "UTF8".to_owned(),
        collate: "C.UTF-8".to_owned(),
        ctype: "C.UTF-8".to_owned(),
        locale: None,
        size_bytes: 7,
        settings: [(String::new(), vec!["work_mem=5MB".to_owned(), "jit=off".to_owned()])].into(),
        grants: vec!["=Tc/plana".to_owned(), "plana=CTc/plana".to_owned(), "reader=c/plana".to_owned()],
        extensions: [("plpgsql".to_owned(), "1.0".to_owned())].into(),
        rows: 0,
        tables: Vec::new(),
        large_objects: None,
    }
}

/// An archive: its pg_dump, its entries, the rows of its tables, its large objects.
#[derive(Debug, Clone)]
struct Content {
    pg_dump: &'static str,
    entries: Vec<TocEntry>,
    rows: Vec<Vec<String>>,
    objects: Vec<(u32, Vec<u8>)>,
}

fn entry(id: i64, desc: &str, tag: &str, section: i64, definition: &str) -> TocEntry {
    TocEntry {
        dump_id: id,
        has_data: false,
        catalog_oid: Some("1259".to_owned()),
        oid: Some(format!("{}", 16384 + id)),
        tag: tag.to_owned(),
        desc: desc.to_owned(),
        section,
        definition: Some(definition.to_owned()),
        drop_statement: None,
        copy_statement: None,
        namespace: Some("public".to_owned()),
        tablespace: None,
        table_access_method: None,
        relation_kind: None,
        owner: Some("plana".to_owned()),
        dependencies: vec![id + 7],
        is_lossy: false,
    }
}

fn table(id: i64, name: &str) -> TocEntry {
    let copy_statement = Some(format!("COPY public.{name} (a, b) FROM stdin;\n"));
    TocEntry { has_data: true, copy_statement, ..entry(id, "TABLE DATA", name, 3, "") }
}

/// Objects of one group, as PostgreSQL 17 and later write them.
fn group(id: i64, oids: &[u32]) -> TocEntry {
    entry(
        id,
        "BLOB METADATA",
        &format!("{}..{}", oids[0], oids[oids.len() - 1]),
        3,
        &oids.iter().map(|oid| format!("{oid}\n")).collect::<String>(),
    )
}

fn grants_on(group: i64, tag: &str, first: u32) -> TocEntry {
    let definition = format!("GRANT SELECT ON LARGE OBJECT {first} TO a;\nGRANT ALL ON LARGE OBJECT {first} TO b;\n");
    TocEntry { dependencies: vec![group], ..entry(group + 1, "ACL", tag, 1, &definition) }
}

fn sample() -> Content {
    Content {
        pg_dump: "16.4 (Debian 16.4-1)",
        entries: vec![
            entry(1, "TABLE", "one", 2, "CREATE TABLE public.one (a int, b text);\n"),
            entry(2, "COMMENT", "TABLE one", 1, "COMMENT ON TABLE public.one IS 'x';\n"),
            entry(3, "ACL", "TABLE one", 1, "GRANT SELECT ON TABLE public.one TO r;\nGRANT INSERT ON TABLE public.one TO w;\n"),
            entry(4, "DATABASE", "basic", 2, "CREATE DATABASE basic;\n"),
            table(5, "one"),
            table(6, "two"),
            entry(7, "SEQUENCE SET", "one_id_seq", 3, "SELECT pg_catalog.setval('public.one_id_seq', 7, true);\n"),
            entry(8, "INDEX", "one_b", 4, "CREATE INDEX one_b ON public.one USING btree (b);\n"),
        ],
        rows: vec![vec!["1\tx".to_owned(), "1\tx".to_owned(), String::new()], vec!["2\t\\N".to_owned()]],
        objects: vec![(16_500, b"abc".to_vec()), (16_501, Vec::new())],
    }
}

/// Reads it in pieces of that size.
fn read(content: &Content, facts: &DatabaseFacts, piece: usize) -> Result<ContentSha, IdentityError> {
    let mut identity = ContentIdentity::default();
    identity.header(&ArchiveHeader {
        archive_version: ArchiveVersion::V1_15,
        created_at: None,
        database: Some("basic".to_owned()),
        server_version: content.pg_dump.to_owned(),
        pg_dump_version: content.pg_dump.to_owned(),
        offset_bytes: 8,
    });
    content.entries.iter().for_each(|entry| identity.entry(entry));
    for (entry, rows) in content.entries.iter().filter(|entry| entry.has_data).zip(&content.rows) {
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect::<String>() + "\\.\n\n\n";
        text.as_bytes().chunks(piece).for_each(|piece| identity.rows(entry, piece));
        identity.end(entry, rows.len() as u64);
    }
    let blobs = entry(99, "BLOBS", "BLOBS", 3, "");
    for (oid, bytes) in &content.objects {
        identity.large_object(&blobs, *oid);
        bytes.chunks(piece).for_each(|piece| identity.large_object_data(&blobs, *oid, piece));
    }
    identity.end(&blobs, 0);
    identity.finish(facts)
}

fn sha(content: &Content) -> ContentSha {
    read(content, &facts(), 4096).expect("an identity")
}

/// What was published years ago must be found by today's code.
#[test]
fn an_identity_is_for_ever() {
    assert_eq!(sha(&sample()).to_string(), GOLDEN);
}

const GOLDEN: &str = "08408bd40104fbaf8159e946115bb899fba8095312cc66677b7aa7c07422796f";

#[test]
fn what_differs_between_two_dumps_of_one_content_does_not_count() {
    let original = sha(&sample());
    let mut other = sample();
    for entry in &mut other.entries {
        entry.dump_id += 100;
        entry.oid = Some("4711".to_owned());
        entry.catalog_oid = None;
        entry.dependencies.clear();
    }
    other.entries[..3].reverse();
    let granted = "GRANT INSERT ON TABLE public.one TO w;\nGRANT SELECT ON TABLE public.one TO r;\n";
    other.entries[0].definition = Some(granted.to_owned());
    other.entries.retain(|entry| entry.desc != "DATABASE");
    other.rows[0].reverse();
    other.objects.reverse();
    other.pg_dump = "16.9";
    assert_eq!(sha(&other), original);
    for database in ["ACL", "COMMENT", "SECURITY LABEL"] {
        let mut other = sample();
        other.entries.push(entry(50, database, "DATABASE basic", 1, "of the database"));
        assert_eq!(sha(&other), original, "{database}");
    }
}

#[test]
fn the_major_version_counts() {
    let newer = Content { pg_dump: "17.0", ..sample() };
    assert_ne!(sha(&newer), sha(&sample()));
    assert!(matches!(read(&Content { pg_dump: "devel", ..sample() }, &facts(), 9), Err(IdentityError::Version(_))));
}

type Change<'a> = &'a dyn Fn(&mut DatabaseFacts);

#[test]
fn what_only_the_manifest_holds_counts() {
    let original = sha(&sample());
    let read = |change: &dyn Fn(&mut DatabaseFacts)| {
        let mut facts = facts();
        change(&mut facts);
        super::tests::read(&sample(), &facts, 4096).expect("an identity")
    };
    let changes: [(&str, Change<'_>); 9] = [
        ("owner", &|facts| facts.owner = "other".to_owned()),
        ("encoding", &|facts| facts.encoding = "LATIN1".to_owned()),
        ("collate", &|facts| facts.collate = "C".to_owned()),
        ("locale", &|facts| facts.locale = Some(LocaleFacts { provider: "icu".to_owned(), name: None, icu_rules: None, version: None })),
        ("a setting", &|facts| facts.settings.values_mut().for_each(|values| values[0] = "work_mem=6MB".to_owned())),
        ("whose setting", &|facts| facts.settings = facts.settings.values().map(|values| ("plana".to_owned(), values.clone())).collect()),
        ("a grant", &|facts| facts.grants.push("writer=C/plana".to_owned())),
        ("an extension", &|facts| drop(facts.extensions.insert("hstore".to_owned(), "1.8".to_owned()))),
        ("an extension's version", &|facts| drop(facts.extensions.insert("plpgsql".to_owned(), "1.1".to_owned()))),
    ];
    for (what, change) in changes {
        assert_ne!(read(change), original, "{what}");
    }
    let no_changes: [(&str, Change<'_>); 4] = [
        ("size", &|facts| facts.size_bytes = 8),
        ("the server's minor version", &|facts| facts.server_version = "16.9".to_owned()),
        ("the order of settings", &|facts| facts.settings.values_mut().for_each(|values| values.reverse())),
        ("the order of grants", &|facts| facts.grants.reverse()),
    ];
    for (what, change) in no_changes {
        assert_eq!(read(change), original, "{what}");
    }
    let default = |grants: &[&str], owner: &str| {
        read(&|facts| {
            facts.owner = owner.to_owned();
            facts.grants = grants.iter().map(|grant| (*grant).to_owned()).collect();
        })
    };
    assert_eq!(default(&[], "plana"), default(&["plana=CTc/plana", "=Tc/plana"], "plana"), "defaults that were written down");
    assert_eq!(default(&[], "odd-one"), default(&["=Tc/\"odd-one\"", "\"odd-one\"=CTc/\"odd-one\""], "odd-one"));
}

#[test]
fn how_large_objects_are_grouped_does_not_count() {
    let with = |entries: Vec<TocEntry>| sha(&Content { entries, ..sample() });
    let together = with(vec![group(10, &[1, 2, 3]), grants_on(10, "LARGE OBJECTS 1..3", 1)]);
    let apart = with(vec![group(20, &[1, 3]), group(30, &[2]), grants_on(20, "LARGE OBJECTS 1..3", 1), grants_on(30, "LARGE OBJECT 2", 2)]);
    assert_eq!(together, apart);
    let fewer = with(vec![group(20, &[1, 3]), group(30, &[2]), grants_on(20, "LARGE OBJECTS 1..3", 1)]);
    assert_ne!(together, fewer, "the grants of one are missing");
    let other = with(vec![group(10, &[1, 2, 4]), grants_on(10, "LARGE OBJECTS 1..4", 1)]);
    assert_ne!(together, other);
    // Whatever else stands in such an entry is not overlooked.
    let mut more = group(10, &[1, 2, 3]);
    more.definition = more.definition.map(|oids| oids + "DROP TABLE one;\n");
    assert_ne!(with(vec![more, grants_on(10, "LARGE OBJECTS 1..3", 1)]), together);
    let mut blobs = entry(40, "BLOBS", "BLOBS", 3, "");
    let plain = with(vec![blobs.clone()]);
    assert_eq!(plain, with(vec![TocEntry { tag: "1..3".to_owned(), ..blobs.clone() }, TocEntry { tag: "4".to_owned(), ..blobs.clone() }]));
    blobs.definition = Some("DROP TABLE one;\n".to_owned());
    assert_ne!(with(vec![blobs]), plain);
}

#[test]
fn what_an_identity_does_not_stand_for_is_refused() {
    let with = |entry: TocEntry| {
        let mut content = sample();
        content.entries.push(entry);
        read(&content, &facts(), 9)
    };
    assert!(matches!(with(entry(60, "STATISTICS DATA", "one", 4, "SELECT 1")), Err(IdentityError::Statistics(_))));
    assert!(matches!(with(TocEntry { is_lossy: true, ..entry(60, "FUNCTION", "f", 4, "x") }), Err(IdentityError::NotUtf8(_))));
    // Whose grants they are is not told: those of one object alone would be another content.
    assert!(matches!(with(grants_on(10, "LARGE OBJECTS 1..3", 1)), Err(IdentityError::Order(_))));
    let mut late = Content { entries: Vec::new(), ..sample() };
    late.entries.extend((100..140).map(|id| group(id, &[id as u32, 1 + id as u32])));
    late.entries.extend([grants_on(139, "LARGE OBJECTS 139..140", 139)]);
    assert!(read(&late, &facts(), 9).is_ok());
    late.entries.extend([grants_on(100, "LARGE OBJECTS 100..101", 100)]);
    assert!(matches!(read(&late, &facts(), 9), Err(IdentityError::Order(_))));
    // A trigger before the rows would fire for each of them.
    assert!(matches!(with(entry(60, "TABLE DATA", "three", 3, "")), Err(IdentityError::Order(_))));
}

proptest! {
    #[test]
    fn neither_order_nor_pieces_count(seed in any::<prop::sample::Index>(), turn in any::<prop::sample::Index>(), piece in 1usize..40) {
        let mut content = sample();
        content.rows[0].extend((0..20).map(|n| format!("{n}\trow {}", n % 4)));
        let original = sha(&content);
        let rows = content.rows[0].len();
        content.rows[0].rotate_left(seed.index(rows));
        content.rows[0].swap(0, turn.index(rows));
        content.entries[..3].rotate_left(turn.index(3));
        content.objects.rotate_left(seed.index(2));
        prop_assert_eq!(read(&content, &facts(), piece), Ok(original));
    }

    #[test]
    fn any_byte_that_changes_changes_it(row in 0usize..2, column in any::<prop::sample::Index>(), letter in "[a-zA-Z0-9]") {
        let mut content = sample();
        let text = &mut content.rows[0][row];
        let at = column.index(text.len());
        prop_assume!(text[at..=at] != *letter);
        text.replace_range(at..=at, &letter);
        prop_assert_ne!(sha(&content), sha(&sample()));
    }

    #[test]
    fn any_text_of_an_entry_that_changes_changes_it(number in 0usize..8, field in 0usize..7, text in "[a-z]{1,8}") {
        let mut content = sample();
        let entry = &mut content.entries[number];
        prop_assume!(entry.desc != "DATABASE");
        match field {
            0 => entry.tag = text,
            1 => entry.definition = Some(text),
            2 => entry.owner = Some(text),
            3 => entry.namespace = Some(text),
            4 => entry.tablespace = Some(text),
            5 => entry.table_access_method = Some(text),
            _ => entry.drop_statement = Some(text),
        }
        prop_assert_ne!(sha(&content), sha(&sample()));
    }

    #[test]
    fn a_row_belongs_to_its_table_and_an_object_to_its_oid(oid in 1u32..9, byte in 0usize..3) {
        let original = sha(&sample());
        let mut moved = sample();
        let row = moved.rows[0].remove(0);
        moved.rows[1].push(row);
        prop_assert_ne!(sha(&moved), original);
        let mut other = sample();
        other.objects[0].0 += oid;
        prop_assert_ne!(sha(&other), original);
        let mut changed = sample();
        changed.objects[0].1[byte] ^= 0x80;
        prop_assert_ne!(sha(&changed), original);
        let mut swapped = sample();
        (swapped.objects[0].1, swapped.objects[1].1) = (Vec::new(), b"abc".to_vec());
        prop_assert_ne!(sha(&swapped), original);
    }
}
