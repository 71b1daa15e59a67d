//! Arguments, configuration, and the codes that the job ends with.

use plana_testkit::{
    bin::Bin,
    job::{Job, expect_words},
    pg::PgMajor,
    redis::RedisServer,
};

use crate::{Place, TABLE, each};

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
fn while_another_run_is_at_work_it_is_left_to_that_one() {
    let place = Place::with_events(PgMajor::V16);
    let slow = "[partitions.tables.events]\ntable = \"public.events\"\n[partitions.tables.events.deployments]\nquery = \"SELECT pg_sleep(3)::text, 30\"\ncolumn = \"deployment\"\n";
    let mut running = place.job(slow).spawn();
    running
        .wait_until("it at work", |_| {
            place.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3)%' AND pid <> pg_backend_pid()") != "0"
        })
        .unwrap();
    expect_words(place.run(TABLE, 11).run_error(), &["another run is at work"]);
    running.wait().unwrap();
    place.run(TABLE, 0);
}

#[test]
fn events_and_metrics_tell_of_partitions() {
    let place = Place::with_events(PgMajor::V16);
    let redis = RedisServer::start().unwrap();
    let metrics = place.job.home().join("metrics");
    std::fs::create_dir(&metrics).unwrap();
    let config = format!("{TABLE}retention = \"100d\"\nretired = \"drop\"\n");
    place.job(&config).set("events.url", &redis.url()).set("metrics.textfile_dir", metrics.to_str().unwrap()).run().expect(0);
    let events = redis.cli(&["XRANGE", "PLANA:events", "-", "+"]).unwrap();
    expect_words(
        &events,
        &["app.plana.jobs.partition.made", "app.plana.jobs.partition.retired", &place.month(-1), &place.month(5), "run.finished"],
    );
    let written: String = std::fs::read_dir(&metrics).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let value = |family: &str| {
        written
            .lines()
            .find(|line| line.starts_with(family))
            .and_then(|line| line.rsplit(' ').next())
            .unwrap_or_else(|| panic!("{family} in\n{written}"))
            .parse::<f64>()
            .unwrap()
    };
    assert_eq!(value("plana_jobs_partitions_made{"), 3.0);
    assert!(value("plana_jobs_partition_runway_seconds{") > 86_400.0 * 85.0);
    assert!(value("plana_jobs_partitions_retired{") >= 2.0);
    assert_eq!(value("plana_jobs_partition_rows_deleted{"), 0.0);
}
