//! Whatever names something outside: addresses, variables, jobs. No text shows an address that may
//! hold a password.

use std::collections::BTreeMap;

use url::Url;

use super::Findings;
use crate::{
    JOBS, StoreUrl, nearest,
    schema::{Events, Metrics, Ping, Postgres, Stores},
    secret::Secret,
};

pub(super) fn stores(stores: &Stores, findings: &mut Findings) {
    for (name, store) in stores.all().into_iter().filter_map(|(name, store)| Some((name.as_str(), store?))) {
        if let Err(error) = store.url.parse::<StoreUrl>() {
            findings.add(&["store", name, "url"], error.to_string(), "");
        }
        if let Some(endpoint) = &store.endpoint {
            let path = ["store", name, "endpoint"];
            match Url::parse(endpoint).ok().filter(is_http) {
                None => findings.add(&path, "is not an http(s) URL", "write it like https://sos-bg-sof-1.exo.io"),
                Some(url) if !url.username().is_empty() || url.password().is_some() => {
                    findings.add(&path, "holds a user or a password", "give access_key_id and secret_access_key instead");
                }
                Some(url) if url.path() != "/" || url.query().is_some() => {
                    findings.add(&path, "holds a path", "the bucket and the prefix belong into url, as s3://bucket/prefix");
                }
                Some(_) => {}
            }
        }
        if let Some(region) = &store.region {
            findings.require_text(region, &["store", name, "region"], "leave it out, or name the zone, such as bg-sof-1");
        }
    }
}

/// Seeds are kept for ever, and the pruner goes through the whole of the backups' store.
pub(super) fn templates_apart(stores: &Stores, findings: &mut Findings) {
    let (Some(backups), Some(templates)) = (&stores.backups, &stores.templates) else { return };
    let (Ok(one), Ok(two)) = (backups.url.parse::<StoreUrl>(), templates.url.parse::<StoreUrl>()) else { return };
    // Two providers may each have a bucket of that name.
    let same_provider = backups.endpoint.is_none() || templates.endpoint.is_none() || backups.endpoint == templates.endpoint;
    let help = "give the seeds a bucket, or a directory, of their own: they are kept for ever";
    let apart = !one.overlaps(&two) || !same_provider;
    findings.require(apart, &["store", "templates", "url"], "lies in the backups' store, or around it", help);
}

pub(super) fn postgres(postgres: &Postgres, findings: &mut Findings) {
    findings.require_text(&postgres.maintenance_database, &["postgres", "maintenance_database"], "leave it out for `postgres`");
    findings.require_some_time(postgres.connect_timeout, &["postgres", "connect_timeout"]);
    if let Some(name) = &postgres.dsn_env {
        let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let help = "name a variable, such as EXO_DATABASE_DSN; a connection string itself belongs into dsn_file";
        findings.require(fits, &["postgres", "dsn_env"], "is not the name of an environment variable", help);
    }
}

pub(super) fn events(events: &Events, findings: &mut Findings) {
    let path = |key| ["events", key];
    url(events.url.as_ref(), &["redis", "rediss"], &path("url"), "redis://host:6379 or rediss://host:6379", findings);
    findings.require_text(&events.stream, &path("stream"), "leave it out for `PLANA:events`");
    findings.require(events.max_len >= 1, &path("max_len"), "is 0", "the stream must keep something, such as 50000");
    findings.require_some_time(events.timeout, &path("timeout"));
}

pub(super) fn metrics(metrics: &Metrics, findings: &mut Findings) {
    let path = ["metrics", "pushgateway"];
    url(metrics.pushgateway.as_ref(), &["http", "https"], &path, "http://pushgateway:9091", findings);
}

pub(super) fn ping(ping: &BTreeMap<String, Ping>, findings: &mut Findings) {
    for (job, urls) in ping {
        if !JOBS.contains(&job.as_str()) {
            let near = nearest::nearest(job, JOBS.into_iter()).map(|near| format!("did you mean ping.{near}?"));
            let help = near.unwrap_or_else(|| format!("the jobs are {}", JOBS.join(", ")));
            findings.add(&["ping", job], "is not a job", help);
        }
        for (which, address) in [("start", &urls.start), ("success", &urls.success), ("failure", &urls.failure)] {
            url(address.as_ref(), &["http", "https"], &["ping", job, which], "https://…", findings);
        }
    }
}

fn url(address: Option<&Secret>, schemes: &[&str], path: &[&str], example: &str, findings: &mut Findings) {
    let good = |secret: &Secret| Url::parse(secret.expose()).is_ok_and(|url| schemes.contains(&url.scheme()) && url.has_host());
    findings.require(address.is_none_or(good), path, "is not a URL that can be called", format!("write it like {example}"));
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}
