use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::*;
use crate::{Environment, Override};

/// A directory with `config.toml` and drop-ins as given by name.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, content) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }
    directory
}

fn source(directory: &Path, env: &[(&str, &str)], overrides: &[(&str, &str, &str)]) -> ConfigSource {
    let overrides = overrides.iter().map(|(flag, key, value)| Override::new(*flag, *key, *value)).collect();
    ConfigSource::new(Some(directory.join("config.toml")), env.iter().copied().collect(), overrides)
}

/// The lines of the error, with the directory left out.
fn lines(directory: &Path, source: &ConfigSource) -> Vec<String> {
    let error = match load(source) {
        Ok(_) => panic!("was accepted"),
        Err(error) => error.to_string(),
    };
    error.lines().map(|line| line.replace(&format!("{}/", directory.display()), "")).collect()
}

#[test]
fn the_defaults_alone_are_good() {
    let loaded = load(&ConfigSource::default()).expect("the defaults");
    assert_eq!(loaded.config.dump.jobs, 2);
    assert_eq!(loaded.place_of("dump.jobs").map(|place| place.starts_with("built-in defaults:")), Some(true));
    assert_eq!((loaded.files.len(), loaded.notes.len()), (0, 0));
}

#[test]
fn without_any_file_a_store_is_enough() {
    let missing = ConfigSource {
        default_file: Some("/nonexistent/plana-jobs/config.toml".into()),
        overrides: vec![Override::new("--store", "store.backups.url", "file:///srv/backups")],
        ..ConfigSource::default()
    };
    let loaded = load(&missing).expect("a store and nothing else");
    let access = loaded.config.store_credentials(crate::StoreName::Backups, &missing.env).expect("a directory");
    assert_eq!(access.url.to_string(), "file:///srv/backups");
    assert_eq!(loaded.place_of("store.backups.url"), Some("--store"));
}

#[test]
fn later_layers_win_key_by_key() {
    let files = directory(&[
        ("config.toml", "[dump]\njobs = 3\nnice = 3\ncompression_level = 4\ncluster_name = \"file\"\nglobals = false\nexclude = [\"a\"]\n"),
        ("conf.d/20-b.toml", "[dump]\nnice = 5\ncluster_name = \"b\"\n"),
        ("conf.d/10-a.toml", "[dump]\njobs = 4\nnice = 4\ncluster_name = \"a\"\nexclude = [\"b\"]\n"),
        ("conf.d/.hidden.toml", "broken"),
        ("conf.d/30-c.toml.disabled", "broken"),
    ]);
    let env = [("PLANA_JOBS__DUMP__CLUSTER_NAME", "env"), ("PLANA_JOBS__DUMP__JOBS", "6")];
    let source = source(files.path(), &env, &[("--jobs", "dump.jobs", "7")]);
    let loaded = load(&source).expect("good layers");
    let dump = &loaded.config.dump;
    assert_eq!((dump.jobs, dump.nice, dump.compression_level, dump.cluster_name.as_str(), dump.globals), (7, 5, 4, "env", false));
    // A list replaces a list.
    assert_eq!(dump.exclude.iter().map(|p| p.as_str()).collect::<Vec<_>>(), ["b"]);
    // Defaults that nobody touched stand.
    assert_eq!(dump.scratch_prefix, "plana_scratch_");
    let names: Vec<_> = loaded.files.iter().filter_map(|path| path.file_name()).collect();
    assert_eq!(names, ["config.toml", "10-a.toml", "20-b.toml"]);
    assert_eq!(loaded.place_of("dump.jobs"), Some("--jobs"));
    assert_eq!(loaded.place_of("dump.cluster_name"), Some("environment variable PLANA_JOBS__DUMP__CLUSTER_NAME"));
    assert!(loaded.place_of("dump.nice").is_some_and(|place| place.ends_with("20-b.toml:2")));
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_one_in_every_layer() {
    let files = directory(&[
        ("config.toml", "[dump]\njosb = 3\n\n[stroe.backups]\nurl = \"file:///x\"\n"),
        ("conf.d/10.toml", "jobs = 3\n\n[store.backup]\nurl = \"file:///x\"\n[events]\nfrobnicate = 1\n"),
    ]);
    let env = [("PLANA_JOBS__DUMP__NICENESS", "3"), ("PLANA_JOBS__DUMP__JOBS__X", "3"), ("plana_jobs__upload__memroy", "1GiB")];
    let mut lines = lines(files.path(), &source(files.path(), &env, &[("--store", "store.backups.ulr", "x")]));
    lines.sort();
    assert_eq!(
        lines,
        [
            "--store: store.backups.ulr: unknown key; did you mean store.backups.url?",
            "conf.d/10.toml:1: jobs: unknown key; did you mean dump.jobs?",
            "conf.d/10.toml:3: store.backup: unknown key; did you mean store.backups?",
            "conf.d/10.toml:6: events.frobnicate: unknown key; the keys here are url, url_file, password, password_file, stream, \
             max_len, timeout, detail",
            "config.toml:2: dump.josb: unknown key; did you mean dump.jobs?",
            "config.toml:4: stroe: unknown key; did you mean store?",
            "environment variable PLANA_JOBS__DUMP__JOBS__X: dump.jobs.x: unknown key; it stands below a key that is not a table",
            "environment variable PLANA_JOBS__DUMP__NICENESS: dump.niceness: unknown key; did you mean PLANA_JOBS__DUMP__NICE?",
            "environment variable plana_jobs__upload__memroy: upload.memroy: unknown key; did you mean PLANA_JOBS__UPLOAD__MEMORY?",
        ]
    );
}

#[test]
fn wrong_values_are_named_with_their_place_and_what_is_expected() {
    let files = directory(&[(
        "config.toml",
        "state_dir = 1\n[dump]\njobs = \"many\"\nnice = -1\nlock_wait_timeout = \"soon\"\nstall_timeout = 5\nexclude = [\"a\", 3]\n\
         globals = \"yes\"\nrole_passwords = \"nevr\"\n[upload]\nmemory = \"64 elephants\"\nbandwidth = true\n\
         [retention.windows]\nstarter = \"3m\"\n[rules.t]\norder = 1\nclass = \"tenent\"\ndatabases = [\"[a\"]\n[metrics]\ntextfile_dir = {}\n\
         [events]\nurl = 7\npassword = [\"hunter2\"]\n",
    )]);
    let lines = lines(files.path(), &source(files.path(), &[("PLANA_JOBS__DUMP__COMPRESSION_LEVEL", "high")], &[]));
    let expected = [
        "config.toml:3: dump.jobs: expects a whole number, 0 or more, found text",
        "config.toml:4: dump.nice: is out of range: expects a whole number from 0 to 255",
        "config.toml:5: dump.lock_wait_timeout: `soon` is not a duration such as 90s, 5m or 12h",
        "config.toml:6: dump.stall_timeout: expects a duration in quotes, such as \"90s\", \"5m\" or \"12h\", found a whole number",
        "config.toml:7: dump.exclude: expects text in quotes, found a whole number",
        "config.toml:8: dump.globals: expects true or false, found text",
        "config.toml:9: dump.role_passwords: \"nevr\" is none of when-encrypted, never; did you mean never?",
        "config.toml:11: upload.memory: `64 elephants` is not a size",
        "config.toml:12: upload.bandwidth: expects a size such as \"64MiB\", \"1.5GB\" or 4096, found true or false",
        "config.toml:14: retention.windows.starter: `3m` is not a retention window",
        "config.toml:17: rules.t.class: \"tenent\" is none of tenant, template, platform, external, unclassified; did you mean tenant?",
        "config.toml:18: rules.t.databases: `[a` is not a pattern",
        "config.toml:20: metrics.textfile_dir: expects text in quotes, found a table",
        "config.toml:22: events.url: expects text in quotes, found a whole number",
        "config.toml:23: events.password: expects text in quotes, found a list",
        "config.toml:1: state_dir: expects text in quotes, found a whole number",
        "environment variable PLANA_JOBS__DUMP__COMPRESSION_LEVEL: dump.compression_level: expects a whole number, found text",
    ];
    for expected in expected {
        assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected} is not in\n{}", lines.join("\n"));
    }
    assert_eq!(lines.len(), expected.len(), "{}", lines.join("\n"));
}

#[test]
fn what_is_missing_is_said_once_and_not_where_a_typing_mistake_explains_it() {
    let files = directory(&[(
        "config.toml",
        "[store.backups]\nregion = \"x\"\n[rules.a]\norder = 1\nclass = \"tenant\"\n[rules.b]\nodrer = 1\nclass = \"tenant\"\ndatabases = [\"*\"]\n[dump]\nnice = 99\n",
    )]);
    let lines = lines(files.path(), &source(files.path(), &[], &[]));
    assert_eq!(
        lines,
        [
            "config.toml:7: rules.b.odrer: unknown key; did you mean rules.b.order?",
            "config.toml:3: rules.a: lacks the key `databases`; add it",
            "config.toml:1: store.backups: lacks the key `url`; add it",
            "config.toml:11: dump.nice: is 99; niceness goes from 0 to 19",
        ]
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let files = directory(&[("conf.d/x", "")]);
    let missing = lines(files.path(), &source(files.path(), &[], &[]));
    assert_eq!(missing, ["config.toml: there is no such file; name the right one, or leave --config and PLANA_JOBS_CONFIG out"]);
    // The environment may name it as well.
    let env: Environment = [("PLANA_JOBS_CONFIG", "/nonexistent/x.toml")].into_iter().collect();
    let error = load(&ConfigSource { env, ..ConfigSource::default() }).expect_err("a missing file").to_string();
    assert!(error.starts_with("/nonexistent/x.toml: there is no such file"), "{error}");

    fs::write(files.path().join("config.toml"), b"a = \"\xff\"").expect("a file");
    fs::write(files.path().join("conf.d/1.toml"), "[dump\n").expect("a file");
    fs::create_dir(files.path().join("conf.d/2.toml")).expect("a directory");
    let broken = lines(files.path(), &source(files.path(), &[], &[]));
    assert_eq!(broken[0], "config.toml: is not UTF-8; save it as UTF-8");
    assert!(broken[1].starts_with("conf.d/1.toml:1:6: is not TOML: invalid table header"), "{}", broken[1]);
    assert!(broken[2].starts_with("conf.d/2.toml: could not be read"), "{}", broken[2]);
    assert_eq!(broken.len(), 3);
}

#[test]
fn of_a_secrets_forms_the_later_layer_counts_and_two_in_one_layer_contradict() {
    let files = directory(&[("config.toml", "[postgres]\ndsn_file = \"/f\"\n[events]\nurl = \"redis://a\"\n")]);
    let env = [("PLANA_JOBS__POSTGRES__DSN", "host=x"), ("PLANA_JOBS__EVENTS__URL_FILE", "/u")];
    let config = load(&source(files.path(), &env, &[])).expect("a later form").config;
    assert_eq!((config.postgres.dsn_file, config.events.url), (None, None));
    assert_eq!(config.postgres.dsn.map(|dsn| dsn.expose().to_owned()), Some("host=x".to_owned()));

    let files = directory(&[(
        "config.toml",
        "[postgres]\ndsn_env = \"X\"\ndsn = \"host=hunter2\"\n[store.backups]\nurl = \"s3://bucket\"\n\
                                              access_key_id = \"hunter2\"\naccess_key_id_file = \"/x\"\n",
    )]);
    let lines = lines(files.path(), &source(files.path(), &[], &[]));
    let shown = lines.join("\n");
    assert!(
        shown.contains("config.toml:2: postgres.dsn_env: says again what postgres.dsn says at config.toml:3; keep one of them"),
        "{shown}"
    );
    assert!(shown.contains("config.toml:7: store.backups.access_key_id_file: says again what store.backups.access_key_id says"), "{shown}");
    assert!(lines.len() == 2 && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_everybody_may_read_and_what_is_nearly_ours_is_noted() {
    let files = directory(&[("config.toml", "[events]\npassword = \"x\"\n[postgres]\ndsn_file = \"DIR/dsn\"\n"), ("dsn", "host=x")]);
    let config = files.path().join("config.toml");
    let text = fs::read_to_string(&config).expect("a file").replace("DIR", &files.path().display().to_string());
    fs::write(&config, text).expect("a file");
    let chmod = |name: &str, mode| fs::set_permissions(files.path().join(name), fs::Permissions::from_mode(mode)).expect("a mode");
    let notes = |env: &[(&str, &str)]| load(&source(files.path(), env, &[])).expect("a good file").notes;
    chmod("config.toml", 0o644);
    chmod("dsn", 0o644);
    let found = notes(&[]);
    assert!(found.len() == 2 && found[0].contains("holds events.password") && found[1].contains("/dsn holds a secret"), "{found:?}");
    chmod("config.toml", 0o640);
    chmod("dsn", 0o400);
    assert_eq!(notes(&[]), Vec::<String>::new());
    assert_eq!(
        notes(&[("PLANA_JOBS_DUMP__JOBS", "3"), ("PLANA_JOBS_SECRETS_DIR", "/x")]),
        ["environment variable PLANA_JOBS_DUMP__JOBS is not read: did you mean PLANA_JOBS__DUMP__JOBS?"]
    );
}
