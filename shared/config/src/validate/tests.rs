use crate::{Config, ConfigError};

fn error(toml: &str) -> ConfigError {
    match Config::from_toml(toml) {
        Ok(_) => panic!("was accepted: {toml}"),
        Err(error) => error,
    }
}

const RULE: &str = "[rules.t]\norder = 1\nclass = \"tenant\"\n";

/// Each line: what is wrong, the key that the problem names, and a part of what it says.
#[test]
fn what_no_single_key_shows_is_found() {
    let cases: &[(&str, &str, &str)] = &[
        ("state_dir = \"\"", "state_dir", "is empty"),
        ("[store.backups]\nurl = \"https://x/y\"", "store.backups.url", "s3://bucket/prefix"),
        ("[store.backups]\nurl = \"s3://bucket\"\nendpoint = \"sos\"", "store.backups.endpoint", "not an http(s) URL"),
        ("[store.backups]\nurl = \"s3://bucket\"\nendpoint = \"https://h/bucket\"", "store.backups.endpoint", "path"),
        ("[store.backups]\nurl = \"s3://bucket\"\nendpoint = \"https://u:p@h\"", "store.backups.endpoint", "password"),
        ("[store.backups]\nurl = \"s3://bucket\"\nregion = \" \"", "store.backups.region", "is empty"),
        (
            "[store.backups]\nurl = \"s3://bucket\"\n[store.templates]\nurl = \"s3://bucket/seeds\"",
            "store.templates.url",
            "lies in the backups' store",
        ),
        ("[s3]\nmax_attempts = 0", "s3.max_attempts", "is 0"),
        ("[s3]\nread_timeout = \"0s\"", "s3.read_timeout", "no time"),
        ("[upload]\nmemory = \"14MiB\"", "upload.memory", "fewer than 3 parts"),
        ("[upload]\nparts_in_flight = 0", "upload.parts_in_flight", "is 0"),
        ("[upload]\nmax_parts = 10001", "upload.max_parts", "1 to 10000"),
        ("[upload]\nmax_object = 1", "upload.max_object", "smaller"),
        ("[upload]\nbandwidth = 0", "upload.bandwidth", "leave it out"),
        ("[postgres]\nmaintenance_database = \"\"", "postgres.maintenance_database", "is empty"),
        ("[postgres]\nconnect_timeout = \"0s\"", "postgres.connect_timeout", "no time"),
        ("[postgres]\ndsn_env = \"host=x\"", "postgres.dsn_env", "dsn_file"),
        ("[dump]\njobs = 0", "dump.jobs", "is 0"),
        ("[dump]\nscratch_prefix = \"\"", "dump.scratch_prefix", "every database"),
        ("[dump]\ncompression_level = 20", "dump.compression_level", "1 to 19"),
        ("[dump]\ncompression_level = 0", "dump.compression_level", "1 to 19"),
        ("[dump]\nnice = 20", "dump.nice", "0 to 19"),
        ("[dump]\nlock_wait_timeout = \"0s\"", "dump.lock_wait_timeout", "no time"),
        ("[dump]\nstall_timeout = \"0s\"", "dump.stall_timeout", "no time"),
        ("[dump]\ncluster_name = \"\"", "dump.cluster_name", "is empty"),
        ("[partitions]\nlock_timeout = \"0s\"", "partitions.lock_timeout", "no time"),
        ("[partitions]\nlock_timeout = \"2m\"", "partitions.lock_timeout", "longer than a minute"),
        ("[partitions]\nlock_attempts = 0", "partitions.lock_attempts", "1 to 1000"),
        ("[partitions.tables.a]\npremake = 2", "partitions.tables.a", "neither table nor schema"),
        ("[partitions.tables.a]\ntable = \"events\"", "partitions.tables.a.table", "public.session_events"),
        ("[partitions.tables.a]\ntable = \"a.b\"\nschema = \"a\"", "partitions.tables.a.table", "all of a schema"),
        ("[partitions.tables.a]\ntable = \"a.b\"\nname = \"{table}_{month}\"", "partitions.tables.a.name", "same name"),
        ("[partitions.tables.a]\ntable = \"a.b\"\narchive = true", "partitions.tables.a.archive", "is dropped"),
        ("[partitions.tables.a]\ntable = \"a.b\"\nretired = \"drop\"\nmove_to = \"x\"", "partitions.tables.a.move_to", "is kept"),
        (
            "[partitions.tables.a]\ntable = \"a.b\"\nretention = \"9d\"\n[partitions.tables.a.deployments]\nquery = \"x\"\ncolumn = \"y\"",
            "partitions.tables.a.retention",
            "leave one",
        ),
        ("[rules.t]\norder = 1\nclass = \"tenant\"\ndatabases = []", "rules.t.databases", "never match"),
        ("[retention.windows]\nGold = \"1y\"", "retention.windows.Gold", "not a label"),
        ("[retention.windows]\nunclassified = \"364d\"", "retention.windows.unclassified", "kept longest"),
        ("[tiers.static]\n\"a.b\" = \"gold\"", "tiers.static.\"a.b\"", "no retention window"),
        ("[tiers.sql]\ndatabase = \"\"\nquery = \"x\"", "tiers.sql.database", "is empty"),
        ("[tiers.sql]\ndatabase = \"x\"\nquery = \" \"", "tiers.sql.query", "is empty"),
        ("[encryption]\nrecipients = [\"ssh-rsa AAAA\"]", "encryption.recipients", "entry 1 is not an age"),
        ("[encryption]\nrecipients = [\"age1q\", \"AGE-SECRET-KEY-1Q\"]", "encryption.recipients", "entry 2 is a private"),
        ("[escrow]\nrecipients = [\"ssh-rsa AAAA\"]", "escrow.recipients", "entry 1 is not an age"),
        ("[escrow]\nrecipients = [\"AGE-SECRET-KEY-1Q\"]", "escrow.recipients", "entry 1 is a private"),
        ("[escrow.keys.K]\nsecret_env = \"K\"", "escrow.keys.K", "neither databases nor filestores"),
        ("[escrow.keys.\"a/b\"]\ndatabases = [\"x\"]", "escrow.keys.\"a/b\"", "not a key's name"),
        (
            "[escrow.keys.K]\ndatabases = [\"x\"]\nsecret_env = \"PGCRYPTO_KEY\"",
            "escrow.keys.K.secret_env",
            "PostgreSQL's programs are given",
        ),
        ("[escrow.keys.SSL_KEY]\ndatabases = [\"x\"]", "escrow.keys.SSL_KEY", "PostgreSQL's programs are given"),
        ("[escrow.keys.K]\ndatabases = [\"x\"]\nsecret_env = \"the=key\"", "escrow.keys.K.secret_env", "not the name of an environment"),
        ("[store.escrow]\nurl = \"s3://escrow\"\n[escrow.keys.K]\ndatabases = [\"x\"]", "store.escrow", "to nobody"),
        (
            "[store.backups]\nurl = \"s3://bucket/pg\"\n[store.escrow]\nurl = \"s3://bucket/escrow\"",
            "store.escrow.url",
            "beside what it opens",
        ),
        ("[store.backups]\nurl = \"file:///srv/a\"\n[store.escrow]\nurl = \"file:///srv/./b/../a/\"", "store.escrow.url", "of its own"),
        ("[events]\nurl = \"http://x\"", "events.url", "redis://"),
        ("[events]\nstream = \"\"", "events.stream", "is empty"),
        ("[events]\nmax_len = 0", "events.max_len", "is 0"),
        ("[metrics]\npushgateway = \"pushgateway:9091\"", "metrics.pushgateway", "not a URL"),
        ("[ping.pg_dump_to_s3]\nstart = \"https://x\"", "ping.pg_dump_to_s3", "did you mean ping.pg_dump_to_sos?"),
        ("[ping.pg-dump-to-sos]\nstart = \"https://x\"", "ping.pg-dump-to-sos", "did you mean ping.pg_dump_to_sos?"),
        ("[ping.restore_from_sos]\nfailure = \"x\"", "ping.restore_from_sos.failure", "not a URL"),
    ];
    for (toml, key, what) in cases {
        let error = error(toml);
        let [problem] = &error.problems[..] else { panic!("{toml}: {error}") };
        assert_eq!(problem.key, *key, "{error}");
        assert!(problem.to_string().contains(what) && problem.place.starts_with("configuration:"), "{error}");
    }
}

#[test]
fn private_keys_in_the_wrong_place_are_not_shown() {
    let error = error("[encryption]\nrecipients = [\"AGE-SECRET-KEY-1HUNTER2\", \"hunter2\"]").to_string();
    assert!(!error.to_lowercase().contains("hunter2"), "{error}");
}

#[test]
fn what_is_good_is_accepted() {
    for toml in [
        "[store.backups]\nurl = \"s3://bucket\"\nendpoint = \"http://127.0.0.1:7480/\"",
        "[retention.windows]\nunclassified = \"1y\"",
        "[retention.windows]\ngold = \"2y\"\n[tiers.static]\n\"a.b\" = \" Gold \"",
        "[tiers.sql]\ndatabase = \"a\"\nquery = \"SELECT 1\"",
        "[encryption]\nrecipients = [\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]",
        "[events]\nurl = \"redis://redis.redis.svc.cluster.local:6379\"",
        "[store.backups]\nurl = \"s3://bucket\"\n[store.escrow]\nurl = \"s3://bucket-escrow\"",
        "[escrow.keys.K]\nfilestores = [\"x*\"]",
        "[upload]\nmemory = 15728640",
    ] {
        if let Err(error) = Config::from_toml(toml) {
            panic!("{toml}: {error}");
        }
    }
    assert!(Config::from_toml(&format!("{RULE}databases = [\"*\"]")).is_ok());
}
