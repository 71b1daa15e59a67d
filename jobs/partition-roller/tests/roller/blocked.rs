//! Whoever is in the way is named, and nobody queues for long.

use std::time::Duration;

use plana_testkit::{job::expect_words, pg::PgMajor};

use crate::{Place, Session, each};

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
            let outcome = plana_testkit::job::Outcome::wait(running).expect(3);
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
    let place = Place::with_events(PgMajor::V16);
    let mut holder = place.session("BEGIN; SELECT count(*) FROM events");
    let pid = holder.run("SELECT pg_backend_pid()");
    expect_words(&place.checked(CONFIG, 0), &[&format!("pid {pid}"), "in-the-way"]);
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
        let outcome = plana_testkit::job::Outcome::wait(running).expect(0);
        assert!(delayed == 0 && inserted > 0, "{delayed} of {inserted} inserts waited");
        assert!(outcome.item("public.events")["dropped"].as_u64().is_some_and(|count| count >= 1));
    });
}

#[test]
fn a_partition_that_somebody_else_drops_meanwhile_is_no_harm() {
    each(|major| {
        let place = Place::with_events(major);
        let oldest = place.month(5);
        // Long enough before the first retirement: another table's creation waits for a lock on its DEFAULT.
        place.sql("CREATE TABLE a_slow (at timestamptz NOT NULL) PARTITION BY RANGE (at); CREATE TABLE a_rest PARTITION OF a_slow DEFAULT");
        let mut holder = place.session("BEGIN; SELECT count(*) FROM a_rest");
        let config = format!("{CONFIG}[partitions.tables.slow]\ntable = \"public.a_slow\"\n");
        let mut running = place.job(&config).spawn();
        running
            .wait_until("another table at work", |running| {
                running.stderr().contains("a_slow") || running.stderr().contains("a_rest") || running.stderr().contains("begins")
            })
            .unwrap();
        std::thread::sleep(Duration::from_millis(300));
        place.sql(&format!("DROP TABLE {oldest}"));
        holder.run("SELECT 1");
        let outcome = plana_testkit::job::Outcome::wait(running);
        assert!(matches!(outcome.done.code(), Some(0 | 3)), "{}", outcome.done.stderr);
        holder.run("COMMIT");
        place.run(&config, 0);
        assert!(!place.has(&oldest));
    });
}
