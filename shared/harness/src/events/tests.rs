use super::*;
use crate::report::{ItemReport, Outcome};
use chrono::DateTime;
use plana_plan::Area;

fn origin() -> Origin {
    Origin { job: "pg-dump-to-sos".to_owned(), host: "pg 01".to_owned(), run_id: "20270115T080000Z-0a1b2c".to_owned() }
}

#[test]
fn an_event_is_a_cloud_event() {
    let item = ItemReport::failed(Area::Pg, "a/b", "dump a/b: it broke");
    let at = DateTime::from_timestamp_millis(1_800_000_000_250).unwrap();
    let event = origin().cloud_event(&item_failed(&item), 3, at);
    let expected = json!({
        "specversion": "1.0",
        "id": "20270115T080000Z-0a1b2c-3",
        "source": "/plana-jobs/pg%2001/pg-dump-to-sos",
        "type": "app.plana.jobs.item.failed",
        "subject": "pg/a%2Fb",
        "time": "2027-01-15T08:00:00.250Z",
        "datacontenttype": "application/json",
        "data": {
            "job": "pg-dump-to-sos", "run_id": "20270115T080000Z-0a1b2c",
            "area": "pg", "name": "a/b", "error": "dump a/b: it broke",
        },
    });
    assert_eq!(event, expected);
}

#[test]
fn an_event_of_the_run_has_no_subject() {
    let event = origin().cloud_event(&run_started("1.2.3"), 1, Utc::now());
    assert!(event.get("subject").is_none());
    assert_eq!(event["data"]["version"], "1.2.3");
}

#[test]
fn a_committed_backup_says_what_it_is() {
    let item = ItemReport::new(Area::Pg, "a", Outcome::Done).sizes(1, 2).key("pg/a/x");
    let event = item_committed(&item);
    assert_eq!((event.kind, event.subject.as_deref()), ("backup.committed", Some("pg/a")));
    assert_eq!((&event.data["bytes"], &event.data["key"]), (&json!(1), &json!("pg/a/x")));
}
