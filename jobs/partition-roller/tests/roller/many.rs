//! Many tables with many partitions.

use std::time::{Duration, Instant};

use crate::{Place, each};

const TABLES: usize = 500;
const PARTITIONS: usize = 60;

#[test]
fn five_hundred_tables_of_sixty_partitions_are_planned_and_rolled_in_a_moment() {
    each(|major| {
        let place = Place::new(major);
        place.sql(&format!(
            "SET TimeZone = 'UTC'; SET synchronous_commit = off;
             DO $$ BEGIN FOR t IN 1..{TABLES} LOOP
               EXECUTE format('CREATE TABLE t%s (at timestamptz NOT NULL) PARTITION BY RANGE (at)', t);
               FOR back IN -3..{PARTITIONS} - 4 LOOP
                 EXECUTE format('CREATE TABLE t%s_%s PARTITION OF t%s FOR VALUES FROM (%L) TO (%L)', t, back + 3, t,
                   date_trunc('month', now()) - back * interval '1 month', date_trunc('month', now()) - (back - 1) * interval '1 month');
               END LOOP;
               IF t % 10 = 0 THEN COMMIT; END IF;
             END LOOP; END $$; ANALYZE pg_class, pg_inherits, pg_partitioned_table, pg_attribute, pg_namespace"
        ));
        let config = "[partitions.tables.all]\nschema = \"public\"\nretention = \"10y\"\n";
        let timed = |arguments: &[&str]| {
            let began = Instant::now();
            let done = place.job(config).args(arguments).run().done.expect_code(0);
            (done, began.elapsed())
        };
        // A question or two for each table, and not one for each table of all tables.
        let (shown, took) = timed(&["--dry-run"]);
        assert_eq!(shown.json()["tables"].as_array().map(Vec::len), Some(TABLES));
        assert!(took < Duration::from_secs(15), "planned in {took:?}");
        let (done, took) = timed(&[]);
        assert_eq!(done.json()["items"].as_array().map(Vec::len), Some(TABLES));
        assert!(took < Duration::from_secs(15), "rolled in {took:?}");
        // The last month of one of them is missing, and the first of another has expired.
        place.sql("DROP TABLE t7_0");
        let shorter = format!("{config}[partitions.tables.one]\ntable = \"public.t9\"\nretention = \"1500d\"\nretired = \"drop\"\n");
        let outcome = place.run(&shorter, 0);
        assert_eq!(outcome.item("public.t7")["made"], 1);
        assert_eq!(outcome.item("public.t9")["detached"], outcome.item("public.t9")["dropped"]);
        assert!(outcome.item("public.t9")["dropped"].as_u64().is_some_and(|dropped| dropped >= 1));
    });
}
