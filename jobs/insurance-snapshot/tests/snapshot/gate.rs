//! The gate: what the command is given, what comes back, and when it never starts.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use plana_testkit::{job::Outcome, process::Signal};

use crate::Tenant;

#[test]
fn the_commands_exit_code_and_output_are_its_own() {
    let tenant = Tenant::new();
    for (script, code) in [("echo done; exit 0", 0), ("echo so far; exit 7", 7), ("kill -KILL $$", 137)] {
        let outcome = tenant.call().arg("--receipt").arg(tenant.receipt_path()).args(["--", "/bin/sh", "-c", script]).run();
        assert_eq!(outcome.done.code(), Some(code), "{}", outcome.done.stderr);
        let said = script.strip_prefix("echo ").map_or(String::new(), |rest| rest.split(';').next().unwrap().to_owned() + "\n");
        assert_eq!(outcome.done.stdout, said, "stdout is the command's");
        let command = tenant.receipt().command.unwrap();
        assert_eq!((command.program.as_str(), command.exit_code), ("/bin/sh", Some(u8::try_from(code).unwrap())));
        assert!(command.seconds.is_some());
        assert!(!fs::read_to_string(tenant.receipt_path()).unwrap().contains("exit 7"), "arguments may be secrets");
    }
    // Whatever the command did, the snapshots stay.
    assert_eq!(tenant.sets().len(), 6);
}

#[test]
fn a_command_that_cannot_be_started_says_so_as_a_shell_does() {
    let tenant = Tenant::new();
    let plain = tenant.job.home().join("plain");
    fs::write(&plain, "text").unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    for (program, code) in [("/no/such/program", 127), (plain.to_str().unwrap(), 126)] {
        let outcome = tenant.call().args(["--", program]).run();
        assert_eq!(outcome.done.code(), Some(code), "{}", outcome.done.stderr);
    }
}

#[test]
fn the_command_begins_only_once_both_halves_stand() {
    let tenant = Tenant::new();
    let count = format!("/usr/bin/find {} -name manifest.json | /usr/bin/wc -l", tenant.job.store().root().display());
    let outcome = tenant.call().args(["--", "/bin/sh", "-c", &count]).run();
    assert_eq!((outcome.done.code(), outcome.done.stdout.trim()), (Some(0), "2"), "{}", outcome.done.stderr);
}

#[test]
fn signals_are_passed_on_and_the_receipt_tells_the_end() {
    let tenant = Tenant::new();
    let ready = tenant.job.home().join("ready");
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1")] {
        fs::remove_file(&ready).ok();
        let script = format!("trap 'exit 42' {name}; /usr/bin/touch {}; while :; do /bin/sleep 0.05; done", ready.display());
        let job = tenant.call().arg("--receipt").arg(tenant.receipt_path()).args(["--", "/bin/sh", "-c", &script]);
        let mut running = job.spawn();
        running.wait_until("the command at work", |_| ready.exists()).unwrap();
        let begun = tenant.receipt().command.unwrap();
        assert_eq!((begun.exit_code, begun.seconds), (None, None));
        running.signal(signal).unwrap();
        let outcome = Outcome::wait(running);
        assert_eq!(outcome.done.code(), Some(42), "{name}: {}", outcome.done.stderr);
        assert_eq!(tenant.receipt().command.unwrap().exit_code, Some(42));
    }
}

#[test]
fn a_signal_during_the_snapshot_keeps_the_command_from_starting() {
    let tenant = Tenant::new();
    // Its rows are too many to be dumped at once.
    tenant.sql("CREATE TABLE big AS SELECT i, repeat(md5(i::text), 20) AS text FROM generate_series(1, 300000) i");
    let job = tenant.call().arg("--receipt").arg(tenant.receipt_path()).args(tenant.touch());
    let mut running = job.spawn();
    job.wait_for_pg_dump(&mut running, &tenant.name);
    running.signal(Signal::TERM).unwrap();
    tenant.expect_never_started(&Outcome::wait(running));
    assert!(tenant.sets().is_empty());
    job.expect_no_process_left();
}

#[test]
fn what_was_quiesced_is_resumed_whatever_happens_between() {
    let tenant = Tenant::new();
    let log = tenant.job.home().join("log");
    let note = |what: &str| format!("echo {what} >> '{}'", log.display());
    let said = || fs::read_to_string(&log).unwrap_or_default().lines().collect::<Vec<_>>().join(" ");
    let hooks = |quiesce: &str| [format!("--quiesce={quiesce}"), format!("--resume={}", note("resume"))];
    let command = |script: &str| ["--".to_owned(), "/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
    let failing = format!("{}; false", note("quiesce"));
    for (quiesce, extra, script, code, order) in [
        (note("quiesce"), "--keep=14d", format!("{}; exit 3", note("operation")), 3, "quiesce operation resume"),
        (failing.clone(), "--keep=14d", note("operation"), 125, "quiesce resume"),
        (note("quiesce"), "--keep=1d", note("operation"), 125, ""),
    ] {
        fs::remove_file(&log).ok();
        let outcome = tenant.call().args(hooks(&quiesce)).arg(extra).args(command(&script)).run();
        assert_eq!((outcome.done.code(), said()), (Some(code), order.to_owned()), "{}", outcome.done.stderr);
    }
    // Without a command too; and one that does not come back is not called a success.
    fs::remove_file(&log).ok();
    tenant.call().args(hooks(&note("quiesce"))).run().expect(0);
    assert_eq!(said(), "quiesce resume");
    let outcome = tenant.call().args(["--quiesce=true", "--resume=false"]).run();
    assert_eq!(outcome.done.code(), Some(1), "{}", outcome.done.stderr);
    assert!(outcome.done.stderr.contains("what was quiesced may still stand"), "{}", outcome.done.stderr);
}

#[test]
fn two_at_once_for_one_tenant_are_told_apart() {
    let tenant = Tenant::new();
    let ready = tenant.job.home().join("ready");
    // The first stands in its dump for as long as the table is locked.
    let locker = "BEGIN; LOCK TABLE partner; SELECT pg_sleep(4); COMMIT";
    let name = tenant.name.clone();
    let (cluster, started) = (tenant.cluster, ready.clone());
    let locked = std::thread::spawn(move || {
        fs::write(started, "").unwrap();
        cluster.psql(&name, locker).unwrap();
    });
    while !ready.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    let first = tenant.call();
    let mut running = first.spawn();
    first.wait_for_pg_dump(&mut running, &tenant.name);
    let second = tenant.call().arg("--receipt").arg(tenant.receipt_path()).args(tenant.touch()).run();
    tenant.expect_never_started(&second);
    assert!(second.done.stderr.contains("another run"), "{}", second.done.stderr);
    Outcome::wait(running).expect(0);
    locked.join().unwrap();
    assert_eq!(tenant.sets().len(), 2);
}

#[test]
fn a_receipt_that_cannot_be_written_is_told_before_the_snapshot() {
    let tenant = Tenant::new();
    let outcome = tenant.call().args(["--receipt", "/no/such/directory/receipt.json"]).args(tenant.touch()).run();
    tenant.expect_never_started(&outcome);
    assert!(outcome.done.stderr.contains("write the receipt /no/such/directory"), "{}", outcome.done.stderr);
    assert!(tenant.sets().is_empty());
}
