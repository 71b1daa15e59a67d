//! What holds for a mirror whatever is listed, referred to and pulled.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use plana_plan::{
    mirror::{
        Content, Digest, MirrorKey, MirrorPlan, MirrorPolicy, MirrorStock, Pulls, Target, plan,
        protect::protected,
        pulls::{Line, Pulled},
    },
    retention::Entry,
    window::Window,
};
use proptest::{collection::vec, prelude::*};

const MANIFESTS: u8 = 8;
const BLOBS: u8 = 10;
const NAMES: [&str; 2] = ["a", "b/c"];

fn now() -> DateTime<Utc> {
    "2026-11-23T03:15:00Z".parse().unwrap()
}

fn manifest(number: u8) -> Digest {
    Digest::new([number; 32])
}

fn layer(number: u8) -> Digest {
    Digest::new([100 + number; 32])
}

/// Layers, manifests, subject, kind.
type Refers = (Vec<u8>, Vec<u8>, Option<u8>, u8);

/// A registry, as chance has it. A manifest refers to later ones only, as hashes have it.
#[derive(Debug, Clone)]
struct World {
    /// Of each manifest.
    contents: Vec<Refers>,
    /// Name, manifest, days.
    links: Vec<(usize, u8, i64)>,
    /// Name, layer, days.
    layers: Vec<(usize, u8, i64)>,
    /// Name, tag, manifest, days.
    tags: Vec<(usize, u8, u8, i64)>,
    /// Name, manifest or layer, days.
    pulls: Vec<(usize, u8, i64)>,
    blob_days: Vec<i64>,
    strange: bool,
}

fn world() -> impl Strategy<Value = World> {
    let content = (vec(0..BLOBS, 0..4), vec(0..MANIFESTS, 0..3), prop::option::weighted(0.2, 0..MANIFESTS), 0u8..12);
    (
        vec(content, MANIFESTS as usize),
        vec((0usize..2, 0..MANIFESTS, 0i64..70), 0..12),
        vec((0usize..2, 0..BLOBS, 0i64..70), 0..12),
        vec((0usize..2, 0u8..3, 0..MANIFESTS, 0i64..70), 0..6),
        vec((0usize..2, 0..MANIFESTS + BLOBS, 0i64..70), 0..6),
        vec(0i64..70, (MANIFESTS + BLOBS) as usize),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(contents, links, layers, tags, pulls, blob_days, strange)| World {
            contents,
            links,
            layers,
            tags,
            pulls,
            blob_days,
            strange,
        })
}

impl World {
    fn content(&self, number: u8) -> Content {
        let (layers, manifests, subject, kind) = &self.contents[number as usize];
        match kind {
            0 => return Content::Unclear("x".into()),
            1 => return Content::Absent,
            _ => {}
        }
        let later = |other: &u8| (*other > number).then(|| manifest(*other));
        let subject = subject.as_ref().and_then(later);
        let all: BTreeSet<Digest> = layers.iter().map(|one| layer(*one)).chain(manifests.iter().filter_map(later)).chain(subject).collect();
        Content::References { all: all.into_iter().collect(), subject }
    }

    fn contents(&self) -> BTreeMap<Digest, Content> {
        (0..MANIFESTS).map(|number| (manifest(number), self.content(number))).collect()
    }

    fn keys(&self) -> Vec<(String, i64)> {
        let mut keys = BTreeMap::new();
        for (name, number, days) in &self.links {
            keys.insert(MirrorKey::Revision(NAMES[*name], manifest(*number)).write().unwrap(), *days);
        }
        for (name, number, days) in &self.layers {
            keys.insert(MirrorKey::Layer(NAMES[*name], layer(*number)).write().unwrap(), *days);
        }
        for (name, tag, number, days) in &self.tags {
            let tag = tag.to_string();
            keys.insert(MirrorKey::Current(NAMES[*name], &tag).write().unwrap(), *days);
            keys.insert(MirrorKey::Index(NAMES[*name], &tag, manifest(*number)).write().unwrap(), *days);
        }
        for number in 0..MANIFESTS + BLOBS {
            let digest = if number < MANIFESTS { manifest(number) } else { layer(number - MANIFESTS) };
            keys.insert(MirrorKey::Blob(digest).write().unwrap(), self.blob_days[number as usize]);
        }
        if self.strange {
            keys.insert("docker/registry/v2/repositories/a/_manifests/revisions/sha512/00/link".to_owned(), 50);
        }
        keys.into_iter().collect()
    }

    fn stock(&self, keys: &[(String, i64)]) -> MirrorStock {
        let mut stock = MirrorStock::default();
        for (key, days) in keys {
            let last_modified = now() - TimeDelta::days(*days);
            stock.add(Entry { key, size: 7, last_modified, etag: None, version: None });
        }
        for (name, tag, number, _) in &self.tags {
            let repository = stock.repositories.get_mut(NAMES[*name]);
            if let Some(tag) = repository.and_then(|repository| repository.tags.get_mut(&tag.to_string())) {
                tag.target = Some(Target::Revision(manifest(*number)));
            }
        }
        stock
    }

    fn pulls(&self, also: Option<(usize, u8, i64)>) -> Pulls {
        let mut pulls = Pulls::default();
        for (name, number, days) in self.pulls.iter().copied().chain(also) {
            let digest = if number < MANIFESTS { manifest(number) } else { layer(number - MANIFESTS) };
            pulls.add(Line::Pull(now() - TimeDelta::days(days), Pulled::Digest(Some(NAMES[name].into()), digest)));
        }
        pulls
    }

    fn plan(&self, cap: usize, at: DateTime<Utc>, also: Option<(usize, u8, i64)>) -> MirrorPlan {
        plan(self.stock(&self.keys()), &self.contents(), &self.pulls(also), &policy(cap), at)
    }
}

fn policy(cap: usize) -> MirrorPolicy {
    let days = |days| Window::from_days(days).unwrap();
    MirrorPolicy { window: days(30), grace: days(1), debris_after: days(3), max_manifests: cap, max_blobs: usize::MAX }
}

/// All keys that go.
fn doomed(plan: &MirrorPlan) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut add = |key: MirrorKey<'_>| keys.extend(key.write());
    for repository in &plan.repositories {
        let name = repository.name.as_str();
        repository.revisions.iter().filter(|one| one.verdict.is_delete()).for_each(|one| add(MirrorKey::Revision(name, one.digest)));
        repository.layers.iter().filter(|one| one.verdict.is_delete()).for_each(|one| add(MirrorKey::Layer(name, one.id)));
        for tag in &repository.tags {
            if tag.goes {
                add(MirrorKey::Current(name, &tag.name));
            }
            tag.index_goes.iter().for_each(|digest| add(MirrorKey::Index(name, &tag.name, *digest)));
        }
    }
    plan.doomed_blobs().for_each(|blob| add(MirrorKey::Blob(blob.id)));
    keys
}

/// A registry would serve it there, or something that it does not know here would: who can tell?
#[test]
fn what_a_key_names_that_is_not_understood_stays() {
    let hex = layer(1).hex();
    let named = format!("docker/registry/v2/repositories/Upper/Case/_layers/sha256/{hex}/link");
    for (also, goes) in [("docker/registry/v2/repositories/README".to_owned(), true), (named, false)] {
        let mut stock = MirrorStock::default();
        for key in [MirrorKey::Blob(layer(1)).write().unwrap(), also] {
            stock.add(Entry { key: &key, size: 7, last_modified: now() - TimeDelta::days(90), etag: None, version: None });
        }
        let contents = BTreeMap::new();
        assert_eq!(protected(&stock, &contents).contains(&layer(1)), !goes);
        let plan = plan(stock, &contents, &Pulls::default(), &policy(usize::MAX), now());
        assert_eq!((plan.blobs[0].verdict.is_delete(), plan.unknown.len()), (goes, 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_stays_keeps_all_that_it_refers_to(world in world(), cap in prop_oneof![Just(usize::MAX), 0usize..5]) {
        let plan = world.plan(cap, now(), None);
        let (goes, contents) = (doomed(&plan), world.contents());
        for repository in &plan.repositories {
            for revision in repository.revisions.iter().filter(|one| !one.verdict.is_delete()) {
                prop_assert!(!goes.contains(&MirrorKey::Blob(revision.digest).write().unwrap()));
                let Some(Content::References { all, .. }) = contents.get(&revision.digest) else { continue };
                for part in all {
                    for key in [MirrorKey::Blob(*part), MirrorKey::Revision(&repository.name, *part), MirrorKey::Layer(&repository.name, *part)] {
                        prop_assert!(!goes.contains(&key.write().unwrap()), "{:?} needs {key:?}", revision.digest);
                    }
                }
            }
            for link in repository.layers.iter().filter(|link| !link.verdict.is_delete()) {
                prop_assert!(!goes.contains(&MirrorKey::Blob(link.id).write().unwrap()));
            }
            let is_unclear = repository.revisions.iter().any(|one| matches!(contents[&one.digest], Content::Unclear(_)));
            if is_unclear || world.strange && repository.name == "a" {
                let prefix = format!("docker/registry/v2/repositories/{}/_", repository.name);
                prop_assert!(!goes.iter().any(|key| key.starts_with(&prefix)), "what is not understood keeps its repository");
            }
        }
        prop_assert!(plan.doomed().count() <= cap);
    }

    #[test]
    fn nothing_that_is_young_or_was_pulled_goes(world in world()) {
        let goes = doomed(&world.plan(usize::MAX, now(), None));
        for (key, days) in world.keys() {
            let least = if key.contains("/revisions/") || key.contains("/tags/") { 30 } else { 1 };
            prop_assert!(days > least || !goes.contains(&key), "{key} of {days} days");
        }
        for (name, number, days) in world.pulls.iter().filter(|(.., days)| *days <= 30) {
            let digest = if *number < MANIFESTS { manifest(*number) } else { layer(*number - MANIFESTS) };
            for key in [MirrorKey::Blob(digest), MirrorKey::Revision(NAMES[*name], digest), MirrorKey::Layer(NAMES[*name], digest)] {
                prop_assert!(!goes.contains(&key.write().unwrap()), "{key:?} was pulled {days} days ago");
            }
        }
    }

    #[test]
    fn later_more_goes_and_a_pull_never_makes_anything_go(world in world(), days in 0i64..40, pull in (0usize..2, 0..MANIFESTS + BLOBS, 0i64..70)) {
        let goes = doomed(&world.plan(usize::MAX, now(), None));
        prop_assert!(goes.is_subset(&doomed(&world.plan(usize::MAX, now() + TimeDelta::days(days), None))));
        prop_assert!(doomed(&world.plan(usize::MAX, now(), Some(pull))).is_subset(&goes));
    }

    #[test]
    fn the_order_of_the_listing_is_nothing_and_a_second_run_finds_nothing(world in world(), seed in any::<u64>()) {
        let keys = world.keys();
        let first = world.plan(usize::MAX, now(), None);
        let mut shuffled = keys.clone();
        shuffled.sort_by_key(|(key, _)| key.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)));
        let (contents, pulls) = (world.contents(), world.pulls(None));
        prop_assert_eq!(&plan(world.stock(&shuffled), &contents, &pulls, &policy(usize::MAX), now()), &first);
        let goes = doomed(&first);
        let left: Vec<_> = keys.into_iter().filter(|(key, _)| !goes.contains(key)).collect();
        let second = plan(world.stock(&left), &contents, &pulls, &policy(usize::MAX), now());
        prop_assert_eq!(doomed(&second), BTreeSet::new());
    }
}
