//! Advisory locks between sessions, and their loss.

use std::time::Duration;

use plana_pg::locks::AdvisoryLocks;
use plana_plan::Area;
use plana_testkit::pg::{PgCluster, PgMajor};

use crate::support::{TIMEOUT, superuser};

#[tokio::test]
async fn an_item_is_locked_once_in_this_process_and_in_any_other() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let settings = superuser(cluster, "postgres");
    let ours = AdvisoryLocks::connect(&settings, TIMEOUT).await.expect("a session");
    let theirs = AdvisoryLocks::connect(&settings, TIMEOUT).await.expect("a session");
    let guard = ours.try_lock(Area::Pg, "once").await.expect("an answer").expect("the lock");
    assert!(ours.try_lock(Area::Pg, "once").await.expect("an answer").is_none());
    assert!(theirs.try_lock(Area::Pg, "once").await.expect("an answer").is_none());
    let other = theirs.try_lock(Area::InsurancePg, "once").await.expect("an answer");
    assert!(other.is_some());
    guard.release().await;
    let guard = theirs.try_lock(Area::Pg, "once").await.expect("an answer").expect("the lock");
    drop(guard);
    drop(theirs);
    // Dropped guards give back too, a moment later.
    for attempt in 0.. {
        if ours.try_lock(Area::Pg, "once").await.expect("an answer").is_some() {
            break;
        }
        assert!(attempt < 100, "the lock was not given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_lost_session_tells_whoever_works_under_its_locks() {
    let cluster = PgCluster::start(PgMajor::V16).expect("a server");
    let settings = superuser(&cluster, "postgres").with_application_name("plana-jobs/locks");
    let locks = AdvisoryLocks::connect(&settings, TIMEOUT).await.expect("a session");
    let guard = locks.try_lock(Area::Pg, "lost").await.expect("an answer").expect("the lock");
    assert!(!guard.lost().is_cancelled());
    cluster
        .psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'plana-jobs/locks'")
        .expect("its end");
    // Within the keepalive's time at the latest; nobody needs to ask for a lock.
    tokio::time::timeout(Duration::from_secs(20), guard.lost().cancelled()).await.expect("the loss is told");
    let error = locks.try_lock(Area::Pg, "next").await.expect_err("no session").to_string();
    assert_eq!(error, "lock pg/next: the connection that holds the locks was lost");
    guard.release().await;
}
