//! Whether what a store shows as a backup is one: read back, decompressed and parsed by standard tools.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use plana_plan::{
    Area, SetKey,
    inventory::{Inventory, ObjectMeta},
    manifest::Manifest,
};
use sha2::{Digest, Sha256};

use super::{Job, Outcome, store::FileStore};
use crate::pg::PgCluster;

/// A store, as someone sees it who may read.
pub trait Look {
    /// Its objects, without what is hidden from a listing.
    fn objects(&self) -> Vec<ObjectMeta>;

    /// An object's content.
    fn read(&self, key: &str) -> Vec<u8>;

    /// The sets that count as backups. Panics where a manifest stands without its payload, or cannot be read.
    #[track_caller]
    fn committed(&self) -> Vec<(SetKey, Manifest)> {
        let mut inventory = Inventory::read(self.objects());
        inventory.unknown.retain(|object| !object.key.starts_with("probe/"));
        assert!(inventory.unknown.is_empty(), "objects that nobody knows: {:?}", inventory.unknown);
        let with_manifest = inventory.sets.into_iter().filter(|(_, stored)| stored.manifest.is_some());
        with_manifest
            .map(|(set, stored)| {
                assert!(stored.is_committed(), "a manifest without a payload: {set}");
                let manifest = Manifest::parse(&self.read(&set.manifest()), &set).unwrap_or_else(|error| panic!("{set}: {error}"));
                (set, manifest)
            })
            .collect()
    }

    /// The names in an area that have a backup, one for each set, sorted.
    #[track_caller]
    fn backed_up(&self, area: Area) -> Vec<String> {
        let mut names: Vec<String> =
            self.committed().into_iter().filter(|(set, _)| set.area == area).map(|(_, manifest)| manifest.name).collect();
        names.sort();
        names
    }

    /// Panics unless the set's payload is what its manifest says, by hash, by `zstd` or `gzip`, and by `tar`, or by
    /// `pg_restore` where a cluster is given.
    #[track_caller]
    fn prove(&self, set: &SetKey, manifest: &Manifest, cluster: Option<&PgCluster>) {
        let payload = &manifest.payload;
        let stored = payload.volumes.iter().map(|volume| self.read(&volume.key)).collect::<Vec<_>>().concat();
        assert_eq!((stored.len() as u64, hex(&stored)), (payload.stored_bytes, payload.stored_sha256.clone()), "{set}");
        let directory = tempfile::tempdir().expect("a directory");
        let (packed, content) = (directory.path().join("packed"), directory.path().join("content"));
        std::fs::write(&packed, stored).expect("writes");
        let program = if payload.compression == "gzip" { "gzip" } else { "zstd" };
        let mut command = Command::new(program);
        command.arg("-dc").stdin(std::fs::File::open(&packed).expect("opens"));
        let unpacked = command.stdout(std::fs::File::create(&content).expect("creates")).status();
        assert!(unpacked.expect(program).success(), "{program} refuses {set}");
        let bytes = std::fs::read(&content).expect("reads");
        assert_eq!((bytes.len() as u64, hex(&bytes)), (payload.content_bytes, payload.content_sha256.clone()), "{set}");
        if set.area == Area::Filestore {
            let listed = Command::new("tar").arg("-tf").arg(&content).stdout(Stdio::null()).status();
            assert!(listed.expect("tar").success(), "tar refuses {set}");
        }
        if let (Area::Pg, Some(cluster)) = (set.area, cluster) {
            let restored = cluster.command("pg_restore").args(["-f", "/dev/null"]).arg(&content).status();
            assert!(restored.expect("pg_restore").success(), "pg_restore refuses {set}");
        }
    }

    /// Proves every set that counts as a backup and was not proven before, and gives the names of all that do.
    #[track_caller]
    fn prove_all(&self, cluster: Option<&PgCluster>, proven: &mut BTreeSet<SetKey>) -> Vec<String> {
        let sets = self.committed();
        for (set, manifest) in &sets {
            if proven.insert(set.clone()) {
                self.prove(set, manifest, cluster);
            }
        }
        let mut names: Vec<String> = sets.into_iter().map(|(_, manifest)| manifest.name).collect();
        names.sort();
        names
    }

    /// Panics unless exactly these are there, each once, and proven.
    #[track_caller]
    fn expect_all(&self, items: &[(Area, &str)], cluster: Option<&PgCluster>, proven: &mut BTreeSet<SetKey>) {
        let mut names: Vec<&str> = items.iter().map(|(_, name)| *name).collect();
        names.sort_unstable();
        assert_eq!(self.prove_all(cluster, proven), names);
    }
}

/// Panics unless a run that was ended early has left nothing but good beginnings: none of its processes runs, everything that has
/// a manifest is a backup, and there once, and the next run makes the rest of `items`, and only that. What the run called done, if
/// it could still say so, must be there.
#[track_caller]
pub fn expect_resumable(job: &Job, store: &impl Look, items: &[(Area, &str)], cluster: Option<&PgCluster>, ended: Option<&Outcome>) {
    job.expect_no_process_left();
    let mut proven = BTreeSet::new();
    let before = store.prove_all(cluster, &mut proven);
    if let Some(ended) = ended.filter(|ended| ended.report.is_object()) {
        // Only after a lost answer may there be more than it knew of.
        for name in ended.databases("done") {
            assert!(before.contains(&name), "{name} is called done: {before:?}");
        }
    }
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), before.len(), "nothing is committed twice: {before:?}");
    let outcome = job.clone().args(["--missing-within", "12h"]).run().expect(0);
    for (area, name) in items {
        let expected = if before.iter().any(|one| one == name) { "fresh" } else { "done" };
        assert_eq!(outcome.item_in(area.as_str(), name)["outcome"], expected, "{name}, with {before:?} there");
    }
    store.expect_all(items, cluster, &mut proven);
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether that file is one that a listing hides: unfinished, or left by a kill.
pub fn is_temporary(key: &str) -> bool {
    key.rsplit('/').next().is_some_and(|name| name.starts_with(".tmp-"))
}

impl Look for FileStore {
    fn objects(&self) -> Vec<ObjectMeta> {
        let meta = |(key, size)| ObjectMeta { key, size, last_modified: chrono::DateTime::UNIX_EPOCH, etag: None };
        self.files().into_iter().filter(|(key, _)| !is_temporary(key)).map(meta).collect()
    }

    fn read(&self, key: &str) -> Vec<u8> {
        std::fs::read(self.root().join(key)).expect("a file")
    }
}
