//! What the job does when nothing goes wrong, on real servers of each version: everything is dumped, restores with standard
//! tools, and the manifest says what is in it.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod big;
mod classes;
mod connections;
mod contents;
mod encryption;
mod platform;
mod rights;
mod selection;
mod tiers;
