//! The steps that jobs share: a set's payload, the commit protocol, one database's dump, locks.
//!
//! The protocol, in order: a lock on the item; the payload's stream, read to its proper end while it
//! is stored; the child's exit status; completion and verification of every object by the store's
//! own listing; the manifest; one more look at the listing. Whatever fails on the way leaves
//! objects that nobody takes for a backup, because the manifest is not there.

mod child;
pub mod commit;
pub mod database;
pub mod dumper;
pub mod error;
pub mod escrow;
pub mod filestore;
pub mod globals;
pub mod item;
pub mod lock;
pub mod partition;
pub mod payload;
pub mod preflight;
pub mod seed;
pub mod setup;
pub mod sources;
pub mod target;
pub mod tiers;

pub use commit::{Committed, commit};
pub use database::{DatabaseDump, dump_database};
pub use dumper::Dumper;
pub use error::BackupError;
pub use escrow::{Escrow, KeyNeeds};
pub use filestore::{Accepts, FileStoreDump, Naming, NamingDatabase, StorePlace, dump_file_store};
pub use globals::{GlobalsDump, dump_globals};
pub use item::{Begun, Items, Work};
pub use lock::{FileLocks, ItemGuard, ItemLocks, LockError};
pub use partition::dump_partition;
pub use payload::Meter;
pub use seed::{Published, SeedDump, publish_seed, seed_content};
pub use setup::SetupError;
pub use target::{Origin, Target};
