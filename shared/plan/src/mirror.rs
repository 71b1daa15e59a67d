//! What of a registry's mirror is kept, what may go, and why: decided from a listing, the manifests and a ledger of pulls.
//!
//! - [`digest`] and [`key`]: what the keys of the Docker distribution's layout say.
//! - [`manifest`]: which blobs and manifests a manifest refers to.
//! - [`pulls`]: a ledger of pulls; [`coverage`]: how much of the time it covers; [`access_log`]: such a ledger out of a registry's
//!   log.
//! - [`stock`]: a listing in any order, folded into repositories and blobs.
//! - [`plan`]: for every manifest, link and blob *keep* or *delete*, with a reason; [`verdict`]: the reasons in words.
//! - [`protect`]: what still stands when blobs are about to go.
//!
//! What is not understood never goes, and whatever it could refer to stays with it.

pub mod access_log;
mod activity;
pub mod coverage;
pub mod digest;
pub mod explain;
pub mod key;
pub mod manifest;
pub mod plan;
pub mod protect;
pub mod pulls;
pub mod stock;
pub mod verdict;

pub use coverage::Coverage;
pub use digest::Digest;
pub use key::MirrorKey;
pub use manifest::Content;
pub use plan::{MirrorPlan, MirrorPolicy, PlannedBlob, PlannedLink, PlannedRevision, PlannedTag, RepositoryPlan, plan};
pub use pulls::Pulls;
pub use stock::{Facts, MirrorStock, Repository, Tag, Target};
pub use verdict::{Gone, Kept, Verdict};
