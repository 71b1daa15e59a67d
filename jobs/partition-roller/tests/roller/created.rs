//! What is missing is made, as the calendar of the zone has it, whatever the session's zone and date style are.

use plana_testkit::{job::expect_words, pg::PgMajor};

use crate::{Place, TABLE, each};

#[test]
fn the_coming_months_are_made_and_a_second_run_has_nothing_to_do() {
    each(|major| {
        let place = Place::with_events(major);
        let outcome = place.run(TABLE, 0);
        assert_eq!(outcome.item("public.events")["made"], 3);
        let made = place.partitions("events");
        assert_eq!(made.len(), 9);
        let next = place.sql("SET TimeZone = 'UTC'; SELECT format('%s FOR VALUES FROM (%L) TO (%L)', to_char(date_trunc('month', now()) + interval '1 month', '\"events_\"YYYY_MM'), date_trunc('month', now()) + interval '1 month', date_trunc('month', now()) + interval '2 months')");
        assert!(made.contains(&next), "{next} in {made:#?}");
        // Rows go there, with the identity of the parent.
        place.sql("INSERT INTO events (at) VALUES (now() + interval '45 days')");
        let again = place.run(TABLE, 0);
        assert!(again.item("public.events")["made"].is_null());
        assert_eq!(place.partitions("events"), made);
    });
}

#[test]
fn no_zone_and_no_date_style_of_a_session_shifts_a_bound() {
    each(|major| {
        let expected = {
            let place = Place::with_events(major);
            place.run(TABLE, 0);
            place.partitions("events")
        };
        for (zone, style) in [("Pacific/Kiritimati", "German, DMY"), ("America/St_Johns", "SQL, MDY"), ("Europe/Sofia", "Postgres, DMY")] {
            let place = Place::with_events(major);
            place.sql(&format!(
                "ALTER DATABASE {} SET TimeZone = '{zone}'; ALTER DATABASE {} SET DateStyle = '{style}'",
                place.name, place.name
            ));
            let job = place.job(TABLE).env("PGTZ", zone).env("PGDATESTYLE", style).env("TZ", zone);
            job.run().expect(0);
            assert_eq!(place.partitions("events"), expected, "{zone} {style}");
        }
        // What a client asks for as it connects wins over all of that, and not over a trigger at the login.
        if major == PgMajor::V18 {
            let place = Place::with_events(major);
            place.sql(
                "CREATE FUNCTION odd() RETURNS event_trigger LANGUAGE plpgsql AS
                   $$BEGIN PERFORM set_config('TimeZone', 'Pacific/Kiritimati', false), set_config('DateStyle', 'German, DMY', false); END$$;
                 CREATE EVENT TRIGGER odd ON login EXECUTE FUNCTION odd(); ALTER EVENT TRIGGER odd ENABLE ALWAYS",
            );
            place.run(TABLE, 0);
            assert_eq!(place.partitions("events"), expected);
            expect_words(&place.checked(TABLE, 0), &["9 partitions", "next missing none"]);
        }
    });
}

#[test]
fn days_of_a_zone_are_made_at_its_midnights_and_naive_columns_by_its_clock() {
    each(|major| {
        let place = Place::new(major);
        place.sql(
            "CREATE TABLE zoned (at timestamptz NOT NULL) PARTITION BY RANGE (at);
             CREATE TABLE naive (at timestamp NOT NULL) PARTITION BY RANGE (at);
             CREATE TABLE dated (at date NOT NULL) PARTITION BY RANGE (at)",
        );
        let config =
            "[partitions.tables.all]\nschema = \"public\"\nperiod = \"daily\"\nzone = \"Asia/Kathmandu\"\npremake = 480\nmax_made = 500\n";
        place.run(config, 0);
        // More than a year of days: every change of clocks, every end of a month.
        for (table, expected) in [("zoned", "(d::timestamp AT TIME ZONE 'Asia/Kathmandu')"), ("naive", "d::timestamp"), ("dated", "d")] {
            let wrong = place.sql(&format!(
                "SET TimeZone = 'UTC'; WITH days AS (SELECT (now() AT TIME ZONE 'Asia/Kathmandu')::date + n AS day FROM generate_series(0, 480) n)
                 SELECT count(*) FILTER (WHERE b.bound IS NULL) || ' of ' || count(*) FROM (SELECT to_char(day, '\"{table}_\"YYYY_MM_DD') AS name,
                   format('FOR VALUES FROM (%L) TO (%L)', (SELECT {expected} FROM (SELECT day AS d) x), (SELECT {expected} FROM (SELECT day + 1 AS d) x)) AS bounds FROM days) e
                 LEFT JOIN (SELECT c.relname::text AS name, pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_class c WHERE relispartition) b
                   ON b.name = e.name AND b.bound = e.bounds"
            ));
            assert_eq!(wrong, "0 of 481", "{table}");
        }
    });
}

#[test]
fn summer_time_makes_a_day_of_23_or_25_hours() {
    each(|major| {
        let place = Place::new(major);
        place.sql("CREATE TABLE zoned (at timestamptz NOT NULL) PARTITION BY RANGE (at)");
        place.run(
            "[partitions.tables.all]\nschema = \"public\"\nperiod = \"daily\"\nzone = \"Europe/Sofia\"\npremake = 370\nmax_made = 500\n",
            0,
        );
        let hours = place.sql(
            "SET TimeZone = 'UTC'; SELECT string_agg(DISTINCT extract(epoch FROM (b[2]::timestamptz - b[1]::timestamptz)) / 3600 || '', ' ')
             FROM (SELECT regexp_match(pg_get_expr(relpartbound, oid), '\\(''(.*)''\\) TO \\(''(.*)''\\)') b FROM pg_class WHERE relispartition) x",
        );
        let mut lengths: Vec<i32> = hours.split(' ').map(|text| text.parse::<f64>().unwrap() as i32).collect();
        lengths.sort_unstable();
        assert_eq!(lengths, [23, 24, 25], "{hours}");
    });
}

#[test]
fn weeks_begin_on_monday_years_on_the_first_of_january_and_names_are_as_wished() {
    each(|major| {
        let place = Place::new(major);
        place.sql(
            "CREATE TABLE weekly (at timestamptz NOT NULL) PARTITION BY RANGE (at);
             CREATE TABLE yearly (at date NOT NULL) PARTITION BY RANGE (at);
             CREATE TABLE named (at timestamp NOT NULL) PARTITION BY RANGE (at)",
        );
        let group = |name: &str, more: &str| format!("[partitions.tables.{name}]\ntable = \"public.{name}\"\n{more}\n");
        let config = group("weekly", "period = \"weekly\"\npremake = 60\nmax_made = 100")
            + &group("yearly", "period = \"yearly\"")
            + &group("named", "name = \"{table}_p{year}{month}\"\npremake = 1");
        place.run(&config, 0);
        let wrong = place.sql(
            "SET TimeZone = 'UTC'; WITH wanted AS (
               SELECT to_char(w, '\"weekly_\"IYYY\"_w\"IW') AS name, format('FOR VALUES FROM (%L) TO (%L)', w, w + interval '7 days') AS bounds
                 FROM generate_series(0, 60) n, LATERAL (SELECT date_trunc('week', now()) + n * interval '7 days' AS w) x
               UNION ALL SELECT to_char(y, '\"yearly_\"YYYY'), format('FOR VALUES FROM (%L) TO (%L)', y, (y + interval '1 year')::date)
                 FROM generate_series(0, 3) n, LATERAL (SELECT (date_trunc('year', now()) + n * interval '1 year')::date AS y) x
               UNION ALL SELECT to_char(m, '\"named_p\"YYYYMM'), format('FOR VALUES FROM (%L) TO (%L)', m, m + interval '1 month')
                 FROM generate_series(0, 1) n, LATERAL (SELECT date_trunc('month', now()::timestamp) + n * interval '1 month' AS m) x),
             made AS (SELECT relname::text AS name, pg_get_expr(relpartbound, oid) AS bounds FROM pg_class WHERE relispartition)
             SELECT (SELECT count(*) FROM wanted) || ' wanted, ' || (SELECT count(*) FROM made) || ' made, ' || (SELECT count(*) FROM wanted NATURAL JOIN made) || ' alike'",
        );
        assert_eq!(wrong, "67 wanted, 67 made, 67 alike");
    });
}

#[test]
fn a_gap_is_filled_and_a_far_future_row_or_partition_makes_nothing() {
    each(|major| {
        let place = Place::with_events(major);
        let gap = place.month(3);
        place.sql(&format!("DROP TABLE {gap}; CREATE TABLE rest PARTITION OF events DEFAULT; CREATE TABLE far PARTITION OF events FOR VALUES FROM ('2199-01-01') TO ('2199-02-01');
                            INSERT INTO events (at) VALUES ('2150-05-05')"));
        let outcome = place.run(TABLE, 0);
        assert_eq!(outcome.item("public.events")["made"], 4, "{}", outcome.done.stdout);
        assert!(place.is_attached(&gap));
        assert_eq!(place.partitions("events").len(), 6 + 3 + 2);
        assert_eq!(place.sql("SELECT count(*) FROM rest"), "1");
    });
}

#[test]
fn hand_made_partitions_that_overlap_months_are_adopted() {
    each(|major| {
        let place = Place::new(major);
        place.sql(
            "SET TimeZone = 'UTC'; CREATE TABLE events (at timestamptz NOT NULL) PARTITION BY RANGE (at);
             DO $$ BEGIN EXECUTE format('CREATE TABLE odd PARTITION OF events FOR VALUES FROM (%L) TO (%L)',
               date_trunc('month', now()) - interval '10 days', date_trunc('month', now()) + interval '1 month 3 days'); END $$",
        );
        place.run(TABLE, 0);
        // From the real end of the last one to the third month after this one: nothing is left open.
        let open = place.sql("INSERT INTO events SELECT generate_series(now(), date_trunc('month', now()) + interval '4 months' - interval '1 hour', interval '1 hour')");
        assert_eq!(open, "");
        expect_words(&place.checked(TABLE, 0), &["public.events", "off the months of UTC", "public.odd"]);
        assert_eq!(place.partitions("events").len(), 4);
    });
}

#[test]
fn generated_and_identity_columns_checks_and_indexes_come_along() {
    each(|major| {
        let place = Place::new(major);
        place.sql(
            "CREATE TABLE events (id bigint GENERATED BY DEFAULT AS IDENTITY, at timestamptz NOT NULL, amount int CHECK (amount > 0),
               twice int GENERATED ALWAYS AS (amount * 2) STORED, note text DEFAULT 'none', PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
             CREATE INDEX ON events (note)",
        );
        if major == PgMajor::V18 {
            place.sql("ALTER TABLE events ADD thrice int GENERATED ALWAYS AS (amount * 3) VIRTUAL");
        }
        place.run(TABLE, 0);
        place.sql("INSERT INTO events (at, amount) VALUES (now(), 4), (now() + interval '40 days', 5)");
        assert_eq!(place.sql("SELECT string_agg(twice || note, ',' ORDER BY id) FROM events"), "8none,10none");
        assert_eq!(place.sql("SELECT count(DISTINCT id) FROM events"), "2");
        let indexes = place.sql("SELECT string_agg(DISTINCT n::text, ',') FROM (SELECT count(*) n FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid AND c.relispartition GROUP BY c.oid) x");
        assert_eq!(indexes, "2");
        assert_eq!(place.run(TABLE, 0).item("public.events")["made"], serde_json::Value::Null);
    });
}

#[test]
fn two_runs_at_once_and_a_backend_that_makes_partitions_too_do_no_harm() {
    each(|major| {
        let place = Place::with_events(major);
        let job = place.job(TABLE);
        // Exo's own backend at the same moment, in a loop.
        let next = place.month(-1);
        let mut exo = place.session("SELECT 1");
        let (one, two) = (job.spawn(), job.spawn());
        exo.run(&format!(
            "SET TimeZone = 'UTC'; SET lock_timeout = '5s'; SELECT format('CREATE TABLE IF NOT EXISTS {next} PARTITION OF events FOR VALUES FROM (%L) TO (%L)',
               date_trunc('month', now()) + interval '1 month', date_trunc('month', now()) + interval '2 months') \\gexec"
        ));
        let codes: Vec<Option<i32>> = [one, two].map(|run| run.wait().unwrap().code()).into();
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 11))), "{codes:?}");
        assert_eq!(place.partitions("events").len(), 9);
    });
}
