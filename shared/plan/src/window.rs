//! Retention windows: `30d`, `12w`, `1y`; whole days and nothing else.

use std::{fmt, str::FromStr};

use chrono::TimeDelta;

/// How long something is kept, in whole days, at least one.
///
/// Written with `d`, `w` and `y` (365 days) only. Months are refused: `m` means minutes to most
/// parsers of durations, and a backup kept for three minutes is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    days: u32,
}

impl Window {
    /// The longest window that can be written: a thousand years.
    const MAX_DAYS: u32 = 365_000;

    /// A window of that many days; `None` for zero and for more than a thousand years.
    pub const fn from_days(days: u32) -> Option<Self> {
        if days == 0 || days > Self::MAX_DAYS { None } else { Some(Window { days }) }
    }

    /// The window in days.
    pub const fn days(self) -> u32 {
        self.days
    }

    /// The window as a span of time.
    pub fn span(self) -> TimeDelta {
        TimeDelta::days(i64::from(self.days))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}d", self.days)
    }
}

/// The text is not a retention window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a retention window: write whole days, weeks or years, such as 30d, 12w or 1y (m is refused: it could mean minutes or months)"
)]
pub struct WindowError(pub String);

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let parse = || {
            let unit = text.chars().last()?;
            let per_unit = match unit {
                'd' => 1,
                'w' => 7,
                'y' => 365,
                _ => return None,
            };
            let digits = &text[..text.len() - 1];
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            Window::from_days(digits.parse::<u32>().ok()?.checked_mul(per_unit)?)
        };
        parse().ok_or_else(|| WindowError(text.to_owned()))
    }
}

impl serde::Serialize for Window {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_days_weeks_and_years_of_365_days() {
        for (text, days) in [("1d", 1), ("30d", 30), ("2w", 14), ("1y", 365), ("10y", 3650)] {
            assert_eq!(text.parse::<Window>().map(Window::days), Ok(days), "{text}");
        }
    }

    #[test]
    fn anything_that_could_mean_less_than_a_day_is_refused() {
        for text in [
            "",
            "d",
            "0d",
            "0y",
            "3m",
            "3M",
            "12h",
            "90s",
            "30",
            "1.5d",
            "-1d",
            "+1d",
            "1d12h",
            " 1d",
            "1 d",
            "30D",
            "1y ",
            "4294967295y",
            "3é",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }
}
