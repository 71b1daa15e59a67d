//! Keys in escrow, and that they never lie beside what they open.

use std::path::Path;

use plana_plan::{escrow::is_key_name, name::printable, pgclient::is_of_postgres};

use super::{Findings, recipients};
use crate::{
    Config, StoreName, StoreUrl,
    schema::{Escrow, Stores},
};

pub(super) fn escrow(config: &Config, findings: &mut Findings) {
    let Escrow { keys, .. } = &config.escrow;
    recipients(&config.escrow.recipients, &["escrow", "recipients"], findings);
    for (name, key) in keys {
        let path = ["escrow", "keys", name];
        findings.require(
            is_key_name(name),
            &path,
            "is not a key's name",
            "use letters, digits, `_`, `-` and `.`, such as EXO_ENCRYPTION_KEY",
        );
        let given = "is also the name of a variable that PostgreSQL's programs are given, as all are that begin so";
        findings.require(!is_of_postgres(name), &path, given, "give it another name: a key is looked for in the variable of its name");
        let some = !key.databases.is_empty() || !key.filestores.is_empty();
        findings.require(some, &path, "has neither databases nor filestores: nothing would need it", "name what cannot be read without it");
        if let Some(variable) = &key.secret_env {
            let is_variable = !variable.is_empty() && variable.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let help = "name a variable, such as EXO_ENCRYPTION_KEY; the key itself belongs into a file or a credential";
            // The text is not shown: it may be the key.
            let path = ["escrow", "keys", name, "secret_env"];
            findings.require(is_variable, &path, "is not the name of an environment variable", help);
            let given = "is a variable that PostgreSQL's programs are given, as all are that begin so";
            findings.require(!is_of_postgres(variable), &path, given, "give it another name, or keep the key in a file or a credential");
        }
    }
    let has_recipients = !config.escrow.recipients.is_empty() || config.escrow.recipients_file.is_some();
    if !keys.is_empty() && config.store.escrow.is_some() {
        let help = "make a pair with age-keygen, keep the private key offline, and give the public one (age1…)";
        let what = "has no escrow.recipients: keys would be encrypted to nobody";
        findings.require(has_recipients, &["store", "escrow"], what, help);
    }
    apart(&config.store, findings);
}

/// The escrow store may be no other store's place, nor hold it, nor lie in it.
fn apart(stores: &Stores, findings: &mut Findings) {
    let url = |name: StoreName| stores.get(name)?.url.parse::<StoreUrl>().ok();
    let Some(escrow) = url(StoreName::Escrow) else { return };
    for (name, _) in stores.all().into_iter().filter(|(name, _)| *name != StoreName::Escrow) {
        let Some(other) = url(name).filter(|other| escrow.shares_a_place_with(other)) else { continue };
        let what = format!(
            "{} is where store.{} is ({}): a key beside what it opens, and whoever takes the one has the other",
            printable(&escrow.to_string()),
            name.as_str(),
            printable(&other.to_string())
        );
        findings.add(&["store", "escrow", "url"], what, "give it a bucket (or a directory) of its own, on another provider where you can");
    }
}

impl StoreUrl {
    /// Whether two addresses may mean one place, or one that lies in the other. A bucket counts as a whole, whatever the prefix
    /// and the endpoint: keys and versions are a bucket's, and one bucket has many endpoints. Directories are compared as they
    /// are written; links are for whoever opens them.
    pub fn shares_a_place_with(&self, other: &StoreUrl) -> bool {
        match (self, other) {
            (StoreUrl::S3 { bucket, .. }, StoreUrl::S3 { bucket: other, .. }) => bucket.eq_ignore_ascii_case(other),
            (StoreUrl::File { directory }, StoreUrl::File { directory: other }) => within(directory, other) || within(other, directory),
            _ => false,
        }
    }
}

fn within(inner: &Path, outer: &Path) -> bool {
    inner.starts_with(outer)
}

#[cfg(test)]
mod tests {
    use crate::StoreUrl;

    #[test]
    fn a_place_is_the_same_however_it_is_spelled() {
        let url = |text: &str| text.parse::<StoreUrl>().expect(text);
        for (escrow, other, overlaps) in [
            ("s3://backups", "s3://backups", true),
            ("s3://backups/escrow", "s3://backups", true),
            ("s3://backups", "s3://backups/pg/", true),
            ("s3://backups/a", "s3://backups/b", true),
            ("s3://Backups/", "s3://backups", true),
            ("s3://backups-escrow", "s3://backups", false),
            ("file:///srv/backups/", "file:///srv/backups", true),
            ("file:///srv/backups/escrow", "file:///srv/backups", true),
            ("file:///srv", "file:///srv/backups", true),
            ("file:///srv/x/../backups", "file:///srv/backups", true),
            ("file:///srv//backups", "file:///srv/backups", true),
            ("file:///srv/./backups", "file:///srv/%62ackups", true),
            ("file:///srv/backups-escrow", "file:///srv/backups", false),
            ("s3://backups", "file:///backups", false),
        ] {
            assert_eq!(url(escrow).shares_a_place_with(&url(other)), overlaps, "{escrow} {other}");
            assert_eq!(url(other).shares_a_place_with(&url(escrow)), overlaps, "{other} {escrow}");
        }
    }
}
