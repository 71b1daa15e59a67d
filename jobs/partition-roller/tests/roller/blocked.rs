//! Whoever is in the way is named, and nobody queues for long.

use plana_testkit::job::{Outcome, expect_words};

use crate::{GATE, Place, Session, each};

const CONFIG: &str = "[partitions.tables.events]\ntable = \"public.events\"\nretention = \"100d\"\nretired = \"drop\"\n";

/// A session whose statements wait for a lock for no longer than the lock timeout and some more. By the server's own count: a
/// busy machine delays a statement too. It is opened before the job, which may end before a session is there.
fn impatient(place: &Place) -> Session {
    place.session("SET lock_timeout = '600ms'")
}

/// Inserts until `done` says so, and tells how many had to wait for too long.
fn delayed_inserts(writer: &mut Session, mut done: impl FnMut() -> bool) -> (u32, u32) {
    let (mut inserted, mut delayed) = (0, 0);
    while !done() {
        writer.run("INSERT INTO events (at) VALUES (now())");
        match writer.run("\\echo :ERROR").as_str() {
            "false" => inserted += 1,
            _ => delayed += 1,
        }
    }
    (inserted, delayed)
}

#[test]
fn a_long_reader_and_a_long_writer_are_named_and_nobody_else_waits() {
    each(|major| {
        for (kind, sql, with_default) in [
            ("a reader", "SELECT count(*) FROM events", false),
            ("a writer", "INSERT INTO events (at) VALUES (now())", false),
            ("a reader beside DEFAULT", "SELECT count(*) FROM events", true),
        ] {
            let place = Place::with_events(major);
            if with_default {
                place.sql("CREATE TABLE rest PARTITION OF events DEFAULT");
            }
            let mut holder = place.session(&format!("BEGIN; {sql}"));
            let pid = holder.run("SELECT pg_backend_pid()");
            let mut writer = impatient(&place);
            let mut running = place.job(CONFIG).spawn();
            let (inserted, delayed) = delayed_inserts(&mut writer, || !running.is_running().unwrap());
            let outcome = Outcome::wait(running).expect(3);
            let error = outcome.item("public.events")["error"].as_str().unwrap();
            expect_words(error, &[&format!("pid {pid}"), "in-the-way", "idle in transaction"]);
            assert!(delayed == 0 && inserted > 0, "{kind}: {delayed} of {inserted} inserts waited");
            assert_eq!(place.partitions("events").len(), if with_default { 7 } else { 9 }, "{kind}");
            holder.run("COMMIT");
            place.run(CONFIG, 0);
        }
    });
}

#[test]
fn check_names_who_would_be_in_the_way() {
    each(|major| {
        let place = Place::with_events(major);
        let mut holder = place.session("BEGIN; SELECT count(*) FROM events");
        let pid = holder.run("SELECT pg_backend_pid()");
        expect_words(&place.checked(CONFIG, 0), &[&format!("pid {pid}"), "in-the-way"]);
    });
}

#[test]
fn whoever_begins_after_the_look_delays_it_by_no_more_than_the_lock_timeout() {
    each(|major| {
        let place = Place::with_events(major);
        place.sql("CREATE TABLE rest PARTITION OF events DEFAULT");
        // Readers of 300 ms one after the other, so that no one of them is there for long enough to be seen twice.
        let mut reader = place.session("SELECT 1");
        let job = place.job(CONFIG).set("partitions.lock_attempts", "30");
        let mut writer = impatient(&place);
        let mut running = job.spawn();
        let (sender, receiver) = std::sync::mpsc::channel();
        let (inserted, delayed) = std::thread::scope(|scope| {
            scope.spawn(move || {
                while receiver.try_recv().is_err() {
                    reader.run("BEGIN; SELECT count(*) FROM events; SELECT pg_sleep(0.3); COMMIT");
                }
            });
            let counts = delayed_inserts(&mut writer, || !running.is_running().unwrap());
            sender.send(()).unwrap();
            counts
        });
        let outcome = Outcome::wait(running).expect(0);
        assert!(delayed == 0 && inserted > 0, "{delayed} of {inserted} inserts waited");
        assert!(outcome.item("public.events")["dropped"].as_u64().is_some_and(|count| count >= 1));
    });
}

#[test]
fn a_partition_that_somebody_else_drops_or_changes_after_it_was_planned_is_no_harm() {
    each(|major| {
        let place = Place::with_events(major);
        place.gate();
        let oldest = place.month(5);
        let config = format!("{CONFIG}{GATE}");
        // Somebody else has done what was to be done.
        let mut running = place.job(&config).spawn();
        place.wait_at_gate(&mut running);
        place.sql(&format!("DROP TABLE {oldest}"));
        place.open_gate();
        let outcome = Outcome::wait(running).expect(0);
        assert_eq!(outcome.item("public.events")["made"], 3);
        expect_words(&outcome.done.stderr, &["somebody else has just retired", &oldest]);

        // Another name is another partition: it is left alone until it is looked at again.
        let place = Place::with_events(major);
        place.gate();
        let mut running = place.job(&config).spawn();
        place.wait_at_gate(&mut running);
        place.sql(&format!("ALTER TABLE {oldest} RENAME TO renamed"));
        place.open_gate();
        let outcome = Outcome::wait(running).expect(3);
        expect_words(outcome.item("public.events")["error"].as_str().unwrap(), &["it has changed since it was planned", &oldest]);
        assert!(place.is_attached("renamed"));
        assert_eq!(place.sql("SELECT obj_description('renamed'::regclass) IS NULL"), "t");
        place.run(&config, 0);
        assert!(!place.has("renamed"));

        // The same name on bounds of another time.
        let place = Place::with_events(major);
        place.gate();
        let mut running = place.job(&config).spawn();
        place.wait_at_gate(&mut running);
        place.sql(&format!(
            "ALTER TABLE events DETACH PARTITION {oldest}; DELETE FROM {oldest};
             ALTER TABLE events ATTACH PARTITION {oldest} FOR VALUES FROM ('2150-01-01') TO ('2150-02-01')"
        ));
        place.open_gate();
        let outcome = Outcome::wait(running).expect(3);
        expect_words(outcome.item("public.events")["error"].as_str().unwrap(), &["it has changed since it was planned", &oldest]);
        assert!(place.is_attached(&oldest));
    });
}

#[test]
fn no_statement_waits_for_longer_than_the_lock_timeout() {
    each(|major| {
        let place = Place::with_events(major);
        let keep = "[partitions.tables.events]\ntable = \"public.events\"\nretention = \"100d\"\n";
        place.run(keep, 0);
        // A name is changed without a look at who is there, since nobody waits for what is detached: only the timeout ends it.
        let oldest = place.month(5);
        let mut reader = place.session(&format!("BEGIN; SELECT count(*) FROM {oldest}"));
        let pid = reader.run("SELECT pg_backend_pid()");
        let renamed = format!("{keep}suffix = \"_kept\"\n");
        let outcome = place.run(&renamed, 3);
        expect_words(outcome.item("public.events")["error"].as_str().unwrap(), &["set public.", &oldest, &format!("pid {pid}")]);
        reader.run("COMMIT");
        place.run(&renamed, 0);
        assert!(place.has(&format!("{oldest}_kept")));
    });
}
