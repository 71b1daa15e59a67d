//! What the command line says.

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgGroup, Parser, Subcommand};
use plana_config::{HumanDuration, Override};
use plana_harness::{CommonArgs, PreflightArgs, VERSION, help_footer};
use plana_plan::{Label, Stamp, window::Window};

/// The job's name.
pub const JOB: &str = "insurance-snapshot";

const EXAMPLES: &str = "
  insurance-snapshot --tenant acme.planapulse.app --operation upgrade-17-to-18
                                              database and file store, kept for 14 days
  insurance-snapshot --tenant acme.planapulse.app --operation upgrade-17-to-18 \\
      --quiesce 'systemctl stop odoo@acme' --resume 'systemctl start odoo@acme' \\
      --receipt acme.receipt.json -- odoo-upgrade acme.planapulse.app 18.0
                                              the upgrade begins only under insurance
  insurance-snapshot --database exo --operation drop-audit-2024 -- psql -d exo -f drop.sql
  insurance-snapshot --tenant acme.planapulse.app --operation try --dry-run

With -- COMMAND the exit code is the command's own: 125 when the snapshot failed and the command
never started, 126 or 127 when it could not be started";

/// Take a proven snapshot before a destructive operation, and let the operation begin only then
///
/// The database is dumped first, then its files are taken, and every file that the dump names is looked
/// for among them. Both are read to their ends while they are stored, compared with the store's own
/// listing, and kept for 7 days at least, whatever the pruner's windows are.
#[derive(Debug, Clone, Parser)]
#[command(
    name = JOB,
    version = VERSION,
    after_help = help_footer(EXAMPLES),
    args_conflicts_with_subcommands = false,
    subcommand_negates_reqs = true,
    group(ArgGroup::new("what").args(["tenant", "database", "filestore"]).multiple(true).required(true))
)]
pub struct Args {
    /// What all jobs take.
    #[command(flatten)]
    pub common: CommonArgs,

    /// A tenant: its database, then its file store (repeatable)
    #[arg(long, value_name = "NAME", help_heading = "What is insured")]
    pub tenant: Vec<String>,

    /// A database alone (repeatable)
    #[arg(long, value_name = "NAME", help_heading = "What is insured")]
    pub database: Vec<String>,

    /// A file store alone (repeatable)
    #[arg(long, value_name = "NAME", help_heading = "What is insured")]
    pub filestore: Vec<String>,

    /// What is about to be done, such as upgrade-17-to-18: lower-case letters, digits and hyphens
    #[arg(long, value_name = "OPERATION", required = true, help_heading = "What is insured")]
    pub operation: Option<Label>,

    /// How long the snapshot is kept: 7d at least
    #[arg(long, value_name = "WINDOW", default_value = "14d", help_heading = "What is insured")]
    pub keep: Window,

    /// Make the snapshot of another call whole, such as the files of a database that another host reaches: its stamp
    #[arg(long, value_name = "STAMP", help_heading = "What is insured")]
    pub stamp: Option<Stamp>,

    /// Use a snapshot of the same names again that is younger than this, such as 1h, and kept as long
    #[arg(long, value_name = "DURATION", help_heading = "What is insured")]
    pub reuse_within: Option<HumanDuration>,

    /// Where snapshots go: s3://bucket/prefix or file:///directory
    #[arg(long, value_name = "URL", global = true, help_heading = "What is insured")]
    pub store: Option<String>,

    /// A directory whose sub-directories are tenants' Odoo file stores, instead of the configured sources (repeatable)
    #[arg(long, value_name = "DIR", global = true, help_heading = "What is insured")]
    pub root: Vec<PathBuf>,

    /// Go on where a tenant has no file store
    #[arg(long, help_heading = "What is insured")]
    pub no_filestore: bool,

    /// Fail where files were missing or damaged already before
    #[arg(long, conflicts_with = "reuse_within", help_heading = "What is insured")]
    pub strict: bool,

    /// Read the snapshot back and restore its dump for a trial before it counts; needs a key that may read
    #[arg(long, help_heading = "What is insured")]
    pub prove: bool,

    /// The server for that trial, without a password [default: restore.scratch_dsn; else a throwaway one on this host]
    #[arg(long, value_name = "DSN", requires = "prove", help_heading = "What is insured")]
    pub scratch_dsn: Option<String>,

    /// Run this command before the snapshot, such as one that stops the tenant; if it fails, nothing else begins
    #[arg(long, value_name = "COMMAND", help_heading = "Before and after")]
    pub quiesce: Option<String>,

    /// Run this command at the very end, whatever became of the rest, once --quiesce was begun
    #[arg(long, value_name = "COMMAND", requires = "quiesce", help_heading = "Before and after")]
    pub resume: Option<String>,

    /// Write the receipt into this file too, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Before and after")]
    pub receipt: Option<PathBuf>,

    /// What to do instead of taking a snapshot.
    #[command(subcommand)]
    pub action: Option<Command>,

    /// A command with its arguments: begun only once the snapshot is proven
    #[arg(last = true, value_name = "COMMAND", help_heading = "The operation")]
    pub command: Vec<OsString>,
}

/// What to do instead of taking a snapshot.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Test configuration, server, rights, file stores, store and clock; changes nothing that matters
    Check(PreflightArgs),
}

impl Args {
    /// What the flags say over the configuration.
    pub fn overrides(&self) -> Vec<Override> {
        self.store.iter().map(|url| Override::new("--store", "store.backups.url", url.clone())).collect()
    }

    /// The options that a restore of the same store needs too.
    pub fn restore_options(&self) -> Vec<String> {
        let config = self.common.config.iter().flat_map(|path| ["--config".to_owned(), path.display().to_string()]);
        let store = self.store.iter().flat_map(|url| ["--store".to_owned(), url.clone()]);
        config.chain(store).collect()
    }
}
