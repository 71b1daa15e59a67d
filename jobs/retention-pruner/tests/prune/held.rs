//! What is held, and what arrives between a plan and its deletions, on a Ceph gateway with the keys of the contract; and who is
//! told of an alarm.

use std::time::Duration;

use plana_testkit::{
    ceph::{Gateway, User},
    job::{Outcome, expect_words},
    proxy::{Action, Op, Rule},
    redis::RedisServer,
};

use crate::{
    gateway::{age, aged, nights},
    job, nights as files,
};

#[test]
fn a_set_is_held_by_a_key_that_puts_and_released_by_the_pruners() {
    let (job, s3) = aged(Gateway::shared().bucket("prune-held").unwrap());
    let sets = nights(&s3.bucket, "acme.app", &[60, 50, 2, 1, 0]);
    let there = |set: &str| s3.bucket.keys().unwrap().iter().any(|key| key.starts_with(&format!("backups/{set}/")));
    // The pruner's own key may not put.
    let refused = job.clone().args(["hold", &sets[0]]).run();
    assert_eq!(refused.done.code(), Some(10), "{}", refused.done.stderr);
    let putting = job.clone().envs(s3.bucket.env(User::Backup)).env("AWS_ENDPOINT_URL_S3", s3.proxy.endpoint());
    putting.args(["hold", &sets[0]]).run().expect(0);
    job.run().expect(0);
    assert!(there(&sets[0]) && !there(&sets[1]));
    job.clone().args(["release", &sets[0]]).run().expect(0);
    job.run().expect(0);
    assert!(!there(&sets[0]) && there(&sets[2]));
}

#[test]
fn a_hold_and_an_object_that_arrive_after_the_plan_keep_their_sets() {
    let (job, s3) = aged(Gateway::shared().bucket("prune-meanwhile").unwrap());
    let sets = nights(&s3.bucket, "acme.app", &[60, 50, 40, 2, 1, 0]);
    // Uploads are listed beside the objects: while that takes its time, all sets are known.
    s3.proxy.clear();
    s3.proxy.add(Rule::on(Op::ListUploads, Action::Delay(Duration::from_secs(4))));
    for op in [Op::List, Op::ListVersions] {
        s3.proxy.add(Rule::on(op, Action::rewrite(age)));
    }
    let listed = || s3.proxy.count(Op::List) + s3.proxy.count(Op::ListVersions);
    let mut running = job.spawn();
    running.wait_until("uploads are listed", |_| s3.proxy.count(Op::ListUploads) > 0).unwrap();
    let mut before = listed();
    running
        .wait_until("all else is listed", |_| {
            std::thread::sleep(Duration::from_millis(500));
            std::mem::replace(&mut before, listed()) == listed()
        })
        .unwrap();
    s3.bucket.put(&format!("backups/{}/hold", sets[0]), "").unwrap();
    s3.bucket.put(&format!("backups/{}/notes.txt", sets[1]), "mine").unwrap();
    let done = Outcome::wait(running).expect(0);
    assert_eq!(done.item("acme.app")["deleted"], 1, "{}", done.done.stderr);
    let keys = s3.bucket.keys().unwrap();
    let left = |set: &str| keys.iter().filter(|key| key.starts_with(&format!("backups/{set}/"))).count();
    assert_eq!((left(&sets[0]), left(&sets[1]), left(&sets[2])), (3, 3, 0), "{keys:?}");
    expect_words(&done.done.stderr, &[&sets[0], &sets[1]]);
}

#[test]
fn an_alarm_is_an_event() {
    let redis = RedisServer::start().unwrap();
    let job = job().set("events.url", &redis.url());
    files(&job, "stale.app", "starter", [90, 80, 70]);
    job.run().expect(0);
    let events = redis.cli(&["XRANGE", "PLANA:events", "-", "+"]).unwrap();
    expect_words(&events, &["app.plana.jobs.retention.alarm", "\"alarm\":\"frozen\"", "stale.app", "run.finished"]);
    files(&job, "stale.app", "starter", [0]);
    redis.cli(&["DEL", "PLANA:events"]).unwrap();
    job.run().expect(0);
    let events = redis.cli(&["XRANGE", "PLANA:events", "-", "+"]).unwrap();
    assert!(events.contains("run.finished") && !events.contains("retention.alarm"), "{events}");
}
