//! Programs as children: what is captured, what their environment holds, how they end, how much memory they took.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::time::Duration;

use plana_testkit::bin::Bin;
use plana_testkit::process::Signal;

fn sh(script: &str) -> Bin {
    Bin::program("/bin/sh").args(["-c", script])
}

#[test]
fn captures_both_streams_the_code_and_the_time() {
    let done = sh("echo '{\"a\": 1}'; echo no >&2; sleep 0.1; exit 3").run().unwrap().expect_code(3);
    assert_eq!((done.json()["a"].as_i64(), done.stderr.as_str(), done.signal()), (Some(1), "no\n", None));
    assert!(done.elapsed >= Duration::from_millis(100));
    let large = sh("head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2").run().unwrap();
    assert_eq!((large.stdout.len(), large.stderr.len()), (3_000_000, 2_000_000));
}

#[test]
fn the_environment_holds_only_what_is_given() {
    // A child of this test has the names set; it runs the inner test below, which must not pass them on.
    let outer = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "shows_its_childs_environment", "--nocapture"])
        .envs([("PGHOST", "leak"), ("AWS_SECRET_ACCESS_KEY", "leak"), ("PLANA_JOBS_CONFIG", "leak"), ("HTTP_PROXY", "leak")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&outer.stdout).into_owned();
    assert!(outer.status.success() && text.contains("GIVEN=yes") && text.contains("PATH=") && !text.contains("leak"), "{text}");
}

#[test]
#[ignore = "the inner half of the test above"]
fn shows_its_childs_environment() {
    let done = sh("env").env("GIVEN", "yes").run().unwrap();
    std::io::Write::write_all(&mut std::io::stdout(), done.stdout.as_bytes()).unwrap();
}

#[test]
fn signals_reach_it_and_a_limit_ends_it() {
    let mut running = sh("trap 'echo bye >&2; exit 143' TERM; echo ready; while :; do sleep 0.05; done").spawn().unwrap();
    running.wait_until("ready", |one| one.stdout().contains("ready")).unwrap();
    assert!(running.is_running().unwrap());
    running.signal(Signal::TERM).unwrap();
    assert_eq!(running.wait().unwrap().expect_code(143).stderr, "bye\n");
    let killed = sh("kill -KILL $$").run().unwrap();
    assert_eq!((killed.code(), killed.signal()), (None, Some(9)));
    let late = sh("echo started >&2; exec sleep 60").limit(Duration::from_millis(300)).run().unwrap_err();
    assert!(late.to_string().contains("started"), "{late}");
    let early = sh("exit 4").spawn().unwrap().wait_until("a word", |one| one.stdout().contains("word")).unwrap_err();
    assert!(early.to_string().contains("exit status: 4"), "{early}");
}

#[test]
fn peak_memory_is_that_of_the_program() {
    let small = sh("sleep 0.2").run().unwrap().peak_rss_bytes;
    // mawk keeps the whole string in memory.
    let large =
        Bin::program("/usr/bin/awk").arg("BEGIN { s = \"x\"; while (length(s) < 64000000) s = s s; system(\"sleep 0.2\") }").run().unwrap();
    assert!((500_000..20 << 20).contains(&small), "{small}");
    assert!((64_000_000..512 << 20).contains(&large.peak_rss_bytes), "{}", large.peak_rss_bytes);
}
