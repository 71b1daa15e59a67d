use super::*;
use crate::grid::Look;
use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use std::time::Duration;

fn report(exit: Exit, error: Option<&str>, items: Vec<ItemReport>) -> Report {
    let started_at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    Report {
        job: "pg-dump-to-sos".to_owned(),
        run_id: "20270115T080000Z-0a1b2c".to_owned(),
        host: "pg01".to_owned(),
        dry_run: false,
        resumable: true,
        started_at,
        finished_at: started_at + TimeDelta::milliseconds(192_400),
        exit,
        error: error.map(str::to_owned),
        warnings: Vec::new(),
        items,
        clock_seconds: None,
        extra: None,
    }
}

fn items() -> Vec<ItemReport> {
    vec![
        ItemReport::new(Area::Pg, "acme.planapulse.app", Outcome::Done)
            .field("class", "tenant")
            .field("rows", 1_234_567)
            .sizes(1_500_000, 6_000_000)
            .took(Duration::from_millis(3200))
            .key("pg/acme.planapulse.app/x"),
        ItemReport::failed(Area::Pg, "b\n\u{1b}[31m", "dump b: it broke").field("class", "tenant").warning("its tier is unknown"),
        ItemReport::new(Area::Pg, "c", Outcome::Fresh).field("class", "external").field("rows", Value::Null),
    ]
}

#[test]
fn the_table_lines_up_and_ends_with_what_to_do() {
    let text = render_text(&report(Exit::Partial, None, items()), Look::default());
    let expected = "\
NAME                 CLASS          ROWS     SIZE   STORED   TIME  OUTCOME
acme.planapulse.app  tenant    1,234,567  5.7 MiB  1.4 MiB  3.2 s  done
b\\n\\u{1b}[31m        tenant                                        failed
c                    external                                      fresh

Failed:
  b\\n\\u{1b}[31m: failed to dump b: it broke

Warnings:
  b\\n\\u{1b}[31m: its tier is unknown

1 done, 1 fresh, 1 failed, 1.4 MiB in 3 m 12 s
What is done is committed. Mend what is named above, then run it again with --missing-within 12h: that does only what is missing.";
    assert_eq!(text, expected);
}

#[test]
fn the_table_keeps_within_a_terminal() {
    let narrow = Look { colour: false, width: Some(50) };
    let text = render_text(&report(Exit::Partial, None, items()), narrow);
    let table: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
    assert!(table.len() > 4 && table.iter().all(|line| line.chars().count() <= 50), "{text}");
}

#[test]
fn colour_comes_only_where_it_is_asked_for() {
    let look = |colour| Look { colour, width: None };
    assert!(render_text(&report(Exit::Partial, None, items()), look(true)).contains('\u{1b}'));
    assert!(!render_text(&report(Exit::Partial, None, items()), look(false)).contains('\u{1b}'));
}

#[test]
fn the_last_words_fit_how_it_ended() {
    let last = |exit, error, items| {
        let text = render_text(&report(exit, error, items), Look::default());
        text.split("\n\n").last().unwrap_or_default().to_owned()
    };
    assert_eq!(last(Exit::Done, None, vec![]), "nothing to do in 3 m 12 s");
    assert_eq!(last(Exit::BadConfig, Some("load the configuration: it is wrong"), vec![]), "");
    let done = vec![ItemReport::new(Area::Pg, "a", Outcome::Done)];
    assert_eq!(last(Exit::Refused, Some("delete:\nno"), done.clone()), "1 done in 3 m 12 s, then failed to delete:\n    no");
    assert!(last(Exit::Cancelled(crate::Interrupt::Int), None, done).contains("What is done is committed"));
    let not_resumable = Report { resumable: false, ..report(Exit::Partial, None, items()) };
    assert!(!render_text(&not_resumable, Look::default()).contains("--missing-within"));
}

#[test]
fn areas_are_shown_where_there_are_several() {
    let one = vec![ItemReport::new(Area::Pg, "a", Outcome::Done)];
    let two = vec![ItemReport::new(Area::Pg, "a", Outcome::Done), ItemReport::new(Area::Globals, "cluster", Outcome::Done)];
    assert!(!render_text(&report(Exit::Done, None, one), Look::default()).contains("AREA"));
    assert!(render_text(&report(Exit::Done, None, two), Look::default()).starts_with("AREA     NAME     OUTCOME\npg       a"));
}

#[test]
fn json_is_one_object_with_the_contracts_keys() {
    let text = render_json(&report(Exit::Partial, None, items()), false).unwrap();
    assert!(!text.contains('\n'));
    let whole: Value = serde_json::from_str(&text).unwrap();
    for key in ["schema", "job", "run_id", "started_at", "finished_at", "outcome", "items"] {
        assert!(whole.get(key).is_some(), "{key}");
    }
    assert_eq!(whole["started_at"], "2027-01-15T08:00:00.000Z");
    assert_eq!((&whole["outcome"], &whole["exit_code"]), (&json!("partial"), &json!(3)));
    assert_eq!(whole["totals"]["done"], 1);
    assert_eq!(whole["totals"]["bytes"], 1_500_000);
    let item = &whole["items"][0];
    assert_eq!((&item["name"], &item["outcome"]), (&json!("acme.planapulse.app"), &json!("done")));
    assert_eq!((&item["bytes"], &item["seconds"], &item["rows"]), (&json!(1_500_000), &json!(3.2), &json!(1_234_567)));
    assert_eq!((&whole["items"][1]["name"], &whole["items"][1]["error"]), (&json!("b\n\u{1b}[31m"), &json!("dump b: it broke")));
    assert_eq!(whole["items"][1]["warnings"], json!(["its tier is unknown"]));
}

#[test]
fn a_jobs_field_never_takes_the_place_of_the_contracts() {
    let item = ItemReport::new(Area::Pg, "a", Outcome::Done).field("outcome", "marvellous").field("last proven", "today");
    let text = render_json(&report(Exit::Done, None, vec![item]), true).unwrap();
    let whole: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&whole["items"][0]["outcome"], &whole["items"][0]["last_proven"]), (&json!("done"), &json!("today")));
    assert_eq!(text.matches("marvellous").count(), 0);
}

#[test]
fn bytes_count_only_what_this_run_stored() {
    let fresh = ItemReport::new(Area::Pg, "old", Outcome::Fresh).sizes(7, 70);
    let mut items = items();
    items.push(fresh);
    let totals = report(Exit::Partial, None, items).totals();
    assert_eq!((totals.items, totals.bytes, totals.warnings), (4, 1_500_000, 1));
}
