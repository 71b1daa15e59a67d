//! What a database is, and therefore how long its backups are kept.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Label, select::NamePattern};

/// What a database is on the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A customer's database; its tier decides its window.
    Tenant,
    /// A template that tenants are provisioned from.
    Template,
    /// The platform's own.
    Platform,
    /// An external client's.
    External,
    /// No rule names it.
    Unclassified,
}

impl Class {
    /// The name in manifests and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Tenant => "tenant",
            Class::Template => "template",
            Class::Platform => "platform",
            Class::External => "external",
            Class::Unclassified => Label::UNCLASSIFIED,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One rule: names, and optionally owners, that make a database be of a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What the rule is called in the configuration.
    pub name: String,
    /// The class that it gives.
    pub class: Class,
    /// The database's name matches one of these.
    pub names: Vec<NamePattern>,
    /// The database's owner matches one of these; empty means any owner.
    pub owners: Vec<NamePattern>,
}

/// The class that the first matching rule gives.
pub fn classify(name: &str, owner: &str, rules: &[Rule]) -> Class {
    let matches = |rule: &&Rule| {
        rule.names.iter().any(|p| p.matches(name)) && (rule.owners.is_empty() || rule.owners.iter().any(|p| p.matches(owner)))
    };
    rules.iter().find(matches).map_or(Class::Unclassified, |rule| rule.class)
}

/// The tiers found for tenants: name → tier, as written by whoever keeps them.
pub type Tiers = BTreeMap<String, String>;

/// What a database is, under which label it is kept, and what is odd about that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    /// What it is.
    pub class: Class,
    /// The tenant's tier as it was found.
    pub tier: Option<String>,
    /// The label of its sets.
    pub label: Label,
    /// Why it is kept under the longest window although that was not asked for.
    pub complaint: Option<String>,
}

/// Classifies one database. Whatever is unknown, the class or a tenant's tier, is still backed up,
/// as `unclassified` and so under the longest window, with a complaint for the report.
///
/// `labels` are the labels that have a window; a tier outside them counts as unknown.
pub fn decide(name: &str, owner: &str, rules: &[Rule], tiers: &Tiers, labels: &[Label]) -> Classified {
    decide_for(classify(name, owner, rules), name, !rules.is_empty(), tiers, labels)
}

/// The same where the class is known. `asked` says whether there are any rules: without them nobody wanted classes.
pub fn decide_for(class: Class, name: &str, asked: bool, tiers: &Tiers, labels: &[Label]) -> Classified {
    let tier = if class == Class::Tenant { tiers.get(name).map(|t| t.trim().to_lowercase()) } else { None };
    let unknown = |complaint: Option<String>| (Label::unclassified(), complaint);
    let (label, complaint) = match (class, tier.as_deref()) {
        // Without any rule nobody asked for classes, and nothing is odd.
        (Class::Unclassified, _) if !asked => unknown(None),
        (Class::Unclassified, _) => unknown(Some("no rule names it".to_owned())),
        (Class::Tenant, None) => unknown(Some("its tier was not found".to_owned())),
        (Class::Tenant, Some(tier)) => match tier.parse::<Label>().ok().filter(|label| labels.contains(label)) {
            Some(label) => (label, None),
            None => unknown(Some(format!("its tier `{}` has no retention window", crate::name::printable(tier)))),
        },
        (class, _) => match class.as_str().parse() {
            Ok(label) => (label, None),
            Err(_) => unknown(None),
        },
    };
    Classified { class, tier, label, complaint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, class: Class, names: &[&str], owners: &[&str]) -> Rule {
        let patterns = |texts: &[&str]| texts.iter().map(|t| t.parse().expect("a pattern")).collect();
        Rule { name: name.to_owned(), class, names: patterns(names), owners: patterns(owners) }
    }

    fn platform() -> Vec<Rule> {
        vec![
            rule("templates", Class::Template, &["*-template-*.planapulse.app"], &[]),
            rule("tenants", Class::Tenant, &["*.planapulse.app"], &["plana"]),
            rule("platform", Class::Platform, &["forgejo", "authentik"], &[]),
        ]
    }

    #[test]
    fn the_first_rule_wins_and_owners_count() {
        let class = |name, owner| classify(name, owner, &platform());
        assert_eq!(class("pro-template-18.planapulse.app", "plana"), Class::Template);
        assert_eq!(class("acme.planapulse.app", "plana"), Class::Tenant);
        assert_eq!(class("acme.planapulse.app", "mallory"), Class::Unclassified);
        assert_eq!(class("forgejo", "forgejo"), Class::Platform);
    }

    #[test]
    fn what_is_unknown_is_kept_longest_and_said() {
        let labels: Vec<Label> = ["starter", "pro"].iter().map(|l| l.parse().expect("a label")).collect();
        let tiers = Tiers::from([("a.planapulse.app".into(), " Pro ".into()), ("b.planapulse.app".into(), "gold\n".into())]);
        let decide = |name| decide(name, "plana", &platform(), &tiers, &labels);
        let pro = decide("a.planapulse.app");
        assert_eq!((pro.label.as_str(), pro.complaint), ("pro", None));
        for (name, why) in [("b.planapulse.app", "`gold`"), ("c.planapulse.app", "not found"), ("scratch", "no rule")] {
            let decided = decide(name);
            assert_eq!(decided.label, Label::unclassified());
            assert!(decided.complaint.as_deref().is_some_and(|c| c.contains(why)), "{decided:?}");
        }
        assert_eq!(decide("forgejo").label.as_str(), "platform");
    }

    #[test]
    fn without_rules_nothing_is_odd() {
        let decided = decide("anything", "me", &[], &Tiers::new(), &[]);
        assert_eq!((decided.label, decided.complaint), (Label::unclassified(), None));
    }
}
