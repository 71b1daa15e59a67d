//! The command line, the configuration's errors, and what stands on stdout: what scripts and timers depend on.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod arguments;
mod check;
mod configuration;
mod result;
mod schedule;

use std::path::Path;

use plana_testkit::{
    bin::{Bin, Done},
    pg::{PgCluster, PgMajor},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pg-dump-to-sos");

fn cluster() -> &'static PgCluster {
    PgCluster::shared(PgMajor::V16)
}

/// A server for databases that cannot be read: `check` looks at all of one.
fn spoilt_cluster() -> &'static PgCluster {
    PgCluster::shared(PgMajor::V18)
}

fn small_database(prefix: &str) -> String {
    small_database_on(cluster(), prefix)
}

fn small_database_on(cluster: &PgCluster, prefix: &str) -> String {
    let name = cluster.fresh_database(prefix).unwrap();
    cluster.psql(&name, "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 1000) AS i").unwrap();
    name
}

/// A run over one database into the directory `store` of that home, as a person calls it: no format is asked for.
fn by_hand(cluster: &PgCluster, home: &Path, database: &str, arguments: &[&str]) -> Done {
    let bin = Bin::program(PROGRAM).envs(cluster.env()).env("PLANA_JOBS__POSTGRES__BIN_DIRS", cluster.bin_dir());
    let store = format!("file://{}", home.join("store").display());
    let bin = bin.env("PLANA_JOBS__STATE_DIR", home).arg(format!("--only={database}")).args(["--store", &store]);
    bin.args(arguments).run().unwrap()
}

/// The program with these arguments and nothing else.
fn call(arguments: &[&str]) -> Done {
    Bin::program(PROGRAM).args(arguments).run().unwrap()
}
