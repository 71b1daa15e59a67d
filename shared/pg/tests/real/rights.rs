//! The role for backups: enough, and not more.

use std::io::Read;

use plana_pg::{
    client::Program,
    dump::{DumpError, DumpFailure, DumpOptions, start_globals},
    rights::{Finding, Grade, LEAST_RIGHTS_SQL, check_database, check_server},
    server::Server,
};
use plana_testkit::pg::{PgCluster, PgMajor, quote_identifier};

use crate::support::{TIMEOUT, client_in, database, read, server, settings, start};

const PASSWORD: &str = "x";
/// A tenant with everything that `pg_read_all_data` does not reach.
const TENANT: &str = "
    CREATE ROLE tenant;
    CREATE SCHEMA hidden AUTHORIZATION tenant;
    CREATE TABLE hidden.secrets (id serial, note text);
    INSERT INTO hidden.secrets (note) SELECT 'note' FROM generate_series(1, 10);
    ALTER TABLE hidden.secrets OWNER TO tenant;
    ALTER TABLE hidden.secrets ENABLE ROW LEVEL SECURITY;
    CREATE POLICY nobody ON hidden.secrets USING (false);
    CREATE TABLE hidden.forced (id int);
    INSERT INTO hidden.forced VALUES (1);
    ALTER TABLE hidden.forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    SELECT lo_from_bytea(0, 'content') FROM generate_series(1, 3);
    DO $$ DECLARE o oid; BEGIN FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP
        EXECUTE format('ALTER LARGE OBJECT %s OWNER TO tenant', o); END LOOP; END $$;
    SET ROLE tenant;
    CREATE TABLE hidden.plain AS SELECT generate_series(1, 5) AS id;
";

/// A server with such a tenant and the role that our SQL makes: of one test, since parts of the role are taken away.
fn platform(major: PgMajor) -> PgCluster {
    let cluster = PgCluster::start(major).expect("a server");
    cluster.psql("postgres", "CREATE DATABASE \"acme.example\"").expect("a database");
    cluster.psql("acme.example", TENANT).expect("a tenant");
    cluster.psql("postgres", "REVOKE CONNECT ON DATABASE \"acme.example\" FROM PUBLIC").expect("a revocation");
    cluster.psql("postgres", LEAST_RIGHTS_SQL).expect("our SQL");
    cluster.psql("postgres", &format!("ALTER ROLE plana_backup PASSWORD '{PASSWORD}'")).expect("a password");
    cluster
}

async fn findings(cluster: &PgCluster) -> Vec<Finding> {
    let server = Server::connect(&settings(&cluster.dsn_as("plana_backup", PASSWORD, "postgres")), TIMEOUT).await.expect("a server");
    let tenant = database(&server, "acme.example").await;
    check_database(&server, &tenant).await.expect("an answer")
}

#[tokio::test]
async fn the_role_that_our_sql_makes_is_enough_and_each_part_is_needed() {
    for major in PgMajor::ALL {
        let cluster = platform(major);
        dumps_everything(&cluster).await;
        each_part_is_needed(&cluster).await;
        grants_for_each_large_object_do_too(&cluster).await;
        globals_without_passwords_need_no_rights(&cluster).await;
    }
}

async fn dumps_everything(cluster: &PgCluster) {
    let major = cluster.major();
    assert_eq!(findings(cluster).await, [], "PostgreSQL {major}");
    let role = settings(&cluster.dsn_as("plana_backup", PASSWORD, "acme.example"));
    let mut dump = start(cluster, &role).await;
    let summary = read(&mut dump).await;
    dump.wait().await.expect("status 0");
    let summary = summary.expect("a whole archive");
    assert_eq!((summary.rows, summary.large_objects.map(|l| l.count)), (10 + 1 + 5, Some(3)), "PostgreSQL {major}");
    let server = Server::connect(&role, TIMEOUT).await.expect("a server");
    assert!(!server.facts().is_superuser && server.facts().bypasses_row_security);
    assert_eq!(check_server(&server), []);
    // pg_read_all_data reaches pg_authid, and so the roles' password verifiers.
    assert!(server.facts().can_read_role_passwords);
    assert!(globals(cluster, true).await.expect("globals").contains("SCRAM-SHA-256$"));
    // Nothing that it may not do is done.
    let write = cluster.psql_as("plana_backup", PASSWORD, "acme.example", "INSERT INTO hidden.plain VALUES (6)");
    assert!(write.is_err_and(|error| error.to_string().contains("read-only transaction")));
    let write = cluster.psql_as(
        "plana_backup",
        PASSWORD,
        "acme.example",
        "SET default_transaction_read_only = off; INSERT INTO hidden.plain VALUES (6)",
    );
    assert!(write.is_err_and(|error| error.to_string().contains("permission denied")));
}

async fn globals(cluster: &PgCluster, role_passwords: bool) -> Result<String, DumpError> {
    let client = client_in(cluster.bin_dir(), Program::PgDumpAll).await;
    let settings = settings(&cluster.dsn_as("plana_backup", PASSWORD, "postgres"));
    let mut dump = start_globals(&client, client.version, &settings, role_passwords, &DumpOptions::default()).await?;
    let mut stdout = dump.take_stdout().expect("its output");
    let text = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let text = text.await.expect("a reader").expect("text");
    dump.wait().await.map(|_| text)
}

async fn globals_without_passwords_need_no_rights(cluster: &PgCluster) {
    cluster.psql("postgres", "REVOKE pg_read_all_data FROM plana_backup").expect("a part taken away");
    let server = Server::connect(&settings(&cluster.dsn_as("plana_backup", PASSWORD, "postgres")), TIMEOUT).await.expect("a server");
    assert!(!server.facts().can_read_role_passwords);
    let note = &check_server(&server)[0];
    assert_eq!((note.grade, note.mend.as_deref()), (Grade::Note, Some("GRANT pg_read_all_data TO \"plana_backup\"")));
    let text = globals(cluster, false).await.expect("globals");
    assert!(text.contains("CREATE ROLE tenant;") && !text.contains("SCRAM-SHA-256$"));
    assert_eq!(globals(cluster, true).await.expect_err("no rights").failure, DumpFailure::Permission);
}

async fn each_part_is_needed(cluster: &PgCluster) {
    let major = cluster.major();
    let parts = [
        (
            "REVOKE pg_read_all_data FROM plana_backup",
            "may not read 4 tables and sequences, such as hidden.forced",
            DumpFailure::Permission,
        ),
        ("ALTER ROLE plana_backup NOBYPASSRLS", "row-level security hides rows of 2 tables", DumpFailure::RowSecurity),
        ("ALTER ROLE plana_backup RESET lo_compat_privileges", "may not read 3 large objects", DumpFailure::Permission),
        ("REVOKE CONNECT ON DATABASE \"acme.example\" FROM plana_backup", "may not connect to it", DumpFailure::Permission),
    ];
    for (breaks, problem, failure) in parts {
        cluster.psql("postgres", breaks).expect("a part taken away");
        let found = findings(cluster).await;
        let missing: Vec<_> = found.iter().filter(|f| f.grade == Grade::Missing).collect();
        assert_eq!(missing.len(), 1, "PostgreSQL {major}, {breaks}: {found:?}");
        assert!(missing[0].problem.contains(problem), "PostgreSQL {major}: {}", missing[0].problem);
        // The finding is right: the dump does fail.
        let mut dump = start(cluster, &settings(&cluster.dsn_as("plana_backup", PASSWORD, "acme.example"))).await;
        read(&mut dump).await.expect_err("no whole archive");
        let error = dump.wait().await.expect_err("a failure");
        assert_eq!(error.failure, failure, "PostgreSQL {major}: {error}");
        cluster.psql("postgres", missing[0].mend.as_deref().expect("what mends it")).expect("mended");
        assert_eq!(findings(cluster).await, [], "PostgreSQL {major}: {:?}", missing[0].mend);
    }
}

async fn grants_for_each_large_object_do_too(cluster: &PgCluster) {
    let major = cluster.major();
    cluster.psql("postgres", "ALTER ROLE plana_backup RESET lo_compat_privileges").expect("a part taken away");
    let grant = "DO $$ DECLARE o oid; BEGIN FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP
                 EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO plana_backup', o); END LOOP; END $$";
    cluster.psql("acme.example", grant).expect("grants");
    assert_eq!(findings(cluster).await, [], "PostgreSQL {major}");
}

#[tokio::test]
async fn a_superuser_needs_nothing_and_is_told_so() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let name = cluster.fresh_database("super").expect("a database");
    let server = server(cluster).await;
    let database = database(&server, &name).await;
    assert_eq!(check_database(&server, &database).await.expect("an answer"), []);
    assert!(check_server(&server)[0].mend.as_deref().is_some_and(|sql| sql.contains("CREATE ROLE plana_backup")));
    cluster.psql("postgres", &format!("DROP DATABASE {}", quote_identifier(&name))).expect("a drop");
    assert_eq!(check_database(&server, &database).await.expect("an answer"), []);
}

#[tokio::test]
async fn options_of_user_mappings_that_only_a_superuser_sees_are_noted() {
    let cluster = platform(PgMajor::V16);
    let mapping = "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE USER MAPPING FOR tenant SERVER s OPTIONS (password 'x')";
    cluster.psql("acme.example", mapping).expect("a mapping");
    let found = findings(&cluster).await;
    assert_eq!((found.len(), found[0].grade), (1, Grade::Note));
    assert!(found[0].problem.starts_with("1 user mappings"), "{}", found[0].problem);
}
