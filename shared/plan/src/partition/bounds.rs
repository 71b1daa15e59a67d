//! A partition's bounds, as the catalog writes them.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

use super::calendar::KeyType;

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// `MINVALUE` or `-infinity`: before every point.
    Beginning,
    /// A point of the column's time line.
    At(NaiveDateTime),
    /// `MAXVALUE` or `infinity`: after every point.
    End,
}

impl Edge {
    /// The point, where it is one.
    pub const fn point(self) -> Option<NaiveDateTime> {
        match self {
            Edge::At(point) => Some(point),
            Edge::Beginning | Edge::End => None,
        }
    }
}

/// What a partition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bounds {
    /// From `from` up to and without `to`.
    Range {
        /// The first that it holds.
        from: Edge,
        /// The first that it does not hold any more.
        to: Edge,
    },
    /// Whatever no other partition holds.
    Default,
    /// What this code does not understand: never managed, never dropped.
    Unknown(String),
}

impl Bounds {
    /// Reads what `pg_get_expr(relpartbound, oid)` gives in a session of zone UTC and date style ISO. Never fails: what is not
    /// exactly one range of one column of this type is unknown.
    pub fn parse(text: &str, key: KeyType) -> Self {
        if text == "DEFAULT" {
            return Bounds::Default;
        }
        range(text, key).unwrap_or_else(|| Bounds::Unknown(text.to_owned()))
    }

    /// Both ends, where it is a range of points.
    pub fn finite(&self) -> Option<(NaiveDateTime, NaiveDateTime)> {
        match self {
            Bounds::Range { from, to } => Some((from.point()?, to.point()?)),
            Bounds::Default | Bounds::Unknown(_) => None,
        }
    }
}

fn range(text: &str, key: KeyType) -> Option<Bounds> {
    let inner = text.strip_prefix("FOR VALUES FROM (")?.strip_suffix(')')?;
    let (from, to) = inner.split_once(") TO (")?;
    let (from, to) = (edge(from, key)?, edge(to, key)?);
    (from < to).then_some(Bounds::Range { from, to })
}

fn edge(text: &str, key: KeyType) -> Option<Edge> {
    match text {
        "MINVALUE" => return Some(Edge::Beginning),
        "MAXVALUE" => return Some(Edge::End),
        _ => {}
    }
    let literal = text.strip_prefix('\'')?.strip_suffix('\'')?;
    match literal {
        "-infinity" => Some(Edge::Beginning),
        "infinity" => Some(Edge::End),
        _ => point(literal, key).map(Edge::At),
    }
}

/// `2026-11-01`, `2026-11-01 00:00:00.5`, `2026-11-01 00:00:00+00`, and ` BC` behind any of them.
fn point(text: &str, key: KeyType) -> Option<NaiveDateTime> {
    let (text, before_christ) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let (day, rest) = text.split_at_checked(text.find(' ').unwrap_or(text.len()))?;
    let day = date(day, before_christ)?;
    match key {
        KeyType::Date => rest.is_empty().then(|| day.and_time(NaiveTime::MIN)),
        KeyType::Timestamp => Some(day.and_time(time(rest.strip_prefix(' ')?)?)),
        KeyType::Timestamptz => {
            let rest = rest.strip_prefix(' ')?;
            let (clock, offset) = rest.split_at_checked(rest.find(['+', '-'])?)?;
            day.and_time(time(clock)?).checked_sub_signed(shift(offset)?)
        }
    }
}

fn date(text: &str, before_christ: bool) -> Option<NaiveDate> {
    let mut parts = text.split('-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let year = i32::try_from(year).ok().filter(|year| *year > 0)?;
    let whole = parts.next().is_none();
    NaiveDate::from_ymd_opt(if before_christ { 1 - year } else { year }, month, day).filter(|_| whole)
}

fn time(text: &str) -> Option<NaiveTime> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    let micros = number(fraction)?.checked_mul(10u32.pow(6 - u32::try_from(fraction.len()).ok()?))?;
    NaiveTime::from_hms_micro_opt(hour, minute, second, micros)
}

/// `+00`, `-03:30`, `+05:53:28`.
fn shift(text: &str) -> Option<TimeDelta> {
    let (sign, digits) = text.split_at_checked(1)?;
    let mut seconds = 0i64;
    let mut unit = 3600;
    for part in digits.split(':') {
        seconds += i64::from(number(part)?) * unit;
        unit /= 60;
    }
    (seconds < 24 * 3600).then(|| TimeDelta::seconds(if sign == "-" { -seconds } else { seconds }))
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Edge {
        Edge::At(NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").expect("a time"))
    }

    #[test]
    fn bounds_are_read_as_the_catalog_writes_them() {
        let tz = KeyType::Timestamptz;
        for (text, key, from, to) in [
            ("FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00')", tz, "2026-01-01 00:00:00", "2026-02-01 00:00:00"),
            (
                "FOR VALUES FROM ('2026-01-01 02:00:00+02') TO ('2026-01-31 20:30:00-03:30')",
                tz,
                "2026-01-01 00:00:00",
                "2026-02-01 00:00:00",
            ),
            (
                "FOR VALUES FROM ('2026-01-01 00:00:00.25') TO ('12026-01-01 00:00:00')",
                KeyType::Timestamp,
                "2026-01-01 00:00:00.25",
                "+12026-01-01 00:00:00",
            ),
            ("FOR VALUES FROM ('2024-02-29') TO ('2024-03-01')", KeyType::Date, "2024-02-29 00:00:00", "2024-03-01 00:00:00"),
        ] {
            assert_eq!(Bounds::parse(text, key), Bounds::Range { from: at(from), to: at(to) }, "{text}");
        }
        let open = Bounds::parse("FOR VALUES FROM (MINVALUE) TO ('infinity')", tz);
        assert_eq!(open, Bounds::Range { from: Edge::Beginning, to: Edge::End });
        assert_eq!(Bounds::parse("DEFAULT", tz), Bounds::Default);
        let ancient = Bounds::parse("FOR VALUES FROM ('0044-03-15 BC') TO ('0001-01-01')", KeyType::Date);
        assert!(ancient.finite().is_some_and(|(from, _)| from.date() == NaiveDate::from_ymd_opt(-43, 3, 15).expect("a date")));
    }

    #[test]
    fn what_is_not_exactly_one_range_is_unknown() {
        for text in [
            "",
            "FOR VALUES IN ('2026-01-01')",
            "FOR VALUES WITH (modulus 4, remainder 0)",
            "FOR VALUES FROM ('2026-01-01 00:00:00+00', 5) TO ('2026-02-01 00:00:00+00', 6)",
            "FOR VALUES FROM ('2026-02-01 00:00:00+00') TO ('2026-01-01 00:00:00+00')",
            "FOR VALUES FROM ('2026-02-30 00:00:00+00') TO ('2026-03-01 00:00:00+00')",
            "FOR VALUES FROM ('01/02/2026 00:00:00 UTC') TO ('01/03/2026 00:00:00 UTC')",
            "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
            "FOR VALUES FROM ('294277-01-01 00:00:00+00') TO (MAXVALUE)",
            "for values from (minvalue) to (maxvalue)",
            "FOR VALUES FROM ('x') TO (') TO (')",
        ] {
            assert_eq!(Bounds::parse(text, KeyType::Timestamptz), Bounds::Unknown(text.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(text in "\\PC{0,80}", middle in "[-0-9:+. 'BC,()TO]{0,40}") {
            for key in [KeyType::Timestamptz, KeyType::Timestamp, KeyType::Date] {
                let _read = Bounds::parse(&text, key);
                let _read = Bounds::parse(&format!("FOR VALUES FROM ('{middle}') TO ('{text}')"), key);
            }
        }

        #[test]
        fn what_is_written_is_read(seconds in -60_000_000_000i64..200_000_000_000, length in 1i64..100_000_000, micros in 0u32..1_000_000) {
            let from = chrono::DateTime::from_timestamp(seconds, micros * 1000).expect("a time").naive_utc();
            let to = from + TimeDelta::seconds(length);
            prop_assume!(chrono::Datelike::year(&from) > 0);
            for key in [KeyType::Timestamptz, KeyType::Timestamp] {
                let text = format!("FOR VALUES FROM ('{}') TO ('{}')", key.text(from), key.text(to));
                prop_assert_eq!(Bounds::parse(&text, key).finite(), Some((from, to)), "{}", text);
            }
        }
    }
}
