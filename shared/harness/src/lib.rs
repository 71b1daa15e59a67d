//! What every job has around its work: arguments, configuration, logs, signals, events, metrics,
//! progress, report, exit code.
//!
//! A job's `main` parses its arguments and hands its work to a [`Harness`]; the work gets a [`Context`]
//! and puts what became of each item into its [`Reporter`]. The rest follows from that.

pub mod answer;
pub mod args;
pub mod check;
pub mod context;
pub mod events;
pub mod exit;
pub mod failure;
pub mod grid;
pub mod harness;
pub mod human;
mod logs;
mod metrics;
mod observers;
mod output;
mod ping;
pub mod progress;
pub mod report;
pub mod schedule;
mod signals;
pub mod state;
mod tls;

pub use answer::Answer;
pub use args::{BackupArgs, CommonArgs, OutputFormat, PreflightArgs, VERSION, help_footer};
pub use check::{CheckLine, Measured, Verdict};
pub use context::Context;
pub use events::{Event, Events};
pub use exit::{Exit, Interrupt};
pub use failure::{Failure, chain};
pub use grid::{Column, Tone};
pub use harness::Harness;
pub use metrics::metric_families;
pub use progress::{ItemProgress, PartsProgress, Progress};
pub use report::{Extra, FileCounts, ItemKind, ItemReport, Outcome, PartitionCounts, Reporter, Retained};
pub use state::State;
pub use tls::install_tls;
