//! What a preflight found.

use plana_plan::name::printable;
use serde::Serialize;

use crate::{exit::Exit, grid::Look};

/// How one check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The job works, but somebody should look at it.
    Warning,
    /// The job will fail, or not do all of its work.
    Problem,
    /// The same, because the configuration is wrong.
    BadConfig,
}

/// What a check measured, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// How many rights the store's key has that the job never uses.
    NeedlessRights(u64),
    /// How many seconds this host's clock and the store's are apart.
    ClockSeconds(u64),
}

/// One check: what was looked at, what was found, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckLine {
    /// What was looked at, such as `pg_dump` or `database acme`.
    pub subject: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; may have several lines, such as SQL to run.
    pub advice: Option<String>,
    /// What was measured, for metrics.
    #[serde(skip)]
    pub measured: Option<Measured>,
}

impl CheckLine {
    fn new(verdict: Verdict, subject: impl Into<String>, found: impl Into<String>, advice: Option<String>) -> Self {
        CheckLine { subject: subject.into(), verdict, found: found.into(), advice, measured: None }
    }

    /// With what was measured.
    #[must_use]
    pub fn measured(self, measured: Measured) -> Self {
        CheckLine { measured: Some(measured), ..self }
    }

    /// As it should be.
    pub fn ok(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, subject, found, None)
    }

    /// The job works, but somebody should look at it.
    pub fn warning(subject: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, subject, found, Some(advice.into()))
    }

    /// The job will fail, or not do all of its work: exit 1.
    pub fn problem(subject: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Verdict::Problem, subject, found, Some(advice.into()))
    }

    /// The configuration is wrong: exit 10.
    pub fn bad_config(subject: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Verdict::BadConfig, subject, found, Some(advice.into()))
    }
}

/// The exit of a preflight: 10 when the configuration is wrong, 1 for any other problem. Warnings do not count.
pub(crate) fn conclude(lines: &[CheckLine]) -> Exit {
    let any = |verdict| lines.iter().any(|line| line.verdict == verdict);
    match (any(Verdict::BadConfig), any(Verdict::Problem)) {
        (true, _) => Exit::BadConfig,
        (false, true) => Exit::Failed,
        (false, false) => Exit::Done,
    }
}

/// How many lines came out how: `7 ok, 1 warning, 1 problem`.
pub(crate) fn tally(lines: &[CheckLine]) -> String {
    let count = |wanted: &[Verdict]| lines.iter().filter(|line| wanted.contains(&line.verdict)).count();
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let (ok, warnings, problems) = (count(&[Verdict::Ok]), count(&[Verdict::Warning]), count(&[Verdict::Problem, Verdict::BadConfig]));
    let mut parts = vec![format!("{ok} ok")];
    parts.extend((warnings > 0).then(|| plural(warnings, "warning")));
    parts.extend((problems > 0).then(|| plural(problems, "problem")));
    parts.join(", ")
}

/// A line per check, subjects aligned, advice beneath.
pub(crate) fn render_text(lines: &[CheckLine], look: Look) -> String {
    // Beyond this a single long name would push everything else off the screen.
    const WIDEST: usize = 36;
    let width = lines.iter().map(|line| printable(&line.subject).chars().count()).max().unwrap_or(0).min(WIDEST);
    let mut text = String::new();
    for line in lines {
        let (word, colour) = match line.verdict {
            Verdict::Ok => ("ok", "32"),
            Verdict::Warning => ("warning", "33"),
            Verdict::Problem | Verdict::BadConfig => ("PROBLEM", "31"),
        };
        let word = format!("{word:<7}");
        let word = if look.colour { format!("\u{1b}[{colour}m{word}\u{1b}[0m") } else { word };
        let found = line.found.trim_end().lines().map(printable).collect::<Vec<_>>().join("\n           ");
        text.push_str(&format!("{word}  {:<width$}  {found}\n", printable(&line.subject)));
        for advice in line.advice.iter().flat_map(|advice| advice.trim_end().lines()) {
            text.push_str(&format!("         {}\n", printable(advice)));
        }
    }
    text.push_str(&format!("\n{}", tally(lines)));
    text
}

/// The same as one JSON object.
pub(crate) fn render_json(job: &str, run_id: &str, lines: &[CheckLine], spread: bool) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Whole<'a> {
        schema: u32,
        job: &'a str,
        version: &'a str,
        run_id: &'a str,
        outcome: Exit,
        exit_code: u8,
        checks: &'a [CheckLine],
    }
    let exit = conclude(lines);
    let whole = Whole { schema: 1, job, version: crate::VERSION, run_id, outcome: exit, exit_code: exit.code(), checks: lines };
    if spread { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<CheckLine> {
        vec![
            CheckLine::ok("pg_dump", "16.4 for server 16.4"),
            CheckLine::warning("store rights", "the key may delete", "give it put and list only"),
            CheckLine::problem("database a\nb", "no CONNECT", "run:\nGRANT CONNECT ON DATABASE …;"),
        ]
    }

    #[test]
    fn a_problem_decides_the_exit_and_a_wrong_configuration_before_it() {
        assert_eq!(conclude(&[]), Exit::Done);
        assert_eq!(conclude(&lines()[..2]), Exit::Done);
        assert_eq!(conclude(&lines()), Exit::Failed);
        let mut all = lines();
        all.push(CheckLine::bad_config("store", "no URL", "set store.backups.url"));
        assert_eq!(conclude(&all), Exit::BadConfig);
    }

    #[test]
    fn lines_are_aligned_and_advice_stands_beneath() {
        let text = render_text(&lines(), Look::default());
        let expected = "\
ok       pg_dump        16.4 for server 16.4
warning  store rights   the key may delete
         give it put and list only
PROBLEM  database a\\nb  no CONNECT
         run:
         GRANT CONNECT ON DATABASE …;

1 ok, 1 warning, 1 problem";
        assert_eq!(text, expected);
    }

    #[test]
    fn json_says_the_same() {
        let whole: serde_json::Value = serde_json::from_str(&render_json("job", "run", &lines(), false).unwrap()).unwrap();
        assert_eq!(whole["exit_code"], 1);
        assert_eq!(whole["checks"][2]["subject"], "database a\nb");
        assert_eq!(whole["checks"][1]["verdict"], "warning");
    }
}
