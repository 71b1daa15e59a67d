//! Days, weeks, months and years of a zone, as bounds of partitions.
//!
//! A point on a table's time line is what its column holds: for `timestamptz` the time in UTC, for `timestamp` and `date` the
//! wall clock of the configured zone. Midnights are computed here, never by a session in whatever zone it is.

use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, MappedLocalTime, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// How long a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// From midnight to midnight.
    Daily,
    /// From Monday to Monday.
    Weekly,
    /// From the first of a month to that of the next.
    Monthly,
    /// From the first of January to that of the next year.
    Yearly,
}

impl Period {
    /// What one of it is called.
    pub const fn noun(self) -> &'static str {
        match self {
            Period::Daily => "day",
            Period::Weekly => "week",
            Period::Monthly => "month",
            Period::Yearly => "year",
        }
    }

    fn start(self, date: NaiveDate) -> Option<NaiveDate> {
        match self {
            Period::Daily => Some(date),
            Period::Weekly => date.checked_sub_days(Days::new(date.weekday().num_days_from_monday().into())),
            Period::Monthly => date.with_day(1),
            Period::Yearly => NaiveDate::from_ymd_opt(date.year(), 1, 1),
        }
    }

    fn next(self, start: NaiveDate) -> Option<NaiveDate> {
        match self {
            Period::Daily => start.succ_opt(),
            Period::Weekly => start.checked_add_days(Days::new(7)),
            Period::Monthly => start.checked_add_months(Months::new(1)),
            Period::Yearly => start.checked_add_months(Months::new(12)),
        }
    }
}

/// A time zone by its name in the IANA data base, such as `Europe/Sofia`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Zone = Zone(Tz::UTC);

    /// The name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Zone).map_err(|_| format!("`{text}` is not a time zone: write UTC, or a name such as Europe/Sofia"))
    }
}

impl Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The type of the column by which a table is partitioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `timestamp with time zone`.
    Timestamptz,
    /// `timestamp without time zone`.
    Timestamp,
    /// `date`.
    Date,
}

impl KeyType {
    /// The type of that name in the catalog (`format_type`), where it is one by which partitions can be rolled.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "timestamp with time zone" => Some(KeyType::Timestamptz),
            "timestamp without time zone" => Some(KeyType::Timestamp),
            "date" => Some(KeyType::Date),
            _ => None,
        }
    }

    /// The type's name in SQL.
    pub const fn sql(self) -> &'static str {
        match self {
            KeyType::Timestamptz => "timestamptz",
            KeyType::Timestamp => "timestamp",
            KeyType::Date => "date",
        }
    }

    /// A point as a literal's text: with an offset where the column knows zones, so that no session's zone can shift it.
    pub fn text(self, point: NaiveDateTime) -> String {
        match self {
            KeyType::Timestamptz => format!("{}+00", point.format("%Y-%m-%d %H:%M:%S%.f")),
            KeyType::Timestamp => point.format("%Y-%m-%d %H:%M:%S%.f").to_string(),
            KeyType::Date => point.format("%Y-%m-%d").to_string(),
        }
    }
}

/// One period of the calendar on a table's time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Its first point.
    pub from: NaiveDateTime,
    /// The first point after it.
    pub to: NaiveDateTime,
    /// The date at which it starts, in the zone.
    pub date: NaiveDate,
}

/// The calendar of one table: its periods, on its column's time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// How long a partition is.
    pub period: Period,
    /// The column's type.
    pub key: KeyType,
    /// Where midnight is.
    pub zone: Zone,
}

impl Grid {
    /// The instant as a point of the column; for a naive one the zone's wall clock.
    pub fn point(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        match self.key {
            KeyType::Timestamptz => instant.naive_utc(),
            KeyType::Timestamp | KeyType::Date => instant.with_timezone(&self.zone.0).naive_local(),
        }
    }

    /// The instant that a point means; of two the later, so that nothing counts as past too early.
    pub fn instant(&self, point: NaiveDateTime) -> DateTime<Utc> {
        match self.key {
            KeyType::Timestamptz => point.and_utc(),
            KeyType::Timestamp | KeyType::Date => match self.zone.0.from_local_datetime(&point) {
                MappedLocalTime::Ambiguous(_, later) => later.to_utc(),
                _ => after_gap(self.zone.0, point),
            },
        }
    }

    /// The point before which everything lies before that instant: where clocks went back, of an hour that came twice only what
    /// is past in both; of dates only whole ones.
    pub fn past(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        let point = self.point(instant);
        let whole = match self.key {
            KeyType::Timestamptz | KeyType::Timestamp => point,
            KeyType::Date => point.date().and_time(NaiveTime::MIN),
        };
        whole - (self.instant(whole) - instant).max(TimeDelta::zero())
    }

    /// The period that holds a point; `None` at the end of the calendar.
    pub fn cell(&self, point: NaiveDateTime) -> Option<Cell> {
        let local = match self.key {
            KeyType::Timestamptz => point.and_utc().with_timezone(&self.zone.0).naive_local(),
            KeyType::Timestamp | KeyType::Date => point,
        };
        let date = self.period.start(local.date())?;
        let from = self.midnight(date);
        // A zone may leave out a whole day: that one is nobody's, and its neighbour ends a day later.
        let mut next = self.period.next(date)?;
        while self.midnight(next) <= from {
            next = self.period.next(next)?;
        }
        Some(Cell { from, to: self.midnight(next), date })
    }

    /// Whether a period begins at that point.
    pub fn is_edge(&self, point: NaiveDateTime) -> bool {
        self.cell(point).is_some_and(|cell| cell.from == point)
    }

    /// The first edges after a point, in order, up to the end of the calendar.
    pub fn edges_after(&self, point: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> {
        std::iter::successors(self.cell(point), |cell| self.cell(cell.to)).map(|cell| cell.to)
    }

    fn midnight(&self, date: NaiveDate) -> NaiveDateTime {
        let local = date.and_time(NaiveTime::MIN);
        match self.key {
            KeyType::Timestamptz => after_gap(self.zone.0, local).naive_utc(),
            KeyType::Timestamp | KeyType::Date => local,
        }
    }
}

/// The first instant at which the zone's clocks show that time or, where they leave it out, a later one.
fn after_gap(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    // The longest gap that a zone ever had is a day.
    let minutes = (0..=25 * 60).map(TimeDelta::minutes);
    let shown = minutes.filter_map(|minutes| zone.from_local_datetime(&local.checked_add_signed(minutes)?).earliest()).next();
    shown.map_or_else(|| local.and_utc(), |at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(period: Period, zone: &str) -> Grid {
        Grid { period, key: KeyType::Timestamptz, zone: zone.parse().expect("a zone") }
    }

    fn edges(grid: Grid, from: &str, count: usize) -> Vec<String> {
        let from = NaiveDateTime::parse_from_str(from, "%Y-%m-%d %H:%M").expect("a time");
        let first = grid.cell(from).expect("a cell").from;
        std::iter::once(first).chain(grid.edges_after(first)).take(count).map(|at| grid.key.text(at)).collect()
    }

    #[test]
    fn months_have_their_own_lengths() {
        let found = edges(grid(Period::Monthly, "UTC"), "2028-01-31 23:59", 4);
        assert_eq!(found, ["2028-01-01 00:00:00+00", "2028-02-01 00:00:00+00", "2028-03-01 00:00:00+00", "2028-04-01 00:00:00+00"]);
    }

    #[test]
    fn days_of_a_zone_have_23_or_25_hours_where_clocks_change() {
        let spring = edges(grid(Period::Daily, "Europe/Sofia"), "2026-03-28 12:00", 3);
        assert_eq!(spring, ["2026-03-27 22:00:00+00", "2026-03-28 22:00:00+00", "2026-03-29 21:00:00+00"]);
        let autumn = edges(grid(Period::Daily, "Europe/Sofia"), "2026-10-24 12:00", 3);
        assert_eq!(autumn, ["2026-10-23 21:00:00+00", "2026-10-24 21:00:00+00", "2026-10-25 22:00:00+00"]);
    }

    #[test]
    fn a_midnight_that_clocks_leave_out_is_the_first_moment_after_it() {
        // Havana goes from 00:00 to 01:00, São Paulo did too; Samoa left out 30 December 2011.
        assert_eq!(edges(grid(Period::Daily, "America/Havana"), "2026-03-08 12:00", 1), ["2026-03-08 05:00:00+00"]);
        assert_eq!(edges(grid(Period::Daily, "America/Sao_Paulo"), "2018-11-04 12:00", 1), ["2018-11-04 03:00:00+00"]);
        let samoa = edges(grid(Period::Daily, "Pacific/Apia"), "2011-12-29 12:00", 3);
        assert_eq!(samoa, ["2011-12-29 10:00:00+00", "2011-12-30 10:00:00+00", "2011-12-31 10:00:00+00"]);
    }

    #[test]
    fn weeks_begin_on_monday_and_years_on_the_first_of_january() {
        assert_eq!(edges(grid(Period::Weekly, "UTC"), "2027-01-01 00:00", 2), ["2026-12-28 00:00:00+00", "2027-01-04 00:00:00+00"]);
        assert_eq!(edges(grid(Period::Yearly, "UTC"), "2028-02-29 00:00", 2), ["2028-01-01 00:00:00+00", "2029-01-01 00:00:00+00"]);
    }

    #[test]
    fn naive_columns_hold_the_wall_clock() {
        let naive = Grid { key: KeyType::Timestamp, ..grid(Period::Monthly, "Asia/Tokyo") };
        let now = "2026-10-31T16:00:00Z".parse::<DateTime<Utc>>().expect("a time");
        let cell = naive.cell(naive.point(now)).expect("a cell");
        assert_eq!(naive.key.text(cell.from), "2026-11-01 00:00:00");
        assert_eq!(naive.instant(cell.from).to_rfc3339(), "2026-10-31T15:00:00+00:00");
        assert_eq!(KeyType::Date.text(cell.from), "2026-11-01");
    }

    #[test]
    fn of_two_instants_the_later_is_meant() {
        let naive = Grid { key: KeyType::Timestamp, ..grid(Period::Daily, "Europe/Sofia") };
        let twice = NaiveDate::from_ymd_opt(2026, 10, 25).and_then(|date| date.and_hms_opt(3, 30, 0)).expect("a time");
        assert_eq!(naive.instant(twice).to_rfc3339(), "2026-10-25T01:30:00+00:00");
        // At half past three for the first time, no quarter past three is past: it comes again.
        let first = "2026-10-25T00:30:00Z".parse().expect("a time");
        assert_eq!(naive.key.text(naive.past(first)), "2026-10-25 02:30:00");
        let again = "2026-10-25T01:30:00Z".parse().expect("a time");
        assert_eq!(naive.key.text(naive.past(again)), "2026-10-25 03:30:00");
    }
}
