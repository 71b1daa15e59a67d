//! Which backups are proven next by being restored.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// When each name was last proven, by name.
pub type Proven = BTreeMap<String, DateTime<Utc>>;

/// The names to prove, at most `sample` of them: those that were never proven first, then those whose proof is the oldest.
pub fn least_recently_proven<'a>(names: impl IntoIterator<Item = &'a str>, proven: &Proven, sample: Option<usize>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_key(|name| (proven.get(*name).copied(), *name));
    names.dedup();
    names.truncate(sample.unwrap_or(usize::MAX));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    #[test]
    fn what_was_never_proven_comes_first() {
        let proven = Proven::from([("old".to_owned(), at(1)), ("new".to_owned(), at(9)), ("gone".to_owned(), at(0))]);
        assert_eq!(least_recently_proven(["new", "never", "old"], &proven, None), ["never", "old", "new"]);
        assert_eq!(least_recently_proven(["new", "never", "old"], &proven, Some(2)), ["never", "old"]);
    }

    proptest! {
        /// With any sample, so many drills in a row prove every name, and none twice before each was proven once.
        #[test]
        fn every_name_has_its_turn(names in proptest::collection::btree_set("[a-z]{1,3}", 1..20), sample in 1usize..6) {
            let mut proven = Proven::new();
            let mut seen = Vec::new();
            for run in 0..names.len().div_ceil(sample) {
                let chosen: Vec<String> = least_recently_proven(names.iter().map(String::as_str), &proven, Some(sample)).into_iter().map(str::to_owned).collect();
                for name in chosen {
                    proven.insert(name.clone(), at(run as i64 + 1));
                    seen.push(name);
                }
            }
            let first: std::collections::BTreeSet<_> = seen.iter().take(names.len()).cloned().collect();
            prop_assert_eq!(first, names);
        }
    }
}
