//! The receipt of an insurance snapshot: what was taken, until when it is kept, and how it comes back.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Area, Label, SetKey, Stamp, inventory::StoredSet, manifest::Manifest};

/// What a person keeps after a snapshot, and what scripts read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The version of its form.
    pub schema: u32,
    /// The operation that is insured.
    pub operation: Label,
    /// When it was begun.
    pub stamp: Stamp,
    /// The run that made it.
    pub run_id: String,
    /// The host.
    pub host: String,
    /// The store.
    pub store: String,
    /// What was taken, by name.
    pub snapshots: Vec<Snapshot>,
    /// The command that ran under insurance, once it has begun.
    pub command: Option<CommandRun>,
}

/// The snapshot of one tenant, database or file store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// Until when it is kept at least.
    pub kept_until: Stamp,
    /// It was there already and was young enough.
    pub reused: bool,
    /// It was restored for a trial.
    pub proven_by_restore: bool,
    /// Rows that somebody wrote to the database while the snapshot was made; `None` where that cannot be told.
    pub rows_written_meanwhile: Option<u64>,
    /// Its sets, the dump first.
    pub sets: Vec<InsuredSet>,
    /// The keys without which it is unreadable; never the keys themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<NeededKey>,
    /// What brings it back.
    pub restore: String,
}

/// A key that a restore asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededKey {
    /// Its name.
    pub name: String,
    /// The file from which the command that brings the snapshot back reads it.
    pub file: String,
    /// What writes that file; `None` where it is there already, or the key is in no escrow.
    pub recover: Option<String>,
}

impl NeededKey {
    /// A key that lies in a file of this host.
    pub fn in_file(name: &str, file: &str) -> Self {
        NeededKey { name: name.to_owned(), file: file.to_owned(), recover: None }
    }

    /// A key that somebody has to put into a file first, `NAME.key`: out of escrow, where it is kept there as `sought`, its name
    /// with or without the beginning of its fingerprint. `options` go first, as in [`restore_command`].
    pub fn to_be_written(name: &str, sought: Option<&str>, options: &[String]) -> Self {
        let file = format!("{name}.key");
        let recover = sought.map(|sought| command(options, &["escrow", "recover", sought, "--identity", "IDENTITY", "--to", &file]));
        NeededKey { name: name.to_owned(), file, recover }
    }
}

/// A set of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InsuredSet {
    /// Its area.
    pub area: Area,
    /// Where it lies.
    pub set: String,
    /// The keys of its payload.
    pub objects: Vec<String>,
    /// Bytes stored.
    pub stored_bytes: u64,
    /// SHA-256 of what is stored; `None` for one that is used again, which a backup key cannot read.
    pub stored_sha256: Option<String>,
    /// Rows of a dump.
    pub rows: Option<u64>,
    /// Tables of a dump.
    pub tables: Option<u64>,
    /// Files of a file store.
    pub files: Option<u64>,
    /// Files that the dump names.
    pub named: Option<u64>,
    /// Of them, those that the tenant lacked before.
    pub missing: Option<u64>,
    /// Files whose content was not what their names say before.
    pub damaged: Option<u64>,
}

impl InsuredSet {
    /// Whether reading it takes the private key of one of the recipients.
    pub fn is_encrypted(&self) -> bool {
        self.objects.iter().any(|key| key.ends_with(".age"))
    }
}

/// The command that ran under insurance. Its arguments may hold secrets, and are not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandRun {
    /// The program.
    pub program: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took; `None` while it runs, or when whoever watched it was killed.
    pub seconds: Option<f64>,
    /// How it ended, as a shell tells it: its status, or 128 and the signal.
    pub exit_code: Option<u8>,
}

/// The version of a receipt's form.
pub const RECEIPT_SCHEMA: u32 = 1;

impl InsuredSet {
    /// Of a set that was just made.
    pub fn made(set: &SetKey, manifest: &Manifest) -> Self {
        let (database, files) = (manifest.database.as_ref(), manifest.filestore.as_ref());
        InsuredSet {
            area: set.area,
            set: set.to_string(),
            objects: manifest.payload.volumes.iter().map(|volume| volume.key.clone()).collect(),
            stored_bytes: manifest.payload.stored_bytes,
            stored_sha256: Some(manifest.payload.stored_sha256.clone()),
            rows: database.map(|facts| facts.rows),
            tables: database.map(|facts| facts.tables.len() as u64),
            files: files.map(|facts| facts.files),
            named: files.and_then(|facts| facts.named_by_database),
            missing: files.map(|facts| facts.missing.total),
            damaged: files.map(|facts| facts.damaged.total),
        }
    }

    /// Of one that was there already, by the listing alone.
    pub fn found(stored: &StoredSet) -> Self {
        InsuredSet {
            area: stored.key.area,
            set: stored.key.to_string(),
            objects: stored.payload.iter().map(|object| object.key.clone()).collect(),
            stored_bytes: stored.payload_bytes(),
            stored_sha256: None,
            rows: None,
            tables: None,
            files: None,
            named: None,
            missing: None,
            damaged: None,
        }
    }
}

/// The command that brings a snapshot back over what the operation left. `options` go first, such as `--config FILE`;
/// `directory` is where the file store was; the keys are asked for by name, and read from their files; `IDENTITY` stands for the
/// file with the private key, which a host that makes backups does not know.
pub fn restore_command(options: &[String], sets: &[InsuredSet], directory: Option<&str>, keys: &[NeededKey]) -> String {
    let of = |area: Area| sets.iter().find(|set| set.area == area).map(|set| set.set.as_str());
    let to = directory.unwrap_or("DIR");
    let mut words: Vec<&str> = match (of(Area::InsurancePg), of(Area::InsuranceFilestore)) {
        (Some(dump), Some(files)) => vec!["restore-tenant", dump, "--files-of", files, "--to", to, "--replace"],
        (Some(dump), None) => vec!["restore", dump, "--replace"],
        (None, Some(files)) => vec!["restore-filestore", files, "--to", to, "--replace"],
        (None, None) => vec!["list"],
    };
    if sets.iter().any(InsuredSet::is_encrypted) {
        words.extend(["--identity", "IDENTITY"]);
    }
    let files: Vec<String> = keys.iter().map(|key| format!("{}={}", key.name, key.file)).collect();
    words.extend(files.iter().flat_map(|file| ["--key", file]));
    command(options, &words)
}

fn command(options: &[String], words: &[&str]) -> String {
    let words = options.iter().map(String::as_str).chain(words.iter().copied());
    std::iter::once("restore-from-sos".to_owned()).chain(words.map(quoted)).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=%@+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(area: Area) -> InsuredSet {
        InsuredSet {
            area,
            set: format!("{area}/acme/20261125T020000Z.upgrade.until-20261209T020000Z.00000001"),
            objects: Vec::new(),
            stored_bytes: 1,
            stored_sha256: None,
            rows: None,
            tables: None,
            files: None,
            named: None,
            missing: None,
            damaged: None,
        }
    }

    #[test]
    fn the_command_brings_back_what_was_taken() {
        let (dump, files) = (set(Area::InsurancePg), set(Area::InsuranceFilestore));
        let stamp = "acme/20261125T020000Z.upgrade.until-20261209T020000Z.00000001";
        let command = |sets: &[InsuredSet], directory| restore_command(&[], sets, directory, &[]);
        assert_eq!(command(std::slice::from_ref(&dump), None), format!("restore-from-sos restore insurance-pg/{stamp} --replace"));
        assert_eq!(
            command(std::slice::from_ref(&files), Some("/srv/files of acme")),
            format!("restore-from-sos restore-filestore insurance-filestore/{stamp} --to '/srv/files of acme' --replace")
        );
        let options = ["--config".to_owned(), "/etc/it's.toml".to_owned()];
        assert_eq!(
            restore_command(&options, &[dump, files], Some("/srv/acme"), &[]),
            format!(
                r"restore-from-sos --config '/etc/it'\''s.toml' restore-tenant insurance-pg/{stamp} --files-of insurance-filestore/{stamp} --to /srv/acme --replace"
            )
        );
    }

    #[test]
    fn the_command_asks_for_the_identity_of_what_is_encrypted() {
        let encrypted = |set: InsuredSet| InsuredSet { objects: vec![format!("{}/x.tar.zst.age", set.set)], ..set };
        let plain = |set: InsuredSet| InsuredSet { objects: vec![format!("{}/x.tar.zst", set.set)], ..set };
        let (dump, files) = (set(Area::InsurancePg), set(Area::InsuranceFilestore));
        let command = |sets: &[InsuredSet]| restore_command(&[], sets, Some("/srv/acme"), &[]);
        assert!(command(&[plain(dump.clone()), encrypted(files.clone())]).ends_with(" --to /srv/acme --replace --identity IDENTITY"));
        assert!(command(&[plain(dump), plain(files)]).ends_with(" --to /srv/acme --replace"));
    }

    #[test]
    fn the_command_asks_for_each_key_and_holds_none() {
        let stamp = "acme/20261125T020000Z.upgrade.until-20261209T020000Z.00000001";
        let options = ["--config".to_owned(), "/etc/x.toml".to_owned()];
        let keys = [
            NeededKey::in_file("A", "/run/the key"),
            NeededKey::to_be_written("B", Some("B@abab"), &options),
            NeededKey::to_be_written("C", None, &[]),
        ];
        assert_eq!(
            restore_command(&options, &[set(Area::InsurancePg)], None, &keys),
            format!(
                "restore-from-sos --config /etc/x.toml restore insurance-pg/{stamp} --replace --key 'A=/run/the key' --key B=B.key --key C=C.key"
            )
        );
        let recover = |key: &NeededKey| key.recover.clone();
        assert_eq!(
            keys.each_ref().map(recover),
            [None, Some("restore-from-sos --config /etc/x.toml escrow recover B@abab --identity IDENTITY --to B.key".to_owned()), None]
        );
    }
}
