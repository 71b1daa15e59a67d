//! What stands when blobs are about to go. Between a plan and a deletion somebody may have pushed something that needs an old blob.

use std::collections::{BTreeMap, BTreeSet};

use super::{digest::Digest, manifest::Content, stock::MirrorStock};

/// The manifests of a listing whose content is not known: they are to be read before any blob goes.
pub fn unread(now: &MirrorStock, contents: &BTreeMap<Digest, Content>) -> BTreeSet<Digest> {
    let there = now.repositories.values().flat_map(|repository| &repository.revisions).filter(|(_, facts)| facts.is_visible);
    // One that was not in the store may have been pushed since.
    let is_known = |digest: &Digest| matches!(contents.get(digest), Some(Content::References { .. } | Content::Unclear(_)));
    there.map(|(digest, _)| *digest).filter(|digest| !is_known(digest)).collect()
}

/// Every blob that anything in the listing names or may need: no manifest and no link that is there loses what it names.
///
/// What a manifest that cannot be understood refers to, its repository names by a link, or nobody gets it through that
/// repository.
pub fn protected(now: &MirrorStock, contents: &BTreeMap<Digest, Content>) -> BTreeSet<Digest> {
    let mut protected = now.named.clone();
    for repository in now.repositories.values() {
        for (digest, _) in repository.revisions.iter().filter(|(_, facts)| facts.is_visible) {
            protected.insert(*digest);
            if let Some(Content::References { all, .. }) = contents.get(digest) {
                protected.extend(all.iter().copied());
            }
        }
        let layers = repository.layers.iter().filter(|(_, facts)| facts.is_visible);
        protected.extend(layers.map(|(digest, _)| *digest));
    }
    protected
}
