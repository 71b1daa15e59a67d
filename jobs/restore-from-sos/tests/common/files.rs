//! File stores, and sets of them in a directory store.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use plana_archive::{Compression, Gzip, PayloadEncoder, Recipients, Zstandard, digest::StreamHasher};
use plana_plan::{
    Area, Label, SetKey, SetNonce, Stamp,
    filestore::SpecialFiles,
    manifest::{Encryption, FileStoreFacts, FileStoreLayout, MadeBy, Manifest, Payload, Verified, Volume},
};
use plana_tree::{Place, Stop, TreeOptions, archive};
use sha1::{Digest, Sha1};
use tempfile::TempDir;

pub const GZIP: Compression = Compression::Gzip(Gzip { level: 6, workers: 2 });
pub const ZSTD: Compression = Compression::Zstd(Zstandard { level: 3, workers: 0 });

/// A file store like Odoo's.
pub struct Files {
    home: TempDir,
}

impl Files {
    /// With so many attachments, a marker for the collector of garbage, and what an older store has.
    pub fn new(attachments: usize) -> Self {
        let files = Files { home: tempfile::tempdir().unwrap() };
        fs::create_dir_all(files.path().join("checklist/ab")).unwrap();
        fs::write(files.path().join("checklist/ab/ab12"), "").unwrap();
        for number in 0..attachments {
            files.attach(format!("attachment {number} ").repeat(1 + number * 7 % 400).as_bytes());
        }
        files
    }

    pub fn path(&self) -> PathBuf {
        self.home.path().join("acme")
    }

    /// Writes an attachment, and gives its path in the store.
    pub fn attach(&self, content: &[u8]) -> String {
        let name: String = Sha1::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = format!("{}/{name}", &name[..2]);
        fs::create_dir_all(self.path().join(&name[..2])).unwrap();
        fs::write(self.path().join(&path), content).unwrap();
        path
    }
}

/// A set that is about to be made.
pub struct NewSet<'a> {
    pub store: &'a Path,
    pub area: Area,
    pub name: &'a str,
    pub stamp: &'a str,
    pub compression: Compression,
    pub recipients: Recipients,
}

impl<'a> NewSet<'a> {
    pub fn new(store: &'a Path, name: &'a str, stamp: &'a str) -> Self {
        NewSet { store, area: Area::Filestore, name, stamp, compression: GZIP, recipients: Recipients::default() }
    }

    /// A set of a tree, as it is read; `change` may add to what the manifest says.
    pub fn of_tree(&self, tree: &Path, change: impl FnOnce(&mut FileStoreFacts)) -> String {
        let options = TreeOptions {
            layout: FileStoreLayout::Odoo,
            growing: false,
            special: SpecialFiles::Report,
            exclude: Vec::new(),
            workers: 4,
            memory_bytes: 8 << 20,
        };
        let mut facts = FileStoreFacts::new(FileStoreLayout::Odoo, "test", tree.as_os_str().as_encoded_bytes());
        let place = Arc::new(Place::open(tree).unwrap());
        let tar = archive(&place, &options, &Stop::default(), Vec::new(), &mut facts, &mut |_| {}).unwrap();
        change(&mut facts);
        self.of_tar(&tar, facts)
    }

    /// A set of any archive.
    pub fn of_tar(&self, tar: &[u8], facts: FileStoreFacts) -> String {
        let mut encoder = PayloadEncoder::new(Vec::new(), self.compression, &self.recipients).unwrap();
        encoder.write_all(tar).unwrap();
        let (stored, digests) = encoder.finish().unwrap();
        self.store(&stored, digests.content.sha256, digests.content.bytes, facts)
    }

    fn store(&self, stored: &[u8], content_sha256: String, content_bytes: u64, facts: FileStoreFacts) -> String {
        let stamp: Stamp = self.stamp.parse().unwrap();
        let id = SetNonce(u32::from_str_radix(&content_sha256[..8], 16).unwrap());
        let label = if self.area.is_insurance() {
            plana_plan::SetLabel::parse(self.area, "upgrade.until-20990101T000000Z").unwrap()
        } else {
            "pro".parse::<Label>().unwrap().into()
        };
        let set = SetKey::new(self.area, self.name, stamp, label, id);
        let encryption = if self.recipients.is_empty() { "" } else { ".age" };
        let file = set.file_name(&format!(".tar{}{encryption}", self.compression.format().suffix()), 0);
        let mut hasher = StreamHasher::default();
        hasher.update(stored);
        let (bytes, sha256) = (stored.len() as u64, hasher.finish().sha256);
        let volume = Volume {
            key: set.object(&file),
            bytes,
            sha256: sha256.clone(),
            etag: None,
            parts: 1,
            part_bytes: bytes,
            version: None,
            verified: Verified::SizeAndFsync,
        };
        let payload = Payload {
            format: "tar".to_owned(),
            compression: self.compression.format().to_string(),
            content_sha256,
            content_bytes,
            stored_sha256: sha256,
            stored_bytes: bytes,
            volumes: vec![volume],
        };
        let made_by = MadeBy {
            job: "filestore-tarball".to_owned(),
            version: "0.1.0".to_owned(),
            host: "test".to_owned(),
            run_id: "r".to_owned(),
            started_at: stamp.instant(),
            finished_at: stamp.instant(),
        };
        let recipients = self.recipients.to_strings();
        let encryption = (!recipients.is_empty()).then(|| Encryption { method: "age".to_owned(), recipients });
        let manifest = Manifest { filestore: Some(facts), encryption, ..Manifest::new(&set, self.name, made_by, payload) };
        let directory = self.store.join(set.to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(file), stored).unwrap();
        fs::write(directory.join("manifest.json"), manifest.to_bytes()).unwrap();
        set.to_string()
    }
}

/// Every file below a directory, with its content.
pub fn contents_of(tree: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![tree.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push((path.strip_prefix(tree).unwrap().to_path_buf(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
