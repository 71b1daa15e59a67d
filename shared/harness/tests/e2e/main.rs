//! The harness from outside: a job that does as its arguments say, run as a process, beside real servers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod metrics;
mod outcome;
mod pings;
mod schedule;
mod signals;
mod stream;
mod support;
mod terminal;
mod tls;
