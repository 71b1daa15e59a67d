//! Which file stores are taken, and how.

use std::{collections::BTreeMap, path::PathBuf};

use plana_plan::{classify::Class, filestore::SpecialFiles, manifest::FileStoreLayout, select::NamePattern};
use serde::{Deserialize, Serialize};

use crate::{ByteSize, HumanDuration};

/// How file stores are taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filestore {
    /// File stores taken at the same time.
    pub jobs: u32,
    /// Threads that read ahead, for each of them.
    pub workers: u32,
    /// How much they may hold, for each of them.
    pub memory: ByteSize,
    /// How tarballs are compressed.
    pub compression: TarballCompression,
    /// The compression's level; by default 6 for gzip, 3 for zstd.
    pub compression_level: Option<i32>,
    /// How long a file store may stand still before it is given up.
    pub stall_timeout: HumanDuration,
    /// How long a file store may take altogether.
    pub timeout: HumanDuration,
    /// Where file stores are, by names of the operator's choice.
    pub sources: BTreeMap<String, FilestoreSource>,
}

/// How tarballs are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TarballCompression {
    /// `.tar.gz`: everybody reads it.
    Gzip,
    /// `.tar.zst`: smaller and faster.
    Zstd,
}

/// Where file stores are: a root whose sub-directories are tenants, or a single directory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilestoreSource {
    /// The root: each of its sub-directories is a tenant's, and has its database's name.
    pub root: Option<PathBuf>,
    /// Which of them are taken: names and globs; absent means all that do not begin with a dot.
    #[serde(default)]
    pub names: Vec<NamePattern>,
    /// What is put behind a tenant's name to make the name under which its tarballs are kept: tells the trees of one
    /// tenant in two roots apart.
    pub suffix: Option<String>,
    /// The single directory.
    pub path: Option<PathBuf>,
    /// An environment variable that names it; where it is set, it wins over `path`.
    pub path_env: Option<String>,
    /// The name under which the single directory's tarballs are kept; by default the source's own.
    pub name: Option<String>,
    /// The class; absent means that the rules decide.
    pub class: Option<Class>,
    /// How the files are named; by default `odoo` for a root, `plain` for a single directory.
    pub layout: Option<FileStoreLayout>,
    /// Whether the files that a tenant's database names (`ir_attachment`) are looked for; by default yes for the layout `odoo`
    /// of a root, where a server is configured.
    pub attachments: Option<bool>,
    /// Whether files grow while they are open, and are taken as far as they are.
    #[serde(default)]
    pub growing: bool,
    /// What is done with links, sockets, devices, and files with several names.
    #[serde(default)]
    pub special: SpecialFiles,
    /// What is left out: globs of paths below the directory, or of single names.
    #[serde(default)]
    pub exclude: Vec<NamePattern>,
}

impl FilestoreSource {
    /// How the files are named.
    pub fn layout(&self) -> FileStoreLayout {
        self.layout.unwrap_or(if self.root.is_some() { FileStoreLayout::Odoo } else { FileStoreLayout::Plain })
    }

    /// Whether the files that the database names are looked for, where a server is configured.
    pub fn asks_database(&self) -> bool {
        self.attachments.unwrap_or(self.root.is_some() && self.layout() == FileStoreLayout::Odoo)
    }
}
