//! What is remembered of the tenants' tiers: the last good answer of the lookup, and who had a tier and has none.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{Label, classify::Tiers};

/// A tenant that had a tier is remembered for so long after it has none: longer than any window should be.
const REMEMBERED: TimeDelta = TimeDelta::days(3 * 365);

/// The last good answer, and what came of those before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// What was asked, and whom: another question's answer is none to this one.
    pub asked: String,
    /// When it was answered.
    pub at: DateTime<Utc>,
    /// The answer.
    pub tiers: Tiers,
    /// Tenants that had a tier and have none any more.
    #[serde(default)]
    pub vanished: BTreeMap<String, Vanished>,
}

/// A tenant that had a tier and has none any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vanished {
    /// Its last tier.
    pub tier: String,
    /// Since when it has none.
    pub since: DateTime<Utc>,
}

/// What differs between two answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Tenants with another tier: name, old, new.
    pub changed: Vec<(String, String, String)>,
    /// Tenants that have no tier any more: name, old.
    pub vanished: Vec<(String, String)>,
    /// Tenants that are new, or have a tier again.
    pub appeared: Vec<(String, String)>,
}

impl Changes {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.vanished.is_empty() && self.appeared.is_empty()
    }
}

impl Remembered {
    /// How old the answer is, where it may stand in for one that could not be had: it is one to the same question, no older
    /// than `within`, and not from the future.
    pub fn stands_in(&self, asked: &str, within: TimeDelta, now: DateTime<Utc>) -> Option<TimeDelta> {
        let age = now - self.at;
        (self.asked == asked && age >= TimeDelta::zero() && age <= within).then_some(age)
    }
}

/// Takes a good answer: what differs from the one before, and what is to be remembered from now on. Without one before, or where
/// another question was asked, nothing differs: nobody knows what it was.
pub fn learn(before: Option<Remembered>, asked: &str, tiers: Tiers, now: DateTime<Utc>) -> (Changes, Remembered) {
    let Some(before) = before.filter(|before| before.asked == asked) else {
        return (Changes::default(), Remembered { asked: asked.to_owned(), at: now, tiers, vanished: BTreeMap::new() });
    };
    let mut changes = Changes::default();
    for (name, tier) in &tiers {
        match before.tiers.get(name) {
            Some(old) if old == tier => {}
            Some(old) => changes.changed.push((name.clone(), old.clone(), tier.clone())),
            None => changes.appeared.push((name.clone(), tier.clone())),
        }
    }
    let mut vanished = before.vanished;
    vanished.retain(|name, one| !tiers.contains_key(name) && now - one.since <= REMEMBERED);
    for (name, tier) in before.tiers.into_iter().filter(|(name, _)| !tiers.contains_key(name)) {
        changes.vanished.push((name.clone(), tier.clone()));
        vanished.insert(name, Vanished { tier, since: now });
    }
    (changes, Remembered { asked: asked.to_owned(), at: now, tiers, vanished })
}

/// The tiers of an answer that have no window, and who has them.
pub fn unknown<'a>(tiers: &'a Tiers, labels: &[Label]) -> BTreeMap<String, BTreeSet<&'a str>> {
    let mut unknown: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (name, tier) in tiers {
        // As classes are decided: tiers come from people and from databases.
        let tier = tier.trim().to_lowercase();
        if !tier.parse::<Label>().is_ok_and(|label| labels.contains(&label)) {
            unknown.entry(tier).or_default().insert(name);
        }
    }
    unknown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(hour: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hour)
    }

    fn tiers(pairs: &[(&str, &str)]) -> Tiers {
        pairs.iter().map(|(name, tier)| ((*name).to_owned(), (*tier).to_owned())).collect()
    }

    #[test]
    fn every_change_is_told_once() {
        let (none, first) = learn(None, "q", tiers(&[("a", "pro"), ("b", "starter"), ("c", "pro")]), at(0));
        assert!(none.is_empty(), "the first answer changes nothing");
        let (changes, second) = learn(Some(first.clone()), "q", tiers(&[("a", "enterprise"), ("c", "pro"), ("d", "pro")]), at(1));
        assert_eq!(changes.changed, [("a".to_owned(), "pro".to_owned(), "enterprise".to_owned())]);
        assert_eq!(changes.vanished, [("b".to_owned(), "starter".to_owned())]);
        assert_eq!(changes.appeared, [("d".to_owned(), "pro".to_owned())]);
        assert_eq!(second.vanished["b"], Vanished { tier: "starter".to_owned(), since: at(1) });
        let (again, third) = learn(Some(second.clone()), "q", second.tiers.clone(), at(2));
        assert!(again.is_empty());
        assert_eq!(third.vanished, second.vanished, "it stays remembered");
        let (back, fourth) = learn(Some(third.clone()), "q", first.tiers.clone(), at(3));
        assert_eq!(back.appeared, [("b".to_owned(), "starter".to_owned())]);
        assert!(!fourth.vanished.contains_key("b"));
        let (other, fifth) = learn(Some(third), "another question", tiers(&[("z", "pro")]), at(4));
        assert!(other.is_empty() && fifth.vanished.is_empty());
    }

    #[test]
    fn an_answer_stands_in_for_its_own_question_and_so_long() {
        let (_, known) = learn(None, "q", tiers(&[("a", "pro")]), at(10));
        let within = |asked: &str, hours, now| known.stands_in(asked, TimeDelta::hours(hours), at(now));
        assert_eq!(within("q", 5, 15), Some(TimeDelta::hours(5)));
        assert_eq!(within("q", 5, 16), None, "too old");
        assert_eq!(within("r", 5, 11), None, "another question");
        assert_eq!(within("q", 5, 9), None, "from the future");
        assert_eq!(within("q", 0, 11), None, "never");
    }

    #[test]
    fn tiers_without_a_window_are_named_with_their_tenants() {
        let labels: Vec<Label> = ["pro", "starter"].iter().map(|label| label.parse().expect("a label")).collect();
        let found = tiers(&[("a", " Pro "), ("b", "gold"), ("c", "Gold"), ("d", "a b")]);
        let unknown = unknown(&found, &labels);
        assert_eq!(unknown.keys().map(String::as_str).collect::<Vec<_>>(), ["a b", "gold"]);
        assert_eq!(unknown["gold"].len(), 2);
    }

    proptest! {
        #[test]
        fn nobody_is_forgotten_and_nothing_told_twice(
            first: BTreeMap<u8, bool>, second: BTreeMap<u8, bool>, third: BTreeMap<u8, bool>,
        ) {
            let tiers = |answer: &BTreeMap<u8, bool>| -> Tiers { answer.iter().map(|(name, pro)| (name.to_string(), pro.to_string())).collect() };
            let (_, known) = learn(None, "q", tiers(&first), at(0));
            let (changes, known) = learn(Some(known), "q", tiers(&second), at(1));
            // Old and new are told apart by the changes alone.
            let mut replayed = tiers(&first);
            changes.vanished.iter().for_each(|(name, _)| drop(replayed.remove(name)));
            replayed.extend(changes.changed.into_iter().map(|(name, _, new)| (name, new)));
            replayed.extend(changes.appeared);
            prop_assert_eq!(&replayed, &known.tiers);
            let (_, known) = learn(Some(known), "q", tiers(&third), at(2));
            for name in first.keys().chain(second.keys()).map(ToString::to_string) {
                prop_assert!(known.tiers.contains_key(&name) != known.vanished.contains_key(&name));
            }
        }
    }
}
