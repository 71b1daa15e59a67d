//! What the command line says.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use plana_harness::{BackupArgs, CommonArgs, PreflightArgs, VERSION, help_footer};

/// The job's name.
pub const JOB: &str = "filestore-tarball";

const EXAMPLES: &str = "
  filestore-tarball                           every tenant's file store, as configured
  filestore-tarball --dry-run                 which ones, under which label
  filestore-tarball check                     is everything in order?
  filestore-tarball --only 'acme.*'           one tenant, now
  filestore-tarball --missing-within 12h      only what has no backup of the last 12 hours
  filestore-tarball --root /var/lib/odoo/filestore --store file:///srv/backups
                                              without any configuration";

/// Take every tenant's file store into an object store as a tarball, and prove it file by file
///
/// In an Odoo file store each file's SHA-1 is compared with its name while it is read; files that the
/// tenant's database names and the store lacks are listed. The upload is compared with the store's own
/// listing, and only then a manifest makes it a backup. Nothing touches the disk.
#[derive(Debug, Clone, Parser)]
#[command(name = JOB, version = VERSION, after_help = help_footer(EXAMPLES), args_conflicts_with_subcommands = false)]
pub struct Args {
    /// What all jobs take.
    #[command(flatten)]
    pub common: CommonArgs,

    /// What backup jobs take.
    #[command(flatten)]
    pub backup: BackupArgs,

    /// A directory whose sub-directories are tenants' Odoo file stores, instead of the configured sources (repeatable)
    #[arg(long, value_name = "DIR", value_parser = absolute, global = true)]
    pub root: Vec<PathBuf>,

    /// A directory to take as it is, under its own name, instead of the configured sources (repeatable)
    #[arg(long, value_name = "DIR", value_parser = absolute, global = true)]
    pub directory: Vec<PathBuf>,

    /// Take an empty or missing source for what it is, although something was in it at the last run
    #[arg(long)]
    pub accept_empty: bool,

    /// What to do instead of taking file stores.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of taking file stores.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Test configuration, file stores, server, rights, store and clock; changes nothing that matters
    Check(PreflightArgs),
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(text).map_err(|error| error.to_string())
}
