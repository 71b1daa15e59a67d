//! Configuration, environment and secrets that the objects hold are those that the jobs know.

use plana_config::{Config, schema_keys};
use serde_json::Value;

use crate::rendered::{self, command};

/// Whether a dotted key is one of the schema's, in which `*` stands for any name; the schema's key, where it is.
fn known(key: &str) -> Option<plana_config::SchemaKey> {
    let fits = |schema: &str| {
        let (schema, key): (Vec<&str>, Vec<&str>) = (schema.split('.').collect(), key.split('.').collect());
        schema.len() == key.len() && schema.iter().zip(&key).all(|(schema, key)| *schema == "*" || schema == key)
    };
    schema_keys().into_iter().find(|found| fits(&found.key))
}

#[test]
fn every_config_map_holds_a_good_configuration() {
    let mut read = 0;
    for rendered in rendered::all() {
        for (name, map) in rendered.kind("ConfigMap") {
            let data = map["data"].as_object().expect("data");
            assert_eq!(data.keys().collect::<Vec<_>>(), ["config.toml"], "{} {name}", rendered.name);
            let text = data["config.toml"].as_str().expect("text");
            let config = Config::from_toml(text).unwrap_or_else(|error| panic!("{} {name}: {error}", rendered.name));
            assert!(!config.retention.enabled, "nothing is deleted before somebody has looked");
            assert!(!text.to_lowercase().contains("password ="), "secrets are no configuration");
            read += 1;
        }
    }
    assert_eq!(read, 3);
}

/// What is mounted where file stores are looked for is where the configuration looks for them.
#[test]
fn the_configuration_and_the_mounts_mean_the_same_directories() {
    for rendered in rendered::all().iter().filter(|rendered| rendered.name.starts_with("overlays/")) {
        let (_, map) = rendered.kind("ConfigMap").next().expect("a ConfigMap");
        let config = Config::from_toml(map["data"]["config.toml"].as_str().expect("text")).expect("good");
        let roots: Vec<String> =
            config.filestore.sources.values().filter_map(|source| Some(source.root.as_ref()?.display().to_string())).collect();
        let mounts: Vec<&Value> = rendered
            .jobs()
            .filter(|(_, job)| command(&job["template"]["spec"])[0] == "filestore-tarball")
            .flat_map(|(_, job)| job["template"]["spec"]["containers"][0]["volumeMounts"].as_array().expect("mounts"))
            .collect();
        for root in &roots {
            assert!(mounts.iter().any(|mount| mount["mountPath"] == root.as_str()), "{}: {root} is not mounted", rendered.name);
        }
        let state = config.state_dir.display().to_string();
        for place in [state.as_str(), "/etc/plana-jobs", "/run/secrets/plana-jobs"] {
            assert!(mounts.iter().any(|mount| mount["mountPath"] == place), "{}: {place} is not mounted", rendered.name);
        }
        assert!(!roots.is_empty());
    }
}

#[test]
fn every_variable_names_a_key_and_holds_no_secret() {
    for (_, job) in rendered::all().iter().flat_map(|rendered| rendered.jobs()) {
        for variable in job["template"]["spec"]["containers"][0]["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().expect("a name");
            if let Some(key) = name.strip_prefix("PLANA_JOBS__") {
                let key = key.to_lowercase().replace("__", ".");
                assert!(known(&key).is_some_and(|found| !found.is_secret), "{name}");
            }
            assert!(variable["valueFrom"]["secretKeyRef"].is_null(), "{name}: secrets are files");
        }
    }
}

#[test]
fn every_secret_is_one_that_the_jobs_look_for_and_none_is_real() {
    let mut seen = 0;
    for (name, secret) in rendered::of("overlays/example").kind("Secret") {
        assert!(secret["data"].is_null(), "{name}: an example is readable");
        for (key, value) in secret["stringData"].as_object().expect("stringData") {
            seen += 1;
            assert!(known(key).is_some_and(|found| found.is_secret), "{name}: no job looks for {key}");
            assert!(value.as_str().is_some_and(|value| value.contains("PLACEHOLDER")), "{name} {key}");
        }
    }
    assert!(seen >= 18, "{seen}");
    assert!(known("store.backups.secret_access_keys").is_none());
}

/// The rule of the SOPS example encrypts what the Secrets hold, and lets their names be read.
#[test]
fn the_sops_example_fits_the_secrets() {
    let sops = crate::text("k8s-cronjobs/secrets/sops.example.yaml");
    assert!(sops.contains("encrypted_regex: ^(data|stringData)$") && sops.contains("path_regex: .*/secrets/"), "{sops}");
    assert!(!crate::root().join(".sops.yaml").exists() && crate::root().join("k8s-cronjobs/secrets/pg-dump-to-sos.yaml").exists());
}
