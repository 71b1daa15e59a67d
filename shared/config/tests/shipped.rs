//! What is shipped and shown to people is read and found good.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use plana_config::{Config, ConfigSource, DEFAULTS, Environment, StoreName, load, schema_keys};
use plana_plan::classify::{Class, classify};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn shipped(name: &str) -> Config {
    let source = ConfigSource::new(Some(root().join("config").join(name)), Environment::default(), Vec::new());
    load(&source).unwrap_or_else(|error| panic!("{error}")).config
}

#[test]
fn every_shipped_file_is_good() {
    let files = std::fs::read_dir(root().join("config")).expect("config/").map(|entry| entry.expect("an entry").file_name());
    let names: BTreeSet<String> = files.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".toml")).collect();
    assert!(names.contains("plana.toml") && names.contains("demo.toml"), "{names:?}");
    names.iter().for_each(|name| drop(shipped(name)));
}

/// README.md has many audiences; what it tells them to write must work.
#[test]
fn every_toml_block_of_the_readme_is_good() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let blocks: Vec<&str> = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        if let Err(error) = Config::from_toml(block) {
            panic!("{error}\nin\n{block}");
        }
    }
}

/// The complete example and the defaults name every key that there is, if only in a comment.
#[test]
fn no_key_is_left_out() {
    let plana = std::fs::read_to_string(root().join("config/plana.toml")).expect("plana.toml");
    let has = |text: &str, word: &str| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|found| found == word);
    for key in schema_keys() {
        let last = key.key.rsplit('.').find(|segment| *segment != "*").unwrap_or_default();
        assert!(has(&plana, last), "config/plana.toml does not name {}", key.key);
        let in_short = last.ends_with("_file") && key.key.starts_with("store.") || key.key.starts_with("ping.");
        assert!(has(DEFAULTS, last) || in_short, "defaults.toml does not name {}", key.key);
    }
}

/// A commented line of the complete example is a good one as well, once its comment sign is gone.
#[test]
fn what_the_example_comments_out_is_good_too() {
    let plana = std::fs::read_to_string(root().join("config/plana.toml")).expect("plana.toml");
    let (mut section, mut tried) = (String::new(), 0);
    for line in plana.lines() {
        let uncommented = line.strip_prefix("# ").unwrap_or(line);
        if uncommented.starts_with('[') && !uncommented.contains(' ') {
            section = uncommented.to_owned();
        } else if line.starts_with("# ") && uncommented.split_once(" = ").is_some_and(|(key, _)| !key.trim_matches('"').contains(' ')) {
            tried += 1;
            let needed = match section.as_str() {
                "[store.backups]" | "[store.templates]" | "[store.escrow]" | "[store.mirror]" => "url = \"s3://bucket\"\n",
                "[escrow.keys.EXO_ENCRYPTION_KEY]" => "databases = [\"exo\"]\n",
                "[filestore.sources.tenants]" => "root = \"/srv/nfs\"\n",
                "[partitions.tables.audit]" => "table = \"public.audit_log\"\n",
                // One without the others is no pattern.
                "[[retention.legacy]]" => continue,
                _ => "",
            };
            if let Err(error) = Config::from_toml(&format!("{section}\n{needed}{uncommented}\n")) {
                panic!("{line}: {error}");
            }
        }
    }
    assert!(tried >= 25, "only {tried} commented keys were found");
}

/// The databases of the seeds get the classes and windows of the seeds.
#[test]
fn the_platforms_databases_are_what_they_are() {
    let config = shipped("plana.toml");
    for config in [&config, &shipped("demo.toml")] {
        let rules = config.classification_rules();
        for (database, owner, class) in [
            ("acme.planapulse.app", "plana", Class::Tenant),
            ("basic-template-17.planapulse.app", "plana", Class::Template),
            ("pro-template-19.planapulse.app", "plana", Class::Template),
            ("plana_pulse_account", "plana", Class::Platform),
            ("pulse_account", "plana", Class::Platform),
            ("authentik", "authentik", Class::Platform),
            ("forgejo", "forgejo", Class::Platform),
            ("nextcloud", "nextcloud", Class::Platform),
            ("vaultwarden", "vaultwarden", Class::Platform),
            ("openphysica_website", "openphysica", Class::External),
            ("somebody_elses", "plana", Class::Unclassified),
        ] {
            assert_eq!(classify(database, owner, &rules), class, "{database}");
        }
        let days = |label: &str| config.retention.windows.get(label).map(|window| window.days());
        let windows = ["starter", "pro", "enterprise", "platform"].map(days);
        assert_eq!(windows, [Some(30), Some(90), Some(365), Some(90)]);
    }
    let keys: Environment = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")].into_iter().collect();
    let seeds = config.store_credentials(StoreName::Templates, &keys).expect("keys");
    assert_eq!(seeds.url.to_string(), "s3://plana-pulse-templates");
    let access = config.store_credentials(StoreName::Backups, &keys).expect("keys");
    assert_eq!((access.url.to_string().as_str(), access.region.as_str()), ("s3://plana-pulse-backups", "bg-sof-1"));
}

/// What Exo needs is all in its file: database in both forms, dump, recordings, the key, partitions.
#[test]
fn the_exo_file_is_whole() {
    let config = shipped("exo.toml");
    let rules = config.classification_rules();
    assert_eq!(classify("exo", "exo", &rules), Class::Platform);
    for dsn in ["host=pg01 dbname=exo user=exo", "postgres://exo@pg01/exo"] {
        let env: Environment = [("EXO_DATABASE_DSN", dsn), ("EXO_ENCRYPTION_KEY", "k\n")].into_iter().collect();
        let found = config.postgres_dsn(&env).expect("a variable").expect("a string");
        assert_eq!(found.expose(), dsn);
        let key = config.escrow_secret("EXO_ENCRYPTION_KEY", &env).expect("a variable").expect("a key");
        assert_eq!(key.expose(), "k");
    }
    let casts = &config.filestore.sources["exo-casts"];
    assert_eq!((casts.path_env.as_deref(), casts.growing), (Some("EXO_CAST_STORAGE_DIR"), true));
    assert_eq!(config.partitions.tables.len(), 2);
    for config in [&config, &shipped("plana.toml")] {
        let key = &config.escrow.keys["EXO_ENCRYPTION_KEY"];
        assert!(key.databases.iter().any(|pattern| pattern.matches("exo")));
        assert!(key.filestores.iter().any(|pattern| pattern.matches("exo-casts")));
        assert!(config.escrow.recipients.len() >= 2 && config.store.escrow.is_some());
    }
}
