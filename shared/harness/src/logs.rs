//! Logs on stderr: lines for people, for the journal, or JSON.

mod format;
mod writer;

use std::{
    io::{self, IsTerminal},
    sync::{Arc, PoisonError, RwLock},
};

use indicatif::MultiProgress;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{self, format::JsonFields},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::args::{CommonArgs, LogFormat, LogLevel};
use format::{JsonLines, Style, TextLines};
use writer::StderrWriter;

/// Which run the lines belong to; another one on every tick of a schedule.
#[derive(Clone, Default)]
pub(crate) struct RunLabel(Arc<RwLock<(String, String)>>);

impl RunLabel {
    pub(crate) fn set(&self, job: &str, run_id: &str) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = (job.to_owned(), run_id.to_owned());
    }

    fn get(&self) -> (String, String) {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts logging. Lines go through the bars, where there are any, so that neither tears the other.
pub(crate) fn start(common: &CommonArgs, run: RunLabel, bars: Option<MultiProgress>) {
    let level = match (common.log_level, common.quiet) {
        (Some(LogLevel::Error), _) => LevelFilter::ERROR,
        (Some(LogLevel::Warn), _) | (None, true) => LevelFilter::WARN,
        (Some(LogLevel::Info), _) | (None, false) => LevelFilter::INFO,
        (Some(LogLevel::Debug), _) => LevelFilter::DEBUG,
        (Some(LogLevel::Trace), _) => LevelFilter::TRACE,
    };
    let layer = fmt::layer().with_writer(StderrWriter::new(bars)).with_ansi(false).log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(targets(level));
    let json = match common.log_format {
        LogFormat::Auto => std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && !io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let started = if json {
        let lines = JsonLines::new(run);
        registry.with(layer.fmt_fields(JsonFields::new()).event_format(lines)).try_init()
    } else {
        let style = if writer::stderr_is_the_journal() {
            Style::Journal
        } else if io::stderr().is_terminal() {
            Style::Terminal
        } else {
            Style::Plain
        };
        registry.with(layer.event_format(TextLines::new(run, style, colour_on_stderr()))).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

/// Our own crates at the level asked for. What libraries log at `debug` and `trace` may hold what we
/// never print (headers, connection strings), so of theirs only warnings are shown.
fn targets(level: LevelFilter) -> Targets {
    let own = std::env::current_exe().ok().and_then(|path| path.file_name().map(|name| name.to_string_lossy().replace('-', "_")));
    // Every room's name begins so, also that of one that is still to be built.
    let ours = std::iter::once("plana_".to_owned()).chain(own);
    let targets = Targets::new().with_default(level.min(LevelFilter::WARN));
    ours.fold(targets, |targets, ours| targets.with_target(ours, level))
}

fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && colour_is_welcome()
}

/// Whether the user has not asked for plain text (<https://no-color.org>).
pub(crate) fn colour_is_welcome() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn what_libraries_say_of_their_work_is_never_logged() {
        let everything = targets(LevelFilter::TRACE);
        for library in ["aws_smithy_runtime", "sqlx::query", "redis", "reqwest::connect", "hyper_util"] {
            assert!(!everything.would_enable(library, &Level::INFO) && everything.would_enable(library, &Level::WARN), "{library}");
        }
        for own in ["plana_pg::server", "plana_drill::place", "plana_tree"] {
            assert!(everything.would_enable(own, &Level::TRACE), "{own}");
        }
        assert!(!targets(LevelFilter::ERROR).would_enable("redis", &Level::WARN));
    }
}
