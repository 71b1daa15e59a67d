//! How much of the time a ledger of pulls covers: a pull that it does not show is not told from none.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::pulls::Line;
use crate::window::Window;

/// Why a ledger does not show what was pulled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Uncovered {
    /// There is nothing in it.
    #[error("there is nothing in it")]
    Empty,
    /// It begins within the window.
    #[error("it begins at {}, within the window of {window}", at(.begins))]
    TooShort {
        /// When it begins.
        begins: DateTime<Utc>,
        /// The window.
        window: Window,
    },
    /// It says nothing of a time within the window.
    #[error("it says nothing of the time from {} to {}", at(.from), at(.to))]
    Gap {
        /// When that begins.
        from: DateTime<Utc>,
        /// When that ends.
        to: DateTime<Utc>,
    },
}

fn at(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

const HOUR: i64 = 3600;

fn hour(time: DateTime<Utc>) -> i64 {
    time.timestamp().div_euclid(HOUR)
}

/// The hours of a window that a ledger covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    window: Window,
    now: DateTime<Utc>,
    begins: Option<DateTime<Utc>>,
    hours: BTreeSet<i64>,
    has_pulls: bool,
}

impl Coverage {
    /// Of an empty ledger, for a window that ends at `now`.
    pub fn new(window: Window, now: DateTime<Utc>) -> Self {
        Coverage { window, now, begins: None, hours: BTreeSet::new(), has_pulls: false }
    }

    fn start(&self) -> DateTime<Utc> {
        self.now - self.window.span()
    }

    /// Takes a line.
    pub fn add(&mut self, line: &Line) {
        let (from, to) = match line {
            Line::Covers(from, to) => (*from, *to),
            Line::Pull(time, _) => {
                self.has_pulls |= *time >= self.start();
                (*time, *time)
            }
        };
        self.begins = Some(self.begins.map_or(from, |begins| begins.min(from)));
        // Hours of the window alone, whatever a line says: no line can make this large.
        let hours = hour(from).max(hour(self.start()))..=hour(to).min(hour(self.now));
        self.hours.extend(hours);
    }

    /// Whether it shows any pull within the window.
    pub const fn has_pulls(&self) -> bool {
        self.has_pulls
    }

    /// Whether it shows all of the window: it begins before it, and nowhere in it says nothing for longer than `gap`, least of all
    /// at its end.
    ///
    /// # Errors
    /// What is missing.
    pub fn require(&self, gap: TimeDelta) -> Result<(), Uncovered> {
        let begins = self.begins.ok_or(Uncovered::Empty)?;
        let start = self.start();
        if begins > start {
            return Err(Uncovered::TooShort { begins, window: self.window });
        }
        let time = |hour: i64| DateTime::from_timestamp(hour.saturating_mul(HOUR), 0).unwrap_or(start);
        let mut silent_since = start;
        for hour in &self.hours {
            let (from, to) = (time(*hour), time(*hour + 1));
            if from - silent_since > gap {
                return Err(Uncovered::Gap { from: silent_since, to: from });
            }
            silent_since = silent_since.max(to);
        }
        if self.now - silent_since > gap { Err(Uncovered::Gap { from: silent_since, to: self.now }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::pulls::Pulled;

    #[test]
    fn a_ledger_must_show_the_whole_window() {
        let now: DateTime<Utc> = "2026-11-23T03:15:00Z".parse().unwrap();
        let (window, gap) = (Window::from_days(30).unwrap(), TimeDelta::days(1));
        let ago = |hours: i64| now - TimeDelta::hours(hours);
        let told = |lines: &[(i64, i64)]| {
            let mut coverage = Coverage::new(window, now);
            lines.iter().for_each(|(from, to)| coverage.add(&Line::Covers(ago(*from), ago(*to))));
            coverage.require(gap)
        };
        let month = 30 * 24;
        assert_eq!(told(&[(month, 0)]), Ok(()));
        assert_eq!(told(&[(month + 1, 400), (395, 20)]), Ok(()));
        assert_eq!(told(&[]), Err(Uncovered::Empty));
        assert!(matches!(told(&[(month - 1, 0)]), Err(Uncovered::TooShort { .. })));
        assert!(matches!(told(&[(month + 1, 27)]), Err(Uncovered::Gap { to, .. }) if to == now), "it ends too early");
        assert!(matches!(told(&[(month + 1, 400), (370, 0)]), Err(Uncovered::Gap { .. })));
        assert!(matches!(told(&[(month + 90, month + 90), (600, 0)]), Err(Uncovered::Gap { .. })), "silent at its begin");
        // A line of the future covers nothing.
        assert!(matches!(told(&[(month + 1, 50), (-50, -60)]), Err(Uncovered::Gap { .. })));
        // Nor is it held for ever.
        let mut coverage = Coverage::new(window, now);
        coverage.add(&Line::Covers(DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC));
        assert!(coverage.hours.len() <= month as usize + 1 && coverage.require(gap).is_ok());
    }

    #[test]
    fn pulls_of_before_the_window_are_none() {
        let now: DateTime<Utc> = "2026-11-23T03:15:00Z".parse().unwrap();
        let mut coverage = Coverage::new(Window::from_days(30).unwrap(), now);
        coverage.add(&Line::Covers(now - TimeDelta::days(40), now));
        coverage.add(&Line::Pull(now - TimeDelta::days(31), Pulled::Other));
        assert!(!coverage.has_pulls());
        coverage.add(&Line::Pull(now - TimeDelta::days(29), Pulled::Other));
        assert!(coverage.has_pulls());
    }
}
