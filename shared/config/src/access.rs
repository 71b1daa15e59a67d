//! What jobs ask the configuration for, so that they do not know where secrets come from.

mod store;

use std::path::{Path, PathBuf};

use plana_plan::classify;

pub use store::StoreAccess;

use crate::{Config, ConfigError, Environment, Problem, Secret, credentials, schema::Rule};

/// The URLs that are called for a job; each may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PingUrls {
    /// Called when a run starts.
    pub start: Option<Secret>,
    /// Called when all of the work was done.
    pub success: Option<Secret>,
    /// Called otherwise.
    pub failure: Option<Secret>,
}

impl Config {
    /// The rules that classify databases, in the order in which they are tried.
    pub fn classification_rules(&self) -> Vec<classify::Rule> {
        let mut rules: Vec<_> = self.rules.iter().collect();
        rules.sort_by_key(|(name, rule)| (rule.order, *name));
        let rule = |(name, rule): (&String, &Rule)| classify::Rule {
            name: name.clone(),
            class: rule.class,
            names: rule.databases.clone(),
            owners: rule.owners.clone(),
        };
        rules.into_iter().map(rule).collect()
    }

    /// The connection string of the PostgreSQL server; `None` means that libpq's environment says it all.
    ///
    /// # Errors
    /// The variable that `postgres.dsn_env` names is not set, or a file of a secret cannot be used.
    pub fn postgres_dsn(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        if let Some(name) = &self.postgres.dsn_env {
            let what = format!("names {name}, and that environment variable is not set");
            let unset = || Problem::new("configuration", "postgres.dsn_env", what, "set it, or give dsn or dsn_file instead");
            return Ok(Some(Secret::new(env.get(name).ok_or_else(unset)?)));
        }
        self.secret("postgres.dsn", &self.postgres.dsn, self.postgres.dsn_file.as_deref(), env)
    }

    /// The connection string of the server on which drills restore; `None` means that none is configured.
    ///
    /// # Errors
    /// A file of a secret cannot be used.
    pub fn scratch_dsn(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        self.secret("restore.scratch_dsn", &self.restore.scratch_dsn, self.restore.scratch_dsn_file.as_deref(), env)
    }

    /// A key that backups need, by its name, whether it is configured or not: as its entry says, else the credential
    /// `escrow.keys.NAME.secret`, else the environment variable of the key's own name; `None` where it is nowhere. A line break
    /// at its end is not part of it, wherever it comes from: in a file an editor leaves one, and the key is the same.
    ///
    /// # Errors
    /// The variable that `secret_env` names is not set, a file of a secret cannot be used, or the key is empty: that would be put
    /// away as if it were one.
    pub fn escrow_secret(&self, name: &str, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        let entry = self.escrow.keys.get(name).cloned().unwrap_or_default();
        let key = format!("escrow.keys.{name}.secret");
        let variable = |variable: &str| {
            let value = env.get(variable)?.trim_end_matches(['\n', '\r']);
            (!value.trim().is_empty()).then(|| Secret::new(value))
        };
        if let Some(named) = &entry.secret_env {
            let what = format!("names {named}, and that environment variable is not set");
            let unset = || Problem::new("configuration", format!("{key}_env"), what, "set it, or give the key as a file or a credential");
            return Ok(Some(variable(named).ok_or_else(unset)?));
        }
        let found = self.secret(&key, &entry.secret, entry.secret_file.as_deref(), env)?.or_else(|| variable(name));
        if found.as_ref().is_some_and(|secret| secret.expose().trim().is_empty()) {
            return Err(Problem::new("configuration", key, "is empty", "give the key as a file or a credential").into());
        }
        Ok(found)
    }

    /// The URL of the event stream's server; `None` means no events.
    ///
    /// # Errors
    /// A file of a secret cannot be used.
    pub fn events_url(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        self.secret("events.url", &self.events.url, self.events.url_file.as_deref(), env)
    }

    /// The password of the event stream's server, where the URL holds none.
    ///
    /// # Errors
    /// A file of a secret cannot be used.
    pub fn events_password(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        self.secret("events.password", &self.events.password, self.events.password_file.as_deref(), env)
    }

    /// The Pushgateway's URL; `None` means none.
    ///
    /// # Errors
    /// A file of a secret cannot be used.
    pub fn pushgateway_url(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        self.secret("metrics.pushgateway", &self.metrics.pushgateway, self.metrics.pushgateway_file.as_deref(), env)
    }

    /// The URLs to call for a job, named as in the configuration or as its binary.
    ///
    /// # Errors
    /// A file of a secret cannot be used.
    pub fn ping_urls(&self, job: &str, env: &Environment) -> Result<PingUrls, ConfigError> {
        let job = job.replace('-', "_");
        let ping = self.ping.get(&job).cloned().unwrap_or_default();
        let find = |which: &str, value: &Option<Secret>, file: &Option<PathBuf>| {
            self.secret(&format!("ping.{job}.{which}"), value, file.as_deref(), env)
        };
        Ok(PingUrls {
            start: find("start", &ping.start, &ping.start_file)?,
            success: find("success", &ping.success, &ping.success_file)?,
            failure: find("failure", &ping.failure, &ping.failure_file)?,
        })
    }

    fn secret(&self, key: &str, value: &Option<Secret>, file: Option<&Path>, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        Ok(credentials::find(key, value.as_ref(), file, env)?)
    }

    /// Every file that the configuration names as holding a secret.
    pub(crate) fn secret_files(&self) -> Vec<&Path> {
        let mut files = vec![
            &self.postgres.dsn_file,
            &self.restore.scratch_dsn_file,
            &self.events.url_file,
            &self.events.password_file,
            &self.metrics.pushgateway_file,
        ];
        for store in self.store.all().into_iter().filter_map(|(_, store)| store) {
            files.extend([&store.access_key_id_file, &store.secret_access_key_file, &store.session_token_file]);
        }
        files.extend(self.escrow.keys.values().map(|key| &key.secret_file));
        for ping in self.ping.values() {
            files.extend([&ping.start_file, &ping.success_file, &ping.failure_file]);
        }
        files.into_iter().filter_map(|file| file.as_deref()).collect()
    }
}

#[cfg(test)]
mod tests;
