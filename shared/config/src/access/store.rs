//! Where a store is, and the keys to it.

use std::path::PathBuf;

use crate::{Config, ConfigError, Environment, Problem, Secret, StoreName, StoreUrl, credentials, schema::Store};

/// Where a store is and how it is entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreAccess {
    /// Where the store is.
    pub url: StoreUrl,
    /// The S3 endpoint; `None` means AWS itself.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The access key: there for `s3://`, not for `file://`.
    pub access_key_id: Option<Secret>,
    /// The secret key: there for `s3://`, not for `file://`.
    pub secret_access_key: Option<Secret>,
    /// The session token of temporary keys.
    pub session_token: Option<Secret>,
}

impl StoreAccess {
    /// A directory needs nothing but its address.
    fn directory(url: StoreUrl) -> Self {
        StoreAccess { url, endpoint: None, region: String::new(), access_key_id: None, secret_access_key: None, session_token: None }
    }
}

impl Config {
    /// Where a store is and the keys to it.
    ///
    /// # Errors
    /// The store is not configured, a key for `s3://` is nowhere, or a file of a secret cannot be used.
    pub fn store_credentials(&self, which: StoreName, env: &Environment) -> Result<StoreAccess, ConfigError> {
        let keys = Keys { section: format!("store.{}", which.as_str()), env };
        let Some(store) = self.store.get(which) else {
            return Err(keys
                .wrong("url", "is not configured", "write s3://bucket/prefix or file:///directory there, or give --store")
                .into());
        };
        let url: StoreUrl = store.url.parse().map_err(|error: crate::StoreUrlError| keys.wrong("url", error.to_string(), ""))?;
        if matches!(url, StoreUrl::File { .. }) {
            return Ok(StoreAccess::directory(url));
        }
        let access_key_id = keys.own("access_key_id", &store.access_key_id, &store.access_key_id_file);
        let secret_access_key = keys.own("secret_access_key", &store.secret_access_key, &store.secret_access_key_file);
        let session_token = keys.own("session_token", &store.session_token, &store.session_token_file);
        // A token in the environment belongs to the secret key in the environment and to no other.
        let token_from_environment = matches!(secret_access_key, Ok(None));
        let access_key_id = keys.or_variable("access_key_id", access_key_id, "AWS_ACCESS_KEY_ID");
        let secret_access_key = keys.or_variable("secret_access_key", secret_access_key, "AWS_SECRET_ACCESS_KEY");
        match (access_key_id, secret_access_key, session_token) {
            (Ok(access_key_id), Ok(secret_access_key), Ok(session_token)) => {
                let from_environment = || env.get("AWS_SESSION_TOKEN").filter(|_| token_from_environment).map(Secret::new);
                let session_token = session_token.or_else(from_environment);
                let (endpoint, region) = endpoint_and_region(store, env);
                let (access_key_id, secret_access_key) = (Some(access_key_id), Some(secret_access_key));
                Ok(StoreAccess { url, endpoint, region, access_key_id, secret_access_key, session_token })
            }
            (access_key_id, secret_access_key, session_token) => {
                let problems = [access_key_id.err(), secret_access_key.err(), session_token.err()];
                Err(ConfigError { problems: problems.into_iter().flatten().collect() })
            }
        }
    }
}

/// Finds the keys of one store.
struct Keys<'a> {
    section: String,
    env: &'a Environment,
}

impl Keys<'_> {
    /// The secret in the configuration, its file, or a credential by name.
    fn own(&self, key: &str, value: &Option<Secret>, file: &Option<PathBuf>) -> Result<Option<Secret>, Problem> {
        credentials::find(&format!("{}.{key}", self.section), value.as_ref(), file.as_deref(), self.env)
    }

    /// The secret that was found, else the AWS name's.
    fn or_variable(&self, key: &str, found: Result<Option<Secret>, Problem>, name: &str) -> Result<Secret, Problem> {
        found?.or_else(|| self.env.get(name).map(Secret::new)).ok_or_else(|| {
            let files = credentials::places(&format!("{}.{key}", self.section), self.env);
            let help = format!("set it in the configuration, name a file as {key}_file, provide the file {files}, or set {name}");
            self.wrong(key, "was not found", help)
        })
    }

    fn wrong(&self, key: &str, what: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem::new("configuration", format!("{}.{key}", self.section), what, help)
    }
}

/// The endpoint and region: as configured, else as the AWS names say, else what the endpoint tells.
fn endpoint_and_region(store: &Store, env: &Environment) -> (Option<String>, String) {
    let variable = |names: [&str; 2]| names.into_iter().find_map(|name| env.get(name)).map(str::to_owned);
    let endpoint = store.endpoint.clone().or_else(|| variable(["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
    let zone = endpoint.as_deref().and_then(exoscale_zone).map(str::to_owned);
    let region = store.region.clone().or_else(|| variable(["AWS_REGION", "AWS_DEFAULT_REGION"])).or(zone);
    (endpoint, region.unwrap_or_else(|| "us-east-1".to_owned()))
}

/// The zone of `https://sos-{zone}.exo.io`, which is the region there.
fn exoscale_zone(endpoint: &str) -> Option<&str> {
    let host = endpoint.strip_prefix("https://")?.trim_end_matches('/');
    host.strip_prefix("sos-")?.strip_suffix(".exo.io").filter(|zone| !zone.is_empty())
}
