//! Sets that stay besides: the newest of each day, week, month and year.

use std::fmt;

use chrono::{DateTime, Datelike, Utc};

/// How many of each are kept; 0 means none. They only ever add to what windows, floor and freeze keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Periods {
    /// The newest sets.
    pub last: u32,
    /// The newest set of each of so many days that have any, in UTC.
    pub daily: u32,
    /// The same by ISO week, which begins on Monday.
    pub weekly: u32,
    /// The same by month.
    pub monthly: u32,
    /// The same by year.
    pub yearly: u32,
}

/// Why a set stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// One of the newest.
    Last,
    /// The newest of its day.
    Day,
    /// The newest of its week.
    Week,
    /// The newest of its month.
    Month,
    /// The newest of its year.
    Year,
}

impl Period {
    const ALL: [Period; 5] = [Period::Last, Period::Day, Period::Week, Period::Month, Period::Year];

    /// A number that is the same for all moments of one period; for [`Period::Last`] every set is its own.
    fn number(self, at: DateTime<Utc>, rank: usize) -> i64 {
        let day = i64::from(at.num_days_from_ce());
        match self {
            Period::Last => rank as i64,
            Period::Day => day,
            // Day 1 of the common era was a Monday.
            Period::Week => (day - 1).div_euclid(7),
            Period::Month => i64::from(at.year()) * 12 + i64::from(at.month0()),
            Period::Year => i64::from(at.year()),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Period::Last => "one of the newest (keep.last)",
            Period::Day => "the newest of its day (keep.daily)",
            Period::Week => "the newest of its week (keep.weekly)",
            Period::Month => "the newest of its month (keep.monthly)",
            Period::Year => "the newest of its year (keep.yearly)",
        })
    }
}

impl Periods {
    fn count(self, period: Period) -> u32 {
        match period {
            Period::Last => self.last,
            Period::Day => self.daily,
            Period::Week => self.weekly,
            Period::Month => self.monthly,
            Period::Year => self.yearly,
        }
    }

    /// For each of these moments, newest first, the first reason why its set stays, where there is one.
    pub fn keep(self, newest_first: &[DateTime<Utc>]) -> Vec<Option<Period>> {
        let mut kept = vec![None; newest_first.len()];
        for period in Period::ALL {
            let (mut left, mut before) = (self.count(period), None);
            for (rank, at) in newest_first.iter().enumerate() {
                let number = period.number(*at, rank);
                if left > 0 && before != Some(number) {
                    kept[rank] = kept[rank].or(Some(period));
                    (left, before) = (left - 1, Some(number));
                }
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(periods: Periods, stamps: &[&str]) -> Vec<bool> {
        let at: Vec<DateTime<Utc>> = stamps.iter().map(|text| format!("{text}:00Z").parse().expect("a time")).collect();
        periods.keep(&at).iter().map(Option::is_some).collect()
    }

    #[test]
    fn the_newest_of_each_period_stays() {
        let none = Periods::default();
        let days = ["2026-11-23T18:00", "2026-11-23T03:00", "2026-11-22T03:00", "2026-11-20T03:00"];
        assert_eq!(kept(none, &days), [false; 4]);
        assert_eq!(kept(Periods { last: 2, ..none }, &days), [true, true, false, false]);
        // A day without any set does not count.
        assert_eq!(kept(Periods { daily: 3, ..none }, &days), [true, false, true, true]);
        // The 22nd is a Sunday.
        assert_eq!(kept(Periods { weekly: 2, ..none }, &days), [true, false, true, false]);
        let months = ["2027-01-01T00:00", "2026-12-31T23:59", "2026-12-01T00:00", "2026-11-30T23:59", "2024-02-29T12:00"];
        assert_eq!(kept(Periods { monthly: 3, ..none }, &months), [true, true, false, true, false]);
        assert_eq!(kept(Periods { yearly: 3, ..none }, &months), [true, true, false, false, true]);
        assert_eq!(kept(Periods { yearly: 9, weekly: 1, ..none }, &months), [true, true, false, false, true]);
    }
}
