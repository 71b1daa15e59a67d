//! What happens between a plan and its deletions, and deletions that fail: in memory, at every moment.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use plana_plan::retention::{Keys, Plan, Policy, Times, plan};
use plana_storage::{
    DynStore, FaultyStore, MemoryStore, PutMode, StoreError,
    faulty::{Call, Fault, Harm},
    listing,
};
use retention_pruner::{Applied, Mode, Pruner, list_all};
use tokio_util::sync::CancellationToken;

use crate::keys;

struct Case {
    store: DynStore,
    faulty: FaultyStore,
    pruner: Pruner,
}

/// A hundred days from now, as if backups went on.
fn later() -> Times {
    let now = Utc::now();
    Times::as_of(now + TimeDelta::days(100), now)
}

fn policy() -> Policy {
    let days = |days| plana_plan::window::Window::from_days(days).unwrap();
    Policy {
        windows: plana_plan::expiry::Windows::new([("starter".parse().unwrap(), days(30))]),
        floor: 1,
        freeze_after: days(7),
        debris_after: days(3),
        max_sets: usize::MAX,
        keep: Default::default(),
        tiers: Default::default(),
        retired: Default::default(),
        lowered_tiers: false,
    }
}

fn begun(number: u32) -> DateTime<Utc> {
    Utc::now() - TimeDelta::hours(number.into()) - TimeDelta::minutes(1)
}

impl Case {
    /// So many sets of a name; all but the newest may go.
    async fn new(sets: u32) -> Self {
        let store: DynStore = Arc::new(MemoryStore::default());
        for number in 0..sets {
            for key in keys("pg", "acme", "starter", begun(number), number) {
                store.put(&key, Bytes::from_static(b"0123456789"), PutMode::IfAbsent).await.unwrap();
            }
        }
        let faulty = FaultyStore::new(Arc::clone(&store));
        let pruner = Pruner { store: Arc::new(faulty.clone()), mode: Mode::Objects, is_versioned: false, keys: Keys::default() };
        Case { store, faulty, pruner }
    }

    async fn plan(&self) -> Plan {
        plan(list_all(&*self.store, Mode::Objects, Keys::default(), 0).await.unwrap().stock, &policy(), later())
    }

    async fn apply(&self, plan: &Plan) -> Applied {
        self.pruner.apply(&plan.groups[0], &CancellationToken::new()).await
    }

    async fn keys(&self) -> Vec<String> {
        use futures::TryStreamExt as _;
        listing::objects(&*self.store, "").map_ok(|object| object.key).try_collect().await.unwrap()
    }

    async fn put(&self, key: &str) {
        self.store.put(key, Bytes::from_static(b"new"), PutMode::Overwrite).await.unwrap();
    }
}

#[tokio::test]
async fn what_arrives_between_plan_and_deletion_keeps_its_set() {
    for (number, file) in [(1, "hold"), (2, "manifest.json"), (3, "notes.txt")] {
        let case = Case::new(5).await;
        let plan = case.plan().await;
        let of_set = case.keys().await.into_iter().find(|key| key.contains(&format!(".{number:08x}/"))).unwrap();
        let set = of_set.rsplit_once('/').unwrap().0;
        case.put(&format!("{set}/{file}")).await;
        let applied = case.apply(&plan).await;
        assert_eq!((applied.deleted, applied.changed.as_slice(), applied.failed), (3, &[set.to_owned()][..], 0), "{file}");
        assert!(case.keys().await.iter().any(|key| key.starts_with(set) && key.ends_with(".zst")), "{file}");
    }
}

#[tokio::test]
async fn what_is_gone_when_its_turn_comes_is_gone() {
    let case = Case::new(5).await;
    let plan = case.plan().await;
    let first = case.apply(&plan).await;
    assert_eq!((first.deleted, first.gone, first.objects, first.freed_bytes), (4, 0, 8, 80));
    let second = case.apply(&plan).await;
    assert_eq!((second.deleted, second.gone, second.failed), (0, 4, 0));
    assert_eq!(case.keys().await.len(), 2, "the newest stays");
}

#[tokio::test]
async fn deletions_that_fail_are_counted_and_leave_no_half_backup() {
    let denied = Harm::Fail(StoreError::AccessDenied);
    let lost = Harm::FailAfterwards(StoreError::Connection);
    for (nth, harm, failed, committed) in [(1, denied, 4, 5), (2, denied, 4, 1), (1, lost, 4, 1), (2, lost, 4, 1)] {
        let case = Case::new(5).await;
        let plan = case.plan().await;
        case.faulty.inject(Fault::on(Call::Delete, harm).nth(nth));
        let applied = case.apply(&plan).await;
        assert_eq!((applied.deleted, applied.failed), (0, failed), "call {nth}, {harm:?}");
        assert!(applied.error().unwrap().starts_with("delete 4 objects: failed to delete memory://test/pg/acme/"), "{applied:?}");
        let left = case.plan().await;
        assert_eq!(left.committed(), committed);
        // The next run has nothing to fear from it.
        case.faulty.heal();
        case.apply(&left).await;
        assert_eq!(case.plan().await.doomed().count(), 0);
        assert_eq!(case.keys().await.len(), 2);
    }
}

#[tokio::test]
async fn a_listing_that_fails_deletes_nothing() {
    let case = Case::new(5).await;
    let plan = case.plan().await;
    case.faulty.inject(Fault::on(Call::List, Harm::Fail(StoreError::Unavailable)));
    let applied = case.apply(&plan).await;
    assert_eq!((applied.deleted, applied.failed, case.keys().await.len()), (0, 8, 10));
    let half = list_all(&case.faulty, Mode::Objects, Keys::default(), 0).await;
    assert!(matches!(half, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_locked_object_is_reported_and_no_failure() {
    let case = Case::new(3).await;
    let plan = case.plan().await;
    case.faulty.inject(Fault::on(Call::Delete, Harm::Fail(StoreError::Locked)).nth(1));
    let applied = case.apply(&plan).await;
    assert_eq!((applied.deleted, applied.failed, applied.locked, case.faulty.calls(Call::Delete)), (0, 0, 2, 1), "no second try");
}

#[tokio::test]
async fn a_cancelled_run_stops_before_the_next_sets() {
    let case = Case::new(5).await;
    let plan = case.plan().await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let applied = case.pruner.apply(&plan.groups[0], &cancel).await;
    assert!(applied.cancelled && case.keys().await.len() == 10);
}

/// A run that is killed at any request leaves no manifest without its payload.
#[tokio::test]
async fn a_kill_leaves_debris_and_never_half_a_backup() {
    for nth in 1..12 {
        // More sets than are deleted together.
        let case = Case::new(700).await;
        let plan = case.plan().await;
        case.faulty.inject(Fault::on(Call::Delete, Harm::Fail(StoreError::Connection)).from(nth));
        case.apply(&plan).await;
        let left = list_all(&*case.store, Mode::Objects, Keys::default(), 0).await.unwrap().stock;
        for facts in left.groups.values().flat_map(|sets| sets.values()) {
            assert!(facts.presence.payload || !facts.presence.manifest, "after {nth} deletions");
        }
    }
}
