//! What of a store's backups is kept, what may go, and why: decided from a listing alone.
//!
//! - [`stock`]: a listing in any order, folded into groups and sets that are small enough for a million objects.
//! - [`policy`]: what the operator has decided.
//! - [`plan`]: for every set, probe and upload *keep* or *delete*, with a reason that a person understands.
//! - [`guard`]: what stops a whole run.
//! - [`legacy`]: backups that were there before this suite, read by patterns.
//! - [`summary`]: how much that is, by label, and what it costs.
//! - [`explain`]: everything that was weighed for one key.
//!
//! What is not understood is never in a plan as something to delete: only [`stock::Stock`] makes sets, and it makes none of a key
//! that it does not know.

mod decide;
pub mod explain;
pub mod guard;
pub mod keys;
pub mod legacy;
mod periods;
pub mod plan;
pub mod policy;
pub mod stock;
pub mod summary;
pub mod verdict;

pub use explain::{Explanation, explain};
pub use keys::Keys;
pub use legacy::{KeyPattern, LegacyPattern, PatternError};
pub use periods::Periods;
pub use plan::{Alarm, GroupPlan, Plan, PlannedSet, PlannedUpload, Standing, plan};
pub use policy::{Policy, Retirement, Times};
pub use stock::{Entry, GroupKey, Presence, SetFacts, SetId, Stock, Unfinished, Version};
pub use summary::{Price, Summary, Tally};
pub use verdict::{Delete, Keep, Verdict};
