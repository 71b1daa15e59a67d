use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::StoreName::Backups;

const S3: &str = "[store.backups]\nurl = \"s3://bucket/prefix\"\n";

fn config(toml: &str) -> Config {
    Config::from_toml(toml).unwrap_or_else(|error| panic!("{error}"))
}

fn env(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}

fn exposed(secret: &Option<Secret>) -> Option<&str> {
    secret.as_ref().map(Secret::expose)
}

fn directory(files: &[(&str, &str)]) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, content) in files {
        fs::write(directory.path().join(name), content).expect("a file");
    }
    let path = directory.path().display().to_string();
    (directory, path)
}

#[test]
fn rules_are_tried_by_order_and_then_by_name() {
    let rule = |name: &str, order: u32| format!("[rules.{name}]\norder = {order}\nclass = \"tenant\"\ndatabases = [\"*\"]\n");
    let toml = [rule("b", 20), rule("a", 20), rule("z", 10), rule("c", 3)].concat();
    let names: Vec<String> = config(&toml).classification_rules().into_iter().map(|rule| rule.name).collect();
    assert_eq!(names, ["c", "z", "a", "b"]);
}

#[test]
fn a_directory_needs_no_keys_and_takes_none() {
    let config = config("[store.backups]\nurl = \"file:///srv/backups\"\naccess_key_id_file = \"/nonexistent\"\n");
    let access = config.store_credentials(Backups, &env(&[("AWS_ACCESS_KEY_ID", "a")])).expect("a directory");
    assert_eq!((access.access_key_id, access.secret_access_key), (None, None));
    let error = Config::from_toml("").expect("defaults").store_credentials(Backups, &env(&[])).expect_err("no store");
    assert!(error.to_string().starts_with("configuration: store.backups.url: is not configured"), "{error}");
}

/// The order in which a secret is looked for: each step takes the best place away.
#[test]
fn secrets_are_found_in_their_order() {
    let (_mounted, mounted) = directory(&[("store.backups.secret_access_key", "mounted\n"), ("store_backups_access_key_id", "id\r\n")]);
    let (systemd_directory, systemd) = directory(&[("store.backups.secret_access_key", "systemd\n\n")]);
    let (_files, files) = directory(&[("key", "file")]);
    let variables = [
        ("PLANA_JOBS_SECRETS_DIR", mounted.as_str()),
        ("CREDENTIALS_DIRECTORY", systemd.as_str()),
        ("AWS_SECRET_ACCESS_KEY", "aws"),
        ("AWS_ACCESS_KEY_ID", "aws-id"),
        ("AWS_SESSION_TOKEN", "aws-token"),
    ];
    let found = |toml: &str, variables: &[(&str, &str)]| {
        let access = config(&format!("{S3}{toml}")).store_credentials(Backups, &env(variables)).expect("keys");
        [&access.secret_access_key, &access.access_key_id, &access.session_token].map(|secret| exposed(secret).map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(found("secret_access_key = \"value\"\n", &variables), [some("value"), some("id"), None]);
    assert_eq!(found(&format!("secret_access_key_file = \"{files}/key\"\n"), &variables), [some("file"), some("id"), None]);
    assert_eq!(found("", &variables), [some("systemd"), some("id"), None]);
    // A whole directory that systemd loaded comes with its name before the files'; a credential of its own wins.
    fs::write(systemd_directory.path().join("plana-jobs_store.backups.secret_access_key"), "of-a-directory\n").expect("a file");
    assert_eq!(found("", &variables), [some("systemd"), some("id"), None]);
    fs::remove_file(systemd_directory.path().join("store.backups.secret_access_key")).expect("a file");
    assert_eq!(found("", &variables), [some("of-a-directory"), some("id"), None]);
    fs::remove_file(systemd_directory.path().join("plana-jobs_store.backups.secret_access_key")).expect("a file");
    assert_eq!(found("", &variables), [some("mounted"), some("id"), None]);
    // The token in the environment goes with the secret key in the environment, and with no other.
    let aws_alone: Vec<_> = variables[1..].to_vec();
    assert_eq!(found("", &aws_alone), [some("aws"), some("aws-id"), some("aws-token")]);
    assert_eq!(found("session_token = \"own\"\n", &aws_alone), [some("aws"), some("aws-id"), some("own")]);
}

#[test]
fn what_is_not_found_is_named_with_every_place_that_was_looked_at() {
    let error = config(S3).store_credentials(Backups, &env(&[("CREDENTIALS_DIRECTORY", "/c")])).expect_err("no keys").to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(
        lines[0],
        "configuration: store.backups.access_key_id: was not found; set it in the configuration, name a file as access_key_id_file, \
         provide the file /c/store.backups.access_key_id or /run/secrets/plana-jobs/store.backups.access_key_id, or set AWS_ACCESS_KEY_ID"
    );
    assert!(lines.len() == 2 && lines[1].contains("store.backups.secret_access_key: was not found"), "{error}");
}

#[test]
fn files_of_secrets_that_cannot_be_used_are_named() {
    let long = "x".repeat(70_000);
    let (held, path) = directory(&[("empty", "\n"), ("long", &long), ("latin", ""), ("secret", "x")]);
    fs::write(held.path().join("latin"), b"\xff").expect("a file");
    fs::set_permissions(held.path().join("secret"), fs::Permissions::from_mode(0o000)).expect("a mode");
    let error = |name: &str| {
        let config = config(&format!("[postgres]\ndsn_file = \"{path}/{name}\"\n"));
        config.postgres_dsn(&env(&[])).expect_err("a file that cannot be used").to_string().replace(&path, "")
    };
    assert_eq!(error("empty"), "/empty: postgres.dsn: is empty; put the secret into it, or take the file away");
    assert!(error("long").starts_with("/long: postgres.dsn: is too large"));
    assert!(error("latin").starts_with("/latin: postgres.dsn: is not UTF-8"));
    assert!(error("none").starts_with("/none: postgres.dsn: there is no such file"));
    assert!(error("").starts_with("/: postgres.dsn: could not be read"));
    // Whoever may read everything is refused nothing.
    if fs::read(held.path().join("secret")).is_err() {
        assert!(error("secret").starts_with("/secret: postgres.dsn: may not be read"));
    }
}

#[test]
fn the_connection_string_may_come_from_a_variable() {
    let config = config("[postgres]\ndsn_env = \"EXO_DATABASE_DSN\"\n");
    let dsn = config.postgres_dsn(&env(&[("EXO_DATABASE_DSN", "host=db user=exo")])).expect("a variable");
    assert_eq!(exposed(&dsn), Some("host=db user=exo"));
    let error = config.postgres_dsn(&env(&[])).expect_err("no variable").to_string();
    assert!(error.contains("postgres.dsn_env: names EXO_DATABASE_DSN, and that environment variable is not set"), "{error}");
    // Nothing at all: libpq's environment says it.
    assert_eq!(Config::from_toml("").expect("defaults").postgres_dsn(&env(&[])).expect("nothing"), None);
}

#[test]
fn the_endpoint_tells_the_region_where_nothing_else_does() {
    let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let access = |toml: &str, variables: &[(&str, &str)]| {
        let variables: Vec<_> = keys.iter().chain(variables).copied().collect();
        let access = config(&format!("{S3}{toml}")).store_credentials(Backups, &env(&variables)).expect("keys");
        (access.endpoint.unwrap_or_default(), access.region)
    };
    let pair = |endpoint: &str, region: &str| (endpoint.to_owned(), region.to_owned());
    let sos = "https://sos-bg-sof-1.exo.io";
    assert_eq!(access("", &[]), pair("", "us-east-1"));
    assert_eq!(access(&format!("endpoint = \"{sos}\""), &[]), pair(sos, "bg-sof-1"));
    assert_eq!(access(&format!("endpoint = \"{sos}\""), &[("AWS_REGION", "x")]), pair(sos, "x"));
    assert_eq!(access("region = \"y\"", &[("AWS_REGION", "x")]), pair("", "y"));
    assert_eq!(access("", &[("AWS_DEFAULT_REGION", "d"), ("AWS_ENDPOINT_URL", "http://e")]), pair("http://e", "d"));
    let both = [("AWS_ENDPOINT_URL", "http://e"), ("AWS_ENDPOINT_URL_S3", sos)];
    assert_eq!(access("", &both), pair(sos, "bg-sof-1"));
}

#[test]
fn events_metrics_and_pings_have_their_secrets_too() {
    let (_held, path) = directory(&[
        ("events.url", "redis://r\n"),
        ("events_password", "p"),
        ("metrics.pushgateway", "http://u:p@push:9091"),
        ("ping.pg_dump_to_sos.failure", "https://x/token"),
        ("start", "https://x/start"),
    ]);
    let env = env(&[("PLANA_JOBS_SECRETS_DIR", &path)]);
    let config = config(&format!("[ping.pg_dump_to_sos]\nsuccess = \"https://x/ok\"\nstart_file = \"{path}/start\"\n"));
    assert_eq!(exposed(&config.events_url(&env).expect("a file")), Some("redis://r"));
    assert_eq!(exposed(&config.events_password(&env).expect("a file")), Some("p"));
    assert_eq!(exposed(&config.pushgateway_url(&env).expect("a file")), Some("http://u:p@push:9091"));
    let urls = config.ping_urls("pg-dump-to-sos", &env).expect("files");
    let shown = [&urls.start, &urls.success, &urls.failure].map(exposed);
    assert_eq!(shown, [Some("https://x/start"), Some("https://x/ok"), Some("https://x/token")]);
    assert_eq!(config.ping_urls("retention-pruner", &env).expect("nothing"), PingUrls::default());
}

/// A key in escrow: as its entry says, else a credential, else the variable of its name.
#[test]
fn keys_are_found_in_their_order_and_without_their_last_line_break() {
    let (_mounted, mounted) = directory(&[("escrow.keys.KEY.secret", "mounted\n")]);
    let (_files, files) = directory(&[("key", "file\n")]);
    let found = |toml: &str, variables: &[(&str, &str)]| {
        let found = config(toml).escrow_secret("KEY", &env(variables)).expect("a key");
        exposed(&found).map(str::to_owned)
    };
    let entry = |line: &str| format!("[escrow.keys.KEY]\ndatabases = [\"exo\"]\n{line}\n");
    let all = [("PLANA_JOBS_SECRETS_DIR", mounted.as_str()), ("KEY", "variable\n"), ("OTHER", "named\r\n")];
    assert_eq!(found(&entry("secret = \"value\""), &all).as_deref(), Some("value"));
    assert_eq!(found(&entry(&format!("secret_file = \"{files}/key\"")), &all).as_deref(), Some("file"));
    assert_eq!(found(&entry("secret_env = \"OTHER\""), &all).as_deref(), Some("named"));
    // Whether it is configured or not: whoever restores may have no configuration.
    for toml in [entry(""), String::new()] {
        assert_eq!(found(&toml, &all).as_deref(), Some("mounted"));
        assert_eq!(found(&toml, &all[1..]).as_deref(), Some("variable"));
        assert_eq!(found(&toml, &[]), None);
    }
    let unset = config(&entry("secret_env = \"OTHER\"")).escrow_secret("KEY", &env(&[("KEY", "x")])).expect_err("is not set").to_string();
    assert!(unset.contains("escrow.keys.KEY.secret_env: names OTHER"), "{unset}");
    // Nothing, or nothing but a line break, is no key: it would be put into escrow, and every backup would pass for readable.
    let refused =
        |line: &str, variables: &[(&str, &str)]| config(&entry(line)).escrow_secret("KEY", &env(variables)).expect_err(line).to_string();
    for nothing in ["", "\n", " \r\n"] {
        assert!(refused("secret_env = \"OTHER\"", &[("OTHER", nothing)]).contains("names OTHER"), "{nothing:?}");
        assert_eq!(found(&entry(""), &[("KEY", nothing)]), None, "{nothing:?}");
    }
    assert!(refused("secret = \" \"", &[]).contains("escrow.keys.KEY.secret: is empty"));
    let (_empty, empty) = directory(&[("key", "\n")]);
    assert!(refused(&format!("secret_file = \"{empty}/key\""), &all).contains("is empty"), "no other place stands in for it");
    assert!(refused(&format!("secret_file = \"{empty}\""), &all).contains("could not be read"));
    assert!(refused(&format!("secret_file = \"{empty}/none\""), &all).contains("there is no such file"));
}
