//! What ends a whole run.

use std::{error::Error, fmt};

use crate::exit::Exit;

/// What ended a whole run: the exit code that it asks for and a message that completes the sentence
/// "failed to …". Each job maps its own errors to this, exhaustively, in one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the run ends.
    pub exit: Exit,
    /// What failed, on which item, why, and what to do next.
    pub message: String,
}

impl Failure {
    /// A failure with the given exit.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Failure { exit, message: message.to_string() }
    }

    /// A failure from an error and all of its sources.
    pub fn of(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Failure { exit, message: chain(error) }
    }

    /// It failed: exit 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Failure::new(Exit::Failed, message)
    }

    /// The configuration is wrong: exit 10.
    pub fn bad_config(message: impl fmt::Display) -> Self {
        Failure::new(Exit::BadConfig, message)
    }

    /// The command line is wrong in a way that the parser cannot see: exit 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Failure::new(Exit::Usage, message)
    }

    /// A guard rail held: exit 20. The message names it and the way past it.
    pub fn refused(message: impl fmt::Display) -> Self {
        Failure::new(Exit::Refused, message)
    }

    /// Another run is at work on all of it: exit 11.
    pub fn left_to_other(message: impl fmt::Display) -> Self {
        Failure::new(Exit::LeftToOther, message)
    }
}

impl From<plana_config::ConfigError> for Failure {
    fn from(error: plana_config::ConfigError) -> Self {
        Failure::bad_config(format!("load the configuration: {error}"))
    }
}

/// An error and its sources in one line, without what a source's text already said.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let next = inner.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = inner.source();
    }
    text
}

/// The sentence that a message completes.
pub fn sentence(message: &str) -> String {
    format!("failed to {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("read the answer")]
    struct Outer(#[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("read the answer: {0}")]
    struct Repeats(#[source] std::io::Error);

    #[test]
    fn a_chain_says_each_cause_once() {
        let cause = || std::io::Error::other("the line is dead");
        assert_eq!(chain(&Outer(cause())), "read the answer: the line is dead");
        assert_eq!(chain(&Repeats(cause())), "read the answer: the line is dead");
        assert_eq!(Failure::of(Exit::Refused, &Outer(cause())), Failure::refused("read the answer: the line is dead"));
    }
}
