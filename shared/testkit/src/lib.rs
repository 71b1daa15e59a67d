//! Real servers for tests, each thrown away at its end: PostgreSQL 15, 16 and 18 ([`pg`]), the Ceph gateway as an
//! S3 store ([`ceph`]), Redis ([`redis`]), PgBouncer ([`pgbouncer`]), proxies that spoil the traffic to any of them
//! ([`proxy`]), a disk that fills up ([`disk`]), a Debian that boots ([`machine`]), Prometheus ([`prometheus`]),
//! the platform that the demo shows too ([`platform`]), file systems that fail and wait ([`spoiled`]), our own binaries as children ([`bin`]), and backup jobs with what
//! they report and store ([`job`]).
//!
//! Every server has a directory and a port of its own, so tests may run in parallel threads and processes, and each
//! goes away with the process that started it, even when that is killed. A server that is missing is an error, never
//! a skipped test: `tools/install-deps.sh test` installs them all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod bin;
pub mod cache;
pub mod ceph;
pub mod disk;
pub mod job;
pub mod machine;
pub mod pg;
pub mod pgbouncer;
pub mod platform;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod redis;
pub mod spoiled;
