//! Which compression a payload has: the choice of whoever writes it, and the name under which it is read.

use std::{fmt, str::FromStr};

use crate::{Gzip, Zstandard};

/// How a payload is compressed while it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zstd, for what only this suite and people with zstd read: dumps.
    Zstd(Zstandard),
    /// gzip, for what everybody must be able to read: tarballs.
    Gzip(Gzip),
}

impl Compression {
    /// What a reader must know of it.
    pub const fn format(self) -> CompressionFormat {
        match self {
            Compression::Zstd(_) => CompressionFormat::Zstd,
            Compression::Gzip(_) => CompressionFormat::Gzip,
        }
    }
}

/// A compression as a reader knows it, by its name in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompressionFormat {
    /// `zstd`: one frame or more.
    Zstd,
    /// `gzip`: one member or more.
    Gzip,
}

impl CompressionFormat {
    /// The name in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            CompressionFormat::Zstd => "zstd",
            CompressionFormat::Gzip => "gzip",
        }
    }

    /// What the names of files so compressed end in.
    pub const fn suffix(self) -> &'static str {
        match self {
            CompressionFormat::Zstd => ".zst",
            CompressionFormat::Gzip => ".gz",
        }
    }
}

impl fmt::Display for CompressionFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A manifest names a compression that this version does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("decompress the payload: this version does not read `{0}`; use a newer plana-jobs")]
pub struct UnknownCompression(pub String);

impl FromStr for CompressionFormat {
    type Err = UnknownCompression;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "zstd" => Ok(CompressionFormat::Zstd),
            "gzip" => Ok(CompressionFormat::Gzip),
            _ => Err(UnknownCompression(name.chars().take(32).flat_map(char::escape_debug).collect())),
        }
    }
}
