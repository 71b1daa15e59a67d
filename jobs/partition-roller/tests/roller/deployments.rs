//! Retention that differs from deployment to deployment.

use plana_testkit::job::expect_words;

use crate::{Place, each};

fn config(query: &str) -> String {
    format!(
        "[partitions.tables.events]\ntable = \"public.events\"\nretired = \"drop\"\n\
         [partitions.tables.events.deployments]\nquery = \"{query}\"\ncolumn = \"deployment\"\nbatch_pages = 1\nrows_per_second = 100000\n"
    )
}

const QUERY: &str = "SELECT id, days FROM deployments";

fn with_deployments(major: plana_testkit::pg::PgMajor, rows: &str) -> Place {
    let place = Place::with_events(major);
    place.sql(&format!("CREATE TABLE deployments (id text, days int); INSERT INTO deployments VALUES {rows}"));
    place
}

#[test]
fn shorter_windows_are_enforced_leaf_by_leaf_and_longer_rows_stay() {
    each(|major| {
        let place = with_deployments(major, "('d0', 40), ('d1', 365), ('d2', 70)");
        place.sql("INSERT INTO events (at, deployment) SELECT now() - interval '60 days', 'd0' FROM generate_series(1, 3000)");
        let left = "SELECT string_agg(deployment || ':' || n, ' ' ORDER BY deployment) FROM (SELECT deployment, count(*) n FROM events GROUP BY 1) x";
        let expected = place.sql(
            "SELECT string_agg(deployment || ':' || n, ' ' ORDER BY deployment) FROM (SELECT deployment, count(*) n FROM events e JOIN deployments d ON d.id = e.deployment
             WHERE e.at >= now() - d.days * interval '1 day' GROUP BY 1) x",
        );
        let total: u64 = place.sql("SELECT count(*) FROM events").parse().unwrap();
        let outcome = place.run(&config(QUERY), 0);
        assert_eq!(place.sql(left), expected);
        let after: u64 = place.sql("SELECT count(*) FROM events").parse().unwrap();
        assert_eq!(outcome.item("public.events")["deleted_rows"], total - after);
        assert!(total - after >= 3000);
        // The longest window keeps every partition.
        assert_eq!(place.partitions("events").len(), 9);
        assert!(place.run(&config(QUERY), 0).item("public.events")["deleted_rows"].is_null());
    });
}

#[test]
fn a_partition_goes_when_all_have_expired_and_not_while_one_is_unknown() {
    each(|major| {
        let place = with_deployments(major, "('d0', 30), ('d1', 100), ('d2', 60)");
        let oldest = place.month(5);
        place
            .sql(&format!("INSERT INTO {oldest} (id, at, deployment) OVERRIDING SYSTEM VALUE SELECT 1, min(at), 'stranger' FROM {oldest}"));
        let outcome = place.run(&config(QUERY), 0);
        expect_words(&outcome.warnings(), &[&oldest, "deployment stranger"]);
        assert!(place.is_attached(&oldest));
        assert_eq!(place.sql(&format!("SELECT count(*) FROM {oldest}")), "1");
        place.sql(&format!("UPDATE {oldest} SET deployment = NULL"));
        place.run(&config(QUERY), 0);
        assert!(place.is_attached(&oldest));
        place.sql(&format!("UPDATE {oldest} SET deployment = 'd1'"));
        place.run(&config(QUERY), 0);
        assert!(!place.has(&oldest));
    });
}

#[test]
fn an_answer_that_cannot_be_believed_is_refused_and_the_future_is_made_all_the_same() {
    each(|major| {
        for (query, words) in [
            ("SELECT id, days FROM deployments WHERE false", "answers no row"),
            ("SELECT id, days FROM no_such_table", "the query fails"),
            ("SELECT id, 0 FROM deployments", "has 0 days"),
            ("SELECT id, NULL::int FROM deployments", "has NULL days"),
            ("SELECT pg_sleep(60)::text, 1", "the query fails"),
            ("DELETE FROM deployments RETURNING id, days", "read-only"),
        ] {
            let place = with_deployments(major, "('d0', 1), ('d1', 1), ('d2', 1)");
            let config = config(query).replace("column =", "timeout = \"1s\"\ncolumn =");
            let rows = place.sql("SELECT count(*) FROM events");
            let outcome = place.run(&config, 20);
            expect_words(outcome.run_error(), &["public.events", words]);
            assert_eq!(outcome.item("public.events")["made"], 3);
            assert_eq!((place.sql("SELECT count(*) FROM events"), place.partitions("events").len()), (rows, 9), "{query}");
        }
    });
}

#[test]
fn rows_that_somebody_holds_are_left_to_the_next_run_and_rates_hold() {
    each(|major| {
        let place = with_deployments(major, "('d0', 40), ('d1', 365), ('d2', 365)");
        let mut holder =
            place.session("BEGIN; SELECT 1 FROM events WHERE deployment = 'd0' AND at < now() - interval '90 days' LIMIT 1 FOR UPDATE");
        let expired = "SELECT count(*) FROM events WHERE deployment = 'd0' AND at < now() - interval '40 days'";
        let slow = config(QUERY).replace("100000", "10");
        let (began, before): (_, u32) = (std::time::Instant::now(), place.sql(expired).parse().unwrap());
        place.run(&slow, 0);
        assert!(began.elapsed().as_secs_f64() >= f64::from(before - 1) / 10.0 - 1.0, "{before} rows in {:?}", began.elapsed());
        assert_eq!(place.sql(expired), "1");
        holder.run("COMMIT");
        place.run(&config(QUERY), 0);
        assert_eq!(place.sql(expired), "0");
    });
}
