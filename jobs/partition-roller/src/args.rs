//! What the command line says.

use clap::{Parser, Subcommand};
use plana_config::Override;
use plana_harness::{CommonArgs, PreflightArgs, VERSION, help_footer};
use plana_plan::select::{NamePattern, Selection};

/// The job's name.
pub const JOB: &str = "partition-roller";

const EXAMPLES: &str = "
  partition-roller                            make what is missing, retire what has expired
  partition-roller --dry-run                  each step with its SQL, its locks, and why
  partition-roller check                      ranges, runway, gaps, who would be in the way
  partition-roller --only 'public.audit*'     these tables alone
  EXO_DATABASE_DSN=… partition-roller --config config/exo.toml
                                              for the Exo control plane";

/// Make the coming partitions of time-partitioned tables, and retire the expired ones
///
/// Works with any PostgreSQL from 15 on and needs no extension. Readers and writers go on: no statement waits for a lock longer
/// than partitions.lock_timeout, and whoever holds one for long is named. What is made is adopted from others as it is; what
/// has expired is told by the catalog's bounds and the server's clock alone.
#[derive(Debug, Clone, Parser)]
#[command(name = JOB, version = VERSION, after_help = help_footer(EXAMPLES), args_conflicts_with_subcommands = false)]
pub struct Args {
    /// What all jobs take.
    #[command(flatten)]
    pub common: CommonArgs,

    /// Only tables that this name or glob means, as schema.table (repeatable)
    #[arg(long, value_name = "NAME-OR-GLOB", global = true, help_heading = "Which tables, and where archives go")]
    pub only: Vec<NamePattern>,

    /// Not tables that this name or glob means; wins over --only (repeatable)
    #[arg(long, value_name = "NAME-OR-GLOB", global = true, help_heading = "Which tables, and where archives go")]
    pub exclude: Vec<NamePattern>,

    /// Where archives go: s3://bucket/prefix or file:///directory
    #[arg(long, value_name = "URL", global = true, help_heading = "Which tables, and where archives go")]
    pub store: Option<String>,

    /// What to do instead of rolling partitions.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of rolling partitions.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Look at server, role, tables and store: ranges, runway, what is missing, expired, pending or in the way; changes nothing
    Check(PreflightArgs),
}

impl Args {
    /// Which tables the run works on.
    pub fn selection(&self) -> Selection {
        Selection { only: self.only.clone(), exclude: self.exclude.clone(), shard: None }
    }

    /// What the flags say over the configuration.
    pub fn overrides(&self) -> Vec<Override> {
        self.store.iter().map(|url| Override::new("--store", "store.backups.url", url.clone())).collect()
    }
}
