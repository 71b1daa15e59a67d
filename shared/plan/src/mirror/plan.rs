//! The plan of a run on a mirror: what becomes of each manifest, link and blob, and why.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{
    activity::{self, Last},
    digest::Digest,
    manifest::Content,
    pulls::Pulls,
    stock::{Facts, MirrorStock, Repository, Tag, Target},
    verdict::{Gone, Kept, Verdict},
};
use crate::{retention::Unfinished, window::Window};

/// What the operator has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MirrorPolicy {
    /// What nobody has wanted for longer may go.
    pub window: Window,
    /// What no manifest refers to stays so long after its latest change: what needs it may be on its way.
    pub grace: Window,
    /// Pushes and uploads that nobody finished go when their latest change is older.
    pub debris_after: Window,
    /// At most so many manifests go in one run, those first that were wanted longest ago.
    pub max_manifests: usize,
    /// At most so many blobs go in one run, the oldest first.
    pub max_blobs: usize,
}

/// A manifest of a repository, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRevision {
    /// The manifest.
    pub digest: Digest,
    /// What is listed of its link.
    pub facts: Facts,
    /// When it was wanted last.
    pub last: Last,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// A tag, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTag {
    /// The tag.
    pub name: String,
    /// What is listed of it.
    pub tag: Tag,
    /// Whether it goes: its manifest does, or has gone long ago.
    pub goes: bool,
    /// What of its past goes: entries of manifests that go, or have gone long ago.
    pub index_goes: Vec<Digest>,
}

/// A link to a layer or a configuration, a push, or the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedLink<K> {
    /// Which one.
    pub id: K,
    /// What is listed of it.
    pub facts: Facts,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// A blob, and what becomes of it.
pub type PlannedBlob = PlannedLink<Digest>;

/// A repository, and what becomes of what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryPlan {
    /// Its name.
    pub name: String,
    /// What in it cannot be understood, and how many such things there are: then all of it stays.
    pub unclear: Option<(usize, String)>,
    /// Its manifests, by digest.
    pub revisions: Vec<PlannedRevision>,
    /// Its tags, by name.
    pub tags: Vec<PlannedTag>,
    /// Its links to layers and configurations.
    pub layers: Vec<PlannedLink<Digest>>,
    /// Pushes that were begun.
    pub uploads: Vec<PlannedLink<String>>,
}

/// What becomes of everything that is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorPlan {
    /// The moment that activity is taken at.
    pub at: DateTime<Utc>,
    /// The repositories by name.
    pub repositories: Vec<RepositoryPlan>,
    /// The blobs by digest.
    pub blobs: Vec<PlannedBlob>,
    /// Multipart uploads, and whether each goes.
    pub multipart: Vec<(Unfinished, bool)>,
    /// What nobody knows, which is kept.
    pub unknown: Vec<(String, Facts)>,
    /// How many manifests may go and are left to later runs.
    pub remaining_manifests: usize,
    /// How many blobs may go and are left to later runs.
    pub remaining_blobs: usize,
}

impl MirrorPlan {
    /// The manifests that go, with their repositories.
    pub fn doomed(&self) -> impl Iterator<Item = (&RepositoryPlan, &PlannedRevision)> {
        let revisions = self.repositories.iter().flat_map(|repository| repository.revisions.iter().map(move |one| (repository, one)));
        revisions.filter(|(_, revision)| revision.verdict.is_delete())
    }

    /// The blobs that go.
    pub fn doomed_blobs(&self) -> impl Iterator<Item = &PlannedBlob> {
        self.blobs.iter().filter(|blob| blob.verdict.is_delete())
    }

    /// How many manifests are in repositories.
    pub fn manifests(&self) -> u64 {
        self.repositories.iter().map(|repository| repository.revisions.len() as u64).sum()
    }
}

impl RepositoryPlan {
    /// The tags that mean a manifest now.
    pub fn tags_of(&self, digest: Digest) -> impl Iterator<Item = &PlannedTag> {
        self.tags.iter().filter(move |tag| tag.tag.target == Some(Target::Revision(digest)))
    }
}

/// Plans a run. Pure: the same stock, contents, ledger, policy and time give the same plan. `contents` must tell of every manifest;
/// one that it does not tell of counts as not understood.
pub fn plan(
    stock: MirrorStock,
    contents: &BTreeMap<Digest, Content>,
    pulls: &Pulls,
    policy: &MirrorPolicy,
    at: DateTime<Utc>,
) -> MirrorPlan {
    let planner = Planner { contents, pulls, policy, at };
    let mut repositories: Vec<RepositoryPlan> = Vec::with_capacity(stock.repositories.len());
    for (name, repository) in stock.repositories {
        repositories.push(planner.manifests(name, repository));
    }
    let remaining_manifests = planner.cap(&mut repositories);
    repositories.iter_mut().for_each(|repository| planner.links(repository));
    let (blobs, remaining_blobs) = planner.blobs(stock.blobs, stock.named, &repositories);
    let is_old = |upload: &Unfinished| at > upload.initiated + policy.debris_after.span();
    let multipart = stock.multipart.into_iter().map(|upload| {
        // Under a key that nobody knows it is somebody else's.
        let goes = super::key::read(&upload.key).is_some() && is_old(&upload);
        (upload, goes)
    });
    let (multipart, unknown) = (multipart.collect(), stock.unknown.into_iter().collect());
    MirrorPlan { at, repositories, blobs, multipart, unknown, remaining_manifests, remaining_blobs }
}

struct Planner<'a> {
    contents: &'a BTreeMap<Digest, Content>,
    pulls: &'a Pulls,
    policy: &'a MirrorPolicy,
    at: DateTime<Utc>,
}

impl Planner<'_> {
    fn references(&self, digest: &Digest) -> &[Digest] {
        match self.contents.get(digest) {
            Some(Content::References { all, .. }) => all,
            _ => &[],
        }
    }

    fn subject(&self, digest: &Digest) -> Option<Digest> {
        match self.contents.get(digest) {
            Some(Content::References { subject, .. }) => *subject,
            _ => None,
        }
    }

    fn is_older(&self, time: DateTime<Utc>, window: Window) -> bool {
        self.at > time + window.span()
    }

    /// What in a repository cannot be understood.
    fn unclear(&self, repository: &Repository) -> Option<(usize, String)> {
        let of_content = |digest: &Digest| match self.contents.get(digest) {
            Some(Content::Unclear(why)) => Some(format!("the manifest {digest}: {why}")),
            None => Some(format!("the manifest {digest}: it was not read")),
            Some(Content::References { .. } | Content::Absent) => None,
        };
        let manifests = repository.revisions.iter().filter(|(_, facts)| facts.is_visible).filter_map(|(digest, _)| of_content(digest));
        let tags = repository.tags.iter().filter(|(_, tag)| tag.current.is_some_and(|facts| facts.is_visible));
        let tags = tags.filter_map(|(name, tag)| match &tag.target {
            Some(Target::Revision(_)) => None,
            Some(Target::Unclear(why)) => Some(format!("the tag {name}: {why}")),
            None => Some(format!("the tag {name}: it was not read")),
        });
        let strange = repository.strange.iter().map(|key| format!("{}: nobody knows what it is", crate::name::printable(key)));
        let mut all = strange.chain(manifests).chain(tags);
        let first = all.next()?;
        Some((1 + all.count(), first))
    }

    /// Verdicts for the manifests alone: activity, and what needs what.
    fn manifests(&self, name: String, repository: Repository) -> RepositoryPlan {
        let unclear = self.unclear(&repository);
        let last = activity::of_repository(&name, &repository, self.contents, self.pulls);
        let Repository { revisions, tags, layers, uploads, .. } = repository;
        let mut planned: Vec<PlannedRevision> = Vec::with_capacity(revisions.len());
        for (digest, facts) in revisions {
            let last = last.get(&digest).copied().unwrap_or((facts.latest_change, activity::Activity::Pushed));
            let verdict = match self.is_older(last.0, self.policy.window) {
                _ if unclear.is_some() => Verdict::Keep(Kept::Unclear),
                false => Verdict::Keep(Kept::Active { last, until: last.0 + self.policy.window.span() }),
                true if !facts.is_visible => Verdict::Delete(Gone::Hidden),
                true => Verdict::Delete(Gone::Inactive { last, window: self.policy.window }),
            };
            planned.push(PlannedRevision { digest, facts, last, verdict });
        }
        let link = |facts: Facts| (facts, Verdict::Keep(Kept::Linked));
        let layers = layers.into_iter().map(|(id, facts)| (id, link(facts)));
        let uploads = uploads.into_iter().map(|(id, facts)| (id, link(facts)));
        let tags = tags.into_iter().map(|(name, tag)| PlannedTag { name, tag, goes: false, index_goes: Vec::new() });
        let mut plan = RepositoryPlan {
            name,
            unclear,
            revisions: planned,
            tags: tags.collect(),
            layers: layers.map(|(id, (facts, verdict))| PlannedLink { id, facts, verdict }).collect(),
            uploads: uploads.map(|(id, (facts, verdict))| PlannedLink { id, facts, verdict }).collect(),
        };
        self.keep_what_is_needed(&mut plan);
        plan
    }

    /// What stays keeps what it refers to, and what is about it (a signature, say); and so do those.
    fn keep_what_is_needed(&self, plan: &mut RepositoryPlan) {
        let places: BTreeMap<Digest, usize> = plan.revisions.iter().enumerate().map(|(at, revision)| (revision.digest, at)).collect();
        let mut about: BTreeMap<Digest, Vec<usize>> = BTreeMap::new();
        for (at, revision) in plan.revisions.iter().enumerate().filter(|(_, revision)| revision.facts.is_visible) {
            if let Some(subject) = self.subject(&revision.digest) {
                about.entry(subject).or_default().push(at);
            }
        }
        let stays = |revision: &PlannedRevision| !revision.verdict.is_delete() && revision.facts.is_visible;
        let mut todo: Vec<usize> = (0..plan.revisions.len()).filter(|at| stays(&plan.revisions[*at])).collect();
        while let Some(at) = todo.pop() {
            let by = plan.revisions[at].digest;
            let referred = self.references(&by).iter().filter_map(|digest| places.get(digest)).copied();
            let needed: Vec<usize> = referred.chain(about.get(&by).into_iter().flatten().copied()).collect();
            for other in needed {
                if plan.revisions[other].verdict.is_delete() {
                    plan.revisions[other].verdict = Verdict::Keep(Kept::Needed { by });
                    todo.push(other);
                }
            }
        }
    }

    /// Leaves all but those that were wanted longest ago to later runs, and with them what they need.
    fn cap(&self, repositories: &mut [RepositoryPlan]) -> usize {
        let mut doomed: Vec<(DateTime<Utc>, usize, usize)> = Vec::new();
        for (at, repository) in repositories.iter().enumerate() {
            let goes = repository.revisions.iter().enumerate().filter(|(_, revision)| revision.verdict.is_delete());
            doomed.extend(goes.map(|(within, revision)| (revision.last.0, at, within)));
        }
        let before = doomed.len();
        if before <= self.policy.max_manifests {
            return 0;
        }
        doomed.sort_unstable();
        for (_, repository, revision) in doomed.iter().skip(self.policy.max_manifests) {
            repositories[*repository].revisions[*revision].verdict = Verdict::Keep(Kept::LaterRun);
        }
        repositories.iter_mut().for_each(|repository| self.keep_what_is_needed(repository));
        let after = repositories.iter().flat_map(|repository| &repository.revisions).filter(|revision| revision.verdict.is_delete());
        before - after.count()
    }

    /// Verdicts for the links of a repository, once those for its manifests stand.
    fn links(&self, plan: &mut RepositoryPlan) {
        let revisions: BTreeMap<Digest, bool> =
            plan.revisions.iter().map(|revision| (revision.digest, revision.verdict.is_delete())).collect();
        let mut needed: BTreeMap<Digest, Digest> = BTreeMap::new();
        for revision in plan.revisions.iter().filter(|revision| !revision.verdict.is_delete()) {
            needed.extend(self.references(&revision.digest).iter().map(|digest| (*digest, revision.digest)));
        }
        let (name, is_unclear) = (plan.name.clone(), plan.unclear.is_some());
        for link in &mut plan.layers {
            let pulled = self.pulls.of_digest(&name, &link.id);
            link.verdict = self.of_content(link.facts, is_unclear, needed.get(&link.id).copied(), pulled);
        }
        for upload in &mut plan.uploads {
            let until = upload.facts.latest_change + self.policy.debris_after.span();
            upload.verdict = if self.at > until {
                Verdict::Delete(Gone::LeftBehind { latest_change: upload.facts.latest_change })
            } else {
                Verdict::Keep(Kept::Young { until })
            };
        }
        // A manifest that is not there any more may have left a tag, if a run was killed.
        let goes = |digest: &Digest, facts: &Facts| match revisions.get(digest) {
            Some(goes) => *goes,
            None => self.is_older(facts.latest_change, self.policy.window),
        };
        for tag in plan.tags.iter_mut().filter(|_| !is_unclear) {
            tag.index_goes = tag.tag.index.iter().filter(|(digest, facts)| goes(digest, facts)).map(|(digest, _)| *digest).collect();
            tag.goes = match (&tag.tag.current, &tag.tag.target) {
                (Some(facts), _) if !facts.is_visible => self.is_older(facts.latest_change, self.policy.window),
                (Some(facts), Some(Target::Revision(digest))) => goes(digest, facts),
                _ => false,
            };
        }
    }

    /// What becomes of a layer's link or of a blob.
    fn of_content(&self, facts: Facts, is_unclear: bool, needed: Option<Digest>, pulled: Option<DateTime<Utc>>) -> Verdict {
        let pulled = pulled.filter(|pulled| !self.is_older(*pulled, self.policy.window));
        match (needed, pulled) {
            _ if is_unclear => Verdict::Keep(Kept::Unclear),
            (Some(by), _) => Verdict::Keep(Kept::Needed { by }),
            (None, Some(at)) => {
                Verdict::Keep(Kept::Active { last: (at, activity::Activity::Pulled), until: at + self.policy.window.span() })
            }
            (None, None) if !self.is_older(facts.latest_change, self.policy.grace) => {
                Verdict::Keep(Kept::Young { until: facts.latest_change + self.policy.grace.span() })
            }
            (None, None) if !facts.is_visible => Verdict::Delete(Gone::Hidden),
            (None, None) => Verdict::Delete(Gone::Unreferenced),
        }
    }

    /// Verdicts for the blobs, and how many are left to later runs. `linked`: what something names that is not understood.
    fn blobs(
        &self,
        blobs: BTreeMap<Digest, Facts>,
        mut linked: BTreeSet<Digest>,
        repositories: &[RepositoryPlan],
    ) -> (Vec<PlannedBlob>, usize) {
        let mut needed: BTreeMap<Digest, Digest> = BTreeMap::new();
        for repository in repositories {
            for revision in repository.revisions.iter().filter(|revision| !revision.verdict.is_delete()) {
                needed.insert(revision.digest, revision.digest);
                needed.extend(self.references(&revision.digest).iter().map(|digest| (*digest, revision.digest)));
            }
            linked.extend(repository.layers.iter().filter(|link| !link.verdict.is_delete()).map(|link| link.id));
            if repository.unclear.is_some() {
                linked.extend(repository.tags.iter().flat_map(|tag| tag.tag.index.keys().copied()));
            }
        }
        let mut planned: Vec<PlannedBlob> = Vec::with_capacity(blobs.len());
        for (id, facts) in blobs {
            let pulled = self.pulls.digests.get(&id).copied();
            let verdict = match self.of_content(facts, false, needed.get(&id).copied(), pulled) {
                Verdict::Delete(_) if linked.contains(&id) => Verdict::Keep(Kept::Linked),
                verdict => verdict,
            };
            planned.push(PlannedBlob { id, facts, verdict });
        }
        let mut doomed: Vec<(DateTime<Utc>, usize)> = Vec::new();
        doomed.extend(
            planned.iter().enumerate().filter(|(_, blob)| blob.verdict.is_delete()).map(|(at, blob)| (blob.facts.latest_change, at)),
        );
        doomed.sort_unstable();
        for (_, at) in doomed.iter().skip(self.policy.max_blobs) {
            planned[*at].verdict = Verdict::Keep(Kept::LaterRun);
        }
        let remaining = doomed.len().saturating_sub(self.policy.max_blobs);
        (planned, remaining)
    }
}
