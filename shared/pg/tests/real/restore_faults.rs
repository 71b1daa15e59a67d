//! Restores that must fail, and say so.

use plana_pg::restore::{ArchiveSource, ConnectionFailure, RestoreError, RestoreFailure, RestoreOptions, start_restore};
use plana_testkit::{
    disk::SmallDisk,
    pg::{PgCluster, PgMajor, quote_identifier},
};

use crate::support::{WEAK_PASSWORD, archive, pg_restore, restore, server, settings, start_with, superuser, weak_role};

/// More than pipes and buffers hold, so that a restore stands in the middle until it is fed.
pub const WIDE: &str = "
    CREATE TABLE wide AS SELECT n, repeat(md5(n::text), 40) AS note FROM generate_series(1, 30000) n;
    CREATE TABLE wider AS SELECT * FROM wide; CREATE INDEX ON wide (note); CREATE INDEX ON wider (note)";

pub fn made(cluster: &PgCluster, sql: &str) -> String {
    let name = cluster.fresh_database("source").expect("a database");
    cluster.psql(&name, sql).expect("its content");
    name
}

pub fn target(cluster: &PgCluster) -> String {
    cluster.fresh_database("target").expect("a database")
}

/// What a superuser's restore into a new database fails with, streamed and with two jobs alike.
async fn failure(cluster: &PgCluster, archive: &std::path::Path, options: &RestoreOptions) -> RestoreError {
    let mut errors = Vec::new();
    for jobs in [1, 2] {
        let into = superuser(cluster, &target(cluster));
        let options = RestoreOptions { jobs, ..options.clone() };
        errors.push(restore(cluster, &into, archive, &options).await.expect_err("a failure"));
    }
    assert_eq!(errors[0].failure, errors[1].failure, "{} and {}", errors[0], errors[1]);
    errors.swap_remove(0)
}

#[tokio::test]
async fn what_is_missing_on_the_server_is_named() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let role = quote_identifier(&weak_role(cluster, "gone \"role"));
        let source = made(cluster, "CREATE TABLE t (id int)");
        cluster.psql(&source, &format!("ALTER TABLE t OWNER TO {role}")).expect("an owner");
        let owned = archive(cluster, &source).await;
        cluster.psql(&source, &format!("DROP TABLE t; DROP ROLE {role}")).expect("no such role");
        let plain = RestoreOptions::default();
        let error = failure(cluster, owned.path(), &plain).await;
        assert_eq!(error.failure, RestoreFailure::MissingRole, "PostgreSQL {major}: {error}");
        assert!(error.advice.starts_with(&format!("CREATE ROLE {role}, restore the globals first")), "{error}");
        let bare = RestoreOptions { no_owner: true, ..RestoreOptions::default() };
        restore(cluster, &superuser(cluster, &target(cluster)), owned.path(), &bare).await.expect("without owners");
        let as_role = RestoreOptions { role: Some("nobody; at all".to_owned()), ..RestoreOptions::default() };
        assert_eq!(failure(cluster, owned.path(), &as_role).await.failure, RestoreFailure::MissingRole);
        let table = RestoreOptions { tables: vec![("public".into(), "T".into())], ..RestoreOptions::default() };
        let error = failure(cluster, owned.path(), &table).await;
        assert_eq!(error.failure, RestoreFailure::NotInArchive, "{error}");

        let into = superuser(cluster, "no such \"database");
        let error = restore(cluster, &into, owned.path(), &plain).await.expect_err("no database");
        assert_eq!(error.failure, RestoreFailure::Connection(ConnectionFailure::Gone), "{error}");
        let wrong = settings(&cluster.dsn_as("postgres", "hunter2", "postgres"));
        let error = restore(cluster, &wrong, owned.path(), &plain).await.expect_err("no way in");
        assert_eq!(error.failure, RestoreFailure::Connection(ConnectionFailure::Authentication), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

/// A tablespace in a directory that the server makes and owns.
fn tablespace(cluster: &PgCluster, name: &str, place: &std::path::Path) {
    let place = place.display();
    // The program takes its input to the end: one that leaves it is a failure of COPY, now and then.
    let make = format!("COPY (SELECT 1) TO PROGRAM 'cat >/dev/null && mkdir -m 700 {place}'");
    cluster.psql("postgres", &make).expect("a directory");
    cluster.psql("postgres", &format!("CREATE TABLESPACE {name} LOCATION '{place}'")).expect("a tablespace");
}

#[tokio::test]
async fn a_missing_tablespace_is_named_and_can_be_left_aside() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::start(major).expect("a server");
        let place = cluster.socket_dir().join("fast");
        tablespace(&cluster, "fast", &place);
        let source = made(&cluster, "CREATE TABLE t (id int) TABLESPACE fast");
        let archive = archive(&cluster, &source).await;
        cluster.psql("postgres", &format!("DROP DATABASE {}", quote_identifier(&source))).expect("a drop");
        cluster.psql("postgres", "DROP TABLESPACE fast").expect("no such tablespace");
        let error = failure(&cluster, archive.path(), &RestoreOptions::default()).await;
        assert_eq!(error.failure, RestoreFailure::MissingTablespace, "PostgreSQL {major}: {error}");
        let aside = RestoreOptions { extra_args: vec!["--no-tablespaces".to_owned()], ..RestoreOptions::default() };
        restore(&cluster, &superuser(&cluster, &target(&cluster)), archive.path(), &aside).await.expect("without it");
    }
}

#[tokio::test]
async fn an_extension_that_the_server_does_not_have_is_named() {
    let old = PgCluster::shared(PgMajor::V15);
    let hstore = archive(old, &made(old, "CREATE EXTENSION hstore; CREATE TABLE t (h hstore)")).await;
    for major in [PgMajor::V16, PgMajor::V18] {
        let cluster = PgCluster::shared(major);
        let error = failure(cluster, hstore.path(), &RestoreOptions::default()).await;
        assert_eq!(error.failure, RestoreFailure::MissingExtension, "PostgreSQL {major}: {error}");
        assert!(error.to_string().contains("extension \"hstore\" is not available"), "{error}");
    }
    let cluster = PgCluster::shared(PgMajor::V16);
    let vector = archive(cluster, &made(cluster, "CREATE EXTENSION vector; CREATE TABLE t (v vector(3))")).await;
    // The older server, with the newer pg_restore that can read the archive.
    let client = pg_restore(cluster).await;
    let into = superuser(old, &target(old));
    let source = ArchiveSource::File(vector.path());
    let mut child = start_restore(&client, client.version, &into, source, &RestoreOptions::default()).await.expect("a restore");
    assert_eq!(child.wait().await.expect_err("no vector").failure, RestoreFailure::MissingExtension);
}

/// What only a superuser may make is made by one beforehand, and then the comment on it is in the way.
#[tokio::test]
async fn an_extension_that_our_role_may_not_make_is_named_and_the_advice_helps() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let extension = if major == PgMajor::V15 { "pg_buffercache" } else { "vector" };
        let archive = archive(cluster, &made(cluster, &format!("CREATE EXTENSION {extension}; CREATE TABLE t (id int)"))).await;
        let (role, target) = (weak_role(cluster, "weak"), target(cluster));
        cluster.psql("postgres", &format!("ALTER DATABASE {} OWNER TO {role}", quote_identifier(&target))).expect("an owner");
        let into = settings(&cluster.dsn_as(&role, WEAK_PASSWORD, &target));
        let bare = RestoreOptions { no_owner: true, ..RestoreOptions::default() };
        let error = restore(cluster, &into, archive.path(), &bare).await.expect_err("no right");
        assert_eq!(error.failure, RestoreFailure::ExtensionDenied, "PostgreSQL {major}: {error}");
        cluster.psql(&target, &format!("CREATE EXTENSION {extension}")).expect("an extension");
        let error = restore(cluster, &into, archive.path(), &bare).await.expect_err("no right");
        assert_eq!(error.failure, RestoreFailure::ExtensionDenied, "PostgreSQL {major}: {error}");
        assert!(error.advice.contains("--no-comments"));
        let quiet = RestoreOptions { no_owner: true, extra_args: vec!["--no-comments".to_owned()], ..RestoreOptions::default() };
        restore(cluster, &into, archive.path(), &quiet).await.expect("with the advice");
    }
}

#[tokio::test]
async fn rights_that_are_missing_and_what_is_there_already_are_told() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let (tenant, role) = (weak_role(cluster, "tenant"), weak_role(cluster, "weak"));
        let source = made(cluster, &format!("CREATE TABLE t (id int); ALTER TABLE t OWNER TO {tenant}"));
        let archive = archive(cluster, &source).await;
        let target = target(cluster);
        let quoted = quote_identifier(&target);
        let into = settings(&cluster.dsn_as(&role, WEAK_PASSWORD, &target));
        let failed = async |options: RestoreOptions| restore(cluster, &into, archive.path(), &options).await.expect_err("a failure");
        // Not the owner of the database: since PostgreSQL 15 only the owner may create in its schema public.
        assert_eq!(failed(RestoreOptions::default()).await.failure, RestoreFailure::Permission);
        cluster.psql("postgres", &format!("ALTER DATABASE {quoted} OWNER TO {role}")).expect("an owner");
        let error = failed(RestoreOptions::default()).await;
        assert_eq!(error.failure, RestoreFailure::OwnerDenied, "PostgreSQL {major}: {error}");
        assert!(error.to_string().ends_with(&format!("GRANT that role TO \"{role}\", or restore with --no-owner")), "{error}");
        let error = failed(RestoreOptions { no_owner: true, ..RestoreOptions::default() }).await;
        assert_eq!(error.failure, RestoreFailure::NotEmpty, "PostgreSQL {major}: {error}");
        let error = failed(RestoreOptions { role: Some(tenant.clone()), ..RestoreOptions::default() }).await;
        assert_eq!(error.failure, RestoreFailure::OwnerDenied, "PostgreSQL {major}: {error}");
        cluster.psql("postgres", &format!("REVOKE CONNECT ON DATABASE {quoted} FROM PUBLIC, {role}")).expect("a revocation");
        let error = failed(RestoreOptions::default()).await;
        assert_eq!(error.failure, RestoreFailure::Connection(ConnectionFailure::Permission), "{error}");
        cluster.psql("postgres", &format!("ALTER DATABASE {quoted} ALLOW_CONNECTIONS false")).expect("a change");
        let error = failed(RestoreOptions::default()).await;
        assert_eq!(error.failure, RestoreFailure::Connection(ConnectionFailure::Disallowed), "{error}");
    }
}

#[tokio::test]
async fn archives_and_programs_of_other_majors_are_told_apart() {
    let [old, middle, new] = PgMajor::ALL.map(PgCluster::shared);
    let plain = RestoreOptions::default();
    let sql = "CREATE TABLE t AS SELECT generate_series(1, 10) AS id";
    for (from, package) in [(middle, "postgresql-client-16 or newer"), (new, "postgresql-client-17 or newer")] {
        let archive = archive(from, &made(from, sql)).await;
        let error = failure(old, archive.path(), &plain).await;
        assert_eq!(error.failure, RestoreFailure::ArchiveTooNew, "{error}");
        assert!(error.advice.contains(package), "{error}");
    }
    // pg_restore 18 says `SET transaction_timeout` to every server, also with an archive of that server's own version.
    let archive_of_old = archive(old, &made(old, sql)).await;
    let client = pg_restore(new).await;
    let source = ArchiveSource::File(archive_of_old.path());
    for cluster in [old, middle] {
        let version = server(cluster).await.facts().version;
        let into = superuser(cluster, &target(cluster));
        let mut child = start_restore(&client, version, &into, source, &plain).await.expect("a restore");
        let error = child.wait().await.expect_err("an unknown setting");
        assert_eq!(error.failure, RestoreFailure::ServerTooOld, "{error}");
    }
    // Upwards is the way that works.
    for cluster in [middle, new] {
        let name = target(cluster);
        restore(cluster, &superuser(cluster, &name), archive_of_old.path(), &plain).await.expect("a newer server");
        assert_eq!(cluster.psql(&name, "SELECT count(*) FROM t").expect("a count"), "10");
    }
}

#[tokio::test]
async fn a_cut_archive_and_none_at_all_are_told() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let archive = archive(cluster, &made(cluster, &WIDE.replace("30000", "1000"))).await;
        let whole = std::fs::read(archive.path()).expect("the archive");
        let cut = tempfile::NamedTempFile::new().expect("a file");
        for bytes in [0, 3, 1000, whole.len() / 3, whole.len() / 2] {
            std::fs::write(cut.path(), &whole[..bytes]).expect("a cut archive");
            let error = failure(cluster, cut.path(), &RestoreOptions::default()).await;
            assert_eq!(error.failure, RestoreFailure::DamagedArchive, "PostgreSQL {major}, {bytes} bytes: {error}");
        }
        std::fs::write(cut.path(), "no archive at all\n".repeat(1000)).expect("a text");
        let error = failure(cluster, cut.path(), &RestoreOptions::default()).await;
        assert_eq!(error.failure, RestoreFailure::DamagedArchive, "PostgreSQL {major}: {error}");
        // Nobody writes: the input that nobody took ends.
        let mut child = start_with(cluster, &superuser(cluster, &target(cluster)), ArchiveSource::Stream, &RestoreOptions::default()).await;
        assert_eq!(child.wait().await.expect_err("nothing").failure, RestoreFailure::DamagedArchive);
    }
}

#[tokio::test]
async fn a_full_disk_is_told() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::start(major).expect("a server");
        let archive = archive(&cluster, &made(&cluster, WIDE)).await;
        let disk = SmallDisk::new(24 << 20).expect("a small disk");
        let place = disk.path().join("data");
        tablespace(&cluster, "small", &place);
        for jobs in [1, 2] {
            cluster.psql("postgres", "CREATE DATABASE cramped TABLESPACE small").expect("a database");
            let options = RestoreOptions { jobs, ..RestoreOptions::default() };
            let error = restore(&cluster, &superuser(&cluster, "cramped"), archive.path(), &options).await.expect_err("no space");
            assert_eq!(error.failure, RestoreFailure::ServerDiskFull, "PostgreSQL {major}: {error}");
            cluster.psql("postgres", "DROP DATABASE cramped WITH (FORCE)").expect("a drop");
        }
        cluster.psql("postgres", "DROP TABLESPACE small").expect("a drop");
    }
}

/// pg_restore quotes the statement that failed, and that may be longer than anything that we keep.
#[tokio::test]
async fn the_error_is_told_though_a_long_statement_follows_it() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let long = format!(
        "CREATE TABLE x (id int); CREATE FUNCTION long() RETURNS int LANGUAGE sql AS $$ SELECT id FROM public.x;\n{} $$",
        "-- a line\n".repeat(30_000)
    );
    let source = made(cluster, &long);
    cluster.psql(&source, "DROP TABLE x").expect("a drop");
    let archive = archive(cluster, &source).await;
    let into = superuser(cluster, &target(cluster));
    let options = RestoreOptions { extra_args: vec!["--no-comments".to_owned()], ..RestoreOptions::default() };
    restore(cluster, &into, archive.path(), &options).await.expect("bodies are not checked");
    let error = restore(cluster, &into, archive.path(), &options).await.expect_err("it is there");
    assert_eq!(error.failure, RestoreFailure::NotEmpty, "{error}");
    assert!(
        error.reason.contains("function \"long\" already exists") && error.reason.contains("; CREATE FUNCTION public.long()"),
        "{error}"
    );
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let mut client = pg_restore(cluster).await;
    client.path = "/nowhere/pg_restore".into();
    let into = superuser(cluster, "postgres");
    let error =
        start_restore(&client, client.version, &into, ArchiveSource::Stream, &RestoreOptions::default()).await.expect_err("no program");
    assert_eq!(error.failure, RestoreFailure::Start);
    assert!(error.to_string().starts_with("restore postgres: /nowhere/pg_restore could not be started: No such file"), "{error}");
}
