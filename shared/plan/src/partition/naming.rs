//! What new partitions are called.

use std::{fmt, str::FromStr};

use chrono::{Datelike, NaiveDate};

use super::calendar::Period;

/// PostgreSQL cuts longer names off, so that two might become one.
const LONGEST_NAME_BYTES: usize = 63;

/// A template such as `{table}_{year}_{month}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Table,
    Year,
    Month,
    Day,
    IsoYear,
    Week,
}

const FIELDS: [(&str, Field); 6] = [
    ("table", Field::Table),
    ("year", Field::Year),
    ("month", Field::Month),
    ("day", Field::Day),
    ("isoyear", Field::IsoYear),
    ("week", Field::Week),
];

/// Why a partition cannot be called so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name `{0}` has more than {LONGEST_NAME_BYTES} bytes, which PostgreSQL would cut off: set a shorter `name`")]
pub struct NameTooLong(pub String);

impl NameTemplate {
    /// What partitions of that length are called where nobody says otherwise.
    pub fn usual(period: Period) -> Self {
        let text = match period {
            Period::Daily => "{table}_{year}_{month}_{day}",
            Period::Weekly => "{table}_{isoyear}_w{week}",
            Period::Monthly => "{table}_{year}_{month}",
            Period::Yearly => "{table}_{year}",
        };
        text.parse().unwrap_or_else(|_| NameTemplate(Vec::new()))
    }

    /// The name of the partition that starts on that date.
    ///
    /// # Errors
    /// When it is longer than a name may be.
    pub fn name(&self, table: &str, start: NaiveDate) -> Result<String, NameTooLong> {
        let week = start.iso_week();
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field(Field::Table) => table.to_owned(),
            Piece::Field(Field::Year) => format!("{:04}", start.year()),
            Piece::Field(Field::Month) => format!("{:02}", start.month()),
            Piece::Field(Field::Day) => format!("{:02}", start.day()),
            Piece::Field(Field::IsoYear) => format!("{:04}", week.year()),
            Piece::Field(Field::Week) => format!("{:02}", week.week()),
        };
        let name: String = self.0.iter().map(piece).collect();
        if name.len() > LONGEST_NAME_BYTES { Err(NameTooLong(name)) } else { Ok(name) }
    }

    /// Whether no two partitions of that length, of no two tables, get the same name.
    pub fn identifies(&self, period: Period) -> bool {
        let has = |field| self.0.contains(&Piece::Field(field));
        let day = has(Field::Year) && has(Field::Month) && has(Field::Day);
        let told = match period {
            Period::Daily => day,
            Period::Weekly => day || (has(Field::IsoYear) && has(Field::Week)),
            Period::Monthly => has(Field::Year) && has(Field::Month),
            Period::Yearly => has(Field::Year),
        };
        has(Field::Table) && told
    }
}

impl FromStr for NameTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: String| format!("`{text}` is not a template of names: {what}");
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (field, behind) = behind.split_once('}').ok_or_else(|| wrong("a `{` is never closed".to_owned()))?;
            let known = FIELDS.iter().find(|(name, _)| *name == field);
            let known = known.ok_or_else(|| {
                let all = FIELDS.map(|(name, _)| format!("{{{name}}}")).join(", ");
                wrong(format!("there is no {{{field}}}; there are {all}"))
            })?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Field(known.1));
            rest = behind;
        }
        if text.contains('\0') || rest.contains('}') {
            return Err(wrong("a `}` stands alone".to_owned()));
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(NameTemplate(pieces))
    }
}

impl fmt::Display for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Field(field) => FIELDS.iter().filter(|(_, known)| known == field).try_for_each(|(name, _)| write!(f, "{{{name}}}")),
        })
    }
}

impl serde::Serialize for NameTemplate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for NameTemplate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn usual_names_say_the_period_and_identify_it() {
        for (period, name) in [
            (Period::Daily, "events_2027_01_03"),
            (Period::Weekly, "events_2026_w53"),
            (Period::Monthly, "events_2027_01"),
            (Period::Yearly, "events_2027"),
        ] {
            let template = NameTemplate::usual(period);
            assert_eq!(template.name("events", date("2027-01-03")).as_deref(), Ok(name));
            assert!(template.identifies(period));
            assert_eq!(template.to_string().parse(), Ok(template));
        }
    }

    #[test]
    fn templates_that_could_name_two_partitions_alike_are_told() {
        for (text, period) in
            [("{table}_{month}", Period::Monthly), ("{year}_{month}", Period::Monthly), ("{table}_{year}_{week}", Period::Weekly)]
        {
            assert!(!text.parse::<NameTemplate>().expect("a template").identifies(period), "{text}");
        }
        for text in ["{table", "table}", "{hour}", "{}"] {
            assert!(text.parse::<NameTemplate>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_that_would_be_cut_off_are_refused() {
        let template = NameTemplate::usual(Period::Monthly);
        assert!(template.name(&"t".repeat(55), date("2027-01-01")).is_ok());
        assert!(template.name(&"t".repeat(56), date("2027-01-01")).is_err());
        assert!(template.name(&"é".repeat(28), date("2027-01-01")).is_err());
    }
}
