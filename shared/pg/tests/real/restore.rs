//! Restores that succeed.

use std::{fs::File, time::Duration};

use plana_pg::{
    restore::{ArchiveSource, RestoreOptions, RestoreStep, Section},
    scratch::scratch_name,
};
use plana_testkit::pg::{PASSWORD, PgCluster, PgMajor, quote_identifier};

use crate::support::{NASTY_NAMES, WEAK_PASSWORD, archive, feed, restore, settings, start_with, superuser, utf8, weak_admin, weak_role};

/// A bit of everything that an archive holds.
const FILL: &str = "
    CREATE TABLE t (id serial PRIMARY KEY, note text);
    INSERT INTO t (note) SELECT 'note ' || n || E' \\t\\n\\\\.' FROM generate_series(1, 500) n;
    CREATE SCHEMA \"odd \"\"schema\";
    CREATE TABLE \"odd \"\"schema\".\"emoji 🦀; DROP\" (t_id int REFERENCES t, data bytea);
    INSERT INTO \"odd \"\"schema\".\"emoji 🦀; DROP\" SELECT n, decode(md5(n::text), 'hex') FROM generate_series(1, 100) n;
    CREATE INDEX ON t (note);
    CREATE VIEW v AS SELECT count(*) FROM t;
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fired'; END $$;
    CREATE TRIGGER on_t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
    SELECT lo_from_bytea(4711, 'content');";

/// Everything in it, as one text.
const CONTENT: &str = "
    SELECT (SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t), (SELECT md5(string_agg(o::text, ',' ORDER BY t_id)) FROM \"odd \"\"schema\".\"emoji 🦀; DROP\" o),
           (SELECT v FROM v), nextval('t_id_seq') > 500, lo_get(4711), (SELECT string_agg(indexdef, ',' ORDER BY indexdef) FROM pg_indexes WHERE schemaname = 'public'),
           (SELECT count(*) FROM pg_constraint WHERE contype IN ('p', 'f') AND conrelid >= 16384), (SELECT count(*) FROM pg_trigger WHERE tgname = 'on_t')";

fn filled(cluster: &PgCluster) -> String {
    let name = cluster.fresh_database("source").expect("a database");
    cluster.psql(&name, FILL).expect("its content");
    name
}

fn content(cluster: &PgCluster, database: &str) -> String {
    cluster.psql(database, CONTENT).expect(database)
}

#[tokio::test]
async fn an_archive_is_restored_from_a_stream_and_from_a_file_on_every_major() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let source = filled(cluster);
        let archive = archive(cluster, &source).await;
        for jobs in [1, 2] {
            let target = cluster.fresh_database("target").expect("a database");
            let options = RestoreOptions { jobs, nice: 5, ..RestoreOptions::default() };
            let finished = restore(cluster, &superuser(cluster, &target), archive.path(), &options).await;
            assert_eq!(finished.expect("status 0").warnings, Vec::<String>::new());
            assert_eq!(content(cluster, &target), content(cluster, &source), "PostgreSQL {major}, {jobs} jobs");
        }
    }
}

#[tokio::test]
async fn the_steps_of_several_jobs_are_told_and_no_warnings() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let source = filled(cluster);
        cluster
            .psql(&source, "CREATE TABLE \"two\nlines\" (id int); CREATE INDEX \"pg_restore: warning: no\" ON \"two\nlines\" (id)")
            .expect("names");
        let archive = archive(cluster, &source).await;
        let target = cluster.fresh_database("target").expect("a database");
        let options = RestoreOptions { jobs: 2, ..RestoreOptions::default() };
        let mut child = start_with(cluster, &superuser(cluster, &target), ArchiveSource::File(archive.path()), &options).await;
        let mut steps = child.take_steps().expect("its steps");
        let (mut launched, mut finished) = (Vec::new(), Vec::new());
        while let Some(message) = steps.recv().await {
            match RestoreStep::parse(&message) {
                Some(RestoreStep::Launched(entry)) => launched.push(entry),
                Some(RestoreStep::Finished(entry)) => finished.push(entry),
                None => {}
            }
        }
        assert_eq!(child.wait().await.expect("status 0").warnings, Vec::<String>::new(), "PostgreSQL {major}");
        launched.sort_unstable();
        finished.sort_unstable();
        assert_eq!(launched, finished, "PostgreSQL {major}");
        // Rows of three tables, large objects, a sequence, the key, two indexes, the foreign key and the trigger.
        assert!(launched.len() >= 10, "PostgreSQL {major}: {launched:?}");
    }
}

#[tokio::test]
async fn a_file_with_one_job_and_an_odd_name_is_a_file() {
    let cluster = PgCluster::shared(PgMajor::V18);
    let archive = archive(cluster, &filled(cluster)).await;
    let directory = tempfile::tempdir().expect("a directory");
    let odd = directory.path().join("--dbname=postgres 'x'");
    std::fs::copy(archive.path(), &odd).expect("a copy");
    let target = cluster.fresh_database("target").expect("a database");
    let mut child = start_with(
        cluster,
        &superuser(cluster, &target),
        ArchiveSource::File(&odd),
        &RestoreOptions { jobs: 0, ..RestoreOptions::default() },
    )
    .await;
    assert!(child.take_stdin().is_none() && child.take_stdout().is_none());
    child.wait().await.expect("status 0");
    assert_eq!(cluster.psql(&target, "SELECT count(*) FROM t").expect("a count"), "500");
}

#[tokio::test]
async fn nasty_names_are_restored_into_and_nothing_else_is() {
    let cluster = PgCluster::start(PgMajor::V16).expect("a server");
    let source = cluster.fresh_database("source").expect("a database");
    cluster.psql(&source, "CREATE TABLE t AS SELECT generate_series(1, 10) AS id").expect("a table");
    let archive = archive(&cluster, &source).await;
    for name in NASTY_NAMES {
        cluster.psql("postgres", &format!("CREATE DATABASE {}", quote_identifier(name))).expect("a database");
        for (jobs, dsn) in [(1, cluster.dsn("postgres")), (2, cluster.keyword_dsn("postgres"))] {
            let settings = settings(&format!("{dsn}{}", if jobs == 2 { " keepalives_idle=30" } else { "" })).with_database(name);
            restore(&cluster, &settings, archive.path(), &RestoreOptions { jobs, ..RestoreOptions::default() }).await.expect(name);
            assert_eq!(cluster.psql(name, "SELECT count(*) FROM t; DROP TABLE t").expect(name), "10");
        }
    }
}

#[tokio::test]
async fn tables_and_sections_are_restored_alone() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let source = filled(cluster);
        cluster.psql(&source, "CREATE TABLE \"odd \"\"schema\".t (id int)").expect("another table of the name");
        let archive = archive(cluster, &source).await;
        let target = cluster.fresh_database("target").expect("a database");
        let tables =
            |schema: &str, table: &str| RestoreOptions { tables: vec![(schema.into(), table.into())], ..RestoreOptions::default() };
        let into = superuser(cluster, &target);
        cluster.psql(&target, "CREATE SCHEMA \"odd \"\"schema\"").expect("its schema");
        restore(cluster, &into, archive.path(), &tables("odd \"schema", "emoji 🦀; DROP")).await.expect("status 0");
        let list = "SELECT string_agg(relname || ' ' || reltuples, ',') FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'v', 'S')";
        assert_eq!(cluster.psql(&target, list).expect("a list"), "emoji 🦀; DROP -1", "PostgreSQL {major}");
        let counted = "SELECT count(*) FROM \"odd \"\"schema\".\"emoji 🦀; DROP\"";
        assert_eq!(cluster.psql(&target, counted).expect("a count"), "100");
        // Section by section, which is one restore in three.
        let target = cluster.fresh_database("target").expect("a database");
        for (section, tables) in [(Section::PreData, "0"), (Section::Data, "500"), (Section::PostData, "500")] {
            let options = RestoreOptions { sections: vec![section], ..RestoreOptions::default() };
            restore(cluster, &superuser(cluster, &target), archive.path(), &options).await.expect("status 0");
            assert_eq!(cluster.psql(&target, "SELECT count(*) FROM t").expect("a count"), tables, "PostgreSQL {major}");
        }
        assert_eq!(content(cluster, &target), content(cluster, &source));
    }
}

#[tokio::test]
async fn owners_and_grants_are_restored_or_left_aside() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let source = filled(cluster);
        let tenant = weak_role(cluster, "tenant");
        cluster.psql(&source, &format!("ALTER TABLE t OWNER TO {tenant}; GRANT SELECT ON t TO PUBLIC")).expect("an owner");
        let archive = archive(cluster, &source).await;
        let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 't'";
        let granted = "SELECT relacl IS NOT NULL FROM pg_class WHERE relname = 't' AND relkind = 'r'";
        let plain = RestoreOptions::default();
        let bare = RestoreOptions { no_owner: true, no_privileges: true, ..RestoreOptions::default() };
        let as_role = RestoreOptions { no_owner: true, role: Some(tenant.clone()), ..RestoreOptions::default() };
        for (options, expected) in [(plain, (tenant.as_str(), "t")), (bare, ("postgres", "f")), (as_role, (tenant.as_str(), "t"))] {
            let target = cluster.fresh_database("target").expect("a database");
            let give = format!("ALTER DATABASE {} OWNER TO {tenant}", quote_identifier(&target));
            cluster.psql("postgres", &give).expect("an owner");
            restore(cluster, &superuser(cluster, &target), archive.path(), &options).await.expect("status 0");
            let ask = |query| cluster.psql(&target, query).expect("an answer");
            assert_eq!((ask(owner).as_str(), ask(granted).as_str()), expected, "PostgreSQL {major}, {options:?}");
        }
    }
}

#[tokio::test]
async fn limits_for_applications_do_not_end_a_restore() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let archive = archive(cluster, &filled(cluster)).await;
        let target = cluster.fresh_database("strict").expect("a database");
        let mut limits = vec![
            "default_transaction_read_only = on",
            "statement_timeout = '150ms'",
            "idle_in_transaction_session_timeout = '150ms'",
            "idle_session_timeout = '150ms'",
            "lock_timeout = '150ms'",
        ];
        if major == PgMajor::V18 {
            limits.push("transaction_timeout = '150ms'");
        }
        let sql: String = limits.iter().map(|limit| format!("ALTER DATABASE {} SET {limit};", quote_identifier(&target))).collect();
        cluster.psql("postgres", &sql).expect("limits");
        let options = RestoreOptions { session: vec![("plana.mark".to_owned(), "a b".to_owned())], ..RestoreOptions::default() };
        let mut child = start_with(cluster, &superuser(cluster, &target), ArchiveSource::Stream, &options).await;
        let variables = std::fs::read(format!("/proc/{}/environ", child.pid())).expect("its variables");
        assert!(String::from_utf8_lossy(&variables).contains(r"-c plana.mark=a\ b"));
        // A writer that stands still within a table's rows: its COPY lasts longer than any limit.
        let bytes = std::fs::read(archive.path()).expect("the archive");
        let (head, tail) = bytes.split_at(bytes.len() - 3000);
        let (head, tail) = (head.to_vec(), tail.to_vec());
        let stalled = std::io::Read::chain(std::io::Cursor::new(head), Stall(Some(tail)));
        feed(&mut child, stalled).await.expect("the whole archive");
        child.wait().await.unwrap_or_else(|error| panic!("PostgreSQL {major}: {error}"));
    }
}

/// A pause, and then the rest.
struct Stall(Option<Vec<u8>>);

impl std::io::Read for Stall {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(rest) = self.0.take() else { return Ok(0) };
        std::thread::sleep(Duration::from_millis(600));
        assert!(rest.len() <= buffer.len(), "one piece");
        buffer[..rest.len()].copy_from_slice(&rest);
        Ok(rest.len())
    }
}

#[tokio::test]
async fn the_password_is_in_no_argument_and_no_variable_of_the_child() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let archive = archive(cluster, &filled(cluster)).await;
    let target = cluster.fresh_database("it's a=b").expect("a database");
    let mut child = start_with(cluster, &superuser(cluster, &target), ArchiveSource::Stream, &RestoreOptions::default()).await;
    let stdin = child.take_stdin().expect("its input");
    let seen = |file: &str| String::from_utf8_lossy(&std::fs::read(format!("/proc/{}/{file}", child.pid())).expect(file)).into_owned();
    let (arguments, variables) = (seen("cmdline"), seen("environ"));
    assert!(arguments.contains(r"--dbname=dbname='it\'s a=b") && arguments.contains("--no-password"), "{arguments}");
    assert!(variables.contains("PGPASSFILE=/proc/self/fd/") && !variables.contains("PGPASSWORD"), "{variables}");
    assert!(!arguments.contains(PASSWORD) && !variables.contains(PASSWORD));
    let mut archive = File::open(archive.path()).expect("the archive");
    let mut stdin = stdin;
    tokio::task::spawn_blocking(move || std::io::copy(&mut archive, &mut stdin)).await.expect("a writer").expect("the archive");
    child.wait().await.expect("status 0");
    assert_eq!(cluster.psql(&target, "SELECT count(*) FROM t").expect("a count"), "500");
}

/// Whoever writes must not take that for a failure.
#[tokio::test]
async fn a_restore_of_one_table_succeeds_though_it_reads_no_further() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let source = cluster.fresh_database("source").expect("a database");
        let tables = "CREATE TABLE a AS SELECT 1 AS id; CREATE TABLE b AS SELECT n, repeat(md5(n::text), 40) AS note FROM generate_series(1, 20000) n";
        cluster.psql(&source, tables).expect("tables");
        let archive = archive(cluster, &source).await;
        let target = cluster.fresh_database("target").expect("a database");
        let options = RestoreOptions { tables: vec![("public".into(), "a".into())], ..RestoreOptions::default() };
        let mut child = start_with(cluster, &superuser(cluster, &target), ArchiveSource::Stream, &options).await;
        let written = feed(&mut child, File::open(archive.path()).expect("the archive")).await;
        assert!(written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe), "PostgreSQL {major}");
        child.wait().await.expect("status 0");
        assert_eq!(cluster.psql(&target, "SELECT count(*) FROM a").expect("a count"), "1");
    }
}

/// The way of a job: with CREATEDB alone, from a new database to one that has replaced another.
#[tokio::test]
async fn a_role_that_may_only_make_databases_does_all_of_it() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let source = filled(cluster);
        let archive = archive(cluster, &source).await;
        let role = weak_role(cluster, "restorer");
        let weak = weak_admin(cluster, &role).await;
        let fresh = scratch_name("least_", 1);
        let into = settings(&cluster.dsn_as(&role, WEAK_PASSWORD, &fresh));
        let name = format!("{source} restored");
        for jobs in [1, 2] {
            weak.create_database(&fresh, &utf8(None)).await.expect("a database");
            let options = RestoreOptions { jobs, no_owner: true, no_privileges: true, ..RestoreOptions::default() };
            restore(cluster, &into, archive.path(), &options).await.expect("status 0");
            assert_eq!(weak.large_objects(&fresh).await.expect("a count"), 1);
            weak.analyze(&fresh).await.expect("statistics");
            weak.reopen(&fresh).await.expect("open");
            if jobs == 1 {
                weak.rename(&fresh, &name, None).await.expect("a name");
            } else {
                weak.swap(&name, &format!("{name} kept"), &fresh, None).await.expect("its place");
            }
            assert_eq!(content(cluster, &name), content(cluster, &source), "PostgreSQL {major}");
        }
        weak.create_database(&fresh, &utf8(None)).await.expect("a database");
        weak.drop_database(&fresh, "least_").await.expect("a drop");
        assert!(!weak.server().database_exists(&fresh).await.expect("an answer"));
    }
}
