//! Tables that stand where a partition should, and tables that are nobody's to roll.

use plana_testkit::job::expect_words;

use crate::{Place, TABLE, each};

#[test]
fn a_same_named_stranger_is_told_with_the_sql_and_the_months_behind_it_are_made() {
    each(|major| {
        let place = Place::with_events(major);
        let next = place.month(-1);
        place.sql(&format!("CREATE TABLE {next} (LIKE events)"));
        let outcome = place.run(TABLE, 3);
        expect_words(
            outcome.item("public.events")["error"].as_str().unwrap(),
            &[&next, "attached to nothing", "ATTACH PARTITION", "RENAME TO"],
        );
        assert_eq!(outcome.item("public.events")["made"], 2);
        expect_words(&place.checked(TABLE, 1), &["attached to nothing"]);
        assert_eq!(place.sql(&format!("SELECT count(*) FROM {next}")), "0");
        // What it says mends it.
        let error = outcome.item("public.events")["error"].as_str().unwrap().to_owned();
        let attach = error.split("belong there: ").nth(1).and_then(|rest| rest.split("; if not").next()).unwrap();
        place.sql(attach);
        assert_eq!(place.run(TABLE, 0).item("public.events")["runway"], place.run(TABLE, 0).item("public.events")["runway"]);
        assert_eq!(place.partitions("events").len(), 9);
    });
}

#[test]
fn a_partition_of_that_name_with_other_bounds_is_told_with_the_sql_that_mends_it() {
    each(|major| {
        let place = Place::with_events(major);
        let next = place.month(-1);
        let day = |back: u32| place.sql(&format!("SET TimeZone = 'UTC'; SELECT date_trunc('month', now()) - {back} * interval '1 month'"));
        place.sql(&format!("CREATE TABLE {next} PARTITION OF events FOR VALUES FROM ('{}') TO ('{}')", day(6), day(5)));
        let outcome = place.run(TABLE, 3);
        let error = outcome.item("public.events")["error"].as_str().unwrap().to_owned();
        expect_words(&error, &[&format!("the partition called {next} has other bounds"), "to mend it: "]);
        let mend = error.split("to mend it: ").nth(1).and_then(|rest| rest.split("; failed to").next()).unwrap();
        place.sql(mend);
        place.run(TABLE, 0);
        place.sql("INSERT INTO events (at) SELECT date_trunc('month', now()) + n * interval '1 month' FROM generate_series(0, 3) n");
        assert_eq!(place.partitions("events").len(), 9);
    });
}

#[test]
fn sub_partitioned_tables_are_left_alone_and_reported_and_others_are_rolled() {
    each(|major| {
        let place = Place::with_events(major);
        place.sql(
            "CREATE TABLE deep (at timestamptz NOT NULL, kind text) PARTITION BY RANGE (at);
             CREATE TABLE deep_old PARTITION OF deep FOR VALUES FROM ('2020-01-01') TO ('2020-02-01') PARTITION BY LIST (kind);
             CREATE TABLE deep_old_a PARTITION OF deep_old FOR VALUES IN ('a');
             CREATE TABLE many (at timestamptz NOT NULL, n int) PARTITION BY RANGE (at, n);
             CREATE TABLE listed (kind text) PARTITION BY LIST (kind)",
        );
        let outcome = place.run("[partitions.tables.all]\nschema = \"public\"\nretention = \"30d\"\nretired = \"drop\"\n", 3);
        expect_words(outcome.error("public.deep"), &["public.deep_old is itself partitioned"]);
        expect_words(&outcome.warnings(), &["public.many is left alone: its key has several columns", "public.listed is left alone"]);
        assert!(place.has("deep_old_a") && place.is_attached("deep_old"));
        assert_eq!(outcome.item("public.events")["made"], 3);
    });
}

#[test]
fn a_table_that_is_not_there_fails_alone() {
    each(|major| {
        let place = Place::with_events(major);
        let outcome = place.run(&format!("{TABLE}[partitions.tables.gone]\ntable = \"public.gone\"\n"), 3);
        expect_words(outcome.error("public.gone"), &["no partitioned table of that name"]);
        assert_eq!(outcome.item("public.events")["made"], 3);
    });
}
