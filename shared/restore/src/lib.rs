//! The way back: finding sets, checking, fetching and restoring them.
//!
//! Nothing that comes out of a store is trusted. A set counts when payload and manifest are both listed; its bytes count when
//! they have the hashes that the manifest names; its rows when they were counted again. An object that was written over is
//! read in the version that the manifest means, where the bucket keeps versions.

pub mod catalog;
pub mod check;
pub mod database;
pub mod error;
pub mod fetch;
pub mod filestore;
pub mod globals;
mod hook;
pub mod open;
pub mod partition;
pub mod read;
pub mod seed;
mod space;
pub mod sweep;

pub use catalog::{Group, Wanted, find_set, groups};
pub use check::{Checked, check_set};
pub use database::{DatabaseRestore, Purpose, Restored, could_restore, lacking, restore_database};
pub use error::RestoreError;
pub use fetch::fetch_set;
pub use filestore::{FileStoreRestore, StagedFiles, filestore_facts, known_gaps, lacking_room, stage_filestore};
pub use globals::{make_globals, read_globals};
pub use open::{OpenSet, open_set};
pub use partition::{PartitionRestore, restore_partition};
pub use read::{Memory, ReadMeter, Reading};
pub use seed::{find_seed, seeds};
pub use space::free_bytes;
pub use sweep::sweep_scratch;
