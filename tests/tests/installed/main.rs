//! The Debian package in a machine with a real systemd: every timer's service runs in its sandbox, failures are told, and a
//! purge leaves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod dashboard;
mod endings;
mod host;
mod night;
mod object_store;
mod policy;
