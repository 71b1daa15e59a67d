//! Rows that have fallen into DEFAULT.

use plana_testkit::job::expect_words;

use crate::{Place, TABLE, each};

fn with_rows_in_default(major: plana_testkit::pg::PgMajor, rows: u32) -> Place {
    let place = Place::new(major);
    place.sql(&format!(
        "CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz, body text, size int GENERATED ALWAYS AS (length(body)) STORED) PARTITION BY RANGE (at);
         CREATE TABLE rest PARTITION OF events DEFAULT;
         INSERT INTO events (at, body) SELECT now() + n * interval '1 second', 'row ' || n FROM generate_series(1, {rows}) n;
         INSERT INTO events (at, body) VALUES (NULL, 'no time'), ('2001-01-01', 'old')"
    ));
    place
}

#[test]
fn they_are_moved_into_their_partition_in_one_transaction() {
    each(|major| {
        let place = with_rows_in_default(major, 1000);
        let before = place.sql("SELECT md5(string_agg(r::text, '' ORDER BY id)) FROM events r");
        let outcome = place.run(TABLE, 0);
        assert!(outcome.item("public.events")["moved_rows"].as_u64().is_some_and(|rows| rows == 1000), "{}", outcome.done.stdout);
        assert_eq!(place.sql("SELECT count(*) FROM rest"), "2");
        assert_eq!(place.sql("SELECT md5(string_agg(r::text, '' ORDER BY id)) FROM events r"), before);
    });
}

#[test]
fn too_many_and_those_with_triggers_or_keys_on_them_are_told_by_month_and_stay() {
    each(|major| {
        let month = |place: &Place| place.sql("SET TimeZone = 'UTC'; SELECT to_char(now(), 'YYYY-MM')");
        let place = with_rows_in_default(major, 50);
        let few = format!("[partitions]\nmove_at_most = 10\n{TABLE}");
        let outcome = place.run(&few, 3);
        expect_words(
            outcome.item("public.events")["error"].as_str().unwrap(),
            &["DEFAULT holds rows", &month(&place), "move_at_most (10)"],
        );
        assert_eq!(place.sql("SELECT count(*) FROM rest"), "52");
        assert!(!place.has(&place.month(0)), "nothing of it is left");

        let place = with_rows_in_default(major, 50);
        place.sql("CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'; CREATE TRIGGER noting BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION noted()");
        let outcome = place.run(TABLE, 3);
        expect_words(outcome.item("public.events")["error"].as_str().unwrap(), &["the trigger noting", &month(&place)]);

        let place = with_rows_in_default(major, 50);
        place.sql(
            "DELETE FROM events WHERE at IS NULL; ALTER TABLE events ADD PRIMARY KEY (id, at);
             CREATE TABLE marks (id bigint, at timestamptz, FOREIGN KEY (id, at) REFERENCES events ON DELETE CASCADE);
             INSERT INTO marks SELECT id, at FROM events",
        );
        let outcome = place.run(TABLE, 3);
        expect_words(outcome.item("public.events")["error"].as_str().unwrap(), &["refers to them"]);
        assert_eq!(place.sql("SELECT count(*) FROM marks"), "51");
    });
}

#[test]
fn a_large_default_is_proven_empty_of_the_future_before_its_lock_is_taken() {
    each(|major| {
        let place = Place::with_events(major);
        place.sql(
            "CREATE TABLE rest PARTITION OF events DEFAULT; ALTER TABLE rest ALTER body SET STORAGE PLAIN;
             INSERT INTO events (at, body) SELECT '2001-01-01'::timestamptz + n * interval '1 minute', repeat('x', 900) FROM generate_series(1, 9000) n",
        );
        place.run(TABLE, 0);
        assert_eq!(place.partitions("events").len(), 10);
        // Nothing of the proof is left, and a row of any time is taken.
        assert_eq!(place.sql("SELECT count(*) FROM pg_constraint WHERE conname LIKE 'plana%'"), "0");
        place.sql("INSERT INTO events (at) SELECT date_trunc('month', now()) + n * interval '1 month' FROM generate_series(0, 12) n");
    });
}

#[test]
fn what_a_killed_run_left_of_a_proof_is_taken_away() {
    each(|major| {
        let place = Place::with_events(major);
        place.sql("CREATE TABLE rest PARTITION OF events DEFAULT; ALTER TABLE rest ADD CONSTRAINT plana_roller_proof CHECK (at IS NULL OR at < '2100-01-01') NOT VALID");
        place.run(TABLE, 0);
        place.sql("INSERT INTO events (at) VALUES ('2150-01-01')");
        // Also where nothing is missing any more.
        place.sql("ALTER TABLE rest ADD CONSTRAINT plana_roller_proof CHECK (at IS NULL OR at < '2100-01-01') NOT VALID");
        place.run(TABLE, 0);
        place.sql("INSERT INTO events (at) VALUES ('2151-01-01')");
    });
}
