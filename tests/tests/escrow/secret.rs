//! A key is in the escrow store, encrypted, in the files that somebody recovered it into, and nowhere else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use plana_testkit::{bin::Bin, redis::RedisServer};

use crate::{Exo, KEY, SECRET};

/// Files below a directory that hold any of these.
fn holding(directory: &Path, parts: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(holding(&path, parts));
        } else {
            let bytes = fs::read(&path).unwrap();
            let holds = |part: &&str| bytes.windows(part.len()).any(|window| window == part.as_bytes());
            found.extend(parts.iter().any(holds).then_some(path));
        }
    }
    found
}

/// Every job, with the most that it can be made to say, in both forms of its result.
#[test]
fn a_key_is_shown_by_nothing_that_a_job_writes() {
    let exo = Exo::new();
    let redis = RedisServer::start().unwrap();
    let metrics = exo.at("metrics");
    fs::create_dir(&metrics).unwrap();
    // Half of it is too much too.
    let parts = [SECRET, &SECRET[..16], &SECRET[SECRET.len() - 16..]];
    let talkative = |call: Bin| {
        call.args(["--log-level", "trace"])
            .env("PLANA_JOBS__EVENTS__URL", redis.url())
            .env("PLANA_JOBS__EVENTS__DETAIL", "all")
            .env("PLANA_JOBS__METRICS__TEXTFILE_DIR", &metrics)
            .env("PLANA_JOBS__RESTORE__SCRATCH_DSN", exo.cluster.keyword_dsn("postgres"))
            .env(KEY, SECRET)
    };
    let (insured, copied) = (exo.path("receipt"), exo.path("copy"));
    let insurance = ["--database", "exo", "--filestore", "exo-casts", "--operation", "try", "--receipt", &insured];
    let files = ["restore-filestore", "exo-casts", "--to", &copied];
    let calls: [(&str, &[&str], i32); 16] = [
        ("pg-dump-to-sos", &["check"], 0),
        ("pg-dump-to-sos", &["escrow"], 0),
        ("pg-dump-to-sos", &["--only", "exo"], 0),
        ("filestore-tarball", &["check"], 0),
        ("filestore-tarball", &[], 0),
        ("partition-roller", &["check"], 0),
        ("partition-roller", &[], 0),
        ("insurance-snapshot", &["check"], 0),
        ("insurance-snapshot", &insurance, 0),
        ("retention-pruner", &["--dry-run"], 0),
        ("restore-from-sos", &["check", "--latest", "exo"], 0),
        ("restore-from-sos", &["list", "--long"], 0),
        ("restore-from-sos", &["escrow", "list"], 0),
        ("restore-from-sos", &["restore", "exo", "--no-owner", "--into", "copy", "--as-superuser"], 0),
        ("restore-from-sos", &files, 0),
        ("restore-from-sos", &["drill", "--only", "exo", "--as-superuser"], 0),
    ];
    let mut said = String::new();
    for (job, arguments, code) in calls {
        let text = Bin::new(job).unwrap().envs(exo.cluster.env()).env("PATH", exo.cluster.bin_dir());
        let text = text.env("PLANA_JOBS__STATE_DIR", exo.at("state")).env("PLANA_JOBS__POSTGRES__BIN_DIRS", exo.cluster.bin_dir());
        let text = text.arg("--config").arg(exo.at("config.toml"));
        // What would be made twice is only looked at the second time.
        let again: &[&str] = if arguments.first().is_some_and(|first| first.starts_with("restore")) { &["--dry-run"] } else { &[] };
        let done = talkative(exo.call(job)).args(arguments).run().unwrap();
        let shown = talkative(text).args(arguments).args(again).run().unwrap();
        for done in [done, shown] {
            // Some checks warn or find a directory for a store: what counts here is what they say.
            assert!(
                done.code() == Some(code) || arguments.first() == Some(&"check"),
                "{job} {arguments:?}: {}\n{}",
                done.stdout,
                done.stderr
            );
            for part in parts {
                assert!(!done.stdout.contains(part), "{job} {arguments:?} shows the key: {}", done.stdout);
                assert!(!done.stderr.contains(part), "{job} {arguments:?} logs the key: {}", done.stderr);
            }
            said.push_str(&done.stdout);
            said.push_str(&done.stderr);
        }
    }
    let [entry] = &exo.kept()[..] else { panic!("{:?}", exo.kept()) };
    assert!(said.contains(&entry.fingerprint.short()) && said.contains(KEY), "they speak of the key");
    let events = redis.cli(&["XRANGE", "PLANA:events", "-", "+"]).unwrap();
    assert!(events.contains("key.escrowed") && !parts.iter().any(|part| events.contains(part)), "{events}");
    assert!(fs::read_dir(&metrics).unwrap().count() >= 4);
    assert_eq!(holding(exo.home.path(), &parts), Vec::<PathBuf>::new());
    // The search finds what there is.
    exo.recover(&[KEY, "--to", &exo.path("exo.key")], 0).run().unwrap().expect_code(0);
    assert_eq!(holding(exo.home.path(), &parts), [exo.at("exo.key")]);
}
