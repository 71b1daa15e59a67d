//! Everything here against real servers of PostgreSQL 15, 16 and 18.

// Helpers of tests are tests too; clippy knows only the functions that are marked.
#![allow(clippy::expect_used, clippy::panic)]

mod access;
mod archive;
mod dump;
mod faults;
mod identity;
mod locks;
mod place;
mod restore;
mod restore_ended;
mod restore_faults;
mod rights;
mod scratch;
mod server;
mod support;
mod tiers;
mod tls;
