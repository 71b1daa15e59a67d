//! The result, on stdout. Nothing else is ever written there.

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
};

use crate::{
    answer::{self, Answer},
    args::OutputFormat,
    check::{self, CheckLine},
    failure::Failure,
    grid::Look,
    logs::colour_is_welcome,
    report::{Report, render_json, render_text},
};

/// Writes the report; to stderr where stdout belongs to somebody else.
///
/// # Errors
/// When it is not taken: whoever reads it must not take silence for success.
pub(crate) fn report(report: &Report, format: OutputFormat, to_stderr: bool) -> Result<(), Failure> {
    if to_stderr { report_to(io::stderr(), "stderr", report, format) } else { report_to(io::stdout(), "stdout", report, format) }
}

fn report_to(out: impl Write + IsTerminal + AsFd, place: &str, report: &Report, format: OutputFormat) -> Result<(), Failure> {
    let text = match format {
        OutputFormat::Text => render_text(report, look(&out)),
        OutputFormat::Json => render_json(report, out.is_terminal()).map_err(|error| cannot(place, error))?,
    };
    write(out, place, &text)
}

/// Writes a preflight's lines.
///
/// # Errors
/// As [`report`].
pub(crate) fn checks(job: &str, run_id: &str, lines: &[CheckLine], format: OutputFormat) -> Result<(), Failure> {
    let out = io::stdout();
    let text = match format {
        OutputFormat::Text => check::render_text(lines, look(&out)),
        OutputFormat::Json => check::render_json(job, run_id, lines, out.is_terminal()).map_err(|error| cannot("stdout", error))?,
    };
    write(out, "stdout", &text)
}

/// Writes an answer, its JSON as it is made.
///
/// # Errors
/// As [`report`].
pub(crate) fn answer(job: &str, run_id: &str, answer: Answer, format: OutputFormat) -> Result<(), Failure> {
    let out = io::stdout();
    match format {
        OutputFormat::Text => write(&out, "stdout", &answer::render_text(&answer, look(&out))),
        OutputFormat::Json => {
            // Locked to its end, so that nothing of another thread comes between.
            let (spread, mut out) = (out.is_terminal(), io::BufWriter::with_capacity(1 << 16, out.lock()));
            let written = answer::write_json(job, run_id, answer, spread, &mut out);
            written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).map_err(|error| cannot("stdout", error))
        }
    }
}

fn look(out: &(impl IsTerminal + AsFd)) -> Look {
    if !out.is_terminal() {
        return Look::default();
    }
    let width = rustix::termios::tcgetwinsize(out).ok().map(|size| size.ws_col).filter(|columns| *columns > 0);
    Look { colour: colour_is_welcome(), width }
}

fn write(mut out: impl Write, place: &str, text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    // At once, so that nothing of another thread comes between.
    out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush()).map_err(|error| cannot(place, error))
}

fn cannot(place: &str, error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("write the result to {place}: {error}"))
}
