//! Scratch databases: made, looked into, found again, dropped.

use chrono::{DateTime, SubsecRound, Utc};
use plana_pg::{
    scratch::{Admin, AdminError, CountError, NewDatabase, is_scratch, scratch_name},
    server::ServerError,
};
use plana_plan::manifest::TableFacts;
use plana_testkit::pg::{PgCluster, PgMajor, quote_identifier};

use crate::support::{Guest, NASTY_NAMES, WEAK_PASSWORD, admin, database, until, utf8, weak_admin, weak_role};

fn sql(cluster: &PgCluster, query: &str) -> String {
    cluster.psql("postgres", query).expect(query)
}

#[tokio::test]
async fn a_new_database_is_as_it_was_ordered_and_closed_to_others() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let admin = admin(cluster).await;
        let (owner, other) = (weak_role(cluster, "owner"), weak_role(cluster, "other"));
        let (utf8, latin) =
            (utf8(Some(&owner)), NewDatabase { encoding: "LATIN1".into(), collate: "C".into(), ctype: "C".into(), ..utf8(None) });
        for (new, random) in [(utf8, 1), (latin, 2)] {
            let name = scratch_name("ordered_", random);
            admin.create_database(&name, &new).await.expect("a database");
            let found = database(admin.server(), &name).await;
            let wanted = (new.encoding, new.collate, new.ctype, new.owner.clone().unwrap_or_else(|| "postgres".to_owned()));
            assert_eq!((found.encoding, found.collate, found.ctype, found.owner.clone()), wanted, "PostgreSQL {major}");
            assert_eq!(found.grants, [format!("{0}=CTc/{0}", found.owner)], "PostgreSQL {major}");
            assert!(found.allow_connections && found.connection_limit == -1);
            let refused = cluster.psql_as(&other, WEAK_PASSWORD, &name, "SELECT 1").expect_err("closed");
            assert!(refused.to_string().contains("permission denied for database"), "{refused}");
            assert_eq!(cluster.psql(&name, "SELECT count(*) FROM pg_class WHERE oid >= 16384").expect("a count"), "0");
        }
        cluster.psql_as(&owner, WEAK_PASSWORD, &scratch_name("ordered_", 1), "SELECT 1").expect("the owner");
    }
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_new_database_is_named_and_nothing_is_left() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let admin = admin(cluster).await;
        let taken = cluster.fresh_database("taken").expect("a database");
        let error = admin.create_database(&taken, &utf8(None)).await.expect_err("taken");
        assert!(matches!(error, AdminError::Exists { .. }), "{error}");
        let name = scratch_name("failed_", 1);
        let with = |change: fn(&mut NewDatabase)| {
            let mut new = utf8(None);
            change(&mut new);
            new
        };
        for new in [
            with(|new| new.collate = "de_XX.UTF-8".into()),
            with(|new| new.ctype = "it's; DROP".into()),
            with(|new| new.encoding = "LATIN1".into()),
            with(|new| new.encoding = "no such'".into()),
        ] {
            let error = admin.create_database(&name, &new).await.expect_err("no such locale");
            assert!(matches!(error, AdminError::Locale { .. }), "PostgreSQL {major}: {error}");
            assert!(error.to_string().contains("install that locale"), "{error}");
        }
        let error = admin.create_database(&name, &utf8(Some("no such \"role"))).await.expect_err("no such role");
        assert!(error.to_string().contains("CREATE ROLE \"no such \"\"role\","), "{error}");
        let error = admin.create_database(&"x".repeat(64), &utf8(None)).await.expect_err("too long");
        assert!(matches!(error, AdminError::BadName { .. }), "{error}");
        // A role that may make databases, but not give them to just anybody.
        let (role, owner) = (weak_role(cluster, "restorer"), weak_role(cluster, "owner"));
        let weak = weak_admin(cluster, &role).await;
        let error = weak.create_database(&name, &utf8(Some(&owner))).await.expect_err("not a member");
        assert!(matches!(error, AdminError::Denied { .. }), "PostgreSQL {major}: {error}");
        sql(cluster, &format!("ALTER ROLE {role} NOCREATEDB"));
        let error = weak.create_database(&name, &utf8(None)).await.expect_err("no right");
        assert!(
            error.to_string().ends_with(&format!("role \"{role}\" may not create databases; ALTER ROLE \"{role}\" CREATEDB")),
            "{error}"
        );
        assert!(!admin.server().database_exists(&name).await.expect("an answer"), "PostgreSQL {major}");
    }
}

#[tokio::test]
async fn nasty_names_are_made_renamed_replaced_and_kept() {
    let cluster = PgCluster::start(PgMajor::V18).expect("a server");
    let admin = admin(&cluster).await;
    let stamp = "20261124T031500Z".parse().expect("a stamp");
    for (index, name) in NASTY_NAMES.into_iter().enumerate() {
        let (first, second) = (scratch_name(name, 1), scratch_name("plain_", 2));
        for scratch in [&first, &second] {
            admin.create_database(scratch, &utf8(None)).await.expect(name);
            cluster.psql(scratch, &format!("CREATE TABLE {} (id int)", quote_identifier(name))).expect(name);
        }
        admin.rename(&first, name, None).await.expect(name);
        let kept = plana_pg::scratch::kept_name(name, stamp);
        admin.swap(name, &kept, &second, Some("postgres")).await.expect(name);
        assert!(admin.server().database_exists(&kept).await.expect("an answer"), "{name}");
        let facts = TableFacts { schema: "public".into(), table: name.into(), rows: 0, bytes: 0 };
        assert_eq!(admin.count_rows(name, &[facts], 1).await.expect("counts"), [Ok(0)]);
        assert_eq!(sql(&cluster, "SELECT count(*) FROM pg_database"), (3 + 2 * (index + 1)).to_string(), "{name}");
    }
}

#[tokio::test]
async fn only_scratch_databases_are_dropped_with_all_who_are_in_them() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let admin = admin(cluster).await;
        let name = scratch_name("doomed 🦀_", 7);
        admin.create_database(&name, &utf8(None)).await.expect("a database");
        let mut guest = Guest::enter(cluster, &name).await;
        for prefix in ["", "doomed", "doomed 🦀_0", "other_"] {
            let error = admin.drop_database(&name, prefix).await.expect_err(prefix);
            assert!(matches!(error, AdminError::NotScratch { .. }), "{error}");
        }
        assert!(guest.is_there());
        admin.drop_database(&name, "doomed 🦀_").await.expect("a drop");
        assert!(!admin.server().database_exists(&name).await.expect("an answer"), "PostgreSQL {major}");
        until("the guest has left", || !guest.is_there()).await;
        admin.drop_database(&name, "doomed 🦀_").await.expect("gone already");
    }
}

/// WITH (FORCE) is denied to whoever is no superuser then.
#[tokio::test]
async fn a_weak_role_drops_a_database_in_which_autovacuum_is_at_work() {
    for major in PgMajor::ALL {
        let slow = ["autovacuum_naptime = 1s", "autovacuum_vacuum_cost_delay = 100ms", "autovacuum_vacuum_cost_limit = 1"];
        let builder = slow.into_iter().fold(PgCluster::builder(major), |builder, line| builder.setting(line));
        let cluster = builder.start().expect("a server");
        let weak = weak_admin(&cluster, &weak_role(&cluster, "restorer")).await;
        let name = scratch_name("vacuumed_", 7);
        weak.create_database(&name, &utf8(None)).await.expect("a database");
        cluster.psql(&name, "CREATE TABLE t AS SELECT n, repeat('x', 500) FROM generate_series(1, 50000) n").expect("a table");
        cluster.psql(&name, "DELETE FROM t WHERE n % 2 = 0").expect("dead rows");
        let works = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND backend_type = 'autovacuum worker'");
        until("autovacuum is at work", || sql(&cluster, &works) != "0").await;
        weak.drop_database(&name, "vacuumed_").await.unwrap_or_else(|error| panic!("PostgreSQL {major}: {error}"));
    }
}

#[tokio::test]
async fn a_session_that_is_not_ours_to_end_is_named() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let role = weak_role(cluster, "restorer");
    let weak = weak_admin(cluster, &role).await;
    let name = scratch_name("guarded_", 7);
    weak.create_database(&name, &utf8(None)).await.expect("a database");
    let mut guest = Guest::enter(cluster, &name).await;
    let error = weak.drop_database(&name, "guarded_").await.expect_err("in use");
    let message = error.to_string();
    assert!(matches!(error, AdminError::InUse { .. }) && message.contains("(1 of postgres)"), "{message}");
    assert!(message.ends_with(&format!("GRANT pg_signal_backend TO \"{role}\"")), "{message}");
    assert!(guest.is_there());
}

#[tokio::test]
async fn a_prepared_transaction_in_the_way_is_named() {
    let cluster = PgCluster::builder(PgMajor::V15).setting("max_prepared_transactions = 2").start().expect("a server");
    let (admin, name) = (admin(&cluster).await, scratch_name("prepared_", 7));
    admin.create_database(&name, &utf8(None)).await.expect("a database");
    cluster.psql(&name, "BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'it''s'").expect("a transaction");
    let message = admin.drop_database(&name, "prepared_").await.expect_err("in use").to_string();
    assert!(message.contains("(prepared transaction 'it''s' of postgres)"), "{message}");
}

#[tokio::test]
async fn leftovers_are_listed_with_their_age() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let role = weak_role(cluster, "restorer");
        let (strong, weak) = (admin(cluster).await, weak_admin(cluster, &role).await);
        let prefix = "left_over%";
        let made_at: DateTime<Utc> = Utc::now();
        weak.create_database(&scratch_name(prefix, 1), &NewDatabase { made_at, ..utf8(None) }).await.expect("a database");
        // What was killed while it was made, and what somebody wrote something else upon.
        sql(cluster, &format!("CREATE DATABASE {}", quote_identifier(&scratch_name(prefix, 2))));
        strong.create_database(&scratch_name(prefix, 3), &utf8(None)).await.expect("a database");
        sql(
            cluster,
            &format!("COMMENT ON DATABASE {} IS 'plana-jobs scratch, made yesterday'", quote_identifier(&scratch_name(prefix, 3))),
        );
        for other in ["left_over%", "left_over%_12345678", "leftXover%12345678"] {
            sql(cluster, &format!("CREATE DATABASE {}", quote_identifier(other)));
        }
        let _guest = Guest::enter(cluster, &scratch_name(prefix, 3)).await;
        let found = weak.list_scratch(prefix).await.expect("a list");
        assert!(found.iter().all(|scratch| is_scratch(&scratch.name, prefix)));
        let found: Vec<_> = found.into_iter().map(|s| (s.made_at, s.owner, s.is_ours, s.sessions)).collect();
        let postgres = || "postgres".to_owned();
        let wanted = [(Some(made_at.trunc_subsecs(0)), role, true, 0), (None, postgres(), false, 0), (None, postgres(), false, 1)];
        assert_eq!(found, wanted, "PostgreSQL {major}");
        let all = strong.list_scratch(prefix).await.expect("a list");
        assert!(all.iter().all(|scratch| scratch.is_ours) && all.len() == 3);
    }
}

fn table(schema: &str, table: &str, bytes: u64) -> TableFacts {
    TableFacts { schema: schema.to_owned(), table: table.to_owned(), rows: 0, bytes }
}

#[tokio::test]
async fn rows_are_counted_exactly_and_in_order() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let (admin, name) = (admin(cluster).await, cluster.fresh_database("counted").expect("a database"));
        let tables = "
            CREATE SCHEMA \"o\"\"dd\"; CREATE TABLE \"o\"\"dd\".\"new\nline 🦀\" AS SELECT generate_series(1, 7) AS id;
            CREATE TABLE parent (id int); INSERT INTO parent VALUES (1), (2);
            CREATE TABLE child () INHERITS (parent); INSERT INTO child VALUES (3);
            CREATE TABLE parts (id int) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9);
            INSERT INTO parts VALUES (1), (2), (3); CREATE TABLE nothing (); CREATE TABLE secret (id int); INSERT INTO secret VALUES (1);
            ALTER TABLE secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
            SELECT lo_from_bytea(0, 'x') FROM generate_series(1, 3)";
        cluster.psql(&name, tables).expect("tables");
        // Limits for applications, and a stand-in for the system's own function.
        let hostile = format!(
            "CREATE SCHEMA evil; CREATE FUNCTION evil.count() RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
             ALTER DATABASE {0} SET search_path = evil, pg_catalog; ALTER DATABASE {0} SET statement_timeout = '1s'",
            quote_identifier(&name)
        );
        cluster.psql(&name, &hostile).expect("a hostile database");
        let tables = [
            table("o\"dd", "new\nline 🦀", 5),
            table("public", "parent", 1),
            table("public", "child", 9),
            table("public", "parts", 0),
            table("public", "part", 7),
            table("public", "nothing", 0),
            table("public", "Parent", 3),
            table("no\"where", "x", 3),
            table("public", "secret", 3),
        ];
        let missing = |table: &str| Err(CountError::Missing { table: table.to_owned() });
        let expected = [Ok(7), Ok(2), Ok(1), Ok(0), Ok(3), Ok(0), missing("public.Parent"), missing("no\"where.x"), Ok(1)];
        for connections in [0, 1, 3, 100] {
            assert_eq!(admin.count_rows(&name, &tables, connections).await.expect("counts"), expected, "PostgreSQL {major}");
        }
        assert_eq!(admin.count_rows(&name, &[], 4).await.expect("counts"), []);
        assert_eq!(admin.large_objects(&name).await.expect("a count"), 3);
        admin.analyze(&name).await.expect("statistics");
        assert_eq!(cluster.psql(&name, "SELECT reltuples FROM pg_class WHERE relname = 'part'").expect("statistics"), "3");
        rows_that_are_hidden_are_not_counted_as_none(cluster, &name).await;
        let gone = admin.count_rows("no such database", &tables, 2).await.expect_err("no database");
        assert!(matches!(gone, ServerError::Gone { .. }), "{gone}");
    }
}

async fn rows_that_are_hidden_are_not_counted_as_none(cluster: &PgCluster, name: &str) {
    let role = weak_role(cluster, "restorer");
    cluster.psql(name, &format!("ALTER TABLE public.secret OWNER TO {role}; GRANT USAGE ON SCHEMA \"o\"\"dd\" TO {role}")).expect("rights");
    let weak = weak_admin(cluster, &role).await;
    let counts = weak.count_rows(name, &[table("public", "secret", 0), table("public", "part", 0)], 1).await.expect("counts");
    assert!(matches!(&counts[0], Err(CountError::RowSecurity { .. })), "{counts:?}");
    assert!(matches!(&counts[1], Err(CountError::Failed { reason, .. }) if reason.contains("permission denied")), "{counts:?}");
}

#[tokio::test]
async fn a_lost_connection_ends_the_count() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let (admin, name) = (admin(cluster).await, cluster.fresh_database("counted").expect("a database"));
    cluster.psql(&name, "CREATE TABLE t AS SELECT 1 AS id").expect("a table");
    let blocker = "BEGIN; LOCK TABLE t; SELECT pg_sleep(60)";
    let mut psql = cluster.command("psql");
    psql.args(["-X", "-q", "-c", blocker]).env("PGDATABASE", &name).stdout(std::process::Stdio::null());
    let mut psql = psql.spawn().expect("psql");
    let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND wait_event_type = 'Lock'");
    let counting = tokio::spawn(async move { (admin.count_rows(&name, &[table("public", "t", 0)], 2).await, name) });
    until("it waits for the lock", || sql(cluster, &waits) == "1").await;
    sql(cluster, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FROM ONLY%'");
    let (counts, _) = counting.await.expect("a count");
    assert!(matches!(counts, Err(ServerError::Lost { .. })), "{counts:?}");
    psql.kill().expect("a signal");
    psql.wait().expect("its end");
}

#[tokio::test]
async fn a_server_says_which_roles_extensions_and_tablespaces_it_has() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let admin: Admin = weak_admin(cluster, &weak_role(cluster, "asking")).await;
        let names = ["postgres", "no such\"", "POSTGRES", "pg_monitor", &"x".repeat(64)].map(str::to_owned);
        assert_eq!(admin.missing_roles(&names).await.expect("roles"), [&names[1], &names[2], &names[4]].map(String::clone));
        assert_eq!(admin.available_extensions().await.expect("extensions")["plpgsql"].version, "1.0");
        assert!(admin.tablespaces().await.expect("tablespaces").contains("pg_default"));
    }
}
