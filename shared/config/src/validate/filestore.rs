//! File stores and where they are.

use super::Findings;
use crate::schema::{Filestore, FilestoreSource, TarballCompression};

/// Four files of 64 KiB for each thread that reads: with less, threads would only wait for one another.
const LEAST_PER_WORKER: u64 = 256 << 10;

pub(super) fn filestore(filestore: &Filestore, findings: &mut Findings) {
    let path = |key| ["filestore", key];
    findings.require((1..=64).contains(&filestore.jobs), &path("jobs"), "is not from 1 to 64", "1 takes one file store after the other");
    findings.require((1..=256).contains(&filestore.workers), &path("workers"), "is not from 1 to 256", "16 to 64 hide the latency of NFS");
    let least = u64::from(filestore.workers) * LEAST_PER_WORKER;
    let what = format!("{} is too little for {} workers", filestore.memory, filestore.workers);
    findings.require(filestore.memory.0 >= least, &path("memory"), what, "give 256KiB for each of them");
    let most = match filestore.compression {
        TarballCompression::Gzip => 12,
        TarballCompression::Zstd => 19,
    };
    let fits = filestore.compression_level.is_none_or(|level| (1..=most).contains(&level));
    findings.require(fits, &path("compression_level"), "is no level of that compression", "gzip has the levels 1 to 12, zstd 1 to 19");
    findings.require_some_time(filestore.stall_timeout, &path("stall_timeout"));
    findings.require_some_time(filestore.timeout, &path("timeout"));
    for (name, source) in &filestore.sources {
        one_source(name, source, findings);
    }
}

fn one_source(name: &str, source: &FilestoreSource, findings: &mut Findings) {
    let of = |key| ["filestore", "sources", name, key];
    let single = source.path.is_some() || source.path_env.is_some();
    match (&source.root, single) {
        (Some(_), true) => {
            findings.add(&of("root"), "stands beside path or path_env", "a source is a root of tenants or a single directory")
        }
        (None, false) => findings.add(&["filestore", "sources", name], "has neither root nor path", "say where it is"),
        _ => {}
    }
    for (key, path) in [("root", &source.root), ("path", &source.path)] {
        if let Some(path) = path {
            findings.require(path.is_absolute(), &of(key), "is not an absolute path", "write it from / on");
        }
    }
    if single {
        findings.require(source.names.is_empty(), &of("names"), "is for roots", "leave it out");
        findings.require(source.suffix.is_none(), &of("suffix"), "is for roots", "give the directory a name instead");
    } else {
        findings.require(
            source.name.is_none(),
            &of("name"),
            "is for single directories",
            "tenants are kept under their own names; see suffix",
        );
    }
    for (key, text) in [("name", &source.name), ("suffix", &source.suffix), ("path_env", &source.path_env)] {
        if let Some(text) = text {
            findings.require_text(text, &of(key), "leave it out");
        }
    }
}
