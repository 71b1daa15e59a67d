//! Dumps that succeed.

use std::{io::Read, os::unix::fs::PermissionsExt as _, time::Duration};

use plana_pg::{
    client::{Installed, Program},
    dsn::{ConnectionSettings, Environment},
    dump::{DumpOptions, start_dump, start_globals},
};
use plana_testkit::pg::{PASSWORD, PgCluster, PgMajor, quote_identifier};

use crate::support::{NASTY_NAMES, client_in, database, pg_dump, read, server, settings, start, superuser};

const FILL: &str = "CREATE TABLE t (id int, note text); INSERT INTO t SELECT n, 'note ' || n FROM generate_series(1, 500) n;
                    SELECT lo_from_bytea(0, 'content');";

#[tokio::test]
async fn a_dump_is_read_to_its_end_on_every_major() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let name = cluster.fresh_database("dump").expect("a database");
        cluster.psql(&name, FILL).expect("a table");
        let mut dump = start(cluster, &superuser(cluster, &name)).await;
        let summary = read(&mut dump).await.expect("a whole archive");
        assert_eq!(dump.wait().await.expect("status 0").warnings, Vec::<String>::new());
        assert_eq!((summary.rows, summary.large_objects.as_ref().map(|l| l.count)), (500, Some(1)));
        let server = server(cluster).await;
        let client = pg_dump(cluster).await;
        let extensions = server.extensions(&name).await.expect("extensions");
        let facts = database(&server, &name).await.facts(server.facts(), client.version, extensions, summary);
        assert_eq!((facts.rows, facts.tables[0].rows, facts.encoding.as_str()), (500, 500, "UTF8"));
        assert!(facts.server_version.starts_with(&major.number().to_string()) && facts.size_bytes > 1_000_000);
    }
}

#[tokio::test]
async fn a_launcher_that_works_is_used_and_any_other_is_left_aside() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let name = cluster.fresh_database("pieces").expect("a database");
    cluster.psql(&name, FILL).expect("a table");
    let settings = superuser(cluster, &name);
    let plain = pg_dump(cluster).await;
    let rows = async |client: &Installed| {
        let mut dump = start_dump(client, client.version, &settings, &DumpOptions::default()).await.expect("a dump");
        let summary = read(&mut dump).await.expect("a whole archive");
        dump.wait().await.expect("status 0");
        summary.rows
    };
    let large = plain.clone().with_large_writes(Some("/nowhere:/usr/bin")).await;
    assert!(large.launcher.as_ref().is_some_and(|launcher| launcher.ends_with("stdbuf")), "{large:?}");
    assert_eq!(rows(&large).await, 500);

    let directory = tempfile::tempdir().expect("a directory");
    let script = |text: &str| {
        let path = directory.path().join("stdbuf");
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    };
    let log = directory.path().join("log");
    script(&format!("#!/bin/sh\necho \"$1 ${{2##*/}} $3\" >> {}\nshift\nexec \"$@\"\n", log.display()));
    let logging = plain.clone().with_large_writes(directory.path().to_str()).await;
    assert_eq!(rows(&logging).await, 500);
    let log = std::fs::read_to_string(log).expect("a log");
    assert_eq!(log, "--output=256K pg_dump --version\n--output=256K pg_dump --format=custom\n");

    for broken in ["#!/bin/sh\nexit 125\n", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.1.0'\n", "no program"] {
        script(broken);
        let left = plain.clone().with_large_writes(directory.path().to_str()).await;
        assert_eq!(left, plain, "{broken}");
    }
    assert_eq!(plain.clone().with_large_writes(None).await, plain);
}

#[tokio::test]
async fn nasty_names_are_dumped_and_nothing_else_is() {
    let cluster = PgCluster::start(PgMajor::V15).expect("a server");
    for name in NASTY_NAMES {
        assert!(name.len() <= 63, "{name}");
        cluster.psql("postgres", &format!("CREATE DATABASE {}", quote_identifier(name))).expect("a database");
        cluster.psql(name, FILL).expect("a table");
        for dsn in [cluster.dsn("postgres"), cluster.keyword_dsn("postgres")] {
            let mut dump = start(&cluster, &settings(&dsn).with_database(name)).await;
            let summary = read(&mut dump).await.expect(name);
            dump.wait().await.expect(name);
            assert_eq!((summary.header.database.as_deref(), summary.rows), (Some(name), 500));
        }
    }
}

#[tokio::test]
async fn the_password_is_in_no_argument_and_no_variable_of_the_child() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let name = cluster.fresh_database("secret").expect("a database");
    cluster.psql(&name, "CREATE TABLE wide AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)").expect("a table");
    let settings = settings(&format!("{} keepalives_idle=30", cluster.keyword_dsn(&name)));
    let mut dump = start(cluster, &settings).await;
    // More than the pipe holds: it waits for a reader, connected.
    crate::support::until("the dump connects", || crate::support::sessions(cluster, &name) != "0").await;
    let seen = |file: &str| String::from_utf8_lossy(&std::fs::read(format!("/proc/{}/{file}", dump.pid())).expect(file)).into_owned();
    let (arguments, variables) = (seen("cmdline"), seen("environ"));
    assert!(arguments.contains("--format=custom") && arguments.contains("keepalives_idle='30'"), "{arguments}");
    assert!(variables.contains("PGPASSFILE=/proc/self/fd/") && !variables.contains("PGPASSWORD"), "{variables}");
    assert!(!arguments.contains(PASSWORD) && !variables.contains(PASSWORD));
    // Nor is anything else of ours, such as a store's keys: cargo sets some variables that nobody needs there.
    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO_")) && !variables.contains("CARGO_"), "{variables}");
    let process_group = rustix::process::getpgid(rustix::process::Pid::from_raw(dump.pid().cast_signed())).expect("its group");
    assert_eq!(process_group.as_raw_nonzero().get().cast_unsigned(), dump.pid());
    assert_eq!(read(&mut dump).await.map(|summary| summary.rows), Ok(20_000));
    dump.wait().await.expect("status 0");
}

#[tokio::test]
async fn a_service_and_a_passfile_reach_the_child() {
    use std::os::unix::fs::PermissionsExt;
    let cluster = PgCluster::shared(PgMajor::V18);
    let name = cluster.fresh_database("service").expect("a database");
    cluster.psql(&name, FILL).expect("a table");
    let home = tempfile::tempdir().expect("a directory");
    let password = PASSWORD.replace('\\', r"\\").replace(':', r"\:");
    let passfile = home.path().join(".pgpass");
    std::fs::write(&passfile, format!("127.0.0.1:{}:{name}:postgres:{password}\n", cluster.port())).expect("a passfile");
    std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let service = format!("[acme]\nhost=127.0.0.1\nport={}\nuser=postgres\ndbname={name}\n", cluster.port());
    std::fs::write(home.path().join(".pg_service.conf"), service).expect("a service file");
    let environment =
        Environment::from([("HOME".to_owned(), home.path().display().to_string()), ("PGSERVICE".to_owned(), "acme".to_owned())]);
    let settings = ConnectionSettings::resolve(None, &environment).expect("settings");
    let mut dump = start(cluster, &settings).await;
    assert_eq!(read(&mut dump).await.map(|summary| summary.rows), Ok(500));
    dump.wait().await.expect("status 0");
}

#[tokio::test]
async fn timeouts_for_applications_do_not_end_a_dump_and_options_are_kept() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let name = cluster.fresh_database("timeouts").expect("a database");
        let quoted = quote_identifier(&name);
        let strict = "SET statement_timeout = '150ms'; ALTER DATABASE x SET idle_in_transaction_session_timeout = '150ms';
                      ALTER DATABASE x SET lock_timeout = '150ms'";
        let sql = format!("{FILL} ALTER DATABASE x {strict};").replace("DATABASE x", &format!("DATABASE {quoted}"));
        cluster.psql(&name, "CREATE TABLE wide AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)").expect("a table");
        cluster.psql(&name, &sql).expect("settings");
        let client = pg_dump(cluster).await;
        let settings = settings(&format!("{} options='-c timezone=Asia/Tokyo'", cluster.keyword_dsn(&name)));
        let options = DumpOptions { session: vec![("plana.mark".to_owned(), "a b".to_owned())], nice: 5, ..DumpOptions::default() };
        let mut dump = start_dump(&client, client.version, &settings, &options).await.expect("a dump");
        crate::support::until("the dump connects", || crate::support::sessions(cluster, &name) != "0").await;
        // A stalled reader: statement and transaction stand still far longer than the application's limits.
        tokio::time::sleep(Duration::from_millis(600)).await;
        let niceness = rustix::process::getpriority_process(rustix::process::Pid::from_raw(dump.pid().cast_signed()));
        assert_eq!(niceness.expect("its priority"), rustix::process::getpriority_process(None).expect("ours") + 5);
        let variables = std::fs::read(format!("/proc/{}/environ", dump.pid())).expect("its variables");
        let variables = String::from_utf8_lossy(&variables).into_owned();
        assert!(variables.contains("PGOPTIONS=-c timezone=Asia/Tokyo -c statement_timeout=0"), "{variables}");
        assert!(variables.contains(r"-c plana.mark=a\ b"), "{variables}");
        assert_eq!(read(&mut dump).await.map(|summary| summary.rows), Ok(20_500), "PostgreSQL {major}");
        dump.wait().await.expect("status 0");
    }
}

#[tokio::test]
async fn globals_come_with_or_without_passwords() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let name = cluster.fresh_database("it's a=b").expect("a database");
        let client = client_in(cluster.bin_dir(), Program::PgDumpAll).await;
        for passwords in [true, false] {
            let settings = superuser(cluster, &name);
            let mut dump = start_globals(&client, client.version, &settings, passwords, &DumpOptions::default()).await.expect("a dump");
            let mut stdout = dump.take_stdout().expect("its output");
            let text = tokio::task::spawn_blocking(move || {
                let mut text = String::new();
                stdout.read_to_string(&mut text).map(|_| text)
            });
            let text = text.await.expect("a reader").expect("text");
            dump.wait().await.expect("status 0");
            assert!(text.contains("CREATE ROLE postgres;") && text.contains("PostgreSQL database cluster dump complete"));
            assert_eq!(text.contains("SCRAM-SHA-256$"), passwords, "PostgreSQL {major}");
        }
    }
}

#[tokio::test]
async fn what_a_dump_complains_of_is_told_though_it_succeeds() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let name = cluster.fresh_database("warned").expect("a database");
    // Two tables that refer to each other: pg_dump warns that restoring data alone would need more.
    let circle = "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY REFERENCES a); ALTER TABLE a ADD FOREIGN KEY (id) REFERENCES b";
    cluster.psql(&name, circle).expect("tables");
    let client = pg_dump(cluster).await;
    let options = DumpOptions { extra_args: vec!["--data-only".to_owned()], ..DumpOptions::default() };
    let mut dump = start_dump(&client, client.version, &superuser(cluster, &name), &options).await.expect("a dump");
    read(&mut dump).await.expect("a whole archive");
    let warnings = dump.wait().await.expect("status 0").warnings;
    assert!(warnings.iter().any(|line| line.contains("warning: there are circular foreign-key constraints")), "{warnings:?}");
}
