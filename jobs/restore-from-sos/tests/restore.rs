//! `restore`: a database back on a server, proven, and in its place only at the end.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{thread, time::Duration};

use common::{Site, TENANT, add_roles, contents, error, json};
use plana_testkit::{
    pg::{PgCluster, PgMajor},
    process::Signal,
};

#[test]
fn a_database_comes_back_beside_the_one_that_is_there() {
    for major in [PgMajor::V15, PgMajor::V16, PgMajor::V18] {
        let site = Site::new(major);
        let spool = tempfile::tempdir().unwrap();
        let spool = spool.path().to_str().unwrap();
        for (into, extra) in [("streamed", vec![]), ("spooled", vec!["--spool", spool, "--jobs", "2"])] {
            let done = site.job(&["restore", TENANT, "--into", into]).args(extra).run().unwrap().expect_code(0);
            let item = &json(&done)["items"][0];
            assert_eq!((&item["outcome"], &item["rows"]), (&"done".into(), &6500.into()), "{}", done.stdout);
            // A role's own settings are a matter for whoever administers the role.
            let warnings: Vec<_> = item["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap()).collect();
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].starts_with("the setting `search_path` of role `plana` was left out"), "{warnings:?}");
            assert_eq!(contents(&site.cluster, into), contents(&site.cluster, TENANT), "{major:?} {into}");
            let facts = |name: &str| {
                let query = format!(
                    "SELECT pg_get_userbyid(datdba), (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a), encoding, datcollate, (SELECT setconfig \
                     FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole = 0) FROM pg_database d WHERE datname = '{name}'"
                );
                site.cluster.psql("postgres", &query).unwrap()
            };
            assert_eq!(facts(into), facts(TENANT));
        }
        assert_eq!(std::fs::read_dir(spool).unwrap().count(), 0, "the spool file is gone");
        site.expect_no_scratch();
    }
}

/// The last index takes three seconds, in which one connection has nothing to do.
const SLOW_INDEX: &str = "
    SET ROLE plana;
    CREATE FUNCTION slowly(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM pg_catalog.pg_sleep(3); RETURN $1; END $$;
    CREATE TABLE late (id int); INSERT INTO late VALUES (1); CREATE INDEX late_slowly ON late (public.slowly(id))";

/// Of each table with rows, how often it was analyzed.
const ANALYZED: &str = "SELECT pg_catalog.string_agg(relname || ' ' || analyze_count, ', ' ORDER BY relname) FROM pg_catalog.pg_stat_user_tables \
    WHERE relname IN ('res_partner', 'account_move', 'events_2026', 'late')";

#[test]
fn tables_are_proven_while_the_last_one_is_still_restored() {
    for major in [PgMajor::V15, PgMajor::V16, PgMajor::V18] {
        let site = Site::empty(major);
        site.add_tenant(TENANT);
        site.cluster.psql(TENANT, SLOW_INDEX).unwrap();
        site.back_up(&[]);
        let spool = tempfile::tempdir().unwrap();
        let restored = |into: &str| {
            let job = site.job(&["restore", TENANT, "--into", into, "--jobs", "2", "--log-level", "debug", "--spool"]);
            job.arg(spool.path()).spawn().unwrap()
        };
        let done = restored("own").wait().unwrap().expect_code(0);
        assert_eq!(json(&done)["items"][0]["rows"], 6501);
        // The tables but `late`, whose index is not there before the end.
        assert!(done.stderr.contains("counting what is not counted yet tables=5 early=4"), "{major:?} {}", done.stderr);
        assert_eq!(site.cluster.psql("own", ANALYZED).unwrap(), "account_move 1, events_2026 1, late 1, res_partner 1");
        assert_eq!(site.cluster.psql("own", "SELECT count(*) FROM pg_stats WHERE tablename IN ('events', 'late_slowly')").unwrap(), "3");

        // Whoever counts may be gone, at once or when it has nothing left to do: then all is counted again.
        let again = "every table is counted again";
        // On a busy machine even "at once" is late.
        let (idle, told) = match major {
            PgMajor::V16 => ("0ms", vec![again, "every table is looked at when all are restored"]),
            _ => ("700ms", vec![again]),
        };
        let running = restored("again");
        let end = format!(
            "SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity \
             WHERE datname LIKE 'plana\\_scratch\\_%' AND query LIKE 'ANALYZE %' AND state = 'idle' AND state_change < clock_timestamp() - interval '{idle}'"
        );
        assert!((0..400).any(|_| {
            thread::sleep(Duration::from_millis(10));
            site.cluster.psql("postgres", &end).unwrap() == "1"
        }));
        let done = running.wait().unwrap().expect_code(0);
        assert!(told.iter().any(|told| done.stderr.contains(told)), "{major:?} {}", done.stderr);
        assert!(done.stderr.contains("tables=5 early=0"), "{major:?} {}", done.stderr);
        assert_eq!(contents(&site.cluster, "again"), contents(&site.cluster, TENANT));
        site.expect_no_scratch();
    }
}

/// A table that takes a row from another while its own is restored: seconds after the other is done with, and was counted.
const THIEF: &str = "
    SET ROLE plana;
    CREATE FUNCTION steals() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN true; END $$;
    CREATE TABLE thief (id int CHECK (public.steals())); INSERT INTO thief VALUES (1);
    CREATE OR REPLACE FUNCTION steals() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
        FOR i IN 1..400 LOOP
            EXIT WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conname = 'account_move_partner_id_fkey');
            PERFORM pg_catalog.pg_sleep(0.05);
        END LOOP;
        PERFORM pg_catalog.pg_sleep(3); DELETE FROM public.account_move WHERE id = 1; RETURN true;
    END $$;";

#[test]
fn a_row_that_is_lost_after_an_early_count_is_missed() {
    for major in [PgMajor::V15, PgMajor::V18] {
        let site = Site::empty(major);
        site.add_tenant(TENANT);
        site.cluster.psql(TENANT, THIEF).unwrap();
        site.back_up(&[]);
        let spool = tempfile::tempdir().unwrap();
        let job = site.job(&["restore", TENANT, "--into", "robbed", "--jobs", "2", "--log-level", "debug", "--spool"]);
        let failed = job.arg(spool.path()).run().unwrap().expect_code(1);
        assert!(error(&failed).contains("public.account_move has 4999 rows instead of 5000"), "{major:?} {}", failed.stdout);
        assert!(failed.stderr.contains("counted and analyzed early table=\"public.account_move\""), "{major:?} {}", failed.stderr);
        assert!(failed.stderr.contains("tables=5 early="), "{major:?} {}", failed.stderr);
        site.expect_no_scratch();
    }
}

#[test]
fn a_dump_goes_into_newer_majors_and_not_into_older_ones() {
    let old = Site::new(PgMajor::V15);
    let mut store = old.store();
    for major in [PgMajor::V16, PgMajor::V18] {
        let newer = PgCluster::start(major).unwrap();
        add_roles(&newer);
        let there = Site { cluster: newer, home: tempfile::tempdir().unwrap() };
        let url = format!("file://{}", store.display());
        there.job(&["restore", TENANT, "--store", &url]).run().unwrap().expect_code(0);
        assert_eq!(contents(&there.cluster, TENANT), contents(&old.cluster, TENANT));
        if major == PgMajor::V16 {
            // From 16 on to 18, as the next round does with what 16 wrote.
            there.back_up(&["--only", TENANT]);
            store = there.store();
            let refused =
                old.job(&["restore", TENANT, "--into", "older", "--store", &format!("file://{}", store.display())]).run().unwrap();
            assert!(error(&refused.expect_code(1)).contains("the server is PostgreSQL 15"));
            std::mem::forget(there);
        }
    }
}

#[test]
fn what_is_there_is_not_touched_unless_asked_for_and_kept_then() {
    let site = Site::new(PgMajor::V16);
    let before = contents(&site.cluster, TENANT);
    let refused = site.job(&["restore", TENANT]).run().unwrap().expect_code(20);
    assert!(error(&refused).contains("--replace") && error(&refused).contains("--into"), "{}", refused.stdout);
    site.cluster.psql(TENANT, "DELETE FROM account_move").unwrap();
    let broken = contents(&site.cluster, TENANT);
    assert_ne!(broken, before);
    let done = site.job(&["restore", TENANT, "--replace"]).run().unwrap().expect_code(0);
    let kept = json(&done)["items"][0]["old_one_kept_as"].as_str().unwrap().to_owned();
    assert_eq!(contents(&site.cluster, TENANT), before);
    site.cluster.psql("postgres", &format!("ALTER DATABASE \"{kept}\" ALLOW_CONNECTIONS true")).unwrap();
    assert_eq!(contents(&site.cluster, &kept), broken, "the old one is kept as it was");
    site.expect_no_scratch();
}

#[test]
fn the_set_of_a_moment_is_restored() {
    let site = Site::new(PgMajor::V16);
    let first = site.set("pg", TENANT);
    thread::sleep(Duration::from_millis(1100));
    site.cluster.psql(TENANT, "DELETE FROM account_move WHERE id > 100").unwrap();
    site.back_up(&["--only", TENANT]);
    let stamp = first.rsplit('/').next().unwrap().split('.').next().unwrap().to_owned();
    for (into, at, rows) in [("then", Some(stamp.as_str()), 6500), ("now", None, 1600)] {
        let at: Vec<&str> = at.into_iter().flat_map(|at| ["--at", at]).collect();
        let done = site.job(&["restore", TENANT, "--into", into]).args(at).run().unwrap().expect_code(0);
        assert_eq!(json(&done)["items"][0]["rows"], rows);
    }
    let none = site.job(&["restore", TENANT, "--into", "x", "--at", "2020-01-01"]).run().unwrap();
    assert!(error(&none.expect_code(1)).contains("the oldest is of"));
    let nobody = site.job(&["restore", "nobody"]).run().unwrap();
    assert!(error(&nobody.expect_code(1)).contains("there is none"));
}

#[test]
fn one_table_alone() {
    let site = Site::new(PgMajor::V16);
    let done = site.job(&["restore", TENANT, "--into", "table_only", "--table", "public.account_move"]).run().unwrap().expect_code(0);
    assert_eq!((&json(&done)["items"][0]["rows"], &json(&done)["items"][0]["tables"]), (&5000.into(), &1.into()));
    // A database of one table never takes the place of a whole one.
    for whole in [vec!["--replace", "--into", TENANT], vec![]] {
        site.job(&["restore", TENANT, "--table", "public.account_move"]).args(whole).run().unwrap().expect_code(2);
    }
    let tables = "SELECT string_agg(relname, ',') FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    assert_eq!(site.cluster.psql("table_only", tables).unwrap(), "account_move");
}

#[test]
fn a_hook_runs_before_the_name_is_taken_and_can_fail_the_restore() {
    let site = Site::new(PgMajor::V16);
    let psql = site.cluster.bin_dir().join("psql");
    let neutral = format!("{} -Xqc \"UPDATE res_partner SET email = NULL\"", psql.display());
    site.job(&["restore", TENANT, "--into", "neutral", "--hook", &neutral]).run().unwrap().expect_code(0);
    assert_eq!(site.cluster.psql("neutral", "SELECT count(email) FROM res_partner").unwrap(), "0");
    let failed = site.job(&["restore", TENANT, "--into", "never", "--hook", "exit 3"]).run().unwrap().expect_code(1);
    assert!(error(&failed).contains("exit status: 3"), "{}", failed.stdout);
    assert!(!site.databases().contains(&"never".to_owned()));
    site.expect_no_scratch();
}

#[test]
fn what_is_missing_is_said_before_anything_is_begun() {
    let site = Site::new(PgMajor::V16);
    let elsewhere = PgCluster::start(PgMajor::V16).unwrap();
    elsewhere.psql("postgres", "CREATE ROLE plana_restore LOGIN CREATEDB").unwrap();
    let dsn = format!("host={} port={} user=plana_restore dbname=postgres", elsewhere.socket_dir().display(), elsewhere.port());
    let call = |extra: &[&str]| site.job(&["restore", TENANT, "--dsn", &dsn]).args(extra).run().unwrap();
    let done = call(&[]).expect_code(1);
    assert!(error(&done).contains("role `plana` is not there") && error(&done).contains("--no-owner"), "{}", done.stdout);
    assert!(done.stderr.find("restoring").is_none(), "{}", done.stderr);
    call(&["--no-owner", "--no-privileges"]).expect_code(0);
    let shown = site.job(&["restore", TENANT, "--dsn", "host=x password=hunter2"]).run().unwrap().expect_code(10);
    assert!(error(&shown).contains("holds a password") && !shown.stderr.contains("hunter2"), "{}", shown.stderr);
    let owners = "SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ',') FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(elsewhere.psql(TENANT, owners).unwrap(), "plana_restore");
}

#[test]
fn a_superuser_is_refused_unless_it_is_meant() {
    let site = Site::new(PgMajor::V16);
    let call = |extra: &[&str]| site.job(&["restore", TENANT, "--into", "copy"]).env("PGUSER", "postgres").args(extra).run().unwrap();
    assert!(error(&call(&[]).expect_code(20)).contains("--as-superuser"));
    call(&["--as-superuser"]).expect_code(0);
}

#[test]
fn ended_at_any_moment_it_leaves_the_old_database_as_it_was_and_no_half_restored_one() {
    let site = Site::new(PgMajor::V16);
    let before = contents(&site.cluster, TENANT);
    let begun = std::time::Instant::now();
    let whole = site.job(&["restore", TENANT, "--replace"]).run().unwrap().expect_code(0);
    let kept = json(&whole)["items"][0]["old_one_kept_as"].as_str().unwrap().to_owned();
    site.cluster.psql("postgres", &format!("DROP DATABASE \"{kept}\"")).unwrap();
    let time = begun.elapsed();
    for moment in 1..=10 {
        for signal in [Signal::TERM, Signal::KILL] {
            let mut running = site.job(&["restore", TENANT, "--replace"]).spawn().unwrap();
            thread::sleep(time * moment / 11);
            if running.is_running().unwrap() {
                running.signal(signal).unwrap();
            }
            let done = running.wait().unwrap();
            let expected = if signal == Signal::TERM { [Some(143), Some(0)] } else { [None, Some(0)] };
            assert!(expected.contains(&done.code()) || done.signal() == Some(signal.as_raw()), "{}\n{}", done.status, done.stderr);
            // What a killed run had asked for, the server still carries out.
            let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'plana_restore'";
            while site.cluster.psql("postgres", sessions).unwrap() != "0" {
                thread::sleep(Duration::from_millis(20));
            }
            // The old one or the new one: there is one at every moment, and it is whole.
            let there = site.databases();
            assert!(there.contains(&TENANT.to_owned()), "moment {moment}: {there:?}\n{}", done.stderr);
            assert_eq!(contents(&site.cluster, TENANT), before, "moment {moment}");
            let left = there.iter().any(|name| name.starts_with("plana_scratch_"));
            assert!(!left || signal == Signal::KILL, "moment {moment}: {there:?}\n{}", done.stderr);
            for name in site.databases().iter().filter(|name| *name != TENANT && *name != "postgres") {
                site.cluster.psql("postgres", &format!("DROP DATABASE \"{name}\" WITH (FORCE)")).unwrap();
            }
        }
    }
}
