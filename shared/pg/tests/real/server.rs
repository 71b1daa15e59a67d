//! Servers: facts, databases, and those that are none.

use std::time::Duration;

use plana_pg::{
    client::{self, ClientError, Program},
    dsn::{ConnectionSettings, Environment},
    server::{Server, ServerError},
};
use plana_plan::pgclient::{Fit, PgVersion};
use plana_testkit::{
    pg::{PASSWORD, PgCluster, PgMajor, SUPERUSER, quote_identifier},
    pgbouncer::PgBouncer,
    process::Port,
};

use crate::support::{NASTY_NAMES, TIMEOUT, database, server, settings, superuser};

#[tokio::test]
async fn a_server_says_what_it_is_in_both_forms_and_over_its_socket() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let url = server(cluster).await;
        assert_eq!((url.facts().version.major, url.facts().is_superuser), (major.number(), true));
        assert!(url.facts().can_read_role_passwords && !url.facts().in_recovery && url.facts().bypasses_row_security);
        assert!(url.facts().system_identifier.as_ref().is_some_and(|id| id.parse::<u64>().is_ok()));
        let keywords = Server::connect(&settings(&cluster.keyword_dsn("postgres")), TIMEOUT).await.expect("a server");
        let environment = cluster.env().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let socket = ConnectionSettings::resolve(None, &environment).expect("settings");
        let socket = Server::connect(&socket, TIMEOUT).await.expect("a server");
        assert_eq!((url.facts(), url.facts()), (keywords.facts(), socket.facts()));
    }
}

#[tokio::test]
async fn databases_come_with_all_that_a_manifest_says() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let name = cluster.fresh_database("facts").expect("a database");
        let quoted = quote_identifier(&name);
        let role = format!("{name}_owner");
        cluster
            .psql(
                &name,
                &format!(
                    "CREATE ROLE {role}; ALTER DATABASE {quoted} OWNER TO {role}; GRANT TEMPORARY ON DATABASE {quoted} TO {role};
                     ALTER DATABASE {quoted} SET work_mem = '64MB'; ALTER ROLE {role} IN DATABASE {quoted} SET geqo = off;"
                ),
            )
            .expect("settings");
        let server = server(cluster).await;
        let found = database(&server, &name).await;
        assert_eq!((found.owner.as_str(), found.encoding.as_str()), (role.as_str(), "UTF8"));
        assert!(found.size_bytes.is_some_and(|size| size > 1_000_000) && found.can_connect && found.allow_connections);
        assert_eq!(found.settings[""], ["work_mem=64MB"]);
        assert_eq!(found.settings[&role], ["geqo=off"]);
        assert!(found.grants.iter().any(|grant| grant.starts_with(&format!("{role}="))), "{:?}", found.grants);
        assert_eq!(found.obstacle(server.facts()), None);
        assert_eq!(server.extensions(&name).await.expect("extensions")["plpgsql"], "1.0");
        let names: Vec<_> = server.databases().await.expect("databases").into_iter().map(|d| d.name).collect();
        assert!(names.contains(&"template1".to_owned()) && !names.contains(&"template0".to_owned()));
    }
}

#[tokio::test]
async fn nasty_names_are_found_and_connected_to() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let server = server(cluster).await;
    for name in NASTY_NAMES {
        cluster.psql("postgres", &format!("CREATE DATABASE {}", quote_identifier(name))).expect("a database");
        assert!(server.database_exists(name).await.expect("an answer"));
        assert_eq!(database(&server, name).await.name, name);
        assert!(server.extensions(name).await.expect("extensions").contains_key("plpgsql"), "{name}");
    }
}

#[tokio::test]
async fn a_dropped_database_is_gone() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let name = cluster.fresh_database("gone").expect("a database");
    let server = server(cluster).await;
    assert!(server.database_exists(&name).await.expect("an answer"));
    cluster.psql("postgres", &format!("DROP DATABASE {}", quote_identifier(&name))).expect("a drop");
    assert!(!server.database_exists(&name).await.expect("an answer"));
    let error = server.extensions(&name).await.expect_err("no database");
    assert!(error.is_gone(), "{error:?}");
}

#[tokio::test]
async fn disallowed_connections_are_an_obstacle_with_advice() {
    let cluster = PgCluster::shared(PgMajor::V18);
    let name = cluster.fresh_database("closed").expect("a database");
    let server = server(cluster).await;
    let quoted = quote_identifier(&name);
    let obstacle = async |change: &str| {
        cluster.psql("postgres", change).expect("a change");
        database(&server, &name).await.obstacle(server.facts()).expect("an obstacle").to_string()
    };
    let closed = obstacle(&format!("ALTER DATABASE {quoted} ALLOW_CONNECTIONS false")).await;
    assert_eq!(closed, format!("connections to it are disallowed: ALTER DATABASE {quoted} ALLOW_CONNECTIONS true, or exclude it"));
    let error = server.extensions(&name).await.expect_err("no connections");
    assert!(matches!(&error, ServerError::ConnectionsDisallowed { database } if *database == name), "{error:?}");
    let invalid = obstacle(&format!("UPDATE pg_database SET datallowconn = true, datconnlimit = -2 WHERE datname = '{name}'")).await;
    assert!(invalid.starts_with("it is what an interrupted DROP DATABASE left"), "{invalid}");
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let error = Server::connect(&settings(&cluster.dsn_as(SUPERUSER, "hunter2", "postgres")), TIMEOUT).await.expect_err("no entry");
    assert!(matches!(error, ServerError::Authentication { .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains("password authentication failed") && message.contains("pg_hba.conf") && !message.contains("hunter2"),
        "{message}"
    );
    let nobody = Server::connect(&settings(&cluster.dsn_as("nobody", PASSWORD, "postgres")), TIMEOUT).await.expect_err("no entry");
    assert!(matches!(nobody, ServerError::Authentication { .. }), "{nobody:?}");
}

#[tokio::test]
async fn what_does_not_answer_is_named() {
    let port = Port::claim().expect("a port");
    let dsn = format!("postgres://u@127.0.0.1:{}/postgres", port.number());
    let error = Server::connect(&settings(&dsn), TIMEOUT).await.expect_err("nobody there");
    assert!(matches!(&error, ServerError::Unreachable { server, .. } if server.ends_with(&port.number().to_string())), "{error:?}");
    // Somebody listens and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let dsn = format!("postgres://u@{}/postgres?sslmode=disable", silent.local_addr().expect("its address"));
    let begun = std::time::Instant::now();
    let error = Server::connect(&settings(&dsn), Duration::from_millis(300)).await.expect_err("no answer");
    assert!(matches!(error, ServerError::Timeout { .. }) && begun.elapsed() < Duration::from_secs(3), "{error:?}");
}

#[tokio::test]
async fn of_several_hosts_the_first_that_answers_is_kept() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let nobody = Port::claim().expect("a port");
    let dsn = format!("{} connect_timeout=3", cluster.keyword_dsn("postgres"))
        .replace("host=127.0.0.1", "host=127.0.0.1,127.0.0.1,127.0.0.1")
        .replace(&format!("port={}", cluster.port()), &format!("port={},{},{}", nobody.number(), cluster.port(), nobody.number()));
    let server = Server::connect(&settings(&dsn), TIMEOUT).await.expect("a server");
    assert_eq!(server.settings().server_label(), format!("127.0.0.1:{}", cluster.port()));
    let standby = Server::connect(&settings(&format!("{dsn} target_session_attrs=standby")), TIMEOUT).await.expect_err("no standby");
    assert!(matches!(standby, ServerError::NoSuitableHost { .. } | ServerError::Unreachable { .. }), "{standby:?}");
    Server::connect(&settings(&format!("{dsn} target_session_attrs=read-write")), TIMEOUT).await.expect("a primary");
}

#[tokio::test]
async fn the_users_own_options_reach_the_server() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let settings = settings(&format!("{} options='-c plana.x=a\\\\ b --work-mem=5MB'", cluster.keyword_dsn("postgres")));
    let found = plana_pg::tiers::look_up(&settings, "SELECT current_setting('plana.x'), current_setting('work_mem')", TIMEOUT).await;
    assert_eq!(found.expect("a row").rows, [("a b".to_owned(), "5MB".to_owned())]);
}

#[tokio::test]
async fn a_pooler_is_told_from_a_server() {
    let cluster = PgCluster::start(PgMajor::V15).expect("a server");
    cluster.psql("postgres", "CREATE ROLE odoo LOGIN PASSWORD 'pw'").expect("a role");
    let bouncer = PgBouncer::with_users(&cluster, &[("odoo", "pw")]).expect("a pooler");
    // One user is an administrator of the pooler, whom its console lets in; the other is not.
    for dsn in [bouncer.dsn("postgres"), bouncer.keyword_dsn("postgres"), bouncer.dsn_as("odoo", "pw", "postgres")] {
        // It refuses startup parameters that it does not know.
        for options in ["", "-c geqo=off"] {
            let environment = Environment::from([("PGOPTIONS".to_owned(), options.to_owned())]);
            let settings = ConnectionSettings::resolve(Some(&dsn), &environment).expect("settings");
            let error = Server::connect(&settings, TIMEOUT).await.expect_err("a pooler");
            assert!(matches!(error, ServerError::Pooler { .. }), "{options}: {error:?}");
            assert!(error.to_string().contains("5432"));
        }
    }
}

#[tokio::test]
async fn a_database_called_pgbouncer_makes_no_pooler() {
    let cluster = PgCluster::start(PgMajor::V16).expect("a server");
    cluster.psql("postgres", "CREATE DATABASE pgbouncer").expect("a database");
    Server::connect(&superuser(&cluster, "postgres"), TIMEOUT).await.expect("a server");
}

#[tokio::test]
async fn clients_are_found_and_the_right_one_chosen() {
    let dirs: Vec<_> = PgMajor::ALL.iter().map(|major| major.bin_dir().expect("a directory").display().to_string()).collect();
    let installed = client::find(Program::PgDump, &dirs, Some("/nowhere:")).await;
    assert_eq!(installed.iter().map(|i| i.version.major).collect::<Vec<_>>(), [15, 16, 18]);
    let chosen = |major| client::choose(Program::PgDump, PgVersion { major, minor: 0 }, &installed);
    assert_eq!(chosen(16).map(|c| (c.client.version.major, c.fit)), Ok((16, Fit::SameMajor)));
    assert_eq!(chosen(17).map(|c| (c.client.version.major, c.fit)), Ok((18, Fit::Newer)));
    assert!(matches!(chosen(19), Err(ClientError::AllOlder { .. })));
    // A pattern, and PATH; a program that is reached twice counts once.
    let pattern = "/usr/lib/postgresql/*/bin".to_owned();
    let by_pattern = client::find(Program::PgDumpAll, &[pattern, dirs[0].clone()], Some(&dirs[2])).await;
    assert!(by_pattern.iter().filter(|i| i.version.major == 15).count() == 1, "{by_pattern:?}");
    assert!(by_pattern.iter().any(|i| i.version.major == 18 && i.path.ends_with("pg_dumpall")));
}

#[tokio::test]
async fn a_server_newer_than_every_client_is_told_with_what_to_install() {
    let only_15 = [PgMajor::V15.bin_dir().expect("a directory").display().to_string()];
    let installed = client::find(Program::PgDump, &only_15, None).await;
    let version = server(PgCluster::shared(PgMajor::V16)).await.facts().version;
    let message = client::choose(Program::PgDump, version, &installed).expect_err("too old").to_string();
    assert!(message.contains(&only_15[0]) && message.contains("install postgresql-client-16"), "{message}");
    let none = client::find(Program::PgDump, &["/nowhere/*/bin".to_owned()], Some("/nowhere")).await;
    let message = client::choose(Program::PgDump, version, &none).expect_err("none").to_string();
    assert_eq!(message, "find pg_dump: it is neither in postgres.bin_dirs nor in PATH; install postgresql-client-16");
}
