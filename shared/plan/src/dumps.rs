//! Which databases a run dumps, in which order, and what it says of the others.

use crate::{
    Label, Stamp,
    classify::{Classified, Rule, Tiers, decide},
    select::{NamePattern, Selection},
};

/// A database as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Its size in bytes, where the role may see it.
    pub size_bytes: Option<u64>,
    /// Whether anybody may connect to it.
    pub accepts_connections: bool,
}

/// What decides about databases.
#[derive(Debug, Clone)]
pub struct DumpPolicy<'a> {
    /// The run's own selection.
    pub selection: &'a Selection,
    /// Databases never dumped.
    pub exclude: &'a [NamePattern],
    /// The prefix of databases that restores and drills make.
    pub scratch_prefix: &'a str,
    /// What databases are, first match first.
    pub rules: &'a [Rule],
    /// The tenants' tiers.
    pub tiers: &'a Tiers,
    /// The labels that have a window.
    pub labels: &'a [Label],
}

/// A database to dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedDump {
    /// The database.
    pub database: Candidate,
    /// What it is and how long its backups are kept.
    pub classified: Classified,
}

/// A run's plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DumpPlan {
    /// What to dump, the largest first: the long ones must not begin last.
    pub dumps: Vec<PlannedDump>,
    /// What the configuration leaves out, for the log.
    pub left_out: Vec<String>,
    /// Names and patterns of `--only` that mean no database at all.
    pub unmatched: Vec<String>,
}

/// Plans a run over the server's databases.
pub fn plan_dumps(databases: Vec<Candidate>, policy: &DumpPolicy<'_>) -> DumpPlan {
    let names: Vec<&str> = databases.iter().map(|d| d.name.as_str()).collect();
    let unmatched = policy.selection.unmatched(&names).into_iter().map(str::to_owned).collect();
    let mut plan = DumpPlan { unmatched, ..DumpPlan::default() };
    for database in databases {
        let scratch = !policy.scratch_prefix.is_empty() && database.name.starts_with(policy.scratch_prefix);
        // One that somebody has opened again is in use: it is dumped like any other.
        let kept = is_kept(&database.name) && !database.accepts_connections;
        if scratch || kept || policy.exclude.iter().any(|pattern| pattern.matches(&database.name)) {
            plan.left_out.push(database.name);
        } else if policy.selection.takes(&database.name) {
            let classified = decide(&database.name, &database.owner, policy.rules, policy.tiers, policy.labels);
            plan.dumps.push(PlannedDump { database, classified });
        }
    }
    // An unknown size may be the largest of all, so it goes first.
    let size = |dump: &PlannedDump| dump.database.size_bytes.unwrap_or(u64::MAX);
    plan.dumps.sort_by(|a, b| size(b).cmp(&size(a)).then_with(|| a.database.name.cmp(&b.database.name)));
    plan
}

/// What stands between a database's name and the time at which a restore set it aside, to put another in its place.
pub const KEPT: &str = "_kept_";

/// Whether a name is one under which a restore keeps what it replaced: nobody may connect to it, and it was dumped before.
pub fn is_kept(name: &str) -> bool {
    name.rsplit_once(KEPT).is_some_and(|(_, stamp)| stamp.parse::<Stamp>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(name: &str, size_bytes: impl Into<Option<u64>>) -> Candidate {
        Candidate { name: name.to_owned(), owner: "plana".to_owned(), size_bytes: size_bytes.into(), accepts_connections: !is_kept(name) }
    }

    fn plan(selection: &Selection, exclude: &[NamePattern]) -> DumpPlan {
        let databases = vec![
            database("small", 1),
            database("big", 10),
            database("unseen", None),
            database("plana_scratch_1", 5),
            database("big_kept_20261124T031500Z", 7),
            database("also", 10),
        ];
        let policy = DumpPolicy { selection, exclude, scratch_prefix: "plana_scratch_", rules: &[], tiers: &Tiers::new(), labels: &[] };
        plan_dumps(databases, &policy)
    }

    fn names(plan: &DumpPlan) -> Vec<&str> {
        plan.dumps.iter().map(|d| d.database.name.as_str()).collect()
    }

    #[test]
    fn a_kept_database_that_is_open_again_is_dumped() {
        let open = Candidate { accepts_connections: true, ..database("big_kept_20261124T031500Z", 7) };
        let selection = Selection::default();
        let policy = DumpPolicy { selection: &selection, exclude: &[], scratch_prefix: "", rules: &[], tiers: &Tiers::new(), labels: &[] };
        assert_eq!(names(&plan_dumps(vec![open], &policy)), ["big_kept_20261124T031500Z"]);
    }

    #[test]
    fn the_largest_goes_first_and_scratch_databases_never() {
        let plan = plan(&Selection::default(), &["small".parse().expect("a pattern")]);
        assert_eq!(names(&plan), ["unseen", "also", "big"]);
        assert_eq!(plan.left_out, ["small", "plana_scratch_1", "big_kept_20261124T031500Z"]);
    }

    #[test]
    fn an_only_that_means_nothing_is_named() {
        let only = |text: &str| Selection { only: vec![text.parse().expect("a pattern")], ..Selection::default() };
        assert_eq!(plan(&only("smal"), &[]).unmatched, ["smal"]);
        assert_eq!(names(&plan(&only("s*"), &[])), ["small"]);
    }
}
