//! A partition goes the whole way: archived, dropped, brought back, attached.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use plana_testkit::{
    bin::Bin,
    job::expect_words,
    pg::{PgCluster, PgMajor, quote_identifier},
};

const EVENTS: &str = "
    CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, body text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE events_2020_01 PARTITION OF events FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00');
    CREATE TABLE events_2020_02 PARTITION OF events FOR VALUES FROM ('2020-02-01 00:00+00') TO ('2020-03-01 00:00+00');
    INSERT INTO events (at, body) SELECT '2020-01-01 00:00+00'::timestamptz + n * interval '1 hour', E'row\\t' || n FROM generate_series(0, 1400) n;";

const CONFIG: &str =
    "[partitions.tables.events]\ntable = \"public.events\"\nretention = \"1y\"\nkeep_at_least = 0\nretired = \"drop\"\narchive = true\n";

#[test]
fn an_archived_partition_comes_back_and_is_attached() {
    for major in PgMajor::ALL {
        let (cluster, home) = (PgCluster::shared(major), tempfile::tempdir().unwrap());
        // A name with dots: the three parts of the set's name must come apart again.
        let database = format!("{}.example.app", cluster.fresh_database("back").unwrap());
        cluster.psql("postgres", &format!("CREATE DATABASE {}", quote_identifier(&database))).unwrap();
        cluster.psql(&database, EVENTS).unwrap();
        let sum = "SELECT count(*) || md5(string_agg(e::text, ',' ORDER BY id)) FROM events e";
        let before = cluster.psql(&database, sum).unwrap();
        let config = home.path().join("config.toml");
        std::fs::write(&config, CONFIG).unwrap();
        let call = |job: &str| {
            Bin::new(job)
                .unwrap()
                .args(["--output", "json", "--log-format", "text", "--config"])
                .arg(&config)
                .envs(cluster.env())
                .env("PGDATABASE", &database)
                .env("PATH", cluster.bin_dir())
                .env("PLANA_JOBS__POSTGRES__BIN_DIRS", cluster.bin_dir())
                .env("PLANA_JOBS__STATE_DIR", home.path().join("state"))
                .env("PLANA_JOBS__STORE__BACKUPS__URL", format!("file://{}", home.path().join("store").display()))
        };
        call("partition-roller").run().unwrap().expect_code(0);
        assert_eq!(cluster.psql(&database, "SELECT count(*) FROM events").unwrap(), "0");
        let listed = call("restore-from-sos").args(["list", "--area", "partition"]).run().unwrap().expect_code(0).json();
        let sets: Vec<String> =
            listed["sets"].as_array().unwrap().iter().map(|set| set["set"].as_str().or(set["key"].as_str()).unwrap().to_owned()).collect();
        assert_eq!(sets.len(), 2, "{listed:#}");
        let restore = |set: &str, more: &[&str]| call("restore-from-sos").args(["restore-partition", set]).args(more).run().unwrap();
        expect_words(&restore(&sets[0], &[]).expect_code(20).stderr, &["it is a superuser"]);

        // An archive that was spoiled attaches nothing, and leaves nothing.
        let payload = std::fs::read_dir(home.path().join("store").join(&sets[0]))
            .unwrap()
            .map(|file| file.unwrap().path())
            .find(|path| !path.ends_with("manifest.json"))
            .unwrap();
        let whole = std::fs::read(&payload).unwrap();
        let mut spoiled = whole.clone();
        let at = spoiled.len() / 2;
        spoiled[at] ^= 1;
        std::fs::write(&payload, spoiled).unwrap();
        restore(&sets[0], &["--as-superuser"]).expect_code(1);
        assert_eq!(
            cluster.psql(&database, "SELECT to_regclass('events_2020_01') IS NULL AND to_regclass('events_2020_02') IS NULL").unwrap(),
            "t"
        );
        std::fs::write(&payload, whole).unwrap();

        for set in &sets {
            restore(set, &["--as-superuser"]).expect_code(0);
        }
        assert_eq!(cluster.psql(&database, sum).unwrap(), before);
        let mark = cluster.psql(
            &database,
            "SELECT obj_description('events_2020_01'::regclass) IS NULL AND relispartition FROM pg_class WHERE relname = 'events_2020_01'",
        );
        assert_eq!(mark.unwrap(), "t");
        expect_words(&restore(&sets[0], &["--as-superuser"]).expect_code(20).stderr, &["there is a table"]);
        cluster.psql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", quote_identifier(&database))).unwrap();
    }
}
