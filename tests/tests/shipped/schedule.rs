//! One day, told three times: by systemd's timers, by the CronJobs, and by the table that people read.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    rendered::{self, command},
    root, text,
};

/// The commands of a day, with the minute after midnight (UTC) at which each begins.
type Day = BTreeMap<String, u32>;

/// What a command does, without what differs from one place to another: where logs are read, and how many a drill takes.
fn work(words: &[&str]) -> String {
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--log-format" | "--sample" => drop(words.next()),
            word => kept.push(word),
        }
    }
    kept.join(" ")
}

/// `2`, `5` of the hours and minutes of a time such as `02:05`.
fn minute_of_day(hour: &str, minute: &str) -> u32 {
    hour.parse::<u32>().expect("an hour") * 60 + minute.parse::<u32>().expect("a minute")
}

/// The setting's value in a unit, which has it once.
fn setting<'a>(unit: &'a str, name: &str) -> &'a str {
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("no {name}= in {unit}"));
    assert_eq!(values.next(), None, "{name}= stands twice in {unit}");
    value
}

/// The units that have a timer: the name, and the texts of the service and the timer.
fn units() -> Vec<(String, String, String)> {
    let names = std::fs::read_dir(root().join("systemd")).expect("systemd/").map(|entry| entry.expect("an entry").file_name());
    let names = names.filter_map(|name| Some(name.to_str()?.strip_suffix(".timer")?.to_owned()));
    let read = |name: String| {
        let (service, timer) = (text(&format!("systemd/{name}.service")), text(&format!("systemd/{name}.timer")));
        (name, service, timer)
    };
    names.map(read).collect()
}

fn of_units() -> Day {
    let entry = |(name, service, timer): (String, String, String)| {
        let when = setting(&timer, "OnCalendar");
        let (hour, minute) = when
            .strip_prefix("*-*-* ")
            .and_then(|rest| rest.strip_suffix(":00 UTC"))
            .and_then(|time| time.split_once(':'))
            .unwrap_or_else(|| panic!("{name}: daily, in UTC, not {when}"));
        let words: Vec<&str> = setting(&service, "ExecStart").strip_prefix("/usr/bin/").expect("a job").split(' ').collect();
        (work(&words), minute_of_day(hour, minute))
    };
    units().into_iter().map(entry).collect()
}

fn of_cron_jobs(overlay: &str) -> Day {
    let entry = |(name, cron): (&str, &Value)| {
        let spec = &cron["spec"];
        assert_eq!(spec["timeZone"], "Etc/UTC", "{name}");
        let schedule = spec["schedule"].as_str().expect("a schedule");
        let fields: Vec<&str> = schedule.split(' ').collect();
        assert_eq!((fields.len(), &fields[2..]), (5, &["*", "*", "*"][..]), "{name}: daily, not {schedule}");
        (work(&command(&spec["jobTemplate"]["spec"]["template"]["spec"])), minute_of_day(fields[1], fields[0]))
    };
    rendered::of(overlay).kind("CronJob").map(entry).collect()
}

#[test]
fn timers_and_cron_jobs_do_the_same_at_the_same_times() {
    let units = of_units();
    assert!(units.len() >= 15, "{units:?}");
    for overlay in ["overlays/example", "overlays/plana"] {
        assert_eq!(of_cron_jobs(overlay), units, "{overlay} (left) and systemd (right)");
    }
}

/// The table in systemd's README: the unit, when, with which credentials, and what it runs.
#[test]
fn the_table_says_what_the_units_do() {
    let told = text("systemd/README.md");
    let mut expected: Vec<(u32, String)> = Vec::new();
    for (name, service, timer) in units() {
        let (hour, minute) = setting(&timer, "OnCalendar")[6..11].split_once(':').expect("a time");
        let call = setting(&service, "ExecStart").trim_start_matches("/usr/bin/").trim_end_matches(" --log-format text");
        let purpose = setting(&service, "LoadCredential").rsplit('/').next().expect("a purpose");
        expected.push((minute_of_day(hour, minute), format!("| `{name}` | {hour}:{minute} | `{purpose}` | `{call}` |")));
    }
    expected.sort_by_key(|(minute, _)| *minute);
    let rows: Vec<&str> =
        told.lines().filter(|line| line.starts_with("| `") && line.contains(':') && line.matches('|').count() == 5).collect();
    assert_eq!(rows, expected.iter().map(|(_, row)| row.as_str()).collect::<Vec<_>>());
}

#[test]
fn databases_come_before_files_and_files_before_the_pruner() {
    let order = [
        "pg-dump-to-sos --missing-within 12h",
        "filestore-tarball --missing-within 12h",
        "partition-roller",
        "retention-pruner",
        "restore-from-sos drill",
        "restore-from-sos drill --area filestore",
    ];
    for (place, day) in [("systemd", of_units()), ("overlays/example", of_cron_jobs("overlays/example"))] {
        let times = order.map(|work| *day.get(work).unwrap_or_else(|| panic!("{place} lacks {work}")));
        assert!(times.is_sorted_by(|one, next| one + 60 <= *next), "{place}: {times:?}");
    }
    // Shards are other commands at the same times.
    let times = |overlay: &str| -> BTreeMap<String, Value> {
        rendered::of(overlay).kind("CronJob").map(|(name, cron)| (name.to_owned(), cron["spec"]["schedule"].clone())).collect()
    };
    assert_eq!(times("overlays/scale-out"), times("overlays/plana"));
}

/// Whatever works with a key is checked daily with that key, before the day's work: else nobody would learn that it may do too much.
#[test]
fn every_key_is_looked_at_before_the_night() {
    let day = of_units();
    for (work, begins) in day.iter().filter(|(work, _)| !work.contains("check")) {
        let words: Vec<&str> = work.split(' ').collect();
        let job: Vec<&str> = words
            .iter()
            .enumerate()
            .filter(|(at, word)| *at == 0 || ["--templates", "mirror"].contains(word))
            .map(|(_, word)| *word)
            .collect();
        let check = format!("{} check --metrics", job.join(" "));
        assert!(day.get(&check).is_some_and(|checked| checked < begins), "nobody runs `{check}` before `{work}`");
    }
    // With the credentials of the work itself.
    let purposes = |checks: bool| {
        let of = units().into_iter().filter(move |(name, ..)| name.ends_with("-check") == checks);
        of.map(|(_, service, _)| setting(&service, "LoadCredential").to_owned()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(purposes(true), purposes(false));
}
