//! The planner: properties, golden plans, and a year and a half of nights against an oracle that shares no code with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod golden;
mod oracle;
mod properties;
mod rules;
mod versions;
mod world;
mod year;
