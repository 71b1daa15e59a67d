//! What the command line says of a mirror.

use clap::{Args as ClapArgs, Subcommand};
use plana_harness::PreflightArgs;
use plana_plan::moment::Moment;

const EXAMPLES: &str = "Examples:
  retention-pruner mirror --dry-run           what would go and why, and what stays
  retention-pruner mirror --explain library/nginx:1.27
                                              everything that is weighed for one tag, name@digest, digest or key
  retention-pruner mirror                     delete it (needs mirror.enabled = true)
  retention-pruner mirror check               is everything in order?
  retention-pruner ledger < access.log >> /var/lib/plana-jobs/pulls/registry.jsonl
                                              feed the ledger from the registry's access log";

/// What a plan for a mirror depends on.
#[derive(Debug, Clone, Default, ClapArgs)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = false)]
pub struct MirrorArgs {
    /// Explain what becomes of this tag (name:tag), manifest (name@digest), blob (digest) or key, and delete nothing
    #[arg(long, value_name = "WHAT")]
    pub explain: Option<String>,

    /// Plan as of this day or time, as if nothing were pulled until then; with --dry-run or --explain
    #[arg(long, value_name = "DATE")]
    pub as_of: Option<Moment>,

    /// Go on although far fewer manifests are listed than the last run left
    #[arg(long)]
    pub accept_shrink: bool,

    /// What to do instead of deleting.
    #[command(subcommand)]
    pub command: Option<MirrorCommand>,
}

/// What to do instead of deleting.
#[derive(Debug, Clone, Subcommand)]
pub enum MirrorCommand {
    /// Test configuration, store, rights, clock and ledger; changes nothing
    Check(PreflightArgs),
}
