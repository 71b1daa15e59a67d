//! Scenarios across jobs, and whether what is shipped beside the code is true: see `tests/`.

use clap::{Command, CommandFactory};

/// The command line of every job.
pub fn jobs() -> [Command; 6] {
    [
        pg_dump_to_sos::Args::command(),
        filestore_tarball::Args::command(),
        partition_roller::Args::command(),
        insurance_snapshot::Args::command(),
        retention_pruner::Args::command(),
        restore_from_sos::Args::command(),
    ]
}
