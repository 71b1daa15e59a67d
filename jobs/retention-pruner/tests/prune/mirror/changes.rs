//! What happens between a plan and its deletions, and deletions that fail: in memory, at every moment.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use plana_plan::{
    mirror::{
        Content, Digest, MirrorPlan, MirrorPolicy, Pulls, plan,
        pulls::{Line, Pulled},
    },
    window::Window,
};
use plana_storage::{
    DynStore, FaultyStore, MemoryStore, PutMode, StoreError,
    faulty::{Call, Fault, Harm},
    listing,
};
use retention_pruner::{Applied, MirrorPruner, Mode, list_registry, read_all};
use tokio_util::sync::CancellationToken;

use super::{REPOSITORIES, Tree, blob, digest};

/// What nobody pulls, as an index under a tag, with a push that nobody finished; and what somebody does.
struct Case {
    store: DynStore,
    faulty: FaultyStore,
    pruner: MirrorPruner,
    tree: Tree,
    /// The index, and its images.
    old: [String; 3],
}

/// A hundred days from now.
fn later() -> DateTime<Utc> {
    Utc::now() + TimeDelta::days(100)
}

fn revision(hex: &str) -> String {
    format!("{REPOSITORIES}/library/nginx/_manifests/revisions/sha256/{hex}/link")
}

fn layer(hex: &str) -> String {
    format!("{REPOSITORIES}/library/nginx/_layers/sha256/{hex}/link")
}

const TAG: &str = "docker/registry/v2/repositories/library/nginx/_manifests/tags/1.0";
const PUSH: &str = "docker/registry/v2/repositories/library/nginx/_uploads/abc/data";
/// A layer of the first image of the old index, and of no other.
const LAYER: &str = "layer of library/nginx 1.0 amd64";

impl Case {
    async fn new() -> Self {
        let mut tree = Tree::default();
        let old = tree.index("library/nginx", "1.0", 0);
        tree.index("library/nginx", "1.27", 0);
        tree.image("library/redis", "redis", 0);
        tree.put(PUSH.to_owned(), "half", 0);
        let store: DynStore = Arc::new(MemoryStore::default());
        let faulty = FaultyStore::new(Arc::clone(&store));
        let pruner = MirrorPruner { store: Arc::new(faulty.clone()), mode: Mode::Objects, is_versioned: false };
        let case = Case { store, faulty, pruner, tree, old };
        for (key, content) in case.tree.objects() {
            case.put(&key, &content).await;
        }
        case
    }

    async fn put(&self, key: &str, content: &str) {
        self.store.put(key, Bytes::from(content.to_owned()), PutMode::Overwrite).await.unwrap();
    }

    /// Stores what is there once more, as it is.
    async fn put_again(&self, key: &str) {
        let (_, content) = self.tree.objects().into_iter().find(|(one, _)| one == key).unwrap();
        self.put(key, &content).await;
    }

    async fn plan(&self) -> (MirrorPlan, BTreeMap<Digest, Content>) {
        let mut stock = list_registry(&*self.store, Mode::Objects).await.unwrap().stock;
        let contents = read_all(&*self.store, &mut stock).await.unwrap();
        let days = |days| Window::from_days(days).unwrap();
        let (at, many) = (later(), usize::MAX);
        let policy = MirrorPolicy { window: days(30), grace: days(1), debris_after: days(3), max_manifests: many, max_blobs: many };
        let mut pulls = Pulls::default();
        pulls.add(Line::Pull(at - TimeDelta::days(5), Pulled::Tag("library/nginx".into(), "1.27".into())));
        (plan(stock, &contents, &pulls, &policy, at), contents)
    }

    /// What became of each repository, and at last of the blobs.
    async fn apply(&self, (plan, mut contents): (MirrorPlan, BTreeMap<Digest, Content>)) -> Vec<Applied> {
        let (cancel, mut applied) = (CancellationToken::new(), Vec::new());
        for repository in &plan.repositories {
            applied.push(self.pruner.apply(repository, &contents, &cancel).await.of);
        }
        let doomed: Vec<_> = plan.doomed_blobs().collect();
        applied.push(self.pruner.delete_blobs(&doomed, &mut contents, &cancel).await);
        applied
    }

    async fn keys(&self) -> Vec<String> {
        listing::objects(&*self.store, "").map_ok(|object| object.key).try_collect().await.unwrap()
    }

    async fn has(&self, key: &str) -> bool {
        self.keys().await.iter().any(|one| one == key)
    }

    /// What a run leaves that nothing disturbs.
    async fn undisturbed() -> Vec<String> {
        let case = Case::new().await;
        let applied = case.apply(case.plan().await).await;
        assert_eq!(applied.iter().map(|of| of.deleted).collect::<Vec<_>>(), [3, 1, 7 + 3]);
        let keys = case.keys().await;
        case.tree.expect_whole(&keys);
        keys
    }

    /// Whatever happened to a run, it left what is whole, and the next one does the rest.
    async fn expect_good_and_finish(&self, undisturbed: &[String]) {
        self.tree.expect_whole(&self.keys().await);
        self.faulty.heal();
        let next = self.apply(self.plan().await).await;
        assert!(next.iter().all(|of| of.failed == 0 && of.changed.is_empty()), "{next:?}");
        assert_eq!(self.keys().await, undisturbed);
        let last = self.apply(self.plan().await).await;
        assert!(last.iter().all(|of| *of == Applied::default()), "{last:?}");
    }
}

#[tokio::test]
async fn a_run_that_ends_at_any_request_leaves_what_is_whole() {
    let undisturbed = Case::undisturbed().await;
    let harms = [Harm::Fail(StoreError::Connection), Harm::FailAfterwards(StoreError::Connection)];
    for (number, harm) in harms.into_iter().enumerate() {
        for nth in 1.. {
            let case = Case::new().await;
            let fault = Fault::on(Call::Delete, harm);
            // Killed, or an answer lost on its way.
            case.faulty.inject(if number == 0 { fault.from(nth) } else { fault.nth(nth) });
            let applied = case.apply(case.plan().await).await;
            if case.faulty.calls(Call::Delete) < nth {
                assert!(nth > 10, "{nth} requests are not all");
                break;
            }
            assert!(applied.iter().any(|of| of.failed > 0), "{applied:?}");
            case.expect_good_and_finish(&undisturbed).await;
        }
    }
}

#[tokio::test]
async fn what_is_refused_of_a_batch_is_counted_and_keeps_what_it_needs() {
    let undisturbed = Case::undisturbed().await;
    let Case { old: [index, amd, _], .. } = Case::new().await;
    // What is refused, and how many manifests go of the repository, and blobs.
    for (key, manifests, blobs) in [
        (revision(&index), 0, 3),
        (revision(&amd), 2, 10 - 3),
        (format!("{TAG}/current/link"), 0, 3),
        (format!("{TAG}/index/"), 0, 3),
        (layer(&digest(LAYER)), 3, 10 - 1),
        (blob(&digest(LAYER)), 3, 10 - 1),
    ] {
        let case = Case::new().await;
        case.faulty.deny(&key, StoreError::AccessDenied);
        let applied = case.apply(case.plan().await).await;
        assert_eq!((applied[0].deleted, applied[2].deleted), (manifests, blobs), "{key}: {applied:?}");
        let failed: Vec<u64> = applied.iter().map(|of| of.failed).collect();
        assert_eq!(failed, if key.contains("/blobs/") { [0, 0, 1] } else { [1, 0, 0] }, "{key}");
        let error = applied.iter().find_map(Applied::error).unwrap();
        assert!(error.starts_with("delete 1 objects: failed to delete memory://test/") && error.contains(&key), "{error}");
        assert!(case.keys().await.iter().any(|one| one.contains(&key)));
        case.expect_good_and_finish(&undisturbed).await;
    }
}

#[tokio::test]
async fn a_listing_that_breaks_deletes_nothing_that_it_would_have_shown() {
    let undisturbed = Case::undisturbed().await;
    for nth in 1.. {
        let case = Case::new().await;
        case.faulty.inject(Fault::on(Call::List, Harm::Fail(StoreError::Unavailable)).nth(nth));
        let applied = case.apply(case.plan().await).await;
        if case.faulty.calls(Call::List) < nth {
            assert!(nth > 10, "{nth} listings are not all");
            break;
        }
        assert!(applied.iter().any(|of| of.failed > 0), "listing {nth}: {applied:?}");
        case.expect_good_and_finish(&undisturbed).await;
    }
    // Of the manifests none is read that came meanwhile: then no blob goes.
    let case = Case::new().await;
    let planned = case.plan().await;
    let pushed = digest("{}");
    case.put(&revision(&pushed), "x").await;
    case.faulty.inject(Fault::on(Call::Get, Harm::Fail(StoreError::Unavailable)));
    let applied = case.apply(planned).await;
    assert_eq!((applied[2].deleted, applied[2].failed), (0, 10), "{applied:?}");
}

#[tokio::test]
async fn what_is_put_again_or_comes_after_the_plan_is_left_to_the_next_run() {
    let Case { old, .. } = Case::new().await;
    let new_tag = format!("{REPOSITORIES}/library/nginx/_manifests/tags/stable/current/link");
    for key in [revision(&old[1]), format!("{TAG}/current/link"), format!("{TAG}/index/sha256/{}/link", old[0]), new_tag.clone()] {
        let case = Case::new().await;
        let planned = case.plan().await;
        if key == new_tag {
            case.put(&key, &format!("sha256:{}", old[0])).await
        } else {
            case.put_again(&key).await
        }
        let applied = case.apply(planned).await;
        assert_eq!((applied[0].deleted, applied[0].changed.as_slice()), (0, &["library/nginx".to_owned()][..]), "{key}");
        assert_eq!((applied[0].failed, applied[0].swept, applied[1].deleted), (0, 1, 1), "{key}: the push goes, and so do others");
        let keys = case.keys().await;
        let lost = case.tree.objects().into_iter().filter(|(key, _)| key.contains("nginx") && !keys.contains(key));
        assert_eq!(lost.map(|(key, _)| key).collect::<Vec<_>>(), [PUSH], "{key}");
        case.tree.expect_whole(&keys);
    }
}

#[tokio::test]
async fn a_layer_a_blob_and_a_push_that_change_after_the_plan_stay() {
    let hex = digest(LAYER);
    for (key, swept, staying) in
        [(layer(&hex), 1, vec![layer(&hex), blob(&hex)]), (blob(&hex), 1, vec![blob(&hex)]), (PUSH.to_owned(), 0, vec![PUSH.to_owned()])]
    {
        let case = Case::new().await;
        let planned = case.plan().await;
        case.put_again(&key).await;
        let applied = case.apply(planned).await;
        assert_eq!((applied[0].deleted, applied[0].swept), (3, swept), "{key}: {applied:?}");
        for stays in staying {
            assert!(case.has(&stays).await, "{stays} stays");
        }
        assert_eq!(case.has(&layer(&hex)).await, key == layer(&hex), "{key}");
        let named = if key == PUSH { Vec::new() } else { vec![format!("sha256:{hex}")] };
        assert_eq!((&applied[2].changed, applied[2].failed), (&named, 0), "{key}");
    }
}

#[tokio::test]
async fn what_another_run_has_deleted_is_gone_and_no_failure() {
    let case = Case::new().await;
    let planned = case.plan().await;
    case.apply((planned.0.clone(), planned.1.clone())).await;
    let keys = case.keys().await;
    let second = case.apply(planned).await;
    assert_eq!(second.iter().map(|of| (of.deleted, of.gone, of.failed)).collect::<Vec<_>>(), [(0, 3, 0), (0, 1, 0), (0, 10, 0)]);
    assert_eq!(case.keys().await, keys);
}
