//! Which file stores a run takes, in which order, and what it says of the others.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    Label,
    classify::{Class, Classified, Rule, Tiers, classify, decide_for},
    name::printable,
    select::Selection,
};

/// What is done with what is neither a directory nor a file with one name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpecialFiles {
    /// Symbolic links, pipes, sockets and devices are left out and listed; a file with several names is taken once for
    /// each of them, and listed.
    #[default]
    Report,
    /// Symbolic links are taken as links, and files with several names once for each; the rest is left out and listed.
    Keep,
    /// Nothing is said of what is left out.
    Ignore,
}

/// A directory that may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreCandidate {
    /// Under what name it is kept.
    pub name: String,
    /// The tenant's own name, which is also its database's.
    pub tenant: String,
    /// The source that it comes from.
    pub source: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its class, where the source says it.
    pub class: Option<Class>,
    /// How large its last tarball was, uncompressed, in bytes.
    pub size_bytes: Option<u64>,
}

/// What decides about them.
#[derive(Debug, Clone)]
pub struct StorePolicy<'a> {
    /// The run's own selection.
    pub selection: &'a Selection,
    /// What names mean, first match first; owners do not count, since a directory's is the worker's.
    pub rules: &'a [Rule],
    /// The tenants' tiers.
    pub tiers: &'a Tiers,
    /// The labels that have a window.
    pub labels: &'a [Label],
}

/// A file store to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStore {
    /// What it is.
    pub store: StoreCandidate,
    /// What it is for the platform, and how long its backups are kept.
    pub classified: Classified,
}

/// One name for several directories: which of them is the tenant's, nobody can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The name.
    pub name: String,
    /// The directories, each with its source.
    pub places: Vec<String>,
}

/// A run's plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorePlan {
    /// What to take, the largest first: the long ones must not begin last.
    pub stores: Vec<PlannedStore>,
    /// What cannot be told apart.
    pub conflicts: Vec<Conflict>,
    /// Names and patterns of `--only` that mean no file store at all.
    pub unmatched: Vec<String>,
}

/// Plans a run over the file stores that there are.
pub fn plan_stores(stores: Vec<StoreCandidate>, policy: &StorePolicy<'_>) -> StorePlan {
    let names: Vec<&str> = stores.iter().map(|store| store.name.as_str()).collect();
    let unmatched = policy.selection.unmatched(&names).into_iter().map(str::to_owned).collect();
    let rules: Vec<Rule> = policy.rules.iter().map(|rule| Rule { owners: Vec::new(), ..rule.clone() }).collect();
    let mut by_name: BTreeMap<String, Vec<StoreCandidate>> = BTreeMap::new();
    for store in stores.into_iter().filter(|store| policy.selection.takes(&store.name)) {
        by_name.entry(store.name.clone()).or_default().push(store);
    }
    let mut plan = StorePlan { unmatched, ..StorePlan::default() };
    for (name, mut places) in by_name {
        match places.pop() {
            Some(store) if places.is_empty() => {
                let class = store.class.unwrap_or_else(|| classify(&store.tenant, "", &rules));
                let classified = decide_for(class, &store.tenant, !rules.is_empty(), policy.tiers, policy.labels);
                plan.stores.push(PlannedStore { store, classified });
            }
            last => {
                let place = |store: &StoreCandidate| format!("{} ({})", printable(&store.path.to_string_lossy()), store.source);
                plan.conflicts.push(Conflict { name, places: places.iter().chain(&last).map(place).collect() });
            }
        }
    }
    // An unknown size may be the largest of all, so it goes first.
    let size = |planned: &PlannedStore| planned.store.size_bytes.unwrap_or(u64::MAX);
    plan.stores.sort_by(|a, b| size(b).cmp(&size(a)).then_with(|| a.store.name.cmp(&b.store.name)));
    plan
}

/// What a source is remembered to have held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Tenants of a root; for a single directory, 1 when there was anything in it.
    pub held: u64,
}

/// Whether an empty source is more likely a missing mount than an empty store.
pub fn looks_unmounted(now: Option<u64>, remembered: Option<Remembered>) -> bool {
    now.unwrap_or(0) == 0 && remembered.is_some_and(|remembered| remembered.held > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::NamePattern;

    fn store(name: &str, source: &str, size_bytes: impl Into<Option<u64>>) -> StoreCandidate {
        StoreCandidate {
            name: name.to_owned(),
            tenant: name.to_owned(),
            source: source.to_owned(),
            path: PathBuf::from(format!("/{source}/{name}")),
            class: None,
            size_bytes: size_bytes.into(),
        }
    }

    fn plan(stores: Vec<StoreCandidate>, selection: &Selection) -> StorePlan {
        let pattern: NamePattern = "*.app".parse().expect("a pattern");
        let rules = [Rule { name: "tenants".into(), class: Class::Tenant, names: vec![pattern.clone()], owners: vec![pattern] }];
        let tiers = Tiers::from([("a.app".to_owned(), "pro".to_owned())]);
        let labels = ["pro".parse().expect("a label")];
        plan_stores(stores, &StorePolicy { selection, rules: &rules, tiers: &tiers, labels: &labels })
    }

    fn names(plan: &StorePlan) -> Vec<&str> {
        plan.stores.iter().map(|planned| planned.store.name.as_str()).collect()
    }

    #[test]
    fn tenants_are_classified_by_name_and_the_largest_goes_first() {
        let casts = StoreCandidate { class: Some(Class::Platform), ..store("casts", "exo", 3) };
        let plan = plan(vec![store("a.app", "v18", 1), store("b.app", "v18", None), casts], &Selection::default());
        assert_eq!(names(&plan), ["b.app", "casts", "a.app"]);
        let labels: Vec<&str> = plan.stores.iter().map(|planned| planned.classified.label.as_str()).collect();
        assert_eq!(labels, ["unclassified", "platform", "pro"]);
        assert!(plan.stores[0].classified.complaint.is_some() && plan.stores[1].classified.complaint.is_none());
    }

    #[test]
    fn one_name_in_two_places_is_no_tenant_of_either() {
        let both = || vec![store("a.app", "v17", 1), store("b.app", "v17", 1), store("a.app", "v18", 1)];
        let plan = plan(both(), &Selection::default());
        assert_eq!(names(&plan), ["b.app"]);
        assert_eq!(plan.conflicts[0].name, "a.app");
        assert_eq!(plan.conflicts[0].places, ["/v17/a.app (v17)", "/v18/a.app (v18)"]);
        let only = Selection { only: vec!["b.*".parse().expect("a pattern"), "c".parse().expect("a pattern")], ..Selection::default() };
        let plan = super::tests::plan(both(), &only);
        assert!(plan.conflicts.is_empty());
        assert_eq!(plan.unmatched, ["c"]);
    }

    #[test]
    fn an_empty_source_is_suspicious_only_where_something_was() {
        let before = Some(Remembered { held: 3 });
        assert!(looks_unmounted(Some(0), before) && looks_unmounted(None, before));
        assert!(!looks_unmounted(Some(1), before));
        assert!(!looks_unmounted(Some(0), None) && !looks_unmounted(Some(0), Some(Remembered { held: 0 })));
    }
}
