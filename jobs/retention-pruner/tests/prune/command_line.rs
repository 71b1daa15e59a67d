//! Usage, help, and the preflight.

use plana_testkit::job::{Job, expect_words};

use crate::{job, nights, text};

#[test]
fn the_help_names_every_way_past_a_guard_and_the_exit_codes() {
    let help = job().arg("--help").run().done.expect_code(0);
    expect_words(&help.stdout, &["--accept-shrink", "--lowered-tiers", "--explain", "--as-of", "retire", "hold", "release", "20  refused"]);
}

#[test]
fn wrong_arguments_are_usage_errors() {
    for args in [
        &["--as-of", "yesterday"][..],
        &["hold", "pg/acme"],
        &["hold"],
        &["retire"],
        &["retire", "x", "--by", "2026-01-01", "--cancel"],
        &["stray"],
    ] {
        assert_eq!(job().args(args).run().done.code(), Some(2), "{args:?}");
    }
}

#[test]
fn wrong_configuration_is_told_with_its_key() {
    for (text, words) in [
        ("[retention]\nfloor = 0\n", &["retention.floor", "is 0"][..]),
        ("[retention]\nmax_sets = 0\n", &["retention.max_sets"]),
        ("[retention]\nfreeze_after = \"3m\"\n", &["retention.freeze_after", "m is refused"]),
        ("[retention]\nstores = [\"backups\"]\n", &["retention.stores", "not a store's URL"]),
        ("[retention]\nflor = 3\n", &["flor", "floor"]),
        ("[[retention.legacy]]\nkey = \"{name}\"\narea = \"pg\"\nlabel = \"pro\"\n", &["retention.legacy", "{date}"]),
        (
            "[[retention.legacy]]\nkey = \"{name}/{date}\"\narea = \"insurance-pg\"\nlabel = \"pro\"\n",
            &["retention.legacy", "pg, filestore"],
        ),
        ("[retention.price]\nper_gib_month = -1.0\n", &["per_gib_month"]),
    ] {
        let outcome = Job::of(env!("CARGO_BIN_EXE_retention-pruner")).config(text).run();
        assert_eq!(outcome.done.code(), Some(10), "{text}\n{}", outcome.done.stderr);
        expect_words(&outcome.done.stderr, words);
    }
}

#[test]
fn the_preflight_says_what_a_run_would_do() {
    let job = job();
    nights(&job, "acme.app", "starter", [1, 0]);
    let before = job.store().files();
    let good = text(&job, &["check"], &[]);
    expect_words(&good, &["retention.enabled is true", "is named in retention.stores", "may delete objects"]);
    let off = text(&job, &["check"], &[("PLANA_JOBS__RETENTION__ENABLED", "false")]);
    expect_words(&off, &["a run would be refused", "retention.enabled is false"]);
    assert_eq!(job.store().files(), before);
}
