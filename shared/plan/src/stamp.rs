//! `YYYYMMDDTHHMMSSZ`: when a set was begun, in UTC, to the second.

use std::{fmt, str::FromStr};

use chrono::{DateTime, NaiveDate, SubsecRound, Utc};

/// When a set was begun, in UTC, to the second; sorts as text as it sorts in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp(DateTime<Utc>);

const FORMAT: &str = "%Y%m%dT%H%M%SZ";

impl Stamp {
    /// The stamp of an instant; fractions of a second are dropped.
    pub fn new(instant: DateTime<Utc>) -> Self {
        Stamp(instant.trunc_subsecs(0))
    }

    /// The instant that the stamp names.
    pub const fn instant(self) -> DateTime<Utc> {
        self.0
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format(FORMAT))
    }
}

/// The text is not a stamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stamp of the form YYYYMMDDTHHMMSSZ")]
pub struct StampError(pub String);

impl FromStr for Stamp {
    type Err = StampError;

    fn from_str(text: &str) -> Result<Self, StampError> {
        read(text).map(Stamp).ok_or_else(|| StampError(text.to_owned()))
    }
}

/// Only the one spelling that we write is ours. By hand: a listing has a million of them, and chrono's parser also reads shorter
/// numbers, signs and spaces.
fn read(text: &str) -> Option<DateTime<Utc>> {
    let bytes = text.as_bytes();
    let fits = bytes.len() == 16 && bytes[8] == b'T' && bytes[15] == b'Z';
    if !fits || !(0..15).filter(|at| *at != 8).all(|at| bytes[at].is_ascii_digit()) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| bytes[range].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let date = NaiveDate::from_ymd_opt(number(0..4).cast_signed(), number(4..6), number(6..8))?;
    Some(date.and_hms_opt(number(9..11), number(11..13), number(13..15))?.and_utc())
}

impl serde::Serialize for Stamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Stamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_written_form_is_read() {
        assert!("20261123T031500Z".parse::<Stamp>().is_ok());
        for text in [
            "",
            "20261123",
            "20261123T031500",
            "20261323T031500Z",
            "20260230T000000Z",
            "+20261123T031500Z",
            " 20261123T031500Z",
            "20261123t031500z",
            "2026112T031500Z",
            "20261123T031560Z",
            "20261123T241500Z",
            "2026é123T03150Z",
        ] {
            assert!(text.parse::<Stamp>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn stamps_round_trip_and_sort_as_text(a in 0i64..253_402_300_000, b in 0i64..253_402_300_000) {
            let at = |s| Stamp::new(DateTime::from_timestamp(s, 999_000_000).unwrap_or_default());
            let (x, y) = (at(a), at(b));
            prop_assert_eq!(x.to_string().parse::<Stamp>(), Ok(x));
            prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
        }
    }
}
