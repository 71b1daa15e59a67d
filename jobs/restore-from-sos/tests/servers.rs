//! What differs between servers: locales, extensions, rights; and what killed runs leave on them.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use common::{Site, TENANT, add_roles, error, install_extension, json};
use plana_testkit::pg::{PgCluster, PgMajor};

fn elsewhere(major: PgMajor) -> (PgCluster, String) {
    let cluster = PgCluster::start(major).unwrap();
    add_roles(&cluster);
    let dsn = format!("host={} port={} user=plana_restore dbname=postgres", cluster.socket_dir().display(), cluster.port());
    (cluster, dsn)
}

fn backed_up(major: PgMajor, sql: &str, contents: &str) -> Site {
    let site = Site::empty(major);
    site.cluster.psql("postgres", &format!("CREATE DATABASE \"{TENANT}\" OWNER plana {sql}")).unwrap();
    site.cluster.psql(TENANT, contents).unwrap();
    site.back_up(&["--only", TENANT]);
    site
}

const SORTED: &str =
    "SET ROLE plana; CREATE TABLE words (word text PRIMARY KEY); INSERT INTO words VALUES ('a10'), ('a9'), ('A8'), ('ä7'), ('b1')";
const SORT: &str = "SELECT string_agg(word, ' ' ORDER BY word) FROM words";

#[test]
fn an_icu_database_comes_back_as_one_and_a_server_without_icu_is_said_to_be() {
    let site = backed_up(PgMajor::V15, "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kn-true' LOCALE 'C.UTF-8'", SORTED);
    site.job(&["restore", TENANT, "--into", "copy"]).run().unwrap().expect_code(0);
    let facts = "SELECT datlocprovider, daticulocale FROM pg_database WHERE datname = current_database()";
    assert_eq!(site.cluster.psql("copy", facts).unwrap(), "i|de-u-kn-true");
    // Numbers in words count, and case and accents come last: nothing but ICU sorts so.
    assert_eq!(site.cluster.psql(TENANT, SORT).unwrap(), "ä7 A8 a9 a10 b1");
    assert_eq!(site.cluster.psql("copy", SORT).unwrap(), site.cluster.psql(TENANT, SORT).unwrap());
    for major in [PgMajor::V16, PgMajor::V18] {
        let (there, dsn) = elsewhere(major);
        let has_icu = there.psql("postgres", "SELECT count(*) > 0 FROM pg_collation WHERE collname = 'und-x-icu'").unwrap() == "t";
        let job = site.job(&["restore", TENANT, "--dsn", &dsn]).env("PLANA_JOBS__POSTGRES__BIN_DIRS", there.bin_dir());
        let done = job.run().unwrap();
        if has_icu {
            done.expect_code(0);
            assert_eq!(there.psql(TENANT, SORT).unwrap(), "ä7 A8 a9 a10 b1");
        } else {
            let said = error(&done.expect_code(1));
            assert!(said.contains("built with ICU") && said.contains("de-u-kn-true"), "{said}");
            assert_eq!(there.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'plana_scratch%'").unwrap(), "0");
        }
    }
}

#[test]
fn the_provider_of_a_locale_is_the_dumped_one_whatever_the_server_prefers() {
    let site = backed_up(PgMajor::V18, "TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'", SORTED);
    site.job(&["restore", TENANT, "--into", "copy"]).run().unwrap().expect_code(0);
    let facts = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = current_database()";
    assert_eq!(site.cluster.psql("copy", facts).unwrap(), "b|C.UTF-8");
    let shown = json(&site.job(&["show", &site.set("pg", TENANT)]).run().unwrap().expect_code(0));
    assert_eq!(shown["manifest"]["database"]["locale"]["provider"], "builtin");
    // A manifest of an older version says nothing of it.
    let old = backed_up(PgMajor::V16, "", SORTED);
    let manifest = old.store().join(old.set("pg", TENANT)).join("manifest.json");
    let mut text: serde_json::Value = serde_json::from_str(&fs::read_to_string(&manifest).unwrap()).unwrap();
    assert_eq!(text["database"].as_object_mut().unwrap().remove("locale").unwrap()["provider"], "libc");
    fs::write(&manifest, text.to_string()).unwrap();
    old.job(&["restore", TENANT, "--into", "copy"]).run().unwrap().expect_code(0);
}

const SETTINGS: &str = "SELECT string_agg(name || '=' || value, ' ' ORDER BY name) FROM extra.plana_settings";

fn with_extension(major: PgMajor, name: &str, trusted: bool) -> Site {
    let site = Site::empty(major);
    install_extension(&site.cluster, name, trusted);
    site.add_tenant(TENANT);
    let sql = format!(
        "CREATE SCHEMA extra AUTHORIZATION plana; CREATE EXTENSION {name} SCHEMA extra; COMMENT ON EXTENSION {name} IS 'ours';
         INSERT INTO extra.plana_settings VALUES ('c', '3', false); SELECT setval('extra.plana_numbers', 7)"
    );
    site.cluster.psql(TENANT, &sql).unwrap();
    if trusted {
        site.cluster.psql(TENANT, &format!("UPDATE pg_extension SET extowner = 'plana'::regrole WHERE extname = '{name}'")).unwrap();
    }
    site.back_up(&["--only", TENANT]);
    site
}

#[test]
fn of_an_extensions_own_table_only_the_dumped_rows_are_compared() {
    for major in [PgMajor::V16, PgMajor::V18] {
        let site = with_extension(major, "plana_test_partly", true);
        let done = site.job(&["restore", TENANT, "--into", "copy"]).run().unwrap().expect_code(0);
        assert_eq!(json(&done)["items"][0]["rows"], 6501, "{}", done.stdout);
        assert_eq!(site.cluster.psql("copy", SETTINGS).unwrap(), "a=1 b=2 c=3");
    }
}

#[test]
fn an_extension_for_superusers_is_named_before_anything_is_begun_and_drilled_on_a_cluster_of_its_own() {
    for major in [PgMajor::V16, PgMajor::V18] {
        let site = with_extension(major, "plana_test_superuser", false);
        let refused = site.job(&["restore", TENANT, "--into", "copy"]).run().unwrap().expect_code(1);
        let said = error(&refused);
        assert!(said.contains("plana_test_superuser") && said.contains("--as-superuser"), "{said}");
        assert!(!refused.stderr.contains("restoring pg/"), "{}", refused.stderr);
        let scratch = tempfile::Builder::new().prefix("plana-scratch-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let drill = site.job(&["drill", "--only", TENANT]).env("PLANA_JOBS__RESTORE__SCRATCH_DIR", scratch.path());
        let done = drill.run().unwrap().expect_code(0);
        let item = &json(&done)["items"][0];
        assert_eq!((&item["rows"], &item["tables"]), (&6501.into(), &5.into()), "{}", done.stdout);
        assert!(item["warnings"].to_string().contains("plana_test_superuser"), "{}", done.stdout);
    }
}

#[test]
fn roles_of_policies_and_grants_are_named_before_anything_is_begun_and_made_on_a_cluster_of_its_own() {
    let site = Site::empty(PgMajor::V16);
    site.add_tenant(TENANT);
    site.cluster.psql("postgres", "CREATE ROLE \"the reader\"; CREATE ROLE auditor").unwrap();
    let sql = "ALTER TABLE account_move ENABLE ROW LEVEL SECURITY;
               CREATE POLICY theirs ON account_move FOR SELECT TO \"the reader\" USING (id > 1);
               GRANT SELECT ON account_move TO auditor";
    site.cluster.psql(TENANT, sql).unwrap();
    site.back_up(&["--only", TENANT]);
    let elsewhere = PgCluster::start(PgMajor::V16).unwrap();
    elsewhere
        .psql("postgres", "CREATE ROLE plana_restore LOGIN CREATEDB BYPASSRLS; CREATE ROLE plana; GRANT plana TO plana_restore")
        .unwrap();
    let dsn = format!("host={} port={} user=plana_restore dbname=postgres", elsewhere.socket_dir().display(), elsewhere.port());
    let call = |extra: &[&str]| site.job(&["restore", TENANT, "--dsn", &dsn]).args(extra).run().unwrap();
    let refused = call(&[]).expect_code(1);
    let said = error(&refused);
    assert!(said.contains("`the reader`, which a row-level policy is for") && said.contains("`auditor`, which grants name"), "{said}");
    assert!(!refused.stderr.contains("restoring pg/"), "{}", refused.stderr);
    let refused = call(&["--no-privileges"]).expect_code(1);
    assert!(error(&refused).contains("`the reader`") && !error(&refused).contains("auditor"), "{}", error(&refused));
    elsewhere.psql("postgres", "CREATE ROLE \"the reader\"").unwrap();
    call(&["--no-privileges"]).expect_code(0);
    let scratch = tempfile::Builder::new().prefix("plana-scratch-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    site.job(&["drill", "--only", TENANT]).env("PLANA_JOBS__RESTORE__SCRATCH_DIR", scratch.path()).run().unwrap().expect_code(0);
}

#[test]
fn what_killed_runs_left_is_dropped_and_nothing_else() {
    let site = Site::new(PgMajor::V16);
    let old = "plana-jobs scratch, made 2026-01-01T00:00:00Z";
    // A run that is at work holds the lock of another.
    let mut hook = site.job(&["restore", TENANT, "--into", "slow", "--hook", "/bin/sleep 15"]).spawn().unwrap();
    hook.wait_until("the restore", |running| running.stderr().contains("every table has the rows")).unwrap();
    let make = |name: &str, owner: &str, comment: &str| {
        site.cluster.psql("postgres", &format!("CREATE DATABASE \"{name}\" OWNER {owner}")).unwrap();
        if !comment.is_empty() {
            site.cluster.psql("postgres", &format!("COMMENT ON DATABASE \"{name}\" IS '{comment}'")).unwrap();
        }
    };
    let now = site.cluster.psql("postgres", "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')").unwrap();
    make("plana_scratch_00000001", "plana_restore", old);
    make("plana_scratch_00000002", "plana_restore", "mine, do not drop");
    make("plana_scratch_00000003", "plana_restore", "");
    make("plana_scratch_00000004", "postgres", old);
    make("plana_scratch_00000005", "plana_restore", &format!("plana-jobs scratch, made {now}"));
    make("plana_scratch_mine", "plana_restore", old);
    make("plana_scratch_00000006", "plana_restore", old);
    make("plana_scratch_00000007", "plana_restore", old);
    // Somebody is connected to one.
    let mut inside = site.cluster.command("psql").args(["-Xc", "SELECT pg_sleep(60)", "plana_scratch_00000006"]).spawn().unwrap();
    let at_work = "SELECT datname FROM pg_database WHERE datname ~ '^plana_scratch_[0-9a-f]{8}$' AND datname !~ '_0000000.$'";
    let busy = site.cluster.psql("postgres", at_work).unwrap();
    assert!(!busy.is_empty(), "{:?}\n{}", site.databases(), hook.stderr());
    site.cluster.psql("postgres", &format!("COMMENT ON DATABASE \"{busy}\" IS '{old}'")).unwrap();
    let done = site.job(&["restore", TENANT, "--into", "copy"]).run().unwrap().expect_code(0);
    let warned = json(&done)["warnings"].to_string();
    for name in ["plana_scratch_00000001", "plana_scratch_00000007"] {
        assert!(warned.contains(name), "{warned}\n{}", done.stderr);
    }
    let left: Vec<String> = site.databases().into_iter().filter(|name| name.starts_with("plana_scratch_")).collect();
    let expected = ["00000002", "00000003", "00000004", "00000005", "00000006"].map(|digits| format!("plana_scratch_{digits}"));
    let mut expected = Vec::from(expected);
    expected.extend([busy, "plana_scratch_mine".to_owned()]);
    expected.sort();
    assert_eq!(left, expected);
    hook.wait().unwrap().expect_code(0);
    inside.kill().unwrap();
    inside.wait().unwrap();
}

#[test]
fn a_failed_restore_that_is_kept_for_a_look_is_not_swept() {
    let site = Site::new(PgMajor::V16);
    let call = |into: &str, extra: &[&str]| site.job(&["restore", TENANT, "--into", into]).args(extra).run().unwrap();
    call("copy", &["--hook", "exit 1", "--keep-failed"]).expect_code(1);
    let kept: Vec<String> = site.databases().into_iter().filter(|name| name.starts_with("plana_scratch_")).collect();
    assert_eq!(kept.len(), 1);
    let mark = format!("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{}'", kept[0]);
    assert!(site.cluster.psql("postgres", &mark).unwrap().contains("kept for a look"));
    call("second", &[]).expect_code(0);
    assert!(site.databases().contains(&kept[0]));
}

/// Every role but the server's own: attributes, settings, comment, memberships, and verifiers.
const ROLES: &str = "
    SELECT string_agg(concat_ws('|', rolname, rolsuper, rolcreatedb, rolcanlogin, rolbypassrls, rolconnlimit, rolpassword,
        (SELECT setconfig::text FROM pg_db_role_setting WHERE setrole = r.oid AND setdatabase = 0), shobj_description(oid, 'pg_authid'),
        (SELECT string_agg(pg_get_userbyid(roleid), ',' ORDER BY 1) FROM pg_auth_members WHERE member = r.oid)), E'\\n' ORDER BY rolname)
    FROM pg_authid r WHERE rolname !~ '^pg_' AND rolname NOT IN ('postgres', 'plana_restore')";

#[test]
fn globals_come_back_on_newer_servers_and_touch_nothing_that_is_there() {
    let mut site = Site::empty(PgMajor::V15);
    let roles = "CREATE ROLE \"Odd; \"\"role\"\" '\" LOGIN PASSWORD 'it''s; secret' IN ROLE plana;
        COMMENT ON ROLE plana IS E'one;\\ntwo -- three'; ALTER ROLE plana SET search_path = 'a', 'b;c'; ALTER ROLE app_reader BYPASSRLS CONNECTION LIMIT 7;
        GRANT SET ON PARAMETER log_statement TO app_reader";
    site.cluster.psql("postgres", roles).unwrap();
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key");
    assert!(Command::new("age-keygen").arg("-o").arg(&key).output().unwrap().status.success());
    let text = fs::read_to_string(&key).unwrap();
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let encrypted = |site: &Site| {
        let config = site.home.path().join("encrypted.toml");
        fs::write(&config, format!("[encryption]\nrecipients = [\"{public}\"]\n")).unwrap();
        site.back_up(&["--config", config.to_str().unwrap()]);
    };
    for major in [PgMajor::V16, PgMajor::V18] {
        encrypted(&site);
        let expected = site.cluster.psql("postgres", ROLES).unwrap();
        assert!(expected.contains("SCRAM-SHA-256") && expected.contains("Odd;"), "{expected}");
        let there = Site { cluster: PgCluster::start(major).unwrap(), home: tempfile::tempdir().unwrap() };
        // One of them is there, and is somebody else's.
        there.cluster.psql("postgres", "CREATE ROLE plana_restore LOGIN; COMMENT ON ROLE plana_restore IS 'as it was'").unwrap();
        let url = format!("file://{}", site.store().display());
        let call = |user: &str, extra: &[&str]| {
            let job = there.job(&["restore-globals", "--store", &url, "--identity", key.to_str().unwrap()]);
            job.env("PGUSER", user).args(extra).run().unwrap()
        };
        assert!(error(&call("plana_restore", &[]).expect_code(20)).contains("superuser"));
        let dry = call("postgres", &["--dry-run"]).expect_code(0);
        assert!(dry.stderr.contains("would run: CREATE ROLE plana") && !dry.stderr.contains("SCRAM"), "{}", dry.stderr);
        assert_eq!(there.cluster.psql("postgres", ROLES).unwrap(), "");
        let done = call("postgres", &[]).expect_code(0);
        assert!(!done.stderr.contains("SCRAM") && !done.stdout.contains("SCRAM"));
        assert_eq!(there.cluster.psql("postgres", ROLES).unwrap(), expected);
        let kept = "SELECT rolcreatedb, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'plana_restore'";
        assert_eq!(there.cluster.psql("postgres", kept).unwrap(), "f|as it was");
        let item = &json(&done)["items"][0];
        assert!(item["warnings"].to_string().contains("role plana_restore"), "{}", done.stdout);
        // Again, nothing is left to do.
        let again = call("postgres", &[]).expect_code(0);
        assert_eq!(json(&again)["items"][0]["made"], 0, "{}", again.stdout);
        there.cluster.psql("postgres", "ALTER ROLE plana_restore CREATEDB; GRANT plana TO plana_restore").unwrap();
        site = there;
    }
}

#[test]
fn globals_that_cannot_be_made_whole_are_not_made() {
    let site = Site::empty(PgMajor::V16);
    let directory = tempfile::Builder::new().prefix("plana-space-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let space = directory.path().join("fast");
    fs::create_dir(&space).unwrap();
    fs::set_permissions(&space, fs::Permissions::from_mode(0o777)).unwrap();
    // The server must own it.
    assert!(Command::new("chown").arg("--reference").arg(site.cluster.data_dir()).arg(&space).status().unwrap().success());
    site.cluster.psql("postgres", &format!("CREATE TABLESPACE fast OWNER plana LOCATION '{}'", space.display())).unwrap();
    site.back_up(&[]);
    let there = PgCluster::start(PgMajor::V16).unwrap();
    let dsn = format!("host={} port={} user=postgres dbname=postgres", there.socket_dir().display(), there.port());
    site.cluster.psql("postgres", "DROP TABLESPACE fast").unwrap();
    fs::remove_dir(&space).unwrap();
    let call = || site.job(&["restore-globals", "--dsn", &dsn]).run().unwrap();
    let said = error(&call().expect_code(1));
    assert!(said.contains("CREATE TABLESPACE fast") && said.contains("make its directory"), "{said}");
    assert_eq!(there.psql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'plana'").unwrap(), "1");
    fs::create_dir(&space).unwrap();
    assert!(Command::new("chown").arg("--reference").arg(there.data_dir()).arg(&space).status().unwrap().success());
    let done = call().expect_code(0);
    assert_eq!(json(&done)["items"][0]["made"], 1);
    assert!(json(&done)["items"][0]["warnings"].to_string().contains("role plana"));
}

#[test]
fn a_server_that_speaks_german_is_understood_where_the_role_may_choose_the_language() {
    let site = Site {
        cluster: PgCluster::builder(PgMajor::V15).setting("lc_messages = 'de_DE.UTF-8'").start().unwrap(),
        home: tempfile::tempdir().unwrap(),
    };
    add_roles(&site.cluster);
    site.add_tenant(TENANT);
    // The archive wants what this server no longer has.
    let space = tempfile::Builder::new().prefix("plana-space-").tempdir_in("/var/tmp").unwrap();
    assert!(Command::new("chown").arg("--reference").arg(site.cluster.data_dir()).arg(space.path()).status().unwrap().success());
    site.cluster.psql("postgres", &format!("CREATE TABLESPACE fast LOCATION '{}'", space.path().display())).unwrap();
    site.cluster.psql("postgres", "GRANT ALL ON TABLESPACE fast TO plana").unwrap();
    site.cluster.psql(TENANT, "ALTER TABLE account_move SET TABLESPACE fast").unwrap();
    site.back_up(&["--only", TENANT]);
    site.cluster.psql(TENANT, "ALTER TABLE account_move SET TABLESPACE pg_default").unwrap();
    site.cluster.psql("postgres", "DROP TABLESPACE fast").unwrap();
    let german = "SELECT nothing";
    let said = format!("{:#}", site.cluster.psql("postgres", german).unwrap_err());
    assert!(said.contains("FEHLER"), "the server's messages are not German: run tools/install-deps.sh ({said})");
    let call = |user: &str, extra: &[&str]| {
        let job = site.job(&["restore", TENANT, "--into", "copy"]).env("PGUSER", user).args(extra);
        error(&job.run().unwrap().expect_code(1))
    };
    // Whoever may not choose is told what the server said, and nothing is put in place.
    let plain = call("plana_restore", &[]);
    assert!(plain.contains("default_tablespace") && plain.contains("FEHLER"), "{plain}");
    let superuser = call("postgres", &["--as-superuser"]);
    assert!(superuser.contains("ERROR") && superuser.contains("create the tablespace"), "{superuser}");
    let checked = site.job(&["check"]).run().unwrap();
    assert!(checked.stdout.contains("ALTER ROLE \\\"plana_restore\\\" SET lc_messages"), "{}", checked.stdout);
    site.cluster.psql("postgres", "ALTER ROLE plana_restore SET lc_messages = 'C'").unwrap();
    let allowed = call("plana_restore", &[]);
    assert!(allowed.contains("create the tablespace"), "{allowed}");
    site.expect_no_scratch();
}
