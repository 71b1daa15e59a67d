//! When a manifest was last wanted by anybody.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{
    digest::Digest,
    manifest::Content,
    pulls::Pulls,
    stock::{Facts, Repository, Tag, Target},
};

/// What shows that a manifest was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// It was put into its repository.
    Pushed,
    /// A tag was given to it.
    Tagged,
    /// It was pulled, by its digest or by a tag.
    Pulled,
    /// Something that it refers to was pulled.
    PulledInPart,
}

/// When that was.
pub type Last = (DateTime<Utc>, Activity);

/// The last activity of each manifest of a repository: the newest of what the store and the ledger know of it.
pub fn of_repository(name: &str, repository: &Repository, contents: &BTreeMap<Digest, Content>, pulls: &Pulls) -> BTreeMap<Digest, Last> {
    let mut last: BTreeMap<Digest, Last> = BTreeMap::new();
    for (digest, facts) in &repository.revisions {
        let pulled = pulls.of_digest(name, digest).map(|at| (at, Activity::Pulled));
        let of_parts = match contents.get(digest) {
            Some(Content::References { all, .. }) => all.iter().filter_map(|part| pulls.of_digest(name, part)).max(),
            _ => None,
        };
        let of_parts = of_parts.map(|at| (at, Activity::PulledInPart));
        let newest = [Some((facts.latest_change, Activity::Pushed)), pulled, of_parts].into_iter().flatten().max();
        last.extend(newest.map(|newest| (*digest, newest)));
    }
    for (tag_name, tag) in &repository.tags {
        for (digest, newest) in of_tag(tag, pulls.of_tag(name, tag_name)) {
            if let Some(last) = last.get_mut(&digest) {
                *last = newest.max(*last);
            }
        }
    }
    last
}

/// What a tag shows of the manifests that it means and has meant. Of its pulls only the last is known, and an earlier one may have
/// been of any that it meant until then: each counts as pulled at the end of its time.
fn of_tag(tag: &Tag, pulled: Option<DateTime<Utc>>) -> Vec<(Digest, Last)> {
    let mut meant: Vec<(DateTime<Utc>, Digest)> = tag.index.iter().map(|(digest, facts)| (facts.latest_change, *digest)).collect();
    meant.sort_unstable();
    let mut shown = Vec::new();
    for (at, (from, digest)) in meant.iter().enumerate() {
        shown.push((*digest, (*from, Activity::Tagged)));
        let until = meant.get(at + 1).map(|(until, _)| *until);
        if let Some(pulled) = pulled {
            let latest = until.map_or(pulled, |until| pulled.min(until));
            shown.push((*digest, (latest, Activity::Pulled)));
        }
    }
    let current: Option<(&Facts, Digest)> = match (&tag.current, &tag.target) {
        (Some(facts), Some(Target::Revision(digest))) => Some((facts, *digest)),
        _ => None,
    };
    if let Some((facts, digest)) = current {
        shown.push((digest, (facts.latest_change, Activity::Tagged)));
        shown.extend(pulled.map(|pulled| (digest, (pulled, Activity::Pulled))));
    }
    shown
}
