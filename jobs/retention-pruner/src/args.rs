//! What the command line says.

use clap::{Args as ClapArgs, Parser, Subcommand};
use plana_config::Override;
use plana_harness::{CommonArgs, PreflightArgs, VERSION, help_footer};
use plana_plan::{SetKey, moment::Moment};

use crate::MirrorArgs;

/// The job's name.
pub const JOB: &str = "retention-pruner";

const EXAMPLES: &str = "
  retention-pruner --dry-run                  what would go and why, what stays, what it costs
  retention-pruner --dry-run --as-of 2027-01-31
                                              the same on that day, if backups went on
  retention-pruner --explain pg/acme.app/20261123T031500Z.pro.1a2b3c4d
                                              everything that is weighed for one key
  retention-pruner                            delete it (needs retention.enabled = true)
  retention-pruner check                      is everything in order?
  retention-pruner hold pg/acme.app/20261123T031500Z.pro.1a2b3c4d
                                              keep one set from every deletion
  retention-pruner retire acme.app --by 2027-01-31
                                              a tenant has left, and is to be forgotten by then
  retention-pruner mirror --dry-run           what would go of the registry's mirror (mirror --help: more)
  retention-pruner ledger < access.log        its ledger of pulls";

/// Delete what has outlived its tier, and nothing else
///
/// Decides from the store's listing alone: it needs no right to read or write. Whatever it does not
/// understand stays. Deletes a set's manifest first, so that nothing half deleted looks like a backup.
#[derive(Debug, Clone, Parser)]
#[command(name = JOB, version = VERSION, after_help = help_footer(EXAMPLES), args_conflicts_with_subcommands = false)]
pub struct Args {
    /// What all jobs take.
    #[command(flatten)]
    pub common: CommonArgs,

    /// Where backups are, or for mirror the registry's store: s3://bucket/prefix or file:///directory
    #[arg(long, value_name = "URL", global = true)]
    pub store: Option<String>,

    /// What a plan depends on.
    #[command(flatten)]
    pub plan: PlanArgs,

    /// What to do instead of deleting.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What a plan depends on.
#[derive(Debug, Clone, Default, ClapArgs)]
#[command(next_help_heading = "What may go")]
pub struct PlanArgs {
    /// Explain what becomes of this set or object, and delete nothing
    #[arg(long, value_name = "KEY")]
    pub explain: Option<String>,

    /// Plan as of this day or time, such as 2027-01-31, as if backups went on; with --dry-run or --explain
    #[arg(long, value_name = "DATE")]
    pub as_of: Option<Moment>,

    /// A lowered tier counts for the sets of the higher one too: the label of a name's newest set and its tier of today decide
    #[arg(long)]
    pub lowered_tiers: bool,

    /// Go on although far fewer backups are listed than the last run left
    #[arg(long)]
    pub accept_shrink: bool,
}

/// What to do instead of deleting.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Test configuration, store, rights and clock; changes nothing
    Check(PreflightArgs),
    /// Prune a registry's mirror (store.mirror): what nobody has pulled for mirror.window goes
    Mirror(MirrorArgs),
    /// Make a ledger of pulls: a registry's access log on stdin, JSON lines on stdout
    Ledger,
    /// Keep a set from every deletion, by an object `hold` in it; needs the right to put
    Hold {
        /// The set: area/name/stamp.label.id
        #[arg(value_name = "SET")]
        set: SetKey,
    },
    /// Take a set's `hold` away
    Release {
        /// The set: area/name/stamp.label.id
        #[arg(value_name = "SET")]
        set: SetKey,
    },
    /// A name is no longer backed up: floor and freeze no longer hold for it, windows do
    Retire {
        /// The name, as it was backed up
        #[arg(value_name = "NAME")]
        name: String,
        /// After this day nothing of it is kept that is not held or insured
        #[arg(long, value_name = "DATE")]
        by: Option<Moment>,
        /// It is backed up again after all: take that back
        #[arg(long, conflicts_with = "by")]
        cancel: bool,
    },
}

impl Args {
    /// What the flags say over the configuration.
    pub fn overrides(&self) -> Vec<Override> {
        let key = if matches!(self.command, Some(Command::Mirror(_))) { "store.mirror.url" } else { "store.backups.url" };
        self.store.iter().map(|url| Override::new("--store", key, url.clone())).collect()
    }
}
