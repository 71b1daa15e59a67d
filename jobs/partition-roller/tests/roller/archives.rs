//! Archived first, dropped only then.

use plana_testkit::{
    job::{Outcome, bucket::S3, expect_words, look::Look as _},
    proxy::{Action, Op, Rule},
};

use crate::{Place, each};

const CONFIG: &str = "[partitions.tables.events]\ntable = \"public.events\"\nretention = \"100d\"\nretired = \"drop\"\narchive = true\n";

#[test]
fn an_archive_is_committed_with_the_tables_rows_before_it_is_dropped() {
    each(|major| {
        let place = Place::with_events(major);
        let oldest = place.month(5);
        let bounds =
            place.sql(&format!("SET TimeZone = 'UTC'; SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = '{oldest}'"));
        let outcome = place.run(CONFIG, 0);
        assert_eq!(outcome.item("public.events")["archived"], outcome.item("public.events")["dropped"]);
        assert!(!place.has(&oldest));
        let sets = place.job.store().committed();
        let set = sets
            .iter()
            .find(|set| set.key.to_string().starts_with(&format!("partition/{}/public/{oldest}/", place.name)))
            .expect("an archive");
        let facts = set.manifest.partition.as_ref().unwrap();
        assert_eq!((facts.parent.as_str(), facts.bounds.as_str()), ("events", bounds.as_str()));
        assert_eq!(set.manifest.database.as_ref().unwrap().rows, 20);
        assert_eq!(set.stored_sha256(), set.manifest.payload.stored_sha256);
    });
}

#[test]
fn when_the_upload_fails_nothing_is_dropped() {
    each(|major| {
        let place = Place::with_events(major);
        let oldest = place.month(5);
        let outcome = place.job(CONFIG).store_url("file:///proc/nowhere").run().expect(3);
        expect_words(outcome.item("public.events")["error"].as_str().unwrap(), &["archive public.", &oldest, "it is not dropped"]);
        assert_eq!(place.sql(&format!("SELECT count(*) FROM {oldest}")), "20");
        assert_eq!(outcome.item("public.events")["made"], 3);
        // The next run does it.
        place.run(CONFIG, 0);
        assert!(!place.has(&oldest));
    });
}

#[test]
fn when_the_upload_is_cut_in_its_middle_nothing_is_dropped_and_the_next_run_does_it() {
    each(|major| {
        let place = Place::with_events(major);
        let oldest = place.month(5);
        // Some parts of what no compressor makes smaller.
        place.sql(&format!(
            "INSERT INTO events (at, body) SELECT (SELECT min(at) FROM {oldest}), (SELECT string_agg(encode(sha512(convert_to(n || ' ' || m, 'UTF8')), 'base64'), '') FROM generate_series(1, 64) m)
             FROM generate_series(1, 3000) n"
        ));
        let s3 = S3::new("roll");
        let cut = s3.proxy.add(Rule::on(Op::UploadPart, Action::CutBody(2 << 20)).query("partNumber=2&"));
        let job = place.job(CONFIG).into_bucket(&s3).set("upload.memory", "15MiB").set("upload.parts_in_flight", "1");
        let outcome = job.run().expect(3);
        assert!(cut.matched() >= 1, "{}", outcome.done.stderr);
        let error = outcome.item("public.events")["error"].as_str().unwrap();
        expect_words(error, &["archive public.", &oldest, "send part 2 of", "it is not dropped, and the next run tries again"]);
        assert_eq!(place.sql(&format!("SELECT count(*) FROM {oldest}")), "3020");
        assert_eq!(outcome.item("public.events")["made"], 3);
        let area = format!("partition/{}/public/{oldest}/", place.name);
        let archives = |s3: &S3| s3.below("backups").committed().into_iter().filter(|(set, _)| set.to_string().starts_with(&area)).count();
        assert_eq!(archives(&s3), 0);

        s3.proxy.clear();
        let again = job.run().expect(0);
        assert!(again.item("public.events")["dropped"].as_u64().is_some_and(|dropped| dropped >= 1));
        assert!(!place.has(&oldest));
        assert_eq!(archives(&s3), 1);
        assert!(place.run(CONFIG, 0).item("public.events")["dropped"].is_null());
    });
}

#[test]
fn an_archive_that_has_not_the_tables_rows_drops_nothing() {
    each(|major| {
        let place = Place::with_events(major);
        let oldest = place.month(5);
        // A pg_dump that sees the table without some of its rows: row-level security for a role of its own.
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *--table*) PGOPTIONS=\"$PGOPTIONS\" exec {}/pg_dump \"$@\" --enable-row-security --role=half_{} ;; *) exec {}/pg_dump \"$@\" ;; esac\n",
            place.cluster.bin_dir().display(),
            place.name,
            place.cluster.bin_dir().display()
        );
        place.sql(&format!(
            "CREATE ROLE half_{0}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO half_{0}; ALTER TABLE {oldest} ENABLE ROW LEVEL SECURITY;
             CREATE POLICY half ON {oldest} USING (deployment = 'd0')",
            place.name
        ));
        let job = place.job(CONFIG).pg_dump_script(place.cluster, &script);
        let outcome = job.run().expect(3);
        expect_words(outcome.item("public.events")["error"].as_str().unwrap(), &["the archive has 7 rows and the table 20"]);
        assert_eq!(place.sql(&format!("SELECT count(*) FROM {oldest}")), "20");
        place.sql(&format!("DROP OWNED BY half_{0}; DROP ROLE half_{0}", place.name));
    });
}

#[test]
fn nobody_writes_to_it_between_its_archive_and_its_end() {
    each(|major| {
        let place = Place::with_events(major);
        let oldest = place.month(5);
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *--table*) {0}/pg_dump \"$@\" && /bin/sleep 2 ;; *) exec {0}/pg_dump \"$@\" ;; esac\n",
            place.cluster.bin_dir().display()
        );
        let job = place.job(CONFIG).pg_dump_script(place.cluster, &script);
        let mut running = job.spawn();
        let held = format!("SELECT count(*) FROM pg_locks WHERE relation = '{oldest}'::regclass AND mode = 'ShareLock' AND granted");
        running.wait_until("the archive at work", |_| place.has(&oldest) && place.sql(&held) != "0").unwrap();
        let refused = place.cluster.psql(&place.name, &format!("SET lock_timeout = '300ms'; DELETE FROM {oldest}"));
        assert!(refused.is_err(), "a row was deleted while its archive was made");
        Outcome::wait(running).expect(0);
        assert!(!place.has(&oldest));
    });
}

#[test]
fn whoever_reads_it_at_the_end_of_its_archive_is_waited_for_and_no_second_one_is_made() {
    each(|major| {
        let place = Place::with_events(major);
        let oldest = place.month(5);
        // pg_dump ends when the reader is there.
        let script = "case \"$*\" in *--table*) \"$real\" \"$@\" && while [ ! -e \"$HOME/reading\" ]; do /bin/sleep 0.05; done ;; *) exec \"$real\" \"$@\" ;; esac";
        let job = place.job(CONFIG).set("partitions.lock_attempts", "20");
        let reading = job.home().join("programs").join("reading");
        let job = job.pg_dump_script(place.cluster, &script.replace("$HOME/reading", &reading.display().to_string()));
        let mut running = job.spawn();
        let held = format!("SELECT count(*) FROM pg_locks WHERE relation = to_regclass('{oldest}') AND mode = 'ShareLock' AND granted");
        running.wait_until("the archive at work", |_| place.sql(&held) != "0").unwrap();
        let mut reader = place.session(&format!("BEGIN; SELECT count(*) FROM {oldest}"));
        std::fs::write(&reading, "").unwrap();
        let waiting = format!("SELECT count(*) FROM pg_locks WHERE relation = to_regclass('{oldest}') AND NOT granted");
        running.wait_until("the job waiting", |_| place.sql(&waiting) != "0").unwrap();
        // Longer than one statement waits.
        std::thread::sleep(std::time::Duration::from_millis(800));
        assert!(place.has(&oldest));
        reader.run("COMMIT");
        Outcome::wait(running).expect(0);
        assert!(!place.has(&oldest));
        let area = format!("partition/{}/public/{oldest}/", place.name);
        assert_eq!(place.job.store().committed().iter().filter(|set| set.key.to_string().starts_with(&area)).count(), 1);
    });
}
