//! Which names a run works on: `--only`, `--exclude`, `--shard`.

use std::{fmt, str::FromStr};

use globset::{GlobBuilder, GlobMatcher};

/// A name or a glob over names: `*`, `?`, `[…]`, `{a,b}`. A name that is spelled out matches itself,
/// whatever characters it holds.
#[derive(Debug, Clone)]
pub struct NamePattern {
    text: String,
    matcher: GlobMatcher,
}

/// The text is not a glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a pattern: {reason}")]
pub struct PatternError {
    /// The text.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl NamePattern {
    /// Whether the pattern means this name.
    pub fn matches(&self, name: &str) -> bool {
        self.text == name || self.matcher.is_match(name)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = |reason: String| PatternError { pattern: text.to_owned(), reason };
        if text.is_empty() {
            return Err(wrong("it is empty".to_owned()));
        }
        // `/` is no separator in a database's name, and a backslash is a character like any other.
        let glob = GlobBuilder::new(text).literal_separator(false).backslash_escape(false).build();
        Ok(NamePattern { text: text.to_owned(), matcher: glob.map_err(|e| wrong(e.kind().to_string()))?.compile_matcher() })
    }
}

impl serde::Serialize for NamePattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for NamePattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One of N stable shares of all names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which share, from 0.
    pub index: u32,
    /// How many there are, at least 1.
    pub count: u32,
}

/// The text is not a shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a shard: write I/N with I from 0 to N-1, such as 0/4")]
pub struct ShardError(pub String);

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let parse = || {
            let (index, count) = text.split_once('/')?;
            let shard = Shard { index: index.parse().ok()?, count: count.parse().ok()? };
            (shard.index < shard.count).then_some(shard)
        };
        parse().ok_or_else(|| ShardError(text.to_owned()))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl Shard {
    /// Whether the name falls into this share. Depends on the name and N alone, on every machine
    /// and in every version: FNV-1a with a final mix, since FNV's low bits alone are uneven.
    pub fn holds(self, name: &str) -> bool {
        let fnv = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        (mixed ^ (mixed >> 33)) % u64::from(self.count) == u64::from(self.index)
    }
}

/// Which names a run works on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// Only these; empty means all.
    pub only: Vec<NamePattern>,
    /// Not these; wins over `only`.
    pub exclude: Vec<NamePattern>,
    /// Only this share.
    pub shard: Option<Shard>,
}

impl Selection {
    /// Whether the run works on this name.
    pub fn takes(&self, name: &str) -> bool {
        let wanted = self.only.is_empty() || self.only.iter().any(|p| p.matches(name));
        wanted && !self.exclude.iter().any(|p| p.matches(name)) && self.shard.is_none_or(|s| s.holds(name))
    }

    /// Whether the run leaves out names on purpose, so that what it does not see says nothing.
    pub fn is_partial(&self) -> bool {
        !self.only.is_empty() || !self.exclude.is_empty() || self.shard.is_some()
    }

    /// The `only` patterns that mean none of the names: most likely a typing mistake.
    pub fn unmatched<'a>(&'a self, names: &[&str]) -> Vec<&'a str> {
        self.only.iter().filter(|p| !names.iter().any(|n| p.matches(n))).map(NamePattern::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selection(only: &[&str], exclude: &[&str], shard: Option<&str>) -> Selection {
        let patterns = |texts: &[&str]| texts.iter().map(|t| t.parse().expect("a pattern")).collect();
        Selection { only: patterns(only), exclude: patterns(exclude), shard: shard.map(|s| s.parse().expect("a shard")) }
    }

    #[test]
    fn exclude_wins_over_only() {
        let s = selection(&["*.planapulse.app"], &["acme.*"], None);
        assert!(s.takes("beta.planapulse.app") && !s.takes("acme.planapulse.app") && !s.takes("forgejo"));
        assert!(selection(&[], &[], None).takes("anything"));
    }

    #[test]
    fn a_name_spelled_out_means_itself_whatever_it_holds() {
        for name in ["a[b", "a/b", "we\\ird", "{x"] {
            if let Ok(pattern) = name.parse::<NamePattern>() {
                assert!(pattern.matches(name), "{name}");
            }
        }
        assert!(selection(&["*"], &[], None).takes("a/b\nc"));
    }

    #[test]
    fn a_pattern_that_means_nothing_is_named() {
        let s = selection(&["acme*", "amce*"], &[], None);
        assert_eq!(s.unmatched(&["acme.planapulse.app"]), ["amce*"]);
    }

    #[test]
    fn shards_are_written_as_i_of_n() {
        for text in ["", "1", "4/4", "-1/4", "0/0", "a/b", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    /// The shares must not move between versions: a golden value pins them.
    #[test]
    fn shares_are_stable() {
        let share = |name: &str| (0..8).find(|&index| Shard { index, count: 8 }.holds(name));
        assert_eq!(["acme.planapulse.app", "beta.planapulse.app", "forgejo", ""].map(share), GOLDEN_SHARES);
    }

    const GOLDEN_SHARES: [Option<u32>; 4] = [Some(5), Some(0), Some(3), Some(2)];

    #[test]
    fn shares_are_even() {
        let mut counts = [0u32; 8];
        for tenant in 0..8000 {
            let name = format!("tenant{tenant}.planapulse.app");
            for index in 0..8u32 {
                counts[index as usize] += u32::from(Shard { index, count: 8 }.holds(&name));
            }
        }
        assert!(counts.iter().all(|&c| (850..1150).contains(&c)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn every_name_is_in_exactly_one_share(name in "\\PC{0,63}", count in 1u32..64) {
            prop_assert_eq!((0..count).filter(|&index| Shard { index, count }.holds(&name)).count(), 1);
        }
    }
}
