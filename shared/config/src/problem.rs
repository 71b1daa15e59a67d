//! What is wrong with a configuration, exactly.

use std::fmt;

/// One thing that is wrong: where, with which key, what, and what to do about it.
///
/// Never holds the value of a key that the schema knows as a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file and line, the environment variable, the flag, or the file of a secret.
    pub place: String,
    /// The dotted key; empty where no key is to blame.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do; empty where `what` says it.
    pub help: String,
}

impl Problem {
    /// A problem that is shown as `place: key: what; help`.
    pub fn new(place: impl Into<String>, key: impl Into<String>, what: impl Into<String>, help: impl Into<String>) -> Self {
        Problem { place: place.into(), key: key.into(), what: what.into(), help: help.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "; {}", self.help) }
    }
}

/// The configuration cannot be used: all that is wrong with it, one problem a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.problems))]
pub struct ConfigError {
    /// What is wrong, at least one.
    pub problems: Vec<Problem>,
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        ConfigError { problems: vec![problem] }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A key as it is written in TOML: segments that are not bare are quoted.
pub(crate) fn dotted(path: &[String]) -> String {
    let bare = |segment: &str| !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let quoted = path.iter().map(|s| if bare(s) { s.clone() } else { format!("{s:?}") });
    quoted.collect::<Vec<_>>().join(".")
}
