//! The archive reader against what real pg_dumps write.

use std::process::Stdio;

use plana_pg::archive::{ArchiveError, ArchiveReader, ArchiveSummary, ArchiveVersion, ArchiveVisitor, Repacker, TocEntry};
use plana_testkit::pg::{PgCluster, PgMajor, quote_identifier};

/// Every kind of table that has, or has not, rows in a dump.
const KINDS: &str = r#"
CREATE SCHEMA "odd ""schema""";
CREATE TABLE plain (id serial PRIMARY KEY, note text);
INSERT INTO plain (note) SELECT 'row ' || n FROM generate_series(1, 1000) n;
CREATE TABLE escapes (note text);
INSERT INTO escapes VALUES (E'two\nlines'), ('\.'), (E'\\.\n\n\n'), (''), (NULL), (E'\t\b\r\n'), (E'\n'), ('\N');
CREATE TABLE one_text (note text);
INSERT INTO one_text SELECT '\.' FROM generate_series(1, 3);
CREATE TABLE bytes (content bytea);
INSERT INTO bytes SELECT decode(repeat('0a5c2e0a', 5000), 'hex') FROM generate_series(1, 20);
CREATE TABLE empty (id int);
CREATE TABLE no_columns ();
INSERT INTO no_columns SELECT FROM generate_series(1, 7);
CREATE TABLE generated_only (g int GENERATED ALWAYS AS (1 + 1) STORED);
INSERT INTO generated_only SELECT FROM generate_series(1, 5);
CREATE TABLE parted (at date, note text) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
INSERT INTO parted SELECT date '2026-01-01' + n, 'x' FROM generate_series(0, 99) n;
CREATE TABLE parent (id int);
CREATE TABLE child (extra text) INHERITS (parent);
INSERT INTO parent SELECT generate_series(1, 11);
INSERT INTO child SELECT n, 'c' FROM generate_series(1, 13) n;
CREATE UNLOGGED TABLE unlogged (id int);
INSERT INTO unlogged SELECT generate_series(1, 17);
CREATE TABLE "odd ""schema"""."Tab
le" (id int);
INSERT INTO "odd ""schema"""."Tab
le" VALUES (1), (2);
CREATE MATERIALIZED VIEW seen AS SELECT * FROM plain;
CREATE VIEW looked AS SELECT * FROM plain;
CREATE SEQUENCE lonely;
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE wide AS SELECT repeat(md5(n::text), 3000) AS note FROM generate_series(1, 30) n;
"#;

fn dump(cluster: &PgCluster, database: &str, arguments: &[&str]) -> Vec<u8> {
    let mut command = cluster.command("pg_dump");
    command.args(["-Fc", "-Z0"]).args(arguments).env("PGDATABASE", database).stderr(Stdio::inherit());
    let done = command.output().expect("pg_dump");
    assert!(done.status.success(), "{}", done.status);
    done.stdout
}

fn read(bytes: &[u8]) -> Result<ArchiveSummary, ArchiveError> {
    let mut reader = ArchiveReader::new();
    bytes.chunks(65_536).try_for_each(|piece| reader.feed(piece))?;
    reader.finish()
}

fn version_of(major: PgMajor) -> ArchiveVersion {
    match major {
        PgMajor::V15 => ArchiveVersion::V1_14,
        PgMajor::V16 => ArchiveVersion::V1_15,
        PgMajor::V18 => ArchiveVersion::V1_16,
    }
}

#[test]
fn rows_equal_those_in_each_table() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let database = cluster.fresh_database("kinds").expect("a database");
        cluster.psql(&database, KINDS).expect("tables of every kind");
        let summary = read(&dump(cluster, &database, &[])).expect("a whole archive");
        assert_eq!(summary.header.archive_version, version_of(major));
        assert_eq!(summary.header.database.as_ref(), Some(&database));
        assert_eq!(summary.header.server_version.split('.').next(), Some(major.number().to_string().as_str()));
        for table in &summary.tables {
            let name = format!("{}.{}", quote_identifier(&table.schema), quote_identifier(&table.table));
            let counted = cluster.psql(&database, &format!("SELECT count(*) FROM ONLY {name}")).expect("a count");
            assert_eq!(table.rows.to_string(), counted, "PostgreSQL {major}: {name}");
        }
        let with_rows = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                         WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'";
        assert_eq!(summary.tables.len().to_string(), cluster.psql(&database, with_rows).expect("a count"), "PostgreSQL {major}");
        assert_eq!(summary.rows, 1000 + 8 + 3 + 20 + 7 + 5 + 100 + 11 + 13 + 17 + 2 + 30, "PostgreSQL {major}");
        assert_eq!(summary.large_objects, None);
    }
}

#[test]
fn large_objects_are_counted() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let database = cluster.fresh_database("objects").expect("a database");
        // More than 1000, and of two owners and grants: PostgreSQL 17 and later make several blocks of them.
        let fill = "SELECT lo_from_bytea(0, decode(repeat('00', n), 'hex')) FROM generate_series(0, 2100) n;
                    DO $$ BEGIN EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO PUBLIC', (SELECT min(oid) FROM pg_largeobject_metadata)); END $$;
                    SELECT lo_from_bytea(4294967294, 'last');";
        cluster.psql(&database, fill).expect("large objects");
        let summary = read(&dump(cluster, &database, &[])).expect("a whole archive");
        let found = summary.large_objects.map(|l| (l.count, l.bytes));
        assert_eq!(found, Some((2102, 2100 * 2101 / 2 + 4)), "PostgreSQL {major}");
    }
}

#[test]
fn an_empty_database_is_a_whole_archive() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let database = cluster.fresh_database("empty").expect("a database");
        let summary = read(&dump(cluster, &database, &[])).expect("a whole archive");
        assert_eq!((summary.rows, summary.tables.len(), summary.large_objects), (0, 0, None));
    }
}

#[test]
fn every_cut_of_a_real_dump_is_noticed() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let database = cluster.fresh_database("cut").expect("a database");
        let fill = "CREATE TABLE a (x int); INSERT INTO a VALUES (1), (2); CREATE TABLE b (y text); INSERT INTO b VALUES ('\\.');
                    CREATE TABLE c (); SELECT lo_from_bytea(0, 'some'); SELECT lo_from_bytea(0, 'more');";
        cluster.psql(&database, fill).expect("tables");
        let bytes = dump(cluster, &database, &[]);
        let whole = read(&bytes).expect("a whole archive");
        assert_eq!((whole.rows, whole.large_objects.map(|l| l.count)), (3, Some(2)));
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "PostgreSQL {major}: cut to {length} of {}", bytes.len());
        }
    }
}

#[test]
fn a_seekable_archive_reads_the_same() {
    // Into a file pg_dump fills in where each block begins; through a pipe it cannot.
    let cluster = PgCluster::shared(PgMajor::V16);
    let database = cluster.fresh_database("seekable").expect("a database");
    cluster.psql(&database, KINDS).expect("tables of every kind");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("dump");
    dump(cluster, &database, &["-f", file.to_str().expect("a path")]);
    let from_file = read(&std::fs::read(file).expect("the file")).expect("a whole archive");
    assert_eq!(from_file.tables, read(&dump(cluster, &database, &[])).expect("a whole archive").tables);
}

/// The dump ids of the entries with data.
#[derive(Default)]
struct Promised(Vec<i64>);

impl ArchiveVisitor for Promised {
    fn entry(&mut self, entry: &TocEntry) {
        self.0.extend(entry.has_data.then_some(entry.dump_id));
    }
}

/// Where something stands in an archive, and what.
type Note = (u64, Vec<u8>);

/// The archive in larger pieces, from pieces of this size; with the places of its data, and the dump ids in the same order.
fn repacked(bytes: &[u8], size: usize) -> (Vec<u8>, Vec<Note>, Vec<i64>) {
    let mut reader = ArchiveReader::with_visitor((Promised::default(), Repacker::default()));
    let mut out = Vec::new();
    for piece in bytes.chunks(size) {
        reader.feed(piece).expect("a good archive");
        let add = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            Ok::<_, std::convert::Infallible>(())
        };
        reader.visitor_mut().1.take(add).expect("nothing fails");
    }
    let (_, (promised, repacker)) = reader.finish_with_visitor().expect("a whole archive");
    (out, repacker.notes().collect(), promised.0)
}

/// What pg_restore makes of an archive, without what differs from call to call.
fn script(cluster: &PgCluster, archive: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), archive).expect("the archive");
    let done = cluster.command("pg_restore").args(["-f", "-"]).arg(file.path()).stderr(Stdio::inherit()).output().expect("pg_restore");
    assert!(done.status.success(), "{}", done.status);
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    text.lines().filter(|line| !line.contains("restrict ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn an_archive_in_larger_pieces_has_the_same_content_and_says_where_it_is() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let database = cluster.fresh_database("repacked").expect("a database");
        let objects = "SELECT lo_from_bytea(0, 'some'), lo_from_bytea(0, decode(repeat('00ff', 300000), 'hex'));";
        cluster.psql(&database, &format!("{KINDS}{objects}")).expect("tables of every kind, and large objects");
        let piped = dump(cluster, &database, &[]);
        let (mut archive, notes, promised) = repacked(&piped, 262_144);
        for size in [1, 7, 65_536] {
            let other = repacked(&piped, size);
            assert_eq!(
                (read(&other.0).expect("a whole archive").tables, other.1.len()),
                (read(&archive).expect("a whole archive").tables, notes.len()),
                "pieces of {size}"
            );
        }
        let (before, after) = (read(&piped).expect("a whole archive"), read(&archive).expect("a whole archive"));
        // A row of `plain` has about ten bytes, and five more say how many.
        assert!(archive.len() < piped.len() - 5 * 900, "{} of {}", archive.len(), piped.len());
        assert_eq!((&before.tables, &before.large_objects), (&after.tables, &after.large_objects), "PostgreSQL {major}");
        assert_eq!(script(cluster, &piped), script(cluster, &archive), "PostgreSQL {major}");
        // Each place is one where nothing was said, and leads to the entry's own block.
        assert!(notes.len() == promised.len() && notes.len() > before.tables.len(), "tables and large objects: {notes:?}");
        for ((at, note), dump_id) in notes.into_iter().zip(promised) {
            let at = usize::try_from(at).expect("a position");
            let (state, offset) = note.split_first().expect("a state and an offset");
            let offset = usize::try_from(u64::from_le_bytes(offset.try_into().expect("eight bytes"))).expect("an offset");
            assert_eq!((*state, archive[at]), (2, 1), "not set before");
            assert_eq!(archive[offset + 1..offset + 6], [&[0], &i32::try_from(dump_id).expect("an id").to_le_bytes()[..]].concat()[..]);
            archive[at..at + note.len()].copy_from_slice(&note);
        }
        assert_eq!(script(cluster, &piped), script(cluster, &archive), "PostgreSQL {major}");
    }
}

#[test]
fn pg_dump_itself_notes_the_same_places_in_a_file() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let database = cluster.fresh_database("noted").expect("a database");
        // Rows that no two share a piece of: nothing is joined, and nothing moves.
        let fill = "CREATE TABLE a AS SELECT repeat('a', 40000) AS x FROM generate_series(1, 3);
                    CREATE TABLE b AS SELECT repeat('b', 40000) AS x FROM generate_series(1, 2); SELECT lo_from_bytea(0, 'some');";
        cluster.psql(&database, fill).expect("tables");
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("dump");
        dump(cluster, &database, &["-f", file.to_str().expect("a path")]);
        let (mut archive, notes, _) = repacked(&dump(cluster, &database, &[]), 1 << 20);
        for (at, note) in notes {
            let at = usize::try_from(at).expect("a position");
            archive[at..at + note.len()].copy_from_slice(&note);
        }
        // The time of the dump stands in the first bytes.
        let file = std::fs::read(file).expect("the file");
        assert!(archive.len() == file.len() && archive[64..] == file[64..], "PostgreSQL {major}");
    }
}

#[test]
fn what_other_options_make_is_refused_by_name() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let database = cluster.fresh_database("options").expect("a database");
    cluster.psql(&database, "CREATE TABLE a (x int); INSERT INTO a VALUES (1)").expect("a table");
    assert!(matches!(read(&dump(cluster, &database, &["--inserts"])), Err(ArchiveError::NotCopy(_))));
    assert!(matches!(read(&dump(cluster, &database, &["-Z1"])), Err(ArchiveError::Compressed(_))));
    assert_eq!(read(&dump(cluster, &database, &["-Fp"])), Err(ArchiveError::NotAnArchive));
    assert_eq!(read(&dump(cluster, &database, &["-Ft"])), Err(ArchiveError::NotAnArchive));
}
