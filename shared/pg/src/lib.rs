//! PostgreSQL: how a server is reached, what it holds, and how it is dumped and restored.
//!
//! pg_dump runs as a child whose exit status decides, and [`archive`] reads its stream to the end as
//! it passes, so that a dump is known to be whole, with exact rows per table, before anybody calls it
//! a backup. pg_restore runs likewise, into a database that [`scratch`] makes beside the others and
//! that takes its name, or another's place, only once it is proven.

pub mod archive;
pub mod attachment_rows;
pub mod attachments;
pub mod child;
pub mod client;
pub mod dsn;
pub mod dump;
pub mod globals;
pub mod locks;
pub mod partitions;
pub mod restore;
pub mod rights;
pub mod scratch;
pub mod server;
mod session;
pub mod snapshot;
mod sql;
pub mod throwaway;
pub mod tiers;
