//! Arguments, configuration, and the codes that the job ends with.

use plana_testkit::{
    bin::Bin,
    job::{Job, Outcome, expect_words},
    redis::RedisServer,
};

use crate::{GATE, Place, TABLE, each};

#[test]
fn the_help_names_every_option_and_code() {
    let done = Bin::program(env!("CARGO_BIN_EXE_partition-roller")).arg("--help").run().unwrap().expect_code(0);
    for word in ["--only", "--exclude", "--store", "--dry-run", "--schedule", "check", "\n   20 ", "130, 143"] {
        assert!(done.stdout.contains(word), "{word}");
    }
}

#[test]
fn without_tables_and_without_a_server_it_says_what_to_do() {
    let bare = Job::of(env!("CARGO_BIN_EXE_partition-roller"));
    expect_words(bare.run().expect(10).run_error(), &["none is configured", "[partitions.tables]"]);
    bare.clone().arg("--only=").run().done.expect_code(2);
    let unknown = bare.config("[partitions.tables.a]\ntable = \"public.a\"\nretention_days = 3\n").run().expect(10);
    expect_words(unknown.run_error(), &["partitions.tables.a.retention_days"]);
}

#[test]
fn a_dry_run_shows_each_step_with_its_locks_and_changes_nothing() {
    each(|major| {
        let place = Place::with_events(major);
        let before = place.partitions("events");
        let config = format!("{TABLE}retention = \"100d\"\nretired = \"drop\"\n");
        let file = place.job.home().join("config.toml");
        std::fs::write(&file, &config).unwrap();
        let bin = Bin::program(env!("CARGO_BIN_EXE_partition-roller")).envs(place.cluster.env()).env("PGDATABASE", &place.name);
        let done = bin.arg("--dry-run").arg("--config").arg(&file).run().unwrap().expect_code(0);
        let (next, oldest) = (place.month(-1), place.month(5));
        expect_words(
            &done.stdout,
            &[
                &format!("CREATE TABLE \"public\".\"{next}\" (LIKE \"public\".\"events\""),
                "ATTACH PARTITION",
                "SHARE UPDATE EXCLUSIVE on public.events",
                &format!("DETACH PARTITION \"public\".\"{oldest}\" CONCURRENTLY"),
                "no partition holds",
                "Nothing was changed",
            ],
        );
        assert_eq!(place.partitions("events"), before);
        // The SQL that it shows for a new partition does what it says.
        let report: serde_json::Value =
            serde_json::from_str(&place.job(&config).arg("--dry-run").run().done.expect_code(0).stdout).unwrap();
        let step = &report["tables"][0]["steps"][0]["sql"];
        let sql: Vec<&str> = step.as_array().unwrap().iter().map(|sql| sql.as_str().unwrap()).collect();
        place.sql(&format!("BEGIN; {}; COMMIT", sql.join("; ")));
        assert!(place.is_attached(&next));
    });
}

#[test]
fn check_tells_where_each_table_stands() {
    each(|major| {
        let place = Place::with_events(major);
        let found = place.checked(TABLE, 0);
        expect_words(&found, &["6 partitions", "runway", &format!("next missing {}", place.month(-1)), "0 expired", "0 pending"]);
        place.sql(&format!("DROP TABLE {}", place.month(0)));
        expect_words(&place.checked(TABLE, 1), &["runway none", "inserts of now fail"]);
        place.run(TABLE, 0);
        expect_words(&place.checked(TABLE, 0), &["next missing none"]);
    });
}

#[test]
fn check_tells_what_is_in_a_gap_off_the_calendar_expired_half_detached_and_in_the_way() {
    each(|major| {
        let place = Place::with_events(major);
        let (oldest, gap) = (place.month(5), place.month(3));
        place.sql(&format!(
            "DROP TABLE {gap}; SET TimeZone = 'UTC'; CREATE TABLE shifted PARTITION OF events FOR VALUES FROM ('2011-01-01 02:00') TO ('2011-02-01 02:00')"
        ));
        place.leave_half_detached(&oldest);
        let day = |sql: &str| place.sql(&format!("SET TimeZone = 'UTC'; SELECT date_trunc('month', now()) {sql}"));
        let left = place.sql("SET TimeZone = 'UTC'; SELECT extract(day FROM date_trunc('month', now()) + interval '1 month' - now())::int");
        // Days, or hours where it is less than two.
        let runway = if left.parse::<u32>().unwrap() >= 2 { format!("runway {left} d") } else { "runway ".to_owned() };
        let expired = place.sql("SET TimeZone = 'UTC'; SELECT count(*) FROM generate_series(1, 4) back WHERE date_trunc('month', now()) - (back - 1) * interval '1 month' <= now() - interval '100 days'");
        let mut holder = place.session("BEGIN; SELECT count(*) FROM events");
        let pid = holder.run("SELECT pg_backend_pid()");
        let found = place.checked(&format!("{TABLE}retention = \"100d\"\n"), 0);
        expect_words(
            &found,
            &[
                "6 partitions,",
                &format!("2011-01-01 02:00:00+00 to {}", day("+ interval '1 month'")),
                &runway,
                &format!("next missing {}", place.month(-1)),
                &format!("{expired} expired, 1 pending"),
                &format!("public.{oldest} is half detached"),
                &format!("nothing holds {} to {}", day("- interval '3 months'"), day("- interval '2 months'")),
                "1 partitions begin or end off the months of UTC, such as public.shifted, by 120 min",
                "public.shifted has expired and stays",
                &format!("pid {pid}"),
                "holds AccessShareLock on public.events",
            ],
        );
    });
}

#[test]
fn what_a_dry_run_shows_is_all_that_a_run_does() {
    each(|major| {
        let place = Place::with_events(major);
        // A DEFAULT that is large, and holds rows of this month, which somebody has dropped.
        place.sql(&format!(
            "CREATE TABLE rest PARTITION OF events DEFAULT; ALTER TABLE rest ALTER body SET STORAGE PLAIN; DROP TABLE {};
             INSERT INTO events (at, body) SELECT '2001-01-01'::timestamptz + n * interval '1 minute', repeat('x', 900) FROM generate_series(1, 6000) n;
             INSERT INTO events (at) VALUES (now()); ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC",
            place.month(0)
        ));
        let config = format!("{TABLE}retention = \"100d\"\nsuffix = \"_kept\"\n");
        let shown = place.job(&config).arg("--dry-run").run().done.expect_code(0);
        expect_words(
            &shown.stdout,
            &["WITH moved AS", "REVOKE ALL", "plana_roller_proof", "VALIDATE CONSTRAINT", "DETACH PARTITION", "RENAME TO"],
        );
        for step in shown.json()["tables"][0]["steps"].as_array().unwrap() {
            let sql: Vec<&str> = step["sql"].as_array().unwrap().iter().map(|sql| sql.as_str().unwrap()).collect();
            assert!(
                step["locks"].as_str().is_some_and(|locks| !locks.is_empty()) && step["why"].as_str().is_some_and(|why| !why.is_empty())
            );
            place.sql(&format!("BEGIN; {}; COMMIT", sql.join("; ")));
        }
        let again = place.run(&config, 0);
        let item = again.item("public.events");
        for nothing in ["made", "moved_rows", "detached"] {
            assert!(item[nothing].is_null(), "{item:#}");
        }
        assert_eq!((place.is_attached(&place.month(-3)), place.has(&format!("{}_kept", place.month(5)))), (true, true));
        assert_eq!(place.sql("SELECT count(*) FROM rest"), "6000");
        let next = place.job(&config).arg("--dry-run").run().done.expect_code(0);
        assert_eq!(next.json()["tables"][0]["steps"].as_array().map(Vec::len), Some(0), "{}", next.stdout);

        // With deployments, and where it is dropped at once.
        let place = Place::with_events(major);
        let config = format!(
            "{TABLE}retired = \"drop\"\n[partitions.tables.events.deployments]\nquery = \"SELECT 'd' || n, 60 + n * 20 FROM generate_series(0, 2) n\"\ncolumn = \"deployment\"\n"
        );
        let shown = place.job(&config).arg("--dry-run").run().done.expect_code(0);
        let oldest = place.month(5);
        expect_words(
            &shown.stdout,
            &[&format!("DROP TABLE \\\"public\\\".\\\"{oldest}"), "DELETE FROM ONLY", "FOR UPDATE OF r SKIP LOCKED", "VACUUM"],
        );
        place.sql(&format!("UPDATE {oldest} SET deployment = 'stranger'"));
        let shown = place.job(&config).arg("--dry-run").run().done.expect_code(0);
        expect_words(&shown.stdout, &[&format!("public.{oldest} stays: it has rows of deployment stranger")]);
    });
}

#[test]
fn a_dsn_of_the_environment_works_in_both_forms() {
    each(|major| {
        let place = Place::with_events(major);
        let bare =
            || Job::of(env!("CARGO_BIN_EXE_partition-roller")).config(&format!("[postgres]\ndsn_env = \"EXO_DATABASE_DSN\"\n{TABLE}"));
        bare().env("EXO_DATABASE_DSN", place.cluster.keyword_dsn(&place.name)).run().expect(0);
        assert_eq!(place.partitions("events").len(), 9);
        bare().env("EXO_DATABASE_DSN", place.cluster.dsn(&place.name)).run().expect(0);
    });
}

#[test]
fn the_shipped_configuration_rolls_tables_like_those_of_exo() {
    each(|major| {
        let place = Place::new(major);
        place.sql(include_str!("../../../../tests/platform/exo.sql"));
        // But for the store and the database's name, as it is shipped.
        let job = Job::of(env!("CARGO_BIN_EXE_partition-roller"))
            .config(include_str!("../../../../config/exo.toml"))
            .set("partitions.database", &place.name)
            .env("EXO_DATABASE_DSN", place.cluster.keyword_dsn(&place.name));
        let outcome = job.run().expect(0);
        assert_eq!(outcome.item("public.session_events")["made"], 4);
        assert!(outcome.item("public.session_events")["deleted_rows"].as_u64().is_some_and(|rows| rows > 0));
        assert_eq!(outcome.item("public.audit_log")["made"], 3);
        // Within its grace it is detached and no more.
        assert_eq!(outcome.item("public.audit_log")["dropped"], serde_json::Value::Null);
        assert!(outcome.item("public.audit_log")["detached"].as_u64().is_some_and(|detached| detached >= 1));
        let again = job.env("EXO_DATABASE_DSN", place.cluster.dsn(&place.name)).run().expect(0);
        assert!(again.item("public.session_events")["made"].is_null() && again.item("public.audit_log")["detached"].is_null());
    });
}

#[test]
fn while_another_run_is_at_work_it_is_left_to_that_one() {
    each(|major| {
        let place = Place::with_events(major);
        place.gate();
        let mut running = place.job(GATE).spawn();
        place.wait_at_gate(&mut running);
        expect_words(place.run(TABLE, 11).run_error(), &["another run is at work"]);
        assert_eq!(place.partitions("events").len(), 6);
        place.open_gate();
        Outcome::wait(running).expect(0);
        place.run(TABLE, 0);
    });
}

#[test]
fn events_and_metrics_tell_of_partitions() {
    each(|major| {
        let place = Place::with_events(major);
        place.sql("CREATE TABLE deployments (id text, days int); INSERT INTO deployments VALUES ('d0', 40), ('d1', 100), ('d2', 100)");
        // What of the rows past their own window lies in partitions that stay.
        let expired: u64 = place
            .sql(
                "SELECT count(*) FROM events e JOIN deployments d ON d.id = e.deployment JOIN pg_class c ON c.oid = e.tableoid
             WHERE e.at < now() - d.days * interval '1 day'
               AND (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \\(''(.*)''\\)'))[1]::timestamptz > now() - interval '100 days'",
            )
            .parse()
            .unwrap();
        let redis = RedisServer::start().unwrap();
        let metrics = place.job.home().join("metrics");
        std::fs::create_dir_all(&metrics).unwrap();
        let config = format!(
            "{TABLE}retired = \"drop\"\n[partitions.tables.events.deployments]\nquery = \"SELECT id, days FROM deployments\"\ncolumn = \"deployment\"\n"
        );
        let run = place.job(&config).set("events.url", &redis.url()).set("metrics.textfile_dir", metrics.to_str().unwrap()).run();
        let outcome = run.expect(0);
        let item = outcome.item("public.events");
        let events = redis.cli(&["XRANGE", "PLANA:events", "-", "+"]).unwrap();
        let count = |word: &str| events.matches(word).count() as u64;
        assert_eq!(count("app.plana.jobs.partition.made"), 3, "{events}");
        // Each is detached, and then dropped.
        let gone = item["detached"].as_u64().filter(|gone| *gone >= 1).unwrap();
        assert_eq!((count("app.plana.jobs.partition.retired"), item["dropped"].as_u64()), (gone * 2, Some(gone)), "{events}");
        expect_words(
            &events,
            &[&place.month(-1), &place.month(5), "\"step\":\"detached\"", "\"step\":\"dropped\"", "run.started", "run.finished"],
        );
        let written: String =
            std::fs::read_dir(&metrics).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        let value = |family: &str| {
            let line = written.lines().find(|line| line.starts_with(family) && line.contains("public.events"));
            let number = line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("{family} in\n{written}"));
            number.parse::<f64>().unwrap()
        };
        assert_eq!(value("plana_jobs_partitions_made{"), 3.0);
        let end: f64 = place
            .sql(
                "SELECT extract(epoch FROM date_trunc('month', now() AT TIME ZONE 'UTC') + interval '4 months' - now() AT TIME ZONE 'UTC')",
            )
            .parse()
            .unwrap();
        let runway = value("plana_jobs_partition_runway_seconds{");
        assert!((runway - end).abs() < 60.0, "{runway} and {end}");
        assert_eq!(value("plana_jobs_partitions_retired{"), gone as f64);
        assert!(expired > 0);
        assert_eq!(value("plana_jobs_partition_rows_deleted{"), expired as f64);
        assert_eq!(value("plana_jobs_partitions_expired{"), 0.0);
    });
}
