//! The archive reader against what real pg_dumps write.

use std::process::Stdio;

use plana_pg::archive::{ArchiveError, ArchiveReader, ArchiveSummary, ArchiveVersion};
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
