//! Backups that were there before this suite: keys read by patterns.
//!
//! `daily/{name}_{date}.sql.gz` reads `daily/acme_2026-11-23.sql.gz`. `{name}` and `{date}` must be there, `{time}` may be, and `*`
//! means anything; none of them reaches over a `/`. A key that can be read in two ways is not read at all.

use std::str::FromStr;

use chrono::{NaiveDate, NaiveTime};

use crate::{Area, Label, Stamp};

/// Which keys are older backups, and what they are.
#[derive(Debug, Clone, PartialEq)]
pub struct LegacyPattern {
    /// The area whose groups they join.
    pub area: Area,
    /// Their label.
    pub label: Label,
    /// How their keys read.
    pub key: KeyPattern,
}

/// What a pattern reads out of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The plain name.
    pub name: String,
    /// The date, with the time where the key has one; else midnight, UTC.
    pub stamp: Stamp,
}

impl LegacyPattern {
    /// Reads a key; `None` where it does not fit, or fits in more than one way.
    pub fn read(&self, key: &str) -> Option<Reading> {
        self.key.read(key)
    }
}

/// How keys read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPattern {
    text: String,
    segments: Vec<Vec<Token>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(String),
    Name,
    Date,
    Time,
    Any,
}

/// The text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a pattern of keys: {reason}")]
pub struct PatternError {
    /// The text.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

const PLACEHOLDERS: [(&str, Token); 4] = [("{name}", Token::Name), ("{date}", Token::Date), ("{time}", Token::Time), ("*", Token::Any)];

/// More of what reaches over any text in one segment would take long to try.
const MOST_WILD: usize = 2;

impl KeyPattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads a key; `None` where it does not fit, or fits in more than one way.
    pub fn read(&self, key: &str) -> Option<Reading> {
        let texts: Vec<&str> = key.split('/').collect();
        if texts.len() != self.segments.len() || texts.iter().any(|text| text.is_empty()) {
            return None;
        }
        let mut whole = Found::default();
        for (tokens, text) in self.segments.iter().zip(texts) {
            let mut found = Vec::new();
            try_match(tokens, text, Found::default(), &mut found);
            found.dedup();
            let [one] = found.as_slice() else { return None };
            whole = whole.and(one);
        }
        let stamp = whole.date?.and_time(whole.time.unwrap_or_default()).and_utc();
        Some(Reading { name: whole.name?.to_owned(), stamp: Stamp::new(stamp) })
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Found<'a> {
    name: Option<&'a str>,
    date: Option<NaiveDate>,
    time: Option<NaiveTime>,
}

impl<'a> Found<'a> {
    fn and(self, other: &Found<'a>) -> Self {
        Found { name: self.name.or(other.name), date: self.date.or(other.date), time: self.time.or(other.time) }
    }
}

/// Every way in which the tokens read the whole text.
fn try_match<'a>(tokens: &[Token], text: &'a str, found: Found<'a>, all: &mut Vec<Found<'a>>) {
    // Two different ways are enough to know that nobody knows.
    if all.iter().any(|one| one != &all[0]) {
        return;
    }
    let Some((token, rest)) = tokens.split_first() else {
        if text.is_empty() && !all.contains(&found) {
            all.push(found);
        }
        return;
    };
    match token {
        Token::Text(literal) => {
            if let Some(text) = text.strip_prefix(literal.as_str()) {
                try_match(rest, text, found, all);
            }
        }
        Token::Name | Token::Any => {
            let least = usize::from(*token == Token::Name);
            for (end, _) in text.char_indices().map(|(at, c)| (at, Some(c))).chain([(text.len(), None)]).skip(least) {
                let name = if *token == Token::Name { Some(&text[..end]) } else { found.name };
                try_match(rest, &text[end..], Found { name, ..found }, all);
            }
        }
        Token::Date => {
            for (date, text) in numbers(text, 4, 2, &["", "-", "_", "."]).into_iter().flatten() {
                if let [year, month, day] = date
                    && let Some(date) = NaiveDate::from_ymd_opt(year.cast_signed(), month, day)
                {
                    try_match(rest, text, Found { date: Some(date), ..found }, all);
                }
            }
        }
        Token::Time => {
            for (time, text) in numbers(text, 2, 2, &["", "-", "_", ".", ":"]).into_iter().flatten() {
                if let Some(time) = NaiveTime::from_hms_opt(time[0], time[1], time[2]) {
                    try_match(rest, text, Found { time: Some(time), ..found }, all);
                }
            }
        }
    }
}

/// Three numbers with one of these separators between them, and what follows.
fn numbers<'a>(text: &'a str, first: usize, others: usize, separators: &[&str]) -> Vec<Option<([u32; 3], &'a str)>> {
    let number = |text: &mut &'a str, digits: usize| {
        let (head, tail) = text.split_at_checked(digits)?;
        *text = tail;
        if head.bytes().all(|byte| byte.is_ascii_digit()) { head.parse::<u32>().ok() } else { None }
    };
    let read = |separator: &str| {
        let mut left = text;
        let one = number(&mut left, first)?;
        left = left.strip_prefix(separator)?;
        let two = number(&mut left, others)?;
        left = left.strip_prefix(separator)?;
        let three = number(&mut left, others)?;
        Some(([one, two, three], left))
    };
    separators.iter().map(|separator| read(separator)).collect()
}

impl FromStr for KeyPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = |reason| PatternError { pattern: text.to_owned(), reason };
        let segments: Vec<Vec<Token>> = text.split('/').map(tokens).collect();
        let count = |wanted: Token| segments.iter().flatten().filter(|token| **token == wanted).count();
        if segments.iter().any(Vec::is_empty) {
            return Err(wrong("it has an empty segment (`//`, or `/` at its begin or end)"));
        }
        if segments.iter().flatten().any(|token| matches!(token, Token::Text(text) if text.contains(['{', '}']))) {
            return Err(wrong("its placeholders are {name}, {date} and {time}, and * for anything"));
        }
        if count(Token::Name) != 1 || count(Token::Date) != 1 || count(Token::Time) > 1 {
            return Err(wrong("it must hold {name} and {date} once, and {time} at most once"));
        }
        let wild = |tokens: &&Vec<Token>| tokens.iter().filter(|token| matches!(token, Token::Name | Token::Any)).count() > MOST_WILD;
        if segments.iter().find(wild).is_some() {
            return Err(wrong("one of its segments has more than two of {name} and *"));
        }
        let beside =
            |tokens: &Vec<Token>| tokens.windows(2).any(|pair| matches!(pair, [Token::Name | Token::Any, Token::Name | Token::Any]));
        if segments.iter().any(beside) {
            return Err(wrong("nothing tells where {name} ends and * begins: put a text between them"));
        }
        if matches!(&segments[0][..], [Token::Text(first)] if first.parse::<Area>().is_ok()) {
            return Err(wrong("its keys lie where this suite keeps its own"));
        }
        Ok(KeyPattern { text: text.to_owned(), segments })
    }
}

fn tokens(segment: &str) -> Vec<Token> {
    let (mut tokens, mut left) = (Vec::new(), segment);
    while !left.is_empty() {
        if let Some((tail, token)) = PLACEHOLDERS.iter().find_map(|(text, token)| Some((left.strip_prefix(text)?, token))) {
            tokens.push(token.clone());
            left = tail;
            continue;
        }
        let next = PLACEHOLDERS.iter().filter_map(|(text, _)| left.find(text)).min().unwrap_or(left.len());
        tokens.push(Token::Text(left[..next].to_owned()));
        left = &left[next..];
    }
    tokens
}

impl serde::Serialize for KeyPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for KeyPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pattern: &str, key: &str) -> Option<(String, String)> {
        let pattern: KeyPattern = pattern.parse().expect("a pattern");
        pattern.read(key).map(|reading| (reading.name, reading.stamp.to_string()))
    }

    #[test]
    fn names_and_dates_are_read() {
        for (pattern, key, name, stamp) in [
            ("daily/{name}_{date}.sql.gz", "daily/acme.app_2026-11-23.sql.gz", "acme.app", "20261123T000000Z"),
            ("daily/{name}_{date}.sql.gz", "daily/a_20261122_20261123.sql.gz", "a_20261122", "20261123T000000Z"),
            ("{name}/{date}T{time}Z*", "acme/20261123T031500Z.dump", "acme", "20261123T031500Z"),
            ("{date}/*-{name}.dump", "2026_11_23/x-acme.dump", "acme", "20261123T000000Z"),
            ("{name}/{date} {time}.tar", "ö/2024-02-29 23:59:58.tar", "ö", "20240229T235958Z"),
        ] {
            assert_eq!(read(pattern, key), Some((name.to_owned(), stamp.to_owned())), "{pattern} {key}");
        }
    }

    #[test]
    fn what_does_not_fit_or_fits_twice_is_not_read() {
        for (pattern, key) in [
            ("daily/{name}_{date}.sql.gz", "daily/acme_2026-13-23.sql.gz"),
            ("daily/{name}_{date}.sql.gz", "daily/_2026-11-23.sql.gz"),
            ("daily/{name}_{date}.sql.gz", "daily/x/acme_2026-11-23.sql.gz"),
            ("daily/{name}_{date}.sql.gz", "weekly/acme_2026-11-23.sql.gz"),
            ("daily/{name}_{date}.sql.gz", "daily/acme_2026-11_23.sql.gz"),
            ("daily/{name}_{date}.sql.gz", "daily/acme_2025-02-29.sql.gz"),
            ("daily/{name}-{date}*", "daily/a-2026-11-22-2026-11-23"),
            ("{date}/*-{name}", "2026-11-23/x-y-z"),
            ("{name}/{date}", "acme/2026-11-23/"),
        ] {
            assert_eq!(read(pattern, key), None, "{pattern} {key}");
        }
    }

    #[test]
    fn patterns_that_could_not_be_meant_are_refused() {
        for text in [
            "",
            "{name}",
            "{date}",
            "{name}{date}{name}",
            "a//{name}{date}",
            "/{name}{date}",
            "{name}*/{date}",
            "{nam}/{date}",
            "*a*b{name}/{date}",
            "pg/{name}/{date}",
            "{name}/{date}/{time}/{time}",
        ] {
            assert!(text.parse::<KeyPattern>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_is_quick(key in "\\PC{0,200}", stars in "[a*-]{0,200}") {
            let pattern: KeyPattern = "*-{name}-{date}".parse().expect("a pattern");
            let _readings = (pattern.read(&key), pattern.read(&stars));
        }

        #[test]
        fn what_is_written_by_a_pattern_is_read_by_it(name in "[a-z.]{1,20}", day in 0i32..40_000) {
            let date = NaiveDate::from_num_days_from_ce_opt(719_163 + day).expect("a day");
            let expected = (name.clone(), Stamp::new(date.and_time(NaiveTime::default()).and_utc()).to_string());
            prop_assert_eq!(read("old/{name}/{date}.dump", &format!("old/{name}/{date}.dump")), Some(expected));
        }
    }
}
