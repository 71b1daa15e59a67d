//! PostgreSQL: how a server is reached, what it holds, and how it is dumped.
//!
//! pg_dump runs as a child whose exit status decides, and [`archive`] reads its stream to the end as
//! it passes, so that a dump is known to be whole, with exact rows per table, before anybody calls it
//! a backup.

pub mod archive;
pub mod child;
pub mod client;
pub mod dsn;
pub mod dump;
pub mod locks;
pub mod rights;
pub mod server;
mod sql;
pub mod tiers;
