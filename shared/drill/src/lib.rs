//! Sets restored, or read to their ends, for nothing but the proof: where that is done, by what, and why it could not be.

mod database;
mod error;
mod place;
mod source;

pub use database::prove_database;
pub use error::{Refusal, failure, is_early};
pub use place::{Means, Place, Room, refuse_superuser, servers, sweep};
pub use source::{Source, identities};
