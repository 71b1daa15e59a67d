//! What has expired goes, and nothing else.

use plana_testkit::{job::expect_words, process::Signal};

use crate::{Place, each};

/// Three months and a few days: the partitions of five and four months ago have expired.
fn config(more: &str) -> String {
    format!("[partitions.tables.events]\ntable = \"public.events\"\nretention = \"100d\"\n{more}")
}

/// How many partitions have expired after 100 days, at whatever day the test runs.
fn expired(place: &Place) -> Vec<String> {
    let names = place.sql(
        "SET TimeZone = 'UTC'; SELECT to_char(m, '\"events_\"YYYY_MM') FROM generate_series(1, 5) back, LATERAL (SELECT date_trunc('month', now()) - back * interval '1 month' AS m) x
         WHERE m + interval '1 month' <= now() - interval '100 days' ORDER BY 1",
    );
    names.lines().map(str::to_owned).collect()
}

#[test]
fn expired_partitions_are_dropped_and_the_others_stay() {
    each(|major| {
        let place = Place::with_events(major);
        let gone = expired(&place);
        assert!(!gone.is_empty() && gone.len() <= 2);
        let outcome = place.run(&config("retired = \"drop\"\n"), 0);
        let item = outcome.item("public.events");
        assert_eq!((item["detached"].as_u64(), item["dropped"].as_u64()), (Some(gone.len() as u64), Some(gone.len() as u64)));
        assert!(gone.iter().all(|partition| !place.has(partition)));
        assert_eq!(place.partitions("events").len(), 9 - gone.len());
    });
}

#[test]
fn kept_ones_are_detached_renamed_and_moved_and_stay_so() {
    each(|major| {
        let place = Place::with_events(major);
        place.sql("CREATE SCHEMA old");
        let config = config("retired = \"keep\"\nmove_to = \"old\"\nsuffix = \"_kept\"\n");
        let gone = expired(&place);
        for _ in 0..2 {
            place.run(&config, 0);
            for partition in &gone {
                assert_eq!(place.sql(&format!("SELECT count(*) FROM old.{partition}_kept")), "20");
                assert!(!place.has(partition));
            }
        }
        let comment = place.sql(&format!("SELECT obj_description('old.{}_kept'::regclass)", gone[0]));
        expect_words(&comment, &["Retired by plana-jobs partition-roller", "FOR VALUES FROM", &gone[0]]);
    });
}

#[test]
fn within_the_grace_a_detached_one_stays_and_after_it_it_goes() {
    each(|major| {
        let place = Place::with_events(major);
        let config = config("retired = \"drop\"\ngrace = \"7d\"\n");
        let gone = expired(&place);
        let outcome = place.run(&config, 0);
        assert!(outcome.item("public.events")["dropped"].is_null());
        assert!(gone.iter().all(|partition| place.has(partition) && !place.is_attached(partition)));
        // As if it had been eight days ago.
        for partition in &gone {
            place.sql(&format!(
                "DO $$ BEGIN EXECUTE format('COMMENT ON TABLE {partition} IS %L', regexp_replace(obj_description('{partition}'::regclass), '\"since\":\"[^\"]*\"',
                   '\"since\":\"' || to_char(now() AT TIME ZONE 'UTC' - interval '8 days', 'YYYYMMDD\"T\"HH24MISS\"Z\"') || '\"')); END $$"
            ));
        }
        // Somebody wants them after all.
        for longer in [config.replace("100d", "1000d"), config.replace("retention = \"100d\"\n", "")] {
            assert!(place.run(&longer, 0).item("public.events")["dropped"].is_null());
            assert!(gone.iter().all(|partition| place.has(partition)));
        }
        assert_eq!(place.run(&config, 0).item("public.events")["dropped"], gone.len());
        assert!(gone.iter().all(|partition| !place.has(partition)));
    });
}

#[test]
fn default_infinite_off_grid_and_unexpired_ones_are_never_touched() {
    each(|major| {
        let place = Place::with_events(major);
        place.sql(
            "CREATE TABLE rest PARTITION OF events DEFAULT; CREATE TABLE first PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2010-01-01');
             SET TimeZone = 'UTC'; CREATE TABLE shifted PARTITION OF events FOR VALUES FROM ('2011-01-01 02:00') TO ('2011-02-01 02:00');
             CREATE TABLE old PARTITION OF events FOR VALUES FROM ('2012-01-01') TO ('2012-02-01'); INSERT INTO events (at) VALUES ('2013-05-05')",
        );
        // With a DEFAULT nothing can be detached concurrently.
        place.run(&config("retired = \"drop\"\n"), 0);
        for kept in ["rest", "first", "shifted", &place.month(0), &place.month(1)] {
            assert!(place.is_attached(kept), "{kept}");
        }
        assert!(!place.has("old"));
        expect_words(
            &place.checked(&config(""), 0),
            &["public.shifted has expired and stays", "off the calendar", "public.first has expired and stays"],
        );
    });
}

#[test]
fn the_floor_and_the_cap_hold() {
    each(|major| {
        let place = Place::with_events(major);
        let outcome = place.run(&config("retired = \"drop\"\nmax_retired = 1\nkeep_at_least = 5\n"), 0);
        assert_eq!(outcome.item("public.events")["dropped"], 1);
        assert_eq!(place.partitions("events").len(), 8);
        place.run(&config("retired = \"drop\"\nkeep_at_least = 8\n"), 0);
        assert_eq!(place.partitions("events").len(), 8);
    });
}

#[test]
fn rows_that_refer_to_it_keep_a_partition_and_never_go_with_it() {
    each(|major| {
        let place = Place::with_events(major);
        let gone = expired(&place);
        place.sql(&format!(
            "ALTER TABLE events ADD PRIMARY KEY (id, at);
             CREATE TABLE marks (id bigint, at timestamptz, FOREIGN KEY (id, at) REFERENCES events ON DELETE CASCADE);
             INSERT INTO marks SELECT id, at FROM {} LIMIT 1",
            gone[0]
        ));
        let outcome = place.run(&config("retired = \"drop\"\n"), 3);
        expect_words(outcome.item("public.events")["error"].as_str().unwrap(), &[&gone[0], "marks", "nothing is ever deleted in cascade"]);
        assert!(place.is_attached(&gone[0]));
        assert_eq!(place.sql("SELECT count(*) FROM marks"), "1");
        assert_eq!(outcome.item("public.events")["made"], 3);
        // What nothing refers to is retired all the same.
        assert!(gone[1..].iter().all(|partition| !place.has(partition)));
        place.sql("DELETE FROM marks");
        place.run(&config("retired = \"drop\"\n"), 0);
        assert!(!place.has(&gone[0]));
    });
}

#[test]
fn outgoing_keys_are_kept_and_what_depends_on_a_retired_table_keeps_it() {
    each(|major| {
        let place = Place::with_events(major);
        let gone = expired(&place);
        place.sql(&format!(
            "CREATE TABLE kinds (name text PRIMARY KEY); INSERT INTO kinds VALUES ('d0'), ('d1'), ('d2');
             ALTER TABLE events ADD FOREIGN KEY (deployment) REFERENCES kinds; CREATE VIEW looks AS SELECT * FROM {}",
            gone[0]
        ));
        let outcome = place.run(&config("retired = \"drop\"\n"), 3);
        expect_words(outcome.item("public.events")["error"].as_str().unwrap(), &["other objects depend"]);
        assert!(place.has(&gone[0]) && place.has("looks") && !place.is_attached(&gone[0]));
        place.sql("DROP VIEW looks");
        place.run(&config("retired = \"drop\"\n"), 0);
        assert!(!place.has(&gone[0]));
        assert_eq!(place.sql("SELECT count(*) FROM kinds"), "3");
        // New partitions have the key too.
        let keys =
            place.sql(&format!("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = '{}'::regclass", place.month(-1)));
        assert_eq!(keys, "1");
    });
}

#[test]
fn what_was_killed_during_a_concurrent_detach_is_finished_by_the_next_run() {
    each(|major| {
        let place = Place::with_events(major);
        let oldest = place.month(5);
        place.leave_half_detached(&oldest);
        expect_words(&place.checked(&config(""), 0), &["half detached"]);
        let outcome = place.run(&config("retired = \"keep\"\n"), 0);
        assert_eq!(place.half_detached(), 0);
        assert!(!place.is_attached(&oldest) && place.has(&oldest));
        assert!(outcome.item("public.events")["detached"].as_u64().is_some_and(|count| count >= 1));
    });
}

#[test]
fn the_roller_itself_killed_in_a_concurrent_detach_leaves_what_the_next_run_finishes() {
    each(|major| {
        let place = Place::with_events(major);
        let gone = expired(&place);
        // Two readers in turn: no transaction is a long one, and there is always one that a detach has to wait for.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (one, two) = (place.session("SELECT 1"), place.session("SELECT 1"));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut readers = [one, two];
                while receiver.try_recv().is_err() {
                    for at in 0..2 {
                        readers[at].run("BEGIN; SELECT count(*) FROM events");
                        std::thread::sleep(std::time::Duration::from_millis(400));
                        readers[1 - at].run("ROLLBACK");
                    }
                }
            });
            let mut running = place.job(&config("retired = \"drop\"\n")).set("partitions.lock_timeout", "1s").spawn();
            running.wait_until("a detach pending", |_| place.half_detached() > 0).unwrap();
            running.signal(Signal::KILL).unwrap();
            running.wait().unwrap();
            sender.send(()).unwrap();
        });
        // The server's process goes on where nobody waits for it any more: it is ended as a broken connection would.
        place.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE '%partition-roller' AND datname = current_database()");
        let outcome = place.run(&config("retired = \"drop\"\n"), 0);
        assert_eq!(place.half_detached(), 0);
        assert!(gone.iter().all(|partition| !place.has(partition)), "{gone:?}\n{}", outcome.done.stderr);
    });
}
