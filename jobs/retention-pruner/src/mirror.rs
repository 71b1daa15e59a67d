//! `mirror`: a registry's store, of which goes what nobody pulls.
//!
//! [`plana_plan::mirror`] decides, from a listing, the manifests and a ledger of pulls; here is what lists, reads and deletes.

mod apply;
mod args;
mod blobs;
mod check;
mod convert;
mod ledger;
mod listing;
mod opened;
mod prune;
mod read;
mod show;

pub use apply::MirrorPruner;
pub use args::{MirrorArgs, MirrorCommand};
pub use check::check;
pub use convert::{Converted, convert, run as run_convert};
pub use listing::list_registry;
pub use prune::prune;
pub use read::read_all;
pub use show::{explain, plan};

/// The name under which a mirror's runs are reported, measured and pinged: they say nothing about those on backups.
pub const MIRROR_JOB: &str = "retention-pruner-mirror";
