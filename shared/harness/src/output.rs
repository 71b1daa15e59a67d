//! The result, on stdout. Nothing else is ever written there.

use std::io::{self, IsTerminal, Write};

use crate::{
    answer::{self, Answer},
    args::OutputFormat,
    check::{self, CheckLine},
    failure::Failure,
    grid::Look,
    logs::colour_is_welcome,
    report::{Report, render_json, render_text},
};

/// Writes the report.
///
/// # Errors
/// When stdout does not take it: whoever reads it must not take silence for success.
pub(crate) fn report(report: &Report, format: OutputFormat) -> Result<(), Failure> {
    let terminal = io::stdout().is_terminal();
    match format {
        OutputFormat::Text => write(&render_text(report, look())),
        OutputFormat::Json => write(&render_json(report, terminal).map_err(cannot)?),
    }
}

/// Writes a preflight's lines.
///
/// # Errors
/// As [`report`].
pub(crate) fn checks(job: &str, run_id: &str, lines: &[CheckLine], format: OutputFormat) -> Result<(), Failure> {
    let terminal = io::stdout().is_terminal();
    match format {
        OutputFormat::Text => write(&check::render_text(lines, look())),
        OutputFormat::Json => write(&check::render_json(job, run_id, lines, terminal).map_err(cannot)?),
    }
}

/// Writes an answer.
///
/// # Errors
/// As [`report`].
pub(crate) fn answer(job: &str, run_id: &str, answer: &Answer, format: OutputFormat) -> Result<(), Failure> {
    let terminal = io::stdout().is_terminal();
    match format {
        OutputFormat::Text => write(&answer::render_text(answer, look())),
        OutputFormat::Json => write(&answer::render_json(job, run_id, answer, terminal).map_err(cannot)?),
    }
}

fn look() -> Look {
    if !io::stdout().is_terminal() {
        return Look::default();
    }
    let width = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col).filter(|columns| *columns > 0);
    Look { colour: colour_is_welcome(), width }
}

fn write(text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush()).map_err(cannot)
}

fn cannot(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("write the result to stdout: {error}"))
}
