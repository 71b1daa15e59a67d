//! Help, version, usage errors.

use crate::{call, common::expect_words};

#[test]
fn help_and_version() {
    for argument in ["--help", "-h", "help"] {
        let done = call(&[argument]);
        let done = if argument == "help" { done } else { done.expect_code(0) };
        assert!(done.stderr.is_empty() || argument == "help", "{}", done.stderr);
    }
    let help = call(&["--help"]).expect_code(0).stdout;
    let flags = [
        "--config",
        "--dry-run",
        "--output",
        "--log-format",
        "--log-level",
        "--quiet",
        "--schedule",
        "--help",
        "--version",
        "--only",
        "--exclude",
        "--jobs",
        "--missing-within",
        "--shard",
        "--store",
        "--no-role-passwords",
        "--no-globals",
    ];
    expect_words(&help, &flags);
    expect_words(&help, &["check", "PLANA_JOBS_CONFIG", "/etc/plana-jobs/config.toml", "pg-dump-to-sos --missing-within 12h"]);
    expect_words(&help, &["Exit codes", "130, 143", "bad configuration", "left to another run"]);
    let version = call(&["--version"]).expect_code(0).stdout;
    assert_eq!(version.trim(), format!("pg-dump-to-sos {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn usage_errors() {
    for arguments in [
        &["--no-such-flag"][..],
        &["stray"],
        &["check", "stray"],
        &["--jobs", "0"],
        &["--jobs", "many"],
        &["--missing-within", "soon"],
        &["--shard", "2/2"],
        &["--shard", "2"],
        &["--only"],
        &["--only", "a[b"],
        &["--output", "xml"],
        &["--log-level", "loud"],
        &["--schedule", "at night"],
        &["--schedule", "61 * * * *"],
    ] {
        let done = call(arguments).expect_code(2);
        assert!(done.stdout.is_empty(), "{arguments:?}: {}", done.stdout);
        expect_words(&done.stderr, &["error:"]);
        expect_words(&done.stderr, &[arguments[arguments.len() - 1].trim_start_matches("--only")]);
    }
}
