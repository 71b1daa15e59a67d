//! What no single key shows to be wrong. Pure.

mod escrow;
mod filestore;
mod outward;
mod partitions;

use std::collections::BTreeMap;

use plana_plan::{Label, window::Window};

use crate::{
    Config, HumanDuration,
    schema::{Dump, Mirror, Retention, Rule, S3Client, Tiers, Upload},
};

/// Something that is wrong with a key of the whole configuration.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The key.
    pub(crate) path: Vec<String>,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) help: String,
}

/// What is wrong, as it is found.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, path: &[&str], what: impl Into<String>, help: impl Into<String>) {
        let path = path.iter().map(|segment| (*segment).to_owned()).collect();
        self.0.push(Finding { path, what: what.into(), help: help.into() });
    }

    fn require(&mut self, holds: bool, path: &[&str], what: impl Into<String>, help: impl Into<String>) {
        if !holds {
            self.add(path, what, help);
        }
    }

    fn require_text(&mut self, text: &str, path: &[&str], help: &str) {
        self.require(!text.trim().is_empty(), path, "is empty", help);
    }

    fn require_some_time(&mut self, duration: HumanDuration, path: &[&str]) {
        self.require(!duration.0.is_zero(), path, "is no time at all", "write a duration such as 30s");
    }
}

/// All that is wrong with a configuration whose keys and values are each right.
pub(crate) fn validate(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::default();
    findings.require(!config.state_dir.as_os_str().is_empty(), &["state_dir"], "is empty", "name a directory");
    outward::stores(&config.store, &mut findings);
    outward::templates_apart(&config.store, &mut findings);
    s3_client(&config.s3, &mut findings);
    upload(&config.upload, &mut findings);
    outward::postgres(&config.postgres, &mut findings);
    dump(&config.dump, &mut findings);
    filestore::filestore(&config.filestore, &mut findings);
    partitions::partitions(&config.partitions, &mut findings);
    findings.require((1..=64).contains(&config.restore.jobs), &["restore", "jobs"], "is not from 1 to 64", "2 fits most servers");
    findings.require_text(&config.restore.scratch_user, &["restore", "scratch_user"], "name a user of this host, such as postgres");
    rules(&config.rules, &mut findings);
    retention(&config.retention, &mut findings);
    mirror(&config.mirror, &mut findings);
    tiers(&config.tiers, &config.retention, &mut findings);
    recipients(&config.encryption.recipients, &["encryption", "recipients"], &mut findings);
    escrow::escrow(config, &mut findings);
    outward::events(&config.events, &mut findings);
    outward::metrics(&config.metrics, &mut findings);
    outward::ping(&config.ping, &mut findings);
    findings.0
}

fn s3_client(s3: &S3Client, findings: &mut Findings) {
    let durations = [
        ("connect_timeout", s3.connect_timeout),
        ("read_timeout", s3.read_timeout),
        ("attempt_timeout", s3.attempt_timeout),
        ("complete_timeout", s3.complete_timeout),
        ("max_backoff", s3.max_backoff),
    ];
    durations.into_iter().for_each(|(key, duration)| findings.require_some_time(duration, &["s3", key]));
    findings.require(s3.max_attempts >= 1, &["s3", "max_attempts"], "is 0", "1 means that nothing is tried again");
}

/// S3 takes no part but the last below this.
const MIN_PART: u64 = 5 << 20;

fn upload(upload: &Upload, findings: &mut Findings) {
    let path = |key| ["upload", key];
    let enough = upload.memory.0 >= 3 * MIN_PART;
    findings.require(enough, &path("memory"), format!("{} holds fewer than 3 parts of 5 MiB", upload.memory), "give at least 15MiB");
    findings.require(upload.parts_in_flight >= 1, &path("parts_in_flight"), "is 0", "1 sends one part after the other");
    findings.require((1..=10_000).contains(&upload.max_parts), &path("max_parts"), "must be from 1 to 10000", "S3 counts no further");
    findings.require(
        upload.max_object.0 >= MIN_PART,
        &path("max_object"),
        "is smaller than one part of 5 MiB",
        "S3 stores take 5TiB, SOS 4TiB",
    );
    let some = upload.bandwidth.is_none_or(|bandwidth| bandwidth.0 > 0);
    findings.require(some, &path("bandwidth"), "is 0 bytes per second", "leave it out for no cap");
}

fn dump(dump: &Dump, findings: &mut Findings) {
    let path = |key| ["dump", key];
    findings.require(dump.jobs >= 1, &path("jobs"), "is 0", "1 dumps one database after the other");
    findings.require_text(&dump.scratch_prefix, &path("scratch_prefix"), "an empty prefix would leave out every database");
    let level = (1..=19).contains(&dump.compression_level);
    findings.require(level, &path("compression_level"), format!("is {}", dump.compression_level), "zstd has the levels 1 to 19");
    findings.require(dump.nice <= 19, &path("nice"), format!("is {}", dump.nice), "niceness goes from 0 to 19");
    findings.require_some_time(dump.lock_wait_timeout, &path("lock_wait_timeout"));
    findings.require_some_time(dump.stall_timeout, &path("stall_timeout"));
    findings.require_text(&dump.cluster_name, &path("cluster_name"), "leave it out for `cluster`");
}

fn rules(rules: &BTreeMap<String, Rule>, findings: &mut Findings) {
    for (name, rule) in rules {
        let help = "name at least one database or glob, such as \"*.example.org\"";
        findings.require(!rule.databases.is_empty(), &["rules", name, "databases"], "is empty: the rule would never match", help);
    }
}

fn retention(retention: &Retention, findings: &mut Findings) {
    let path = |key| ["retention", key];
    findings.require(retention.floor >= 1, &path("floor"), "is 0", "1 keeps the newest backup of each name, whatever happens");
    findings.require(retention.max_sets >= 1, &path("max_sets"), "is 0", "to delete nothing, set retention.enabled to false");
    let percent = retention.max_shrink_percent <= 100;
    findings.require(percent, &path("max_shrink_percent"), "is more than 100", "100 switches this guard off");
    store_urls(&retention.stores, &path("stores"), findings);
    let price = retention.price.per_gib_month.is_none_or(|price| price.is_finite() && price >= 0.0);
    findings.require(price, &["retention", "price", "per_gib_month"], "is no price", "write it like 0.02, or leave it out");
    for legacy in &retention.legacy {
        let what = format!("the area {} of {} has names or times of its own", legacy.area, legacy.key.as_str());
        findings.require(legacy.area.has_tiers(), &path("legacy"), what, "use pg, filestore or globals");
    }
    for label in retention.windows.keys() {
        let help = "use lower-case letters, digits and hyphens";
        findings.require(label.parse::<Label>().is_ok(), &["retention", "windows", label], "is not a label", help);
    }
    let longest: Option<(&String, &Window)> = retention.windows.iter().max_by_key(|(_, window)| **window);
    if let (Some((label, longest)), Some(unknown)) = (longest, retention.windows.get(Label::UNCLASSIFIED)) {
        let what = format!("{unknown} is shorter than {label}'s {longest}: what nobody knows must be kept longest");
        findings.require(unknown >= longest, &["retention", "windows", Label::UNCLASSIFIED], what, "lengthen it, or leave it out");
    }
}

fn store_urls(urls: &[String], path: &[&str], findings: &mut Findings) {
    for url in urls {
        let is_url = url.parse::<crate::StoreUrl>();
        findings.require(is_url.is_ok(), path, format!("`{url}` is not a store's URL"), "write s3://bucket/prefix or file:///directory");
    }
}

fn mirror(mirror: &Mirror, findings: &mut Findings) {
    let path = |key| ["mirror", key];
    store_urls(&mirror.stores, &path("stores"), findings);
    let nothing = "to delete nothing, set mirror.enabled to false";
    findings.require(mirror.max_manifests >= 1, &path("max_manifests"), "is 0", nothing);
    findings.require(mirror.max_blobs >= 1, &path("max_blobs"), "is 0", nothing);
    findings.require(mirror.max_shrink_percent <= 100, &path("max_shrink_percent"), "is more than 100", "100 switches this guard off");
    let gap = mirror.ledger_gap < mirror.window;
    findings.require(gap, &path("ledger_gap"), "is no shorter than mirror.window", "a ledger that may be silent so long shows nothing");
}

fn tiers(tiers: &Tiers, retention: &Retention, findings: &mut Findings) {
    for (database, tier) in &tiers.fixed {
        // As the lookup reads it: tiers come from people and from databases.
        let known = retention.windows.contains_key(&tier.trim().to_lowercase());
        let labels: Vec<&str> = retention.windows.keys().map(String::as_str).collect();
        let help = format!("give {tier:?} a window in retention.windows, or use one of {}", labels.join(", "));
        findings.require(known, &["tiers", "static", database], format!("the tier {tier:?} has no retention window"), help);
    }
    if let Some(sql) = &tiers.sql {
        findings.require_text(&sql.database, &["tiers", "sql", "database"], "name the database to ask");
        findings.require_text(&sql.query, &["tiers", "sql", "query"], "write a query with two columns: database, tier");
        findings.require_some_time(sql.timeout, &["tiers", "sql", "timeout"]);
    }
}

fn recipients(recipients: &[String], path: &[&str], findings: &mut Findings) {
    for (index, recipient) in recipients.iter().enumerate() {
        let recipient = recipient.trim();
        // Neither text shows the value: a private key may have been put here by mistake.
        if recipient.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            let help = "take it out, make a new pair, and give the public key (age1…): this host must not hold the private one";
            findings.add(path, format!("the entry {} is a private key", index + 1), help);
        } else if !recipient.starts_with("age1") || !recipient.bytes().all(|b| b.is_ascii_alphanumeric()) {
            let help = "give an age public key, age1…, as age-keygen prints it";
            findings.add(path, format!("the entry {} is not an age public key", index + 1), help);
        }
    }
}

#[cfg(test)]
mod tests;
