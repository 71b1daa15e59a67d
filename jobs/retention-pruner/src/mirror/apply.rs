//! Carrying a plan out in one repository: tags, manifests, links to layers, and pushes that nobody finished.
//!
//! Just before anything goes, the repository is listed again. Where something has been pushed or tagged since the plan, all of its
//! manifests are left to the next run: what is new may need what was to go. Tags go before their manifests, and an index before
//! what it refers to, so that a kill leaves nothing that looks whole and is not.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use plana_plan::mirror::{
    Content, Digest, MirrorKey, MirrorStock, Repository, RepositoryPlan, Target,
    key::{REPOSITORIES, read},
};
use plana_storage::{DynStore, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{
    apply::{Applied, delete_listed},
    listing::{Listed, Mode, below},
};

/// What deletes, and how.
#[derive(Debug, Clone)]
pub struct MirrorPruner {
    /// The store.
    pub store: DynStore,
    /// What is listed.
    pub mode: Mode,
    /// Whether versions are deleted by their ids.
    pub is_versioned: bool,
}

/// What became of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppliedRepository {
    /// Manifests as `deleted`, pushes as `swept`; a repository that has changed is in `changed`.
    pub of: Applied,
    /// Tags that are gone.
    pub tags: u64,
    /// Links to layers that are gone.
    pub layers: u64,
}

/// A repository as it is listed now.
#[derive(Default)]
pub struct Now {
    repository: Repository,
    /// The objects of each key; those of a push by its prefix.
    objects: BTreeMap<String, Vec<Listed>>,
}

fn upload_prefix(name: &str, id: &str) -> String {
    format!("{REPOSITORIES}{name}/_uploads/{id}/")
}

fn key(key: MirrorKey<'_>) -> String {
    key.write().unwrap_or_default()
}

impl MirrorPruner {
    /// Deletes what goes in a repository.
    pub async fn apply(
        &self,
        plan: &RepositoryPlan,
        contents: &BTreeMap<Digest, Content>,
        cancel: &CancellationToken,
    ) -> AppliedRepository {
        let mut applied = AppliedRepository::default();
        let doomed = plan.revisions.iter().filter(|revision| revision.verdict.is_delete()).count();
        let links = plan.layers.iter().filter(|link| link.verdict.is_delete()).count();
        let uploads = plan.uploads.iter().filter(|upload| upload.verdict.is_delete()).count();
        let tags = plan.tags.iter().filter(|tag| tag.goes || !tag.index_goes.is_empty()).count();
        if doomed + links + uploads + tags == 0 {
            return applied;
        }
        if cancel.is_cancelled() {
            applied.of.cancelled = true;
            return applied;
        }
        let mut now = match self.list_again(&plan.name).await {
            Ok(now) => now,
            Err(error) => {
                applied.of.note_error(doomed + links + uploads + tags, &error);
                return applied;
            }
        };
        if has_news(plan, &now.repository) {
            applied.of.changed.push(plan.name.clone());
        } else {
            let stay = self.manifests(plan, contents, &mut now, &mut applied, cancel).await;
            self.layers(plan, contents, &stay, &mut now, &mut applied).await;
        }
        self.uploads(plan, &mut now, &mut applied).await;
        applied
    }

    async fn list_again(&self, name: &str) -> Result<Now, StoreError> {
        let (mut stock, mut objects): (MirrorStock, BTreeMap<String, Vec<Listed>>) = Default::default();
        for part in ["_manifests/", "_layers/", "_uploads/"] {
            let prefix = format!("{REPOSITORIES}{name}/{part}");
            let mut listing = below(&*self.store, self.mode, &prefix);
            while let Some(listed) = listing.try_next().await? {
                stock.add(listed.entry());
                let of = match read(&listed.key) {
                    Some(MirrorKey::Upload(name, id)) => upload_prefix(name, id),
                    _ => listed.key.clone(),
                };
                objects.entry(of).or_default().push(listed);
            }
        }
        Ok(Now { repository: stock.repositories.remove(name).unwrap_or_default(), objects })
    }

    /// Deletes tags and manifests; gives the manifests that are still there.
    async fn manifests(
        &self,
        plan: &RepositoryPlan,
        contents: &BTreeMap<Digest, Content>,
        now: &mut Now,
        applied: &mut AppliedRepository,
        cancel: &CancellationToken,
    ) -> BTreeSet<Digest> {
        let mut stay: BTreeSet<Digest> = now.repository.revisions.keys().copied().collect();
        let planned = plan.revisions.iter().filter(|revision| revision.verdict.is_delete()).map(|revision| revision.digest);
        let (mut doomed, gone): (BTreeSet<Digest>, BTreeSet<Digest>) = planned.partition(|digest| stay.contains(digest));
        applied.of.gone += gone.len() as u64;
        self.remnants(plan, now, applied).await;
        while !doomed.is_empty() {
            if cancel.is_cancelled() {
                applied.of.cancelled = true;
                break;
            }
            let referred: BTreeSet<Digest> = doomed.iter().flat_map(|digest| references(contents, digest)).copied().collect();
            let level: BTreeSet<Digest> = doomed.difference(&referred).copied().collect();
            if level.is_empty() {
                // Hashes cannot refer to one another in a circle.
                break;
            }
            let left = self.level(plan, &level, now, applied).await;
            for digest in &level {
                doomed.remove(digest);
                if left.contains(digest) {
                    keep(contents, digest, &mut doomed);
                } else {
                    stay.remove(digest);
                    applied.of.deleted += 1;
                }
            }
        }
        stay
    }

    /// Deletes manifests that none of the others refers to, with their tags; gives those that stayed.
    async fn level(
        &self,
        plan: &RepositoryPlan,
        level: &BTreeSet<Digest>,
        now: &mut Now,
        applied: &mut AppliedRepository,
    ) -> BTreeSet<Digest> {
        let name = plan.name.as_str();
        let mut left = BTreeSet::new();
        let means = plan.tags.iter().filter(|tag| tag.goes).filter_map(|tag| match &tag.tag.target {
            Some(Target::Revision(digest)) if level.contains(digest) => Some((*digest, key(MirrorKey::Current(name, &tag.name)))),
            _ => None,
        });
        let tags: Vec<(Digest, String)> = means.collect();
        let stayed = self.delete(&tags, now, &mut applied.of).await;
        applied.tags += (tags.len() - stayed.len()) as u64;
        left.extend(stayed);
        let meant = plan.tags.iter().flat_map(|tag| tag.index_goes.iter().map(move |digest| (tag, digest)));
        let meant = meant.filter(|(_, digest)| level.contains(digest) && !left.contains(*digest));
        let index: Vec<(Digest, String)> = meant.map(|(tag, digest)| (*digest, key(MirrorKey::Index(name, &tag.name, *digest)))).collect();
        left.extend(self.delete(&index, now, &mut applied.of).await);
        let links: Vec<(Digest, String)> =
            level.difference(&left).map(|digest| (*digest, key(MirrorKey::Revision(name, *digest)))).collect();
        left.extend(self.delete(&links, now, &mut applied.of).await);
        left
    }

    /// What a run that was killed left of tags whose manifests have gone.
    async fn remnants(&self, plan: &RepositoryPlan, now: &mut Now, applied: &mut AppliedRepository) {
        let there: BTreeSet<Digest> = plan.revisions.iter().map(|revision| revision.digest).collect();
        let mut batch = Vec::new();
        for tag in &plan.tags {
            let gone = tag.index_goes.iter().filter(|digest| !there.contains(digest));
            batch.extend(gone.map(|digest| (*digest, key(MirrorKey::Index(&plan.name, &tag.name, *digest)))));
            let of = match (&tag.tag.target, tag.goes) {
                (Some(Target::Revision(digest)), true) if !there.contains(digest) => Some(*digest),
                // A tag that readers do not see any more.
                (None, true) => Some(Digest::new([0; 32])),
                _ => None,
            };
            batch.extend(of.map(|digest| (digest, key(MirrorKey::Current(&plan.name, &tag.name)))));
        }
        self.delete(&batch, now, &mut applied.of).await;
    }

    /// Links to layers that no manifest that is there refers to.
    async fn layers(
        &self,
        plan: &RepositoryPlan,
        contents: &BTreeMap<Digest, Content>,
        stay: &BTreeSet<Digest>,
        now: &mut Now,
        applied: &mut AppliedRepository,
    ) {
        let needed: BTreeSet<Digest> = stay.iter().flat_map(|digest| references(contents, digest)).copied().collect();
        let is_same = |digest: &Digest, now: &Now| now.repository.layers.get(digest).copied();
        let doomed = plan.layers.iter().filter(|link| link.verdict.is_delete() && !needed.contains(&link.id));
        let doomed = doomed.filter(|link| is_same(&link.id, now) == Some(link.facts));
        let batch: Vec<(Digest, String)> = doomed.map(|link| (link.id, key(MirrorKey::Layer(&plan.name, link.id)))).collect();
        let left = self.delete(&batch, now, &mut applied.of).await;
        applied.layers += (batch.len() - left.len()) as u64;
    }

    /// Pushes that nobody finished, and that are as they were.
    async fn uploads(&self, plan: &RepositoryPlan, now: &mut Now, applied: &mut AppliedRepository) {
        let doomed = plan.uploads.iter().filter(|upload| upload.verdict.is_delete());
        let doomed = doomed.filter(|upload| now.repository.uploads.get(&upload.id) == Some(&upload.facts));
        let batch: Vec<(String, String)> = doomed.map(|upload| (upload.id.clone(), upload_prefix(&plan.name, &upload.id))).collect();
        let left = self.delete(&batch, now, &mut applied.of).await;
        applied.of.swept += (batch.len() - left.len()) as u64;
    }

    /// Deletes the objects of these keys as they are listed now; gives for which of them something stayed.
    async fn delete<K: Clone + Ord>(&self, batch: &[(K, String)], now: &mut Now, applied: &mut Applied) -> BTreeSet<K> {
        let (mut owners, mut objects): (Vec<&K>, Vec<Listed>) = Default::default();
        for (owner, key) in batch {
            for listed in now.objects.remove(key).unwrap_or_default() {
                owners.push(owner);
                objects.push(listed);
            }
        }
        self.delete_objects(&objects, applied).await.into_iter().map(|at| owners[at].clone()).collect()
    }

    /// Deletes objects; gives the places of those that stayed. Of several versions of a key the latest goes last, and only if no
    /// other stayed: what it hides or replaces, such as what a tag once meant, is never seen again.
    pub(super) async fn delete_objects(&self, objects: &[Listed], applied: &mut Applied) -> Vec<usize> {
        let (older, latest): (Vec<usize>, Vec<usize>) = (0..objects.len()).partition(|at| !objects[*at].is_latest());
        let mut stayed = self.delete_at(objects, &older, applied).await;
        let kept: BTreeSet<&str> = stayed.iter().map(|at| objects[*at].key.as_str()).collect();
        let (last, left): (Vec<usize>, Vec<usize>) = latest.into_iter().partition(|at| !kept.contains(objects[*at].key.as_str()));
        stayed.extend(left);
        stayed.extend(self.delete_at(objects, &last, applied).await);
        stayed
    }

    async fn delete_at(&self, objects: &[Listed], places: &[usize], applied: &mut Applied) -> Vec<usize> {
        let batch: Vec<Listed> = places.iter().map(|at| objects[*at].clone()).collect();
        if batch.is_empty() {
            return Vec::new();
        }
        let outcomes = match delete_listed(&self.store, self.is_versioned, &batch).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                applied.note_error(batch.len(), &error);
                return places.to_vec();
            }
        };
        let mut stayed = Vec::new();
        for (at, (listed, outcome)) in places.iter().zip(batch.iter().zip(outcomes)) {
            match outcome {
                Ok(()) => {
                    applied.objects += 1;
                    applied.freed_bytes += listed.size;
                }
                Err(error) => {
                    applied.note_error(1, &error);
                    stayed.push(*at);
                }
            }
        }
        stayed
    }
}

fn references<'a>(contents: &'a BTreeMap<Digest, Content>, digest: &Digest) -> &'a [Digest] {
    match contents.get(digest) {
        Some(Content::References { all, .. }) => all,
        _ => &[],
    }
}

/// What stayed keeps what it refers to, however deep: who may push decides that.
fn keep(contents: &BTreeMap<Digest, Content>, digest: &Digest, doomed: &mut BTreeSet<Digest>) {
    let mut todo = vec![*digest];
    while let Some(by) = todo.pop() {
        todo.extend(references(contents, &by).iter().filter(|part| doomed.remove(part)));
    }
}

/// Whether anything of a repository's manifests and tags is new or other than it was planned. What has gone is no news.
fn has_news(plan: &RepositoryPlan, now: &Repository) -> bool {
    let revisions: BTreeMap<_, _> = plan.revisions.iter().map(|revision| (revision.digest, revision.facts)).collect();
    let tags: BTreeMap<_, _> = plan.tags.iter().map(|tag| (tag.name.as_str(), &tag.tag)).collect();
    let new_revision = now.revisions.iter().any(|(digest, facts)| revisions.get(digest) != Some(facts));
    let new_tag = now.tags.iter().any(|(name, tag)| {
        let before = tags.get(name.as_str());
        let is_current = |before: &&&plana_plan::mirror::Tag| tag.current.is_none() || tag.current == before.current;
        let is_index = |before: &&&plana_plan::mirror::Tag| tag.index.iter().all(|(digest, facts)| before.index.get(digest) == Some(facts));
        before.filter(|before| is_current(before) && is_index(before)).is_none()
    });
    new_revision || new_tag || now.strange.is_some()
}
