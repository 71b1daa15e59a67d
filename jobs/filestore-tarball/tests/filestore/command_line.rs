//! Arguments, configuration, and the codes that the job ends with.

use plana_testkit::bin::Bin;

use crate::{Root, expect_words, job};

#[test]
fn the_help_names_every_option_and_code() {
    let done = Bin::program(env!("CARGO_BIN_EXE_filestore-tarball")).arg("--help").run().unwrap().expect_code(0);
    for word in
        ["--root", "--directory", "--accept-empty", "--only", "--shard", "--missing-within", "--dry-run", "check", "\n   20 ", "130, 143"]
    {
        assert!(done.stdout.contains(word), "{word}");
    }
}

#[test]
fn wrong_arguments_are_usage_and_a_wrong_configuration_is_not_begun() {
    for argument in ["--shard=2/2", "--only=", "--no-such", "stray"] {
        job().arg(argument).run().done.expect_code(2);
    }
    for (text, words) in [
        ("[filestore.sources.a]\nroot = \"relative\"\n", &["filestore.sources.a.root", "not an absolute path"][..]),
        ("[filestore.sources.a]\nroot = \"/a\"\npath = \"/b\"\n", &["a root of tenants or a single directory"]),
        ("[filestore.sources.a]\ngrowing = true\n", &["has neither root nor path"]),
        ("[filestore.sources.a]\nroot = \"/a\"\ncolour = \"blue\"\n", &["filestore.sources.a.colour"]),
        ("[filestore]\nworkers = 64\nmemory = \"1MiB\"\n", &["filestore.memory", "64 workers"]),
        ("[filestore]\ncompression_level = 13\n", &["compression_level", "gzip has the levels 1 to 12"]),
        ("", &["find any file store", "--root"]),
    ] {
        let outcome = job().config(text).run().expect(10);
        expect_words(outcome.run_error(), words);
    }
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 3, 100);
    root.fill("beta.app", 3, 100);
    let outcome = job.clone().arg(root.arg()).arg("--dry-run").run().expect(0);
    assert_eq!(outcome.databases("planned"), ["acme.app", "beta.app"]);
    assert!(!job.home().join("store").exists() && std::fs::read_dir(job.home().join("state")).unwrap().next().is_none());
}

#[test]
fn selection_shards_and_freshness_are_those_of_all_backup_jobs() {
    let job = job();
    let root = Root::of(&job);
    let tenants: Vec<String> = (0..6).map(|number| format!("t{number}.app")).collect();
    tenants.iter().for_each(|tenant| root.fill(tenant, 2, 50));
    let job = job.arg(root.arg());
    let run = |arguments: &[&str], code: i32| job.clone().args(arguments).run().expect(code);
    assert_eq!(run(&["--only=t[01].app", "--exclude=t0*"], 0).databases("done"), ["t1.app"]);
    assert_eq!(run(&["--missing-within=1h"], 0).databases("fresh"), ["t1.app"]);
    let mut of_shards = run(&["--shard=0/2"], 0).databases("done");
    of_shards.extend(run(&["--shard=1/2"], 0).databases("done"));
    of_shards.sort();
    assert_eq!(of_shards, tenants);
    let outcome = run(&["--only=t0.app", "--only=nobody"], 3);
    expect_words(outcome.error("nobody"), &["--only nobody", "no source has such a directory"]);
}

#[test]
fn check_tells_what_is_wrong_and_changes_nothing() {
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 3, 100);
    let checked = |job: &plana_testkit::job::Job, code: i32| job.clone().arg("check").run().done.expect_code(code).stdout;
    let good = checked(&job.clone().arg(root.arg()), 0);
    assert!(good.contains("1 file store") && good.contains("none is configured"), "{good}");
    let missing = checked(&job.clone().arg("--root=/no/such/root"), 10);
    assert!(missing.contains("/no/such/root"), "{missing}");
    assert_eq!(job.store().files(), []);
}

#[test]
fn the_metrics_tell_of_files() {
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 3, 100);
    let damaged = root.attach("acme.app", "what it was");
    root.write(format!("acme.app/{damaged}"), "what it is");
    let metrics = job.home().join("metrics");
    std::fs::create_dir(&metrics).unwrap();
    job.clone().arg(root.arg()).set("metrics.textfile_dir", metrics.to_str().unwrap()).run().expect(0);
    let written: String = std::fs::read_dir(&metrics).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    for line in ["plana_jobs_filestore_files{", "plana_jobs_filestore_damaged_files{", "plana_jobs_filestore_missing_files{"] {
        assert!(written.contains(line), "{line} in\n{written}");
    }
    let value =
        |family: &str| written.lines().find(|line| line.starts_with(family)).and_then(|line| line.rsplit(' ').next()).unwrap().to_owned();
    assert_eq!((value("plana_jobs_filestore_files{"), value("plana_jobs_filestore_damaged_files{")), ("4".into(), "1".into()));
}
