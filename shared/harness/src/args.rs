//! The options that all jobs share.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use plana_config::{HumanDuration, Override};
use plana_plan::select::{NamePattern, Selection, Shard};

use crate::{exit::EXIT_CODES, schedule::CronSchedule};

/// The suite's version, for `#[command(version = plana_harness::VERSION)]`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The end of a job's `--help`: its examples, then the exit codes.
/// For `#[command(after_help = plana_harness::help_footer("…"))]`.
pub fn help_footer(examples: &str) -> String {
    format!("Examples:\n{}\n\n{EXIT_CODES}", examples.trim_matches('\n'))
}

/// What every job takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// The configuration file [default: /etc/plana-jobs/config.toml, which may be missing]
    #[arg(long, value_name = "FILE", env = "PLANA_JOBS_CONFIG", hide_env_values = true, global = true)]
    pub config: Option<PathBuf>,

    /// Show what would be done, and change nothing
    #[arg(long, global = true)]
    pub dry_run: bool,

    /// The form of the result on stdout
    #[arg(long, value_name = "text|json", value_enum, default_value_t, hide_possible_values = true, global = true)]
    pub output: OutputFormat,

    /// The form of the logs on stderr; auto is JSON in Kubernetes, text elsewhere
    #[arg(long, value_name = "auto|text|json", value_enum, default_value_t, hide_possible_values = true, global = true)]
    pub log_format: LogFormat,

    /// The least that is logged: error, warn, info, debug or trace [default: info, with --quiet: warn]
    #[arg(long, value_name = "LEVEL", value_enum, hide_possible_values = true, global = true)]
    pub log_level: Option<LogLevel>,

    /// No progress bars; log warnings and errors only
    #[arg(long, global = true)]
    pub quiet: bool,

    /// Stay, and run on this schedule, in UTC: five fields (minute first) or six (second first)
    #[arg(long, value_name = "CRON")]
    pub schedule: Option<CronSchedule>,
}

/// The form of the result on stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// A table for people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// The form of the logs on stderr.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// JSON in Kubernetes, text elsewhere.
    #[default]
    Auto,
    /// Lines for people; for the journal, with its priorities.
    Text,
    /// One JSON object a line, each with the job and the run id.
    Json,
}

/// The least that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what deserves attention.
    Warn,
    /// And what is done.
    Info,
    /// And how.
    Debug,
    /// And everything.
    Trace,
}

/// What every job's `check` takes.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct PreflightArgs {
    /// Leave what was found where metrics go, for alerts; for a check that runs on a schedule
    #[arg(long)]
    pub metrics: bool,
}

/// What every job that makes backups takes besides.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What is backed up, and where")]
pub struct BackupArgs {
    /// Only what this name or glob means (repeatable)
    #[arg(long, value_name = "NAME-OR-GLOB")]
    pub only: Vec<NamePattern>,

    /// Not what this name or glob means; wins over --only (repeatable)
    #[arg(long, value_name = "NAME-OR-GLOB")]
    pub exclude: Vec<NamePattern>,

    /// How many at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub jobs: Option<u32>,

    /// Skip what has a committed backup younger than this, such as 12h
    #[arg(long, value_name = "DURATION")]
    pub missing_within: Option<HumanDuration>,

    /// Only one of N stable shares of the names: I/N, I from 0; or N alone, where Kubernetes sets JOB_COMPLETION_INDEX
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    pub shard: Option<Shard>,

    /// Where backups go: s3://bucket/prefix or file:///directory
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

impl BackupArgs {
    /// Which names the run works on.
    pub fn selection(&self) -> Selection {
        Selection { only: self.only.clone(), exclude: self.exclude.clone(), shard: self.shard }
    }

    /// What the flags say over the configuration; `store_key` is the key of the store's address, `jobs_key` that of what runs at
    /// the same time.
    pub fn overrides(&self, store_key: &str, jobs_key: &str) -> Vec<Override> {
        let store = self.store.as_ref().map(|url| Override::new("--store", store_key, url.clone()));
        let jobs = self.jobs.map(|jobs| Override::new("--jobs", jobs_key, jobs.to_string()));
        store.into_iter().chain(jobs).collect()
    }
}

/// The variable in which an Indexed Job of Kubernetes tells each pod its index.
const COMPLETION_INDEX: &str = "JOB_COMPLETION_INDEX";

fn parse_shard(text: &str) -> Result<Shard, String> {
    shard_of(text, std::env::var(COMPLETION_INDEX).ok().as_deref())
}

fn shard_of(text: &str, completion_index: Option<&str>) -> Result<Shard, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Shard::from_str(text).map_err(|error| error.to_string());
    }
    let Some(index) = completion_index.filter(|index| !index.is_empty()) else {
        return Err(format!("`{text}` alone needs the index in {COMPLETION_INDEX}, which is not set: write I/{text}"));
    };
    Shard::from_str(&format!("{index}/{text}"))
        .map_err(|_| format!("{COMPLETION_INDEX} is `{index}`, which is no share of {text}: the Job's completions must be {text} too"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    #[command(version = VERSION, after_help = help_footer("  job --only acme"))]
    struct Job {
        #[command(flatten)]
        common: CommonArgs,
        #[command(flatten)]
        backup: BackupArgs,
    }

    fn parse(args: &[&str]) -> Result<Job, clap::Error> {
        Job::try_parse_from(std::iter::once("job").chain(args.iter().copied()))
    }

    #[test]
    fn the_selection_is_what_the_flags_say() {
        let job = parse(&["--only", "a*", "--only", "b", "--exclude", "ab", "--shard", "1/4", "--missing-within", "12h"]).unwrap();
        let selection = job.backup.selection();
        assert_eq!(selection.only.len(), 2);
        assert_eq!(selection.exclude.len(), 1);
        assert_eq!(selection.shard, Some(Shard { index: 1, count: 4 }));
        assert_eq!(job.backup.missing_within.map(|within| within.0.as_secs()), Some(43_200));
        assert!(job.backup.overrides("store.backups.url", "dump.jobs").is_empty() && !job.common.dry_run);
    }

    #[test]
    fn wrong_values_are_usage_errors() {
        for args in [
            &["--jobs", "0"][..],
            &["--missing-within", "soon"],
            &["--shard", "4/4"],
            &["--only", ""],
            &["--output", "xml"],
            &["--schedule", "every night"],
            &["stray"],
        ] {
            assert_eq!(parse(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }

    #[test]
    fn a_shard_alone_takes_its_index_from_kubernetes() {
        assert_eq!(shard_of("4", Some("3")), Ok(Shard { index: 3, count: 4 }));
        assert_eq!(shard_of("1/4", Some("3")), Ok(Shard { index: 1, count: 4 }));
        assert!(shard_of("4", None).unwrap_err().contains("write I/4"));
        assert!(shard_of("4", Some("4")).unwrap_err().contains("completions"));
        assert!(shard_of("", Some("1")).is_err() && shard_of("x", Some("1")).is_err());
    }

    #[test]
    fn the_help_ends_with_examples_and_exit_codes() {
        let help = parse(&["--help"]).unwrap_err().to_string();
        assert!(help.contains("job --only acme") && help.ends_with("after clean-up\n"), "{help}");
        assert!(parse(&["--version"]).unwrap_err().to_string().contains(VERSION));
    }
}
