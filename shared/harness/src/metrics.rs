//! Prometheus: what a run leaves behind for alerts.
//!
//! One file, or some groups of a Pushgateway, hold the series of a job. A run over a part of the names
//! sets its own series and touches no others; only a run over all names drops those of names that are gone.

mod exposition;
mod pushgateway;
mod textfile;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use plana_plan::select::Selection;

use crate::{
    check::{CheckLine, Measured, Verdict},
    exit::Exit,
    report::{Outcome, Report},
};

pub(crate) use pushgateway::{push, reach};
pub(crate) use textfile::write;

const LAST_RUN: &str = "plana_jobs_last_run_timestamp_seconds";
const LAST_SUCCESS: &str = "plana_jobs_last_success_timestamp_seconds";
const LAST_DURATION: &str = "plana_jobs_last_run_duration_seconds";
const LAST_EXIT: &str = "plana_jobs_last_run_exit_code";
const LAST_ITEMS: &str = "plana_jobs_last_run_items";
const NEWEST: &str = "plana_jobs_backup_newest_timestamp_seconds";
const STORED: &str = "plana_jobs_backup_stored_bytes";
const CONTENT: &str = "plana_jobs_backup_content_bytes";
const DURATION: &str = "plana_jobs_backup_duration_seconds";
const FILES: &str = "plana_jobs_filestore_files";
const DAMAGED: &str = "plana_jobs_filestore_damaged_files";
const MISSING: &str = "plana_jobs_filestore_missing_files";
const NOT_WHOLE: &str = "plana_jobs_filestore_not_whole_files";
const RUNWAY: &str = "plana_jobs_partition_runway_seconds";
const MADE: &str = "plana_jobs_partitions_made";
const RETIRED: &str = "plana_jobs_partitions_retired";
const DELETED: &str = "plana_jobs_partition_rows_deleted";
const EXPIRED: &str = "plana_jobs_partitions_expired";
const PROVEN: &str = "plana_jobs_last_proven_restorable_timestamp_seconds";
const RETAINED_NEWEST: &str = "plana_jobs_retention_newest_timestamp_seconds";
const RETAINED_OLDEST: &str = "plana_jobs_retention_oldest_timestamp_seconds";
const FROZEN: &str = "plana_jobs_retention_frozen";
const KEPT: &str = "plana_jobs_retention_kept_bytes";
const FREED: &str = "plana_jobs_retention_freed_bytes";
const CLOCK: &str = "plana_jobs_store_clock_difference_seconds";
const LAST_CHECK: &str = "plana_jobs_last_check_timestamp_seconds";
const CHECK_LINES: &str = "plana_jobs_last_check_lines";
const NEEDLESS: &str = "plana_jobs_key_needless_rights";

/// Every family and what it means. All are gauges.
const FAMILIES: [(&str, &str); 28] = [
    (LAST_RUN, "When the last run finished."),
    (LAST_SUCCESS, "When the last run finished that did all of its work."),
    (LAST_DURATION, "How long the last run took."),
    (LAST_EXIT, "The exit code of the last run."),
    (LAST_ITEMS, "Items of the last run by outcome."),
    (NEWEST, "When the newest committed backup of this name was begun."),
    (STORED, "Stored size of the newest backup that this host made of this name."),
    (CONTENT, "The same before compression and encryption."),
    (DURATION, "How long that backup took."),
    (FILES, "Files in the newest tarball that this host made of this name."),
    (DAMAGED, "Of them, those whose content is not what their name says."),
    (MISSING, "Files that the database named and the store lacked."),
    (NOT_WHOLE, "Files that are not in that tarball as they were."),
    (RUNWAY, "How long inserts of the present go on to find a partition of this table, as of the last run."),
    (MADE, "Partitions of this table that the last run made."),
    (RETIRED, "Partitions of this table that the last run retired: took out of it, whatever becomes of them then."),
    (DELETED, "Rows of this table that the last run deleted by their deployment's own retention."),
    (EXPIRED, "Partitions of this table that have expired and are still there."),
    (PROVEN, "When a backup of this name was last restored and compared with its manifest."),
    (RETAINED_NEWEST, "When the newest backup was begun that the store lists of this name."),
    (RETAINED_OLDEST, "When the oldest backup was begun that the store lists of this name."),
    (FROZEN, "1 while nothing of this name is deleted because no backup is fresh."),
    (KEPT, "What the store keeps of this name."),
    (FREED, "What the last run freed of this name."),
    (CLOCK, "How far this host's clock and the store's were apart at the last run or check."),
    (LAST_CHECK, "When the last check was made that left metrics."),
    (CHECK_LINES, "What that check found, by verdict."),
    (NEEDLESS, "Rights of the store's key that the job never uses, at that check."),
];

/// The name of every family that a job can leave behind: what alerts and dashboards may ask for.
pub fn metric_families() -> impl Iterator<Item = &'static str> {
    FAMILIES.into_iter().map(|(family, _)| family)
}

/// The label that names the job. Not `job`: Prometheus sets that one itself when it scrapes a textfile.
const JOB: &str = "plana_job";

/// A series' labels. A label without a value is left out, as Prometheus has it.
pub(crate) type Labels = BTreeMap<String, String>;

/// Series by family.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metrics(BTreeMap<String, BTreeMap<Labels, f64>>);

impl Metrics {
    fn set(&mut self, family: &str, labels: &Labels, value: f64) {
        self.0.entry(family.to_owned()).or_default().insert(labels.clone(), value);
    }

    fn series(&self) -> impl Iterator<Item = (&String, &Labels, f64)> {
        self.0.iter().flat_map(|(family, series)| series.iter().map(move |(labels, value)| (family, labels, *value)))
    }
}

/// Which part of a job's work a run is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scope {
    /// The share, as `1/4`.
    pub shard: Option<String>,
    /// Whether `--only` or `--exclude` left names out by hand: then it says nothing about the job as such.
    pub by_hand: bool,
}

impl Scope {
    pub(crate) fn of(selection: &Selection) -> Self {
        Scope {
            shard: selection.shard.map(|shard| shard.to_string()),
            by_hand: !(selection.only.is_empty() && selection.exclude.is_empty()),
        }
    }
}

/// What one run changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Update {
    /// The job.
    pub job: String,
    /// The run's share.
    pub shard: Option<String>,
    /// Series to set.
    pub set: Metrics,
    /// After a run over all names: every (area, name) that there is. Series of others go.
    pub all_names: Option<BTreeSet<(String, String)>>,
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What a run changes. `saw_all_names`: the run looked at every name that there is, and got through.
pub(crate) fn update(report: &Report, scope: &Scope, saw_all_names: bool) -> Update {
    let mut set = Metrics::default();
    if !scope.by_hand {
        let of_job = labels(&[(JOB, &report.job), ("shard", scope.shard.as_deref().unwrap_or_default())]);
        let finished = report.finished_at.timestamp() as f64;
        let totals = report.totals();
        set.set(LAST_RUN, &of_job, finished);
        set.set(LAST_DURATION, &of_job, totals.seconds);
        set.set(LAST_EXIT, &of_job, report.exit.code().into());
        if report.exit == Exit::Done {
            set.set(LAST_SUCCESS, &of_job, finished);
        }
        for outcome in Outcome::ALL {
            let mut of_outcome = of_job.clone();
            of_outcome.insert("outcome".to_owned(), outcome.as_str().to_owned());
            set.set(LAST_ITEMS, &of_outcome, totals.of(outcome) as f64);
        }
    }
    if let Some(seconds) = report.clock_seconds {
        // A host has one clock, whichever share it works on.
        set.set(CLOCK, &labels(&[(JOB, &report.job)]), seconds as f64);
    }
    for item in &report.items {
        let of_name = labels(&[(JOB, &report.job), ("area", item.area.as_str()), ("name", &item.name)]);
        if let Some(proven) = item.proven {
            set.set(PROVEN, &of_name, proven.timestamp() as f64);
        }
        if let Some(partitions) = item.partitions.as_deref() {
            set.set(RUNWAY, &of_name, partitions.runway_seconds);
            for (family, count) in
                [(MADE, partitions.made), (RETIRED, partitions.retired), (DELETED, partitions.deleted_rows), (EXPIRED, partitions.expired)]
            {
                set.set(family, &of_name, count as f64);
            }
        }
        if let Some(retained) = &item.retained {
            let stamp = |stamp: Option<plana_plan::Stamp>| stamp.map(|stamp| stamp.instant().timestamp() as f64);
            let measured = [
                (RETAINED_NEWEST, stamp(retained.newest)),
                (RETAINED_OLDEST, stamp(retained.oldest)),
                (FROZEN, Some(f64::from(u8::from(retained.frozen)))),
                (KEPT, Some(retained.kept_bytes as f64)),
                (FREED, Some(retained.freed_bytes as f64)),
            ];
            for (family, value) in measured {
                if let Some(value) = value {
                    set.set(family, &of_name, value);
                }
            }
        }
        // Series of backups are of jobs that make them: a restore of a set says nothing about how it was made.
        if !report.resumable {
            continue;
        }
        if let Some(newest) = item.newest {
            set.set(NEWEST, &of_name, newest.instant().timestamp() as f64);
        }
        if let Some(files) = item.files {
            for (family, count) in [(FILES, files.files), (DAMAGED, files.damaged), (MISSING, files.missing), (NOT_WHOLE, files.not_whole)]
            {
                set.set(family, &of_name, count as f64);
            }
        }
        if item.outcome.is_committed() {
            let measured =
                [(STORED, item.bytes.map(|b| b as f64)), (CONTENT, item.content_bytes.map(|b| b as f64)), (DURATION, item.seconds)];
            for (family, value) in measured {
                if let Some(value) = value {
                    set.set(family, &of_name, value);
                }
            }
        }
    }
    let there = report.items.iter().filter(|item| item.outcome != Outcome::Gone);
    let all_names = saw_all_names.then(|| there.map(|item| (item.area.to_string(), item.name.clone())).collect());
    Update { job: report.job.clone(), shard: scope.shard.clone(), set, all_names }
}

/// What a check changes: nothing of runs.
pub(crate) fn update_of_check(job: &str, at: DateTime<Utc>, lines: &[CheckLine]) -> Update {
    let mut set = Metrics::default();
    let of_job = labels(&[(JOB, job)]);
    set.set(LAST_CHECK, &of_job, at.timestamp() as f64);
    for (word, verdicts) in
        [("ok", &[Verdict::Ok][..]), ("warning", &[Verdict::Warning]), ("problem", &[Verdict::Problem, Verdict::BadConfig])]
    {
        let count = lines.iter().filter(|line| verdicts.contains(&line.verdict)).count();
        set.set(CHECK_LINES, &labels(&[(JOB, job), ("verdict", word)]), count as f64);
    }
    for measured in lines.iter().filter_map(|line| line.measured) {
        match measured {
            Measured::NeedlessRights(count) => set.set(NEEDLESS, &of_job, count as f64),
            Measured::ClockSeconds(seconds) => set.set(CLOCK, &of_job, seconds as f64),
        }
    }
    Update { job: job.to_owned(), shard: None, set, all_names: None }
}

/// The series after a run: what it set, and of the old ones what it says nothing about.
pub(crate) fn merge(old: Metrics, update: &Update) -> Metrics {
    let mut merged = Metrics::default();
    for (family, labels, value) in old.series().filter(|(_, labels, _)| stays(labels, update)) {
        merged.set(family, labels, value);
    }
    for (family, labels, value) in update.set.series() {
        merged.set(family, labels, value);
    }
    merged
}

/// Whether an old series may stay. Only a run over all names makes any go: those of names that are gone,
/// and those of shards, since the job no longer runs in shards.
fn stays(labels: &Labels, update: &Update) -> bool {
    let Some(all_names) = &update.all_names else { return true };
    let value = |name: &str| labels.get(name).cloned().unwrap_or_default();
    if labels.contains_key("name") { all_names.contains(&(value("area"), value("name"))) } else { !labels.contains_key("shard") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ItemReport;
    use plana_plan::{Area, Stamp};

    fn report(exit: Exit, at: i64, items: Vec<ItemReport>) -> Report {
        let at = DateTime::from_timestamp(at, 0).unwrap();
        Report {
            job: "pg-dump-to-sos".to_owned(),
            run_id: "r".to_owned(),
            host: "h".to_owned(),
            dry_run: false,
            resumable: true,
            started_at: at - chrono::TimeDelta::seconds(7),
            finished_at: at,
            exit,
            error: None,
            warnings: Vec::new(),
            clock_seconds: None,
            items,
            extra: None,
        }
    }

    fn done(name: &str, at: i64) -> ItemReport {
        let stamp = Stamp::new(DateTime::from_timestamp(at, 0).unwrap());
        ItemReport::new(Area::Pg, name, Outcome::Done).sizes(10, 100).newest(stamp)
    }

    fn shard(text: &str) -> Scope {
        Scope { shard: Some(text.to_owned()), by_hand: false }
    }

    fn value(metrics: &Metrics, family: &str, pairs: &[(&str, &str)]) -> Option<f64> {
        let mut wanted = labels(pairs);
        wanted.insert(JOB.to_owned(), "pg-dump-to-sos".to_owned());
        metrics.0.get(family)?.get(&wanted).copied()
    }

    fn newest(metrics: &Metrics, name: &str) -> Option<f64> {
        value(metrics, NEWEST, &[("area", "pg"), ("name", name)])
    }

    #[test]
    fn a_full_run_sets_the_job_and_drops_names_that_are_gone() {
        let first =
            merge(Metrics::default(), &update(&report(Exit::Done, 100, vec![done("a", 90), done("b", 91)]), &Scope::default(), true));
        assert_eq!((newest(&first, "a"), newest(&first, "b"), value(&first, LAST_SUCCESS, &[])), (Some(90.0), Some(91.0), Some(100.0)));
        let second = merge(first, &update(&report(Exit::Done, 200, vec![done("a", 190)]), &Scope::default(), true));
        assert_eq!((newest(&second, "a"), newest(&second, "b"), value(&second, LAST_RUN, &[])), (Some(190.0), None, Some(200.0)));
        assert_eq!(value(&second, LAST_ITEMS, &[("outcome", "done")]), Some(1.0));
    }

    #[test]
    fn a_failed_item_keeps_the_series_of_its_last_backup() {
        let first = merge(Metrics::default(), &update(&report(Exit::Done, 100, vec![done("a", 90)]), &Scope::default(), true));
        let failed = vec![ItemReport::failed(Area::Pg, "a", "dump a")];
        let second = merge(first, &update(&report(Exit::Failed, 200, failed), &Scope::default(), true));
        assert_eq!(
            (newest(&second, "a"), value(&second, LAST_SUCCESS, &[]), value(&second, LAST_RUN, &[])),
            (Some(90.0), Some(100.0), Some(200.0))
        );
        assert_eq!(value(&second, LAST_ITEMS, &[("outcome", "failed")]), Some(1.0));
        assert_eq!(value(&second, LAST_ITEMS, &[("outcome", "done")]), Some(0.0));
    }

    #[test]
    fn a_run_that_did_not_see_all_names_drops_nothing() {
        let first =
            merge(Metrics::default(), &update(&report(Exit::Done, 100, vec![done("a", 90), done("b", 91)]), &Scope::default(), true));
        let fatal = merge(first, &update(&report(Exit::Failed, 200, vec![]), &Scope::default(), false));
        assert_eq!((newest(&fatal, "a"), newest(&fatal, "b"), value(&fatal, LAST_EXIT, &[])), (Some(90.0), Some(91.0), Some(1.0)));
    }

    #[test]
    fn a_run_by_hand_speaks_of_its_names_only() {
        let first = merge(Metrics::default(), &update(&report(Exit::Failed, 100, vec![done("a", 90)]), &Scope::default(), true));
        let by_hand = Scope { shard: None, by_hand: true };
        let second = merge(first.clone(), &update(&report(Exit::Done, 200, vec![done("b", 190)]), &by_hand, false));
        assert_eq!((newest(&second, "a"), newest(&second, "b")), (Some(90.0), Some(190.0)));
        for family in [LAST_RUN, LAST_SUCCESS, LAST_EXIT, LAST_DURATION] {
            assert_eq!(value(&second, family, &[]), value(&first, family, &[]), "{family}");
        }
    }

    #[test]
    fn shards_leave_each_other_alone_and_a_full_run_ends_them() {
        let zero = merge(Metrics::default(), &update(&report(Exit::Done, 100, vec![done("a", 90)]), &shard("0/2"), false));
        let both = merge(zero, &update(&report(Exit::Failed, 200, vec![done("b", 190)]), &shard("1/2"), false));
        assert_eq!(value(&both, LAST_SUCCESS, &[("shard", "0/2")]), Some(100.0));
        assert_eq!(value(&both, LAST_SUCCESS, &[("shard", "1/2")]), None);
        assert_eq!((newest(&both, "a"), newest(&both, "b")), (Some(90.0), Some(190.0)));
        let full = merge(both, &update(&report(Exit::Done, 300, vec![done("a", 290), done("b", 290)]), &Scope::default(), true));
        assert_eq!(value(&full, LAST_RUN, &[("shard", "0/2")]), None);
        assert_eq!(value(&full, LAST_RUN, &[]), Some(300.0));
    }

    #[test]
    fn what_is_kept_of_a_name_is_told_also_by_a_job_that_makes_no_backups() {
        let newest = Some(Stamp::new(DateTime::from_timestamp(90, 0).unwrap()));
        let retained = crate::report::Retained { oldest: None, newest, frozen: true, kept_bytes: 7, freed_bytes: 3 };
        let item = ItemReport::new(Area::Pg, "a", Outcome::Done).retained(retained);
        let report = Report { resumable: false, ..report(Exit::Done, 100, vec![item]) };
        let told = merge(Metrics::default(), &update(&report, &Scope::default(), true));
        let of_name = [("area", "pg"), ("name", "a")];
        let values = [RETAINED_NEWEST, RETAINED_OLDEST, FROZEN, KEPT, FREED, NEWEST].map(|family| value(&told, family, &of_name));
        assert_eq!(values, [Some(90.0), None, Some(1.0), Some(7.0), Some(3.0), None]);
    }

    #[test]
    fn a_name_that_is_gone_goes_and_a_fresh_one_stays() {
        let fresh = done("a", 90);
        let fresh = ItemReport { outcome: Outcome::Fresh, bytes: None, ..fresh };
        let gone = ItemReport::new(Area::Pg, "b", Outcome::Gone);
        let old = merge(Metrics::default(), &update(&report(Exit::Done, 50, vec![done("a", 40), done("b", 41)]), &Scope::default(), true));
        let new = merge(old, &update(&report(Exit::Done, 100, vec![fresh, gone]), &Scope::default(), true));
        assert_eq!((newest(&new, "a"), newest(&new, "b")), (Some(90.0), None));
        assert_eq!(value(&new, STORED, &[("area", "pg"), ("name", "a")]), Some(10.0));
    }

    /// A family that nothing sets would make an alert that never fires.
    #[test]
    fn every_family_is_left_behind_by_something() {
        use crate::report::{FileCounts, PartitionCounts, Retained};
        let stamp = Stamp::new(DateTime::from_timestamp(90, 0).unwrap());
        let retained = Retained { oldest: Some(stamp), newest: Some(stamp), ..Retained::default() };
        let item = done("a", 90)
            .took(std::time::Duration::from_secs(1))
            .proven(DateTime::from_timestamp(95, 0).unwrap())
            .files(FileCounts::default())
            .partitions(PartitionCounts::default())
            .retained(retained);
        let run = Report { clock_seconds: Some(3), ..report(Exit::Done, 100, vec![item]) };
        let lines = [CheckLine::warning("store rights", "a", "b").measured(Measured::NeedlessRights(1))];
        let at = DateTime::from_timestamp(200, 0).unwrap();
        let all = merge(merge(Metrics::default(), &update(&run, &Scope::default(), true)), &update_of_check("pg-dump-to-sos", at, &lines));
        let missing: Vec<&str> = metric_families().filter(|family| !all.0.contains_key(*family)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(Metrics::parse(&all.render()), all);
    }

    #[test]
    fn a_check_tells_what_it_found_and_touches_no_run() {
        let run = Report { clock_seconds: Some(3), ..report(Exit::Done, 100, vec![done("a", 90)]) };
        let before = merge(Metrics::default(), &update(&run, &Scope::default(), true));
        let lines = [
            CheckLine::ok("clock", "400 s").measured(Measured::ClockSeconds(400)),
            CheckLine::warning("store rights", "a", "b").measured(Measured::NeedlessRights(2)),
            CheckLine::problem("server", "a", "b"),
            CheckLine::bad_config("store", "a", "b"),
        ];
        let after = merge(before, &update_of_check("pg-dump-to-sos", DateTime::from_timestamp(200, 0).unwrap(), &lines));
        assert_eq!((value(&after, NEEDLESS, &[]), value(&after, CLOCK, &[])), (Some(2.0), Some(400.0)));
        let counted = ["ok", "warning", "problem"].map(|verdict| value(&after, CHECK_LINES, &[("verdict", verdict)]));
        assert_eq!((counted, value(&after, LAST_CHECK, &[])), ([Some(1.0), Some(1.0), Some(2.0)], Some(200.0)));
        assert_eq!((value(&after, LAST_RUN, &[]), newest(&after, "a")), (Some(100.0), Some(90.0)));
        // A check that could not tell leaves what was known; a run tells of its clock and of no rights.
        let silent = merge(after, &update_of_check("pg-dump-to-sos", DateTime::from_timestamp(300, 0).unwrap(), &[]));
        assert_eq!((value(&silent, NEEDLESS, &[]), value(&silent, LAST_CHECK, &[])), (Some(2.0), Some(300.0)));
        let by_hand = Scope { shard: None, by_hand: true };
        let run = merge(silent, &update(&run, &by_hand, false));
        assert_eq!((value(&run, CLOCK, &[]), value(&run, LAST_CHECK, &[])), (Some(3.0), Some(300.0)));
    }
}
