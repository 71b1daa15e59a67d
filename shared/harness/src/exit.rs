//! How a run ended, and the exit code that says so.

use std::{fmt, process::ExitCode};

use serde::{Serialize, Serializer};

use crate::report::Outcome;

/// How a run ended. The codes are the contract's and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// All of the work was done, or there was nothing to do.
    Done,
    /// It failed.
    Failed,
    /// The command line was wrong.
    Usage,
    /// Some items failed, the others are done and committed.
    Partial,
    /// The configuration is wrong.
    BadConfig,
    /// Some or all items were left to another run that is at work on them; nothing failed.
    LeftToOther,
    /// Refused as unsafe: a guard rail held.
    Refused,
    /// Cancelled by a signal, after clean-up.
    Cancelled(Interrupt),
}

/// The signal that asked a run to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interrupt {
    /// SIGINT: a person's Ctrl-C.
    Int,
    /// SIGTERM: systemd, Kubernetes, Docker.
    Term,
}

impl Interrupt {
    /// The signal's name.
    pub const fn signal_name(self) -> &'static str {
        match self {
            Interrupt::Int => "SIGINT",
            Interrupt::Term => "SIGTERM",
        }
    }
}

impl Exit {
    /// The process's exit code.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Partial => 3,
            Exit::BadConfig => 10,
            Exit::LeftToOther => 11,
            Exit::Refused => 20,
            Exit::Cancelled(Interrupt::Int) => 130,
            Exit::Cancelled(Interrupt::Term) => 143,
        }
    }

    /// One word for scripts, such as `partial`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Partial => "partial",
            Exit::BadConfig => "bad-config",
            Exit::LeftToOther => "left-to-other",
            Exit::Refused => "refused",
            Exit::Cancelled(_) => "cancelled",
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// How a run ended, from what became of its items.
///
/// A signal wins over everything: what the run did not reach must not look done. Then what ended the
/// whole run, then the items. An item cancelled without a signal (its lock was lost) is a failed one.
pub fn conclude(outcomes: &[Outcome], fatal: Option<Exit>, interrupt: Option<Interrupt>) -> Exit {
    if let Some(interrupt) = interrupt {
        return Exit::Cancelled(interrupt);
    }
    if let Some(exit) = fatal {
        return exit;
    }
    let any = |wanted: &[Outcome]| outcomes.iter().any(|outcome| wanted.contains(outcome));
    let failed = any(&[Outcome::Failed, Outcome::Cancelled, Outcome::Partial]);
    let committed = any(&[Outcome::Done, Outcome::Partial, Outcome::Fresh, Outcome::Planned]);
    match (failed, committed, any(&[Outcome::Locked])) {
        (true, true, _) => Exit::Partial,
        (true, false, _) => Exit::Failed,
        (false, _, true) => Exit::LeftToOther,
        (false, _, false) => Exit::Done,
    }
}

/// The exit codes, for the end of every `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
    0  all of the work was done, or there was nothing to do
    1  it failed
    2  usage
    3  partial: some items failed, the others are done and committed
   10  bad configuration
   11  items were left to another run that is at work on them; nothing failed
   20  refused as unsafe; the message names the guard rail and the way past it
  130, 143  cancelled by SIGINT, SIGTERM, after clean-up";

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Cancelled, Done, Failed, Fresh, Gone, Locked, Partial, Planned};

    #[test]
    fn items_decide_when_nothing_ended_the_run() {
        for (outcomes, exit) in [
            (&[][..], Exit::Done),
            (&[Done, Done], Exit::Done),
            (&[Done, Fresh, Gone], Exit::Done),
            (&[Planned], Exit::Done),
            (&[Gone], Exit::Done),
            (&[Failed], Exit::Failed),
            (&[Failed, Failed], Exit::Failed),
            (&[Failed, Gone], Exit::Failed),
            (&[Failed, Locked], Exit::Failed),
            (&[Cancelled], Exit::Failed),
            (&[Done, Failed], Exit::Partial),
            (&[Partial], Exit::Partial),
            (&[Partial, Locked], Exit::Partial),
            (&[Fresh, Failed], Exit::Partial),
            (&[Planned, Failed], Exit::Partial),
            (&[Done, Cancelled], Exit::Partial),
            (&[Done, Failed, Locked], Exit::Partial),
            (&[Locked], Exit::LeftToOther),
            (&[Done, Locked, Gone], Exit::LeftToOther),
        ] {
            assert_eq!(conclude(outcomes, None, None), exit, "{outcomes:?}");
        }
    }

    #[test]
    fn a_signal_wins_then_what_ended_the_run() {
        assert_eq!(conclude(&[Done], Some(Exit::Refused), Some(Interrupt::Int)), Exit::Cancelled(Interrupt::Int));
        assert_eq!(conclude(&[Done], None, Some(Interrupt::Term)), Exit::Cancelled(Interrupt::Term));
        assert_eq!(conclude(&[Done, Failed], Some(Exit::Refused), None), Exit::Refused);
        assert_eq!(conclude(&[Done], Some(Exit::Failed), None), Exit::Failed);
    }

    #[test]
    fn the_codes_are_the_contracts_and_stand_in_the_help() {
        let all = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::Partial, 3),
            (Exit::BadConfig, 10),
            (Exit::LeftToOther, 11),
            (Exit::Refused, 20),
            (Exit::Cancelled(Interrupt::Int), 130),
            (Exit::Cancelled(Interrupt::Term), 143),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code);
            assert!(EXIT_CODES.split([' ', ',', '\n']).any(|word| word == code.to_string()), "{code} is not in the help");
        }
    }
}
