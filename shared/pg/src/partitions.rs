//! Partitioned tables: what the catalog says of them, and the steps that make and retire partitions.
//!
//! Everybody else comes first. A statement waits for a lock no longer than `lock_timeout`, so nobody queues behind it longer
//! than that; whoever holds a lock for long is looked for before one is asked for; and what must not be touched any more,
//! because somebody else was faster, is found under the lock and left alone.

mod attach;
mod back;
mod blockers;
mod catalog;
mod default_rows;
mod deployments;
mod error;
mod retire;
mod session;
mod statements;
mod traits;

pub use attach::{Made, Plan};
pub use blockers::Blocker;
pub use catalog::{Catalog, Detached, References};
pub use default_rows::{InDefault, MonthCount};
pub use deployments::{Deleted, Expiry, Pace};
pub use error::PartitionError;
pub use retire::{Held, delete_steps, drop_steps, retire_steps, set_aside_steps};
pub use session::{Patience, Tables};
