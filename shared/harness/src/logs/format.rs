//! The forms of a line.

use std::fmt::{self, Write};

use chrono::{SecondsFormat, Utc};
use plana_plan::name::printable;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{Format, Json, Writer},
        time::FormatTime,
    },
    registry::LookupSpan,
};

use super::RunLabel;

/// Where lines for people go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Short: who looks at it knows which run it is.
    Terminal,
    /// With the time and the run.
    Plain,
    /// With the journal's priority in front, so that `journalctl -p warning` works; it has the time itself.
    Journal,
}

/// Lines for people.
pub(super) struct TextLines {
    run: RunLabel,
    style: Style,
    colour: bool,
}

impl TextLines {
    pub(super) fn new(run: RunLabel, style: Style, colour: bool) -> Self {
        TextLines { run, style, colour }
    }
}

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        match self.style {
            Style::Terminal => write!(writer, "{} ", Utc::now().format("%H:%M:%SZ"))?,
            Style::Plain => write!(writer, "{} ", Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true))?,
            Style::Journal => write!(writer, "<{}>", priority(level))?,
        }
        if self.colour {
            write!(writer, "\u{1b}[{}m{level:>5}\u{1b}[0m ", colour(level))?;
        } else {
            write!(writer, "{level:>5} ")?;
        }
        if self.style == Style::Plain {
            write!(writer, "[{}] ", self.run.get().1)?;
        }
        let mut line = String::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(line, "{{{fields}}} ")?;
            }
        }
        if event.metadata().target().starts_with(env!("CARGO_CRATE_NAME")) {
            // The harness's own messages are whole sentences; their fields are for machines.
            event.record(&mut Message(&mut line));
        } else {
            context.field_format().format_fields(Writer::new(&mut line), event)?;
        }
        // What a name or a child's stderr brings along must neither look like a line of ours nor steer a terminal.
        let lines: Vec<String> = line.trim_end().lines().map(printable).collect();
        writeln!(writer, "{}", lines.join("\n      | "))
    }
}

/// Takes an event's message and leaves its fields.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            let written = write!(self.0, "{value:?}");
            debug_assert!(written.is_ok());
        }
    }
}

/// syslog's numbers, which the journal reads.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        _ => 34,
    }
}

/// One JSON object a line, with the job and the run id first.
pub(super) struct JsonLines {
    run: RunLabel,
    inner: Format<Json, Rfc3339>,
}

impl JsonLines {
    pub(super) fn new(run: RunLabel) -> Self {
        let inner = Format::default().json().flatten_event(true).with_current_span(false).with_timer(Rfc3339);
        JsonLines { run, inner }
    }
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        let (job, run_id) = self.run.get();
        match line.strip_prefix('{') {
            Some(rest) => {
                let (job, run_id) = (serde_json::Value::from(job), serde_json::Value::from(run_id));
                write!(writer, "{{\"job\":{job},\"run_id\":{run_id},{rest}")
            }
            None => writer.write_str(&line),
        }
    }
}

struct Rfc3339;

impl FormatTime for Rfc3339 {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(&Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}
