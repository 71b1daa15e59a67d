//! A Pushgateway: a group for the job (and shard), and one per name, so that no push touches others.
//!
//! POST replaces the families that it holds within its group and leaves the rest, so a failed run keeps
//! the last success, and a failed item its last backup.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use plana_config::Secret;
use reqwest::{Client, Response, Url, header::CONTENT_TYPE};
use serde::Deserialize;

use super::{Labels, Metrics, Update, exposition, stays};
use crate::ping::{describe, http_client};

/// Pushes what the run changes, and deletes the groups of names that are gone.
///
/// # Errors
/// What went wrong, in words, without the URL, which may hold a password.
pub(crate) async fn push(url: &Secret, update: &Update) -> Result<(), String> {
    let base = Url::parse(url.expose()).map_err(|error| format!("its URL is not valid: {error}"))?;
    let client = http_client().map_err(|error| describe(&error))?;
    for (group, metrics) in groups(update) {
        let request = client.post(endpoint(&base, &path(&update.job, &group))?).header(CONTENT_TYPE, exposition::CONTENT_TYPE);
        answer(request.body(metrics.render())).await?;
    }
    if update.all_names.is_some() {
        for group in stale(&client, &base, update).await? {
            answer(client.delete(endpoint(&base, &path(&update.job, &group))?)).await?;
        }
    }
    Ok(())
}

/// Whether it answers as a Pushgateway does.
///
/// # Errors
/// As [`push`].
pub(crate) async fn reach(url: &Secret) -> Result<(), String> {
    let base = Url::parse(url.expose()).map_err(|error| format!("its URL is not valid: {error}"))?;
    let client = http_client().map_err(|error| describe(&error))?;
    answer(client.get(endpoint(&base, "api/v1/status")?)).await.map(drop)
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Response, String> {
    let response = request.send().await.and_then(Response::error_for_status);
    response.map_err(|error| describe(&error.without_url()))
}

/// Series by the group that they belong to: the labels besides the job that make its key.
fn groups(update: &Update) -> BTreeMap<Labels, Metrics> {
    let mut groups: BTreeMap<Labels, Metrics> = BTreeMap::new();
    for (family, labels, value) in update.set.series() {
        let key = labels.iter().filter(|(name, _)| ["area", "name", "shard"].contains(&name.as_str()));
        let group = key.map(|(name, value)| (name.clone(), value.clone())).collect();
        groups.entry(group).or_default().set(family, labels, value);
    }
    groups
}

/// The group's path. Values in base64, as the Pushgateway reads them, since names hold slashes and worse.
fn path(job: &str, group: &Labels) -> String {
    let encode = |value: &str| URL_SAFE_NO_PAD.encode(value);
    let key: String = group.iter().map(|(name, value)| format!("/{name}@base64/{}", encode(value))).collect();
    format!("metrics/job@base64/{}{key}", encode(job))
}

fn endpoint(base: &Url, path: &str) -> Result<Url, String> {
    let mut url = base.clone();
    let whole = format!("{}/{path}", base.path().trim_end_matches('/'));
    if url.cannot_be_a_base() {
        return Err("its URL is not an http:// or https:// URL".to_owned());
    }
    url.set_path(&whole);
    Ok(url)
}

#[derive(Deserialize)]
struct Listing {
    data: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    labels: Labels,
}

/// The job's groups that a run over all names does away with.
async fn stale(client: &Client, base: &Url, update: &Update) -> Result<Vec<Labels>, String> {
    let response = answer(client.get(endpoint(base, "api/v1/metrics")?)).await?;
    let text = response.text().await.map_err(|error| describe(&error.without_url()))?;
    let listing: Listing = serde_json::from_str(&text).map_err(|error| format!("its list of groups is not what was expected: {error}"))?;
    let ours = listing.data.into_iter().map(|group| group.labels).filter(|labels| labels.get("job") == Some(&update.job));
    let gone = ours.filter(|labels| !stays(labels, update));
    Ok(gone.map(|labels| labels.into_iter().filter(|(name, _)| name != "job").collect()).collect())
}
