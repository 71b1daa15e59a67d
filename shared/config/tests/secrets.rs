//! No secret is ever shown: not by Debug, not by an error, wherever it was put and whatever is wrong.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeSet;

use plana_config::{ConfigSource, Environment, Override, StoreName, load, schema_keys};
use proptest::prelude::*;

const MARKER: &str = "hunter2";

/// A secret that somebody forgot to put in quotes.
const NUMBER: &str = "7305819";

/// Every key that holds a secret; `the_secrets_here_are_the_schemas` compares with the schema.
const SECRETS: [(&str, &str); 21] = [
    ("store.backups", "access_key_id"),
    ("store.backups", "secret_access_key"),
    ("store.backups", "session_token"),
    ("store.templates", "access_key_id"),
    ("store.templates", "secret_access_key"),
    ("store.templates", "session_token"),
    ("store.escrow", "access_key_id"),
    ("store.escrow", "secret_access_key"),
    ("store.escrow", "session_token"),
    ("store.mirror", "access_key_id"),
    ("store.mirror", "secret_access_key"),
    ("store.mirror", "session_token"),
    ("escrow.keys.key", "secret"),
    ("postgres", "dsn"),
    ("restore", "scratch_dsn"),
    ("events", "url"),
    ("events", "password"),
    ("metrics", "pushgateway"),
    ("ping.pg_dump_to_sos", "start"),
    ("ping.pg_dump_to_sos", "success"),
    ("ping.pg_dump_to_sos", "failure"),
];

/// All that is shown of an attempt to load.
fn shown(toml: &str, env: &[(String, String)], overrides: Vec<Override>) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.toml");
    std::fs::write(&file, toml).expect("a file");
    let env: Environment = env.iter().map(|(name, value)| (name, value)).collect();
    let source = ConfigSource::new(Some(file), env, overrides);
    let loaded = load(&source);
    let mut shown = format!("{source:?}\n{loaded:?}\n");
    match &loaded {
        Err(error) => shown.push_str(&error.to_string()),
        Ok(loaded) => {
            let config = &loaded.config;
            let json = serde_json::to_string(config).expect("JSON");
            let stores = [StoreName::Backups, StoreName::Templates, StoreName::Mirror];
            let stores = stores.map(|name| config.store_credentials(name, &source.env));
            let others = (
                config.postgres_dsn(&source.env),
                config.events_url(&source.env),
                config.events_password(&source.env),
                config.scratch_dsn(&source.env),
            );
            let escrow = (config.escrow_secret("key", &source.env), config.store_credentials(StoreName::Escrow, &source.env));
            shown.push_str(&format!("{escrow:?}\n"));
            let more = (config.pushgateway_url(&source.env), config.ping_urls("pg_dump_to_sos", &source.env));
            shown.push_str(&format!("{json}\n{stores:?}\n{others:?}\n{more:?}\n"));
            shown.extend(stores.into_iter().filter_map(|store| store.err().map(|error| error.to_string())));
        }
    }
    shown
}

/// Ways to write a secret into a file, right and wrong.
fn written(key: &str, value: &str) -> Vec<String> {
    vec![
        format!("{key} = \"{value}\""),
        format!("{key} = {value}"),
        format!("{key} = \"{value}"),
        format!("{key} = [\"{value}\"]"),
        format!("{key} = {{ x = \"{value}\" }}"),
        format!("{key} = '{value}' '{value}'"),
        format!("{key} = \"\\q{value}\""),
        format!("{key} = \"{value}\"\n{key} = \"{value}\""),
        format!("{key} = \"{value}\"\n{key}_file = \"/x\""),
        format!("{key} \"{value}\""),
        format!("{key}x = \"{value}\""),
        format!("{key}_flie = \"{value}\""),
        format!("{key} = {NUMBER}"),
        format!("{key} = [{NUMBER}]"),
        format!("{key} = {NUMBER}.5"),
        format!("{key} = -{NUMBER}"),
    ]
}

fn assert_hidden(shown: &str, how: &str) {
    assert!(!shown.contains(MARKER) && !shown.contains(NUMBER), "{how} shows the secret:\n{shown}");
}

#[test]
fn every_secret_is_tried() {
    for (table, key) in SECRETS {
        let is_store = table.starts_with("store.");
        let store = if is_store { "url = \"s3://bucket\"\n" } else { "[store.backups]\nurl = \"s3://bucket\"\n" };
        for line in written(key, MARKER) {
            let toml = if is_store { format!("[{table}]\n{store}{line}\n") } else { format!("{store}[{table}]\n{line}\n") };
            assert_hidden(&shown(&toml, &[], Vec::new()), &toml);
        }
        let variable = format!("PLANA_JOBS__{table}__{key}").replace('.', "__").to_uppercase();
        for name in [variable.clone(), format!("{variable}X"), format!("{variable}__X")] {
            assert_hidden(&shown(store, &[(name.clone(), MARKER.to_owned())], Vec::new()), &name);
        }
        for name in [format!("{table}.{key}"), format!("{table}.{key}x")] {
            assert_hidden(&shown("", &[], vec![Override::new("--flag", name.as_str(), MARKER)]), &name);
        }
    }
}

#[test]
fn the_secrets_here_are_the_schemas() {
    let of_schema = schema_keys().into_iter().filter(|key| key.is_secret).map(|key| key.key);
    let here = SECRETS.map(|(table, key)| format!("{table}.{key}").replace("pg_dump_to_sos", "*").replace("keys.key", "keys.*"));
    assert_eq!(of_schema.collect::<BTreeSet<_>>(), BTreeSet::from(here));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever surrounds it in the file, and whatever the secret looks like.
    #[test]
    fn no_text_shows_a_secret(
        which in 0..SECRETS.len(),
        way in 0..16usize,
        before in "[ -~\n]{0,12}",
        after in "[ -~\n]{0,12}",
        junk in "[ -~\n]{0,40}",
    ) {
        let (table, key) = SECRETS[which];
        let line = written(key, &format!("{before}{MARKER}{after}")).swap_remove(way);
        // A line break or a bracket can end the value, so that what follows is a key or a table's name:
        // names are shown, values are not.
        prop_assume!(!before.contains(['\n', '"', '\'', '\\', ']', '}', '#', '=', ',']));
        let shown = shown(&format!("[{table}]\n{line}\n{junk}\n"), &[], Vec::new());
        prop_assert!(!shown.contains(MARKER), "{line}\n{junk}\n{shown}");
    }
}
