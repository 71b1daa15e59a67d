//! What the command line says.

use clap::{Parser, Subcommand};
use plana_config::Override;
use plana_harness::{BackupArgs, CommonArgs, PreflightArgs, VERSION, help_footer};

/// The job's name.
pub const JOB: &str = "pg-dump-to-sos";
/// Its name where it publishes templates: a schedule of its own, whose success says nothing about the backups.
pub const TEMPLATES_JOB: &str = "pg-dump-templates";

const EXAMPLES: &str = "
  pg-dump-to-sos                              every database, as configured
  pg-dump-to-sos --dry-run                    which ones, under which label
  pg-dump-to-sos check                        is everything in order?
  pg-dump-to-sos --only 'acme.*'              one tenant, now
  pg-dump-to-sos --missing-within 12h         only what has no backup of the last 12 hours
  pg-dump-to-sos --templates                  templates' contents that the templates' store lacks
  pg-dump-to-sos escrow                       keys that backups need, encrypted and put away
  PGHOST=/run/postgresql pg-dump-to-sos --store file:///srv/backups
                                              without any configuration";

/// Dump every database of a PostgreSQL server into an object store, and prove each dump before it counts
///
/// Each dump is read to its end while it is written, its rows are counted, the upload is compared with
/// the store's own listing, and only then a manifest makes it a backup. Nothing touches the disk.
#[derive(Debug, Clone, Parser)]
#[command(name = JOB, version = VERSION, after_help = help_footer(EXAMPLES), args_conflicts_with_subcommands = false)]
pub struct Args {
    /// What all jobs take.
    #[command(flatten)]
    pub common: CommonArgs,

    /// What backup jobs take.
    #[command(flatten)]
    pub backup: BackupArgs,

    /// Leave the roles' password verifiers out of the globals, even when encryption is on
    #[arg(long)]
    pub no_role_passwords: bool,

    /// Do not dump roles, tablespaces and settings
    #[arg(long)]
    pub no_globals: bool,

    /// Publish templates as seeds instead: the content of each database of the class template, under its own SHA-256 in
    /// store.templates, where it is not there yet; --store means that store then
    #[arg(long, conflicts_with_all = ["missing_within", "no_globals", "no_role_passwords"])]
    pub templates: bool,

    /// What to do instead of dumping.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of dumping.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Test configuration, server, versions, rights, store and clock; changes nothing that matters
    Check(PreflightArgs),
    /// Put every configured key into escrow that is not there, as each run does for the keys that it needs
    Escrow,
}

impl Args {
    /// What the flags say over the configuration.
    pub fn overrides(&self) -> Vec<Override> {
        let mut overrides = Vec::new();
        if self.no_role_passwords {
            overrides.push(Override::new("--no-role-passwords", "dump.role_passwords", "never"));
        }
        if self.no_globals {
            overrides.push(Override::new("--no-globals", "dump.globals", "false"));
        }
        overrides
    }
}
