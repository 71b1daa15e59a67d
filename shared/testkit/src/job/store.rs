//! A look into a `file://` store, and restores with standard tools alone.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::pg::{PgCluster, quote_identifier};
use plana_plan::{Area, SetKey, inventory::Inventory, inventory::ObjectMeta, manifest::Manifest};

/// A directory that a job stored into.
#[derive(Debug, Clone)]
pub struct FileStore {
    root: PathBuf,
}

/// A committed set.
#[derive(Debug, Clone)]
pub struct Set {
    /// Where it lies.
    pub key: SetKey,
    /// What its manifest says.
    pub manifest: Manifest,
    root: PathBuf,
}

impl FileStore {
    /// The store at that directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        FileStore { root: root.into() }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every file, its path below the root and its size; temporary ones too.
    pub fn files(&self) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        walk(&self.root, &mut |path, size| {
            let key = path.strip_prefix(&self.root).expect("below the root");
            found.push((key.to_str().expect("keys are ASCII").to_owned(), size));
        });
        found.sort();
        found
    }

    /// The committed sets of all names, each manifest read as a restore would read it.
    pub fn committed(&self) -> Vec<Set> {
        let objects =
            self.files().into_iter().map(|(key, size)| ObjectMeta { key, size, last_modified: chrono::DateTime::UNIX_EPOCH, etag: None });
        let inventory = Inventory::read(objects);
        assert!(inventory.unknown.is_empty(), "objects that nobody knows: {:?}", inventory.unknown);
        let committed = inventory.sets.into_iter().filter(|(_, stored)| stored.is_committed());
        committed
            .map(|(key, _)| {
                let bytes = std::fs::read(self.root.join(key.manifest())).expect("a manifest");
                let manifest = Manifest::parse(&bytes, &key).unwrap_or_else(|error| panic!("{key}: {error}"));
                Set { key, manifest, root: self.root.clone() }
            })
            .collect()
    }

    /// The committed sets of one name.
    pub fn sets(&self, area: Area, name: &str) -> Vec<Set> {
        let prefix = SetKey::group_prefix(area, name);
        self.committed().into_iter().filter(|set| set.key.manifest().starts_with(&prefix)).collect()
    }

    /// The only set of that database.
    #[track_caller]
    pub fn set(&self, database: &str) -> Set {
        self.only_set(Area::Pg, database)
    }

    /// The only set of that name.
    #[track_caller]
    pub fn only_set(&self, area: Area, name: &str) -> Set {
        let mut sets = self.sets(area, name);
        assert_eq!(sets.len(), 1, "{area}/{name:?} in {:#?}", self.files());
        sets.remove(0)
    }

    /// The databases that have a committed set, sorted.
    pub fn databases(&self) -> Vec<String> {
        let sets = self.committed().into_iter().filter(|set| set.key.area == Area::Pg);
        let mut names: Vec<String> = sets.map(|set| set.manifest.name).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Panics where anything of that database is stored that counts, or lies about under its final name. Looks at the
    /// files themselves, not through the code under test.
    #[track_caller]
    pub fn expect_nothing_of(&self, database: &str) {
        let group = format!("/{}/", plana_plan::name::encode(database));
        let left: Vec<_> = self.files().into_iter().filter(|(key, _)| key.contains(&group)).collect();
        assert!(left.is_empty(), "stored in spite of the failure: {left:#?}");
    }

    /// Panics where any manifest is stored at all.
    #[track_caller]
    pub fn expect_no_manifest(&self) {
        let manifests: Vec<_> = self.files().into_iter().filter(|(key, _)| key.ends_with("manifest.json")).collect();
        assert!(manifests.is_empty(), "committed in spite of the failure: {manifests:#?}");
    }
}

fn walk(directory: &Path, found: &mut impl FnMut(&Path, u64)) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
        if kind.is_dir() {
            walk(&path, found);
        } else {
            found(&path, entry.metadata().map_or(0, |meta| meta.len()));
        }
    }
}

impl Set {
    /// The files of the payload, in the manifest's order.
    pub fn volumes(&self) -> Vec<PathBuf> {
        self.manifest.payload.volumes.iter().map(|volume| self.root.join(&volume.key)).collect()
    }

    /// The stored bytes of all volumes.
    pub fn stored(&self) -> Vec<u8> {
        self.volumes().iter().flat_map(|path| std::fs::read(path).expect("a volume")).collect()
    }

    /// The SHA-256 of the stored bytes by `sha256sum` of the concatenated volumes.
    pub fn stored_sha256(&self) -> String {
        let volumes = self.volumes().iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let done = Command::new("sh").args(["-c", "cat \"$@\" | sha256sum", "sh"]).args(volumes).output().expect("sha256sum");
        String::from_utf8_lossy(&done.stdout).split(' ').next().unwrap_or_default().to_owned()
    }

    /// The content by `zstd -dc` of the concatenated volumes.
    pub fn content(&self) -> Vec<u8> {
        self.pipe(&[], |out| {
            let mut content = Vec::new();
            out.read_to_end(&mut content).expect("zstd's output");
            content
        })
    }

    /// The content's SHA-256 by `zstd -dc | sha256sum`, without holding it in memory.
    pub fn content_sha256(&self) -> String {
        self.pipe(&[], |content| {
            let mut sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum");
            std::io::copy(content, &mut sum.stdin.take().expect("an input")).expect("sha256sum reads everything");
            let done = sum.wait_with_output().expect("an end");
            String::from_utf8_lossy(&done.stdout).split(' ').next().unwrap_or_default().to_owned()
        })
    }

    /// The content of an encrypted payload by `age -d | zstd -dc`.
    pub fn decrypted(&self, identity: &Path) -> Vec<u8> {
        let age = ["age", "-d", "-i", identity.to_str().expect("a path")];
        self.pipe(&[&age], |out| {
            let mut content = Vec::new();
            out.read_to_end(&mut content).expect("zstd's output");
            content
        })
    }

    /// `cat VOLUMES | … | zstd -dc` (or `gzip -dc`), each of which must end with status 0.
    fn pipe<T>(&self, before: &[&[&str]], read: impl FnOnce(&mut dyn Read) -> T) -> T {
        let mut cat = Command::new("cat");
        cat.args(self.volumes()).stdin(Stdio::null());
        let mut programs = vec![cat];
        let unpack = [if self.manifest.payload.compression == "gzip" { "gzip" } else { "zstd" }, "-dc"];
        for words in before.iter().chain(&[&unpack[..]]) {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            programs.push(command);
        }
        let mut running: Vec<(Command, Child)> = Vec::new();
        let mut output: Option<ChildStdout> = None;
        for mut command in programs {
            if let Some(output) = output.take() {
                command.stdin(output);
            }
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
            output = child.stdout.take();
            running.push((command, child));
        }
        let mut output = output.expect("the last one's output");
        let result = read(&mut output);
        drop(output);
        for (command, mut child) in running {
            let status = child.wait().expect("an end");
            assert!(status.success(), "{command:?}: {status}");
        }
        result
    }

    /// Restores it with `zstd -dc | pg_restore` of the cluster's own programs, into a new database of that name.
    pub fn restore(&self, cluster: &PgCluster, into: &str) {
        cluster.psql("postgres", &format!("CREATE DATABASE {} TEMPLATE template0", quote_identifier(into))).expect("a database");
        self.pipe(&[], |content| restore(cluster, into, content));
    }

    /// The same for an encrypted set.
    pub fn restore_encrypted(&self, cluster: &PgCluster, into: &str, identity: &Path) {
        cluster.psql("postgres", &format!("CREATE DATABASE {} TEMPLATE template0", quote_identifier(into))).expect("a database");
        let age = ["age", "-d", "-i", identity.to_str().expect("a path")];
        self.pipe(&[&age], |content| restore(cluster, into, content));
    }
}

fn restore(cluster: &PgCluster, into: &str, content: &mut dyn Read) {
    let mut command = cluster.command("pg_restore");
    let database = into.replace('\\', r"\\").replace('\'', r"\'");
    command.args(["--exit-on-error", &format!("--dbname=dbname='{database}'")]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("pg_restore");
    let mut input = child.stdin.take().expect("an input");
    let copied = std::io::copy(content, &mut input);
    drop(input);
    let done = child.wait_with_output().expect("an end");
    assert!(done.status.success(), "pg_restore into {into}: {}: {}", done.status, String::from_utf8_lossy(&done.stderr));
    copied.expect("pg_restore reads everything");
}
