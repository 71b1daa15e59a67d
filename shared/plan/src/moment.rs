//! A moment as people write it.

use std::{fmt, str::FromStr};

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

use crate::Stamp;

/// The last instant that a text such as `2026-11-23` or `2026-11-23 03:15` means, in UTC: what existed at the end of that
/// day or minute existed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(DateTime<Utc>);

impl Moment {
    /// The instant.
    pub const fn instant(self) -> DateTime<Utc> {
        self.0
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m-%d %H:%M:%S UTC"))
    }
}

/// The text is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time: write 2026-11-23, \"2026-11-23 03:15\" (UTC), 2026-11-23T03:15:00+01:00, or a set's stamp, 20261123T031500Z")]
pub struct MomentError(pub String);

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let text = text.trim();
        let almost = TimeDelta::nanoseconds(1);
        if let Ok(stamp) = text.parse::<Stamp>() {
            return Ok(Moment(stamp.instant()));
        }
        if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
            return Ok(Moment(instant.with_timezone(&Utc)));
        }
        for (format, whole) in [
            ("%Y-%m-%d %H:%M:%S", TimeDelta::seconds(1)),
            ("%Y-%m-%dT%H:%M:%S", TimeDelta::seconds(1)),
            ("%Y-%m-%d %H:%M", TimeDelta::minutes(1)),
            ("%Y-%m-%dT%H:%M", TimeDelta::minutes(1)),
        ] {
            if let Ok(local) = NaiveDateTime::parse_from_str(text, format) {
                return Ok(Moment(local.and_utc() + whole - almost));
            }
        }
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|day| day.succ_opt()?.and_hms_opt(0, 0, 0));
        day.map(|next| Moment(next.and_utc() - almost)).ok_or_else(|| MomentError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_last_instant_that_its_text_means() {
        for (text, last) in [
            ("2026-11-23", "2026-11-23T23:59:59.999999999+00:00"),
            ("2026-11-23 03:15", "2026-11-23T03:15:59.999999999+00:00"),
            ("2026-11-23T03:15:20", "2026-11-23T03:15:20.999999999+00:00"),
            ("2026-11-23T03:15:00+01:00", "2026-11-23T02:15:00+00:00"),
            ("20261123T031500Z", "2026-11-23T03:15:00+00:00"),
        ] {
            assert_eq!(text.parse::<Moment>().map(|moment| moment.instant().to_rfc3339()).as_deref(), Ok(last), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "23.11.2026", "2026-11-23 25:00"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
