//! A machine with the package, and what its units did.

use std::{path::Path, process::Command, sync::OnceLock, time::Duration};

use plana_testkit::machine::Machine;
use tempfile::TempDir;

pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Where Debian's node_exporter reads, as the documents say.
pub const TEXTFILES: &str = "/var/lib/prometheus/node-exporter";

/// Two versions of the package, of these very binaries.
pub fn packages() -> &'static Path {
    static PACKAGES: OnceLock<TempDir> = OnceLock::new();
    let directory = PACKAGES.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        package(directory.path(), "0.1.0-1");
        package(directory.path(), "0.1.0-2");
        directory
    });
    directory.path()
}

fn package(out: &Path, version: &str) {
    let binaries = Path::new(env!("CARGO_BIN_EXE_plana-manuals")).parent().expect("a directory");
    let done = Command::new(format!("{ROOT}/tools/make-deb.sh"))
        .args(["--compression", "none", "--version", version, "--binaries"])
        .arg(binaries)
        .arg("--out")
        .arg(out)
        .output()
        .expect("tools/make-deb.sh");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A machine in which the older package was just installed, and which tells of failures; the newer one lies in `/shared`.
pub fn installed() -> Machine {
    let machine = Machine::boot(packages()).unwrap();
    machine.must("dpkg -i /shared/plana-jobs_0.1.0-1_*.deb");
    machine.must("echo \"NOTIFY_COMMAND='systemd-cat -t told'\" >/etc/default/plana-jobs");
    machine.must(&format!("install -d -g plana-jobs -m 775 {TEXTFILES}"));
    machine
}

pub fn property(machine: &Machine, unit: &str, name: &str) -> String {
    machine.must(&format!("systemctl show -P {name} {unit}.service"))
}

/// How a unit ended.
#[derive(Debug, PartialEq)]
pub struct Ended {
    /// `inactive` after a success, `failed` after a failure.
    state: String,
    /// The exit code of its last attempt.
    code: String,
    /// How often it was tried again.
    restarts: String,
}

impl Ended {
    pub fn well(code: u8) -> Self {
        Ended { state: "inactive".to_owned(), code: code.to_string(), restarts: "0".to_owned() }
    }

    pub fn failed(code: u8, restarts: u8) -> Self {
        Ended { state: "failed".to_owned(), code: code.to_string(), restarts: restarts.to_string() }
    }
}

/// How a unit ended, once it has.
pub fn ended(machine: &Machine, unit: &str) -> Ended {
    let over = format!("case $(systemctl show -P ActiveState {unit}.service) in inactive|failed) ;; *) false ;; esac");
    machine.wait_for(&format!("{unit}'s end"), &over, Duration::from_secs(120));
    let [state, code, restarts] = ["ActiveState", "ExecMainStatus", "NRestarts"].map(|name| property(machine, unit, name));
    Ended { state, code, restarts }
}

/// Starts a unit, and expects it to end so.
#[track_caller]
pub fn run(machine: &Machine, unit: &str, expected: &Ended) {
    machine.must(&format!("systemctl reset-failed; systemctl start {unit}.service || true"));
    expect(machine, unit, expected);
}

#[track_caller]
pub fn expect(machine: &Machine, unit: &str, expected: &Ended) {
    assert_eq!(ended(machine, unit), *expected, "{unit}: {}", machine.must(&format!("journalctl --no-pager -u {unit}")));
}

/// Waits until the notifier has told of the unit's failure so many times, and no more.
#[track_caller]
pub fn told(machine: &Machine, unit: &str, times: usize) {
    let subjects = format!("journalctl -t told --no-pager -o cat | grep -cF 'Subject: plana-jobs: {unit}.service failed'");
    machine.wait_for(&format!("{times} times the news of {unit}"), &format!("[ $({subjects}) -ge {times} ]"), Duration::from_secs(30));
    assert_eq!(machine.must(&subjects), times.to_string(), "{unit}");
}

/// The value of a series that a job left for node_exporter.
pub fn metric(machine: &Machine, job: &str, series: &str) -> Option<f64> {
    let text = machine.must(&format!("cat {TEXTFILES}/plana_jobs_{}.prom", job.replace('-', "_")));
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}
