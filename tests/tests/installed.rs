//! The Debian package in a machine with a real systemd: every timer's service runs in its sandbox, failures are told, and a
//! purge leaves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{path::Path, process::Command, time::Duration};

use plana_testkit::machine::Machine;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// In the order of a night.
const UNITS: [&str; 8] = [
    "pg-dump-to-sos",
    "filestore-tarball",
    "pg-dump-templates",
    "retention-pruner-mirror",
    "partition-roller",
    "retention-pruner",
    "restore-from-sos-drill",
    "restore-from-sos-drill-filestore",
];

/// A platform with one tenant, one partitioned table, and a directory as its store.
const PLATFORM: &str = r#"
cd /
runuser -u postgres -- psql -qX -v ON_ERROR_STOP=1 <<'SQL'
CREATE ROLE plana_backup LOGIN SUPERUSER PASSWORD 'hunter2';
CREATE DATABASE "acme.planapulse.app";
CREATE DATABASE "basic-template-18.planapulse.app";
\c acme.planapulse.app
CREATE TABLE ir_attachment (id int, store_fname text);
INSERT INTO ir_attachment VALUES (1, 'a9/a9993e364706816aba3e25717850c26c9cd0d89d');
CREATE TABLE events (at timestamptz NOT NULL) PARTITION BY RANGE (at);
SQL
mkdir -p /srv/filestore/acme.planapulse.app/a9 /srv/backups /srv/seeds /srv/mirror/docker/registry/v2/repositories
printf abc >/srv/filestore/acme.planapulse.app/a9/a9993e364706816aba3e25717850c26c9cd0d89d
chown -R 101:101 /srv/filestore/acme.planapulse.app
chmod -R go= /srv/filestore/acme.planapulse.app
chown -R plana-jobs /srv/backups /srv/seeds /srv/mirror
cat >/etc/plana-jobs/conf.d/site.toml <<'TOML'
[store.backups]
url = "file:///srv/backups"
[store.templates]
url = "file:///srv/seeds"
[store.mirror]
url = "file:///srv/mirror"
[rules.templates]
order = 1
class = "template"
databases = ["*-template-*"]
[mirror]
enabled = true
stores = ["file:///srv/mirror"]
without_ledger = "last-modified"
[filestore.sources.tenants]
root = "/srv/filestore"
[partitions]
database = "acme.planapulse.app"
[partitions.tables.events]
table = "public.events"
[retention]
enabled = true
stores = ["file:///srv/backups"]
tiers = false
TOML
for purpose in backup partitions templates; do
  echo 'host=127.0.0.1 user=plana_backup password=hunter2 dbname=postgres' >/etc/plana-jobs/credentials/$purpose/postgres.dsn
done
echo "NOTIFY_COMMAND='systemd-cat -t told'" >/etc/default/plana-jobs
for unit in pg-dump-to-sos filestore-tarball pg-dump-templates retention-pruner-mirror partition-roller retention-pruner restore-from-sos-drill restore-from-sos-drill-filestore; do
  mkdir -p /etc/systemd/system/$unit.service.d /etc/systemd/system/$unit.timer.d
  printf '[Service]\nReadWritePaths=/srv/backups /srv/seeds /srv/mirror\n' >/etc/systemd/system/$unit.service.d/store.conf
  printf '[Timer]\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=1ms\n' >/etc/systemd/system/$unit.timer.d/now.conf
done
# The dumps' timer elapses first, as it does in a night.
sed -i s/1s/100ms/ /etc/systemd/system/pg-dump-to-sos.timer.d/now.conf
for unit in pg-dump-to-sos filestore-tarball; do printf '[Service]\nRestartSec=100ms\n' >/etc/systemd/system/$unit.service.d/soon.conf; done
systemctl daemon-reload
"#;

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

fn property(machine: &Machine, unit: &str, name: &str) -> String {
    machine.must(&format!("systemctl show -P {name} {unit}.service"))
}

/// How a unit ended, once it has: its result, its exit code, and how often it was tried again.
fn ended(machine: &Machine, unit: &str) -> (String, String, String) {
    let over = format!("case $(systemctl show -P ActiveState {unit}.service) in inactive|failed) ;; *) false ;; esac");
    machine.wait_for(&format!("{unit}'s end"), &over, Duration::from_secs(120));
    (property(machine, unit, "Result"), property(machine, unit, "ExecMainStatus"), property(machine, unit, "NRestarts"))
}

fn told(machine: &Machine, what: &str) {
    machine.wait_for(what, &format!("journalctl -t told --no-pager | grep -F '{what}'"), Duration::from_secs(30));
}

#[test]
fn the_package_works_fails_loudly_and_goes() {
    let packages = tempfile::tempdir().unwrap();
    package(packages.path(), "0.1.0-1");
    package(packages.path(), "0.1.0-2");
    let machine = Machine::boot(packages.path()).unwrap();

    machine.must("dpkg -i /shared/plana-jobs_0.1.0-1_*.deb");
    machine.must("systemd-analyze verify --man=no /lib/systemd/system/*plana* $(dpkg -L plana-jobs | grep -E 'system/.*(timer|service)$' | grep -v @)");
    machine.must("for unit in $(dpkg -L plana-jobs | grep -E 'system/.*service$'); do systemd-analyze security --offline=yes --threshold=20 $unit; done");
    assert_eq!(machine.must("systemctl list-unit-files --state=enabled --no-legend '*-to-sos.timer' '*-from-sos*.timer' | wc -l"), "0");
    machine.must(PLATFORM);

    // The whole night at once: After= puts what is queued together in its order.
    let timers = UNITS.map(|unit| format!("{unit}.timer")).join(" ");
    machine.must(&format!("systemctl enable --now {timers}"));
    for unit in UNITS {
        machine.wait_for(
            &format!("{unit} begun"),
            &format!("[ $(systemctl show -P ExecMainStartTimestampMonotonic {unit}.service) != 0 ]"),
            Duration::from_secs(120),
        );
        let expected = ("success".to_owned(), "0".to_owned(), "0".to_owned());
        assert_eq!(ended(&machine, unit), expected, "{unit}: {}", machine.must(&format!("journalctl --no-pager -u {unit}")));
        assert_eq!(property(&machine, unit, "TriggeredBy"), format!("{unit}.timer"));
    }
    let at = |unit: &str, name: &str| property(&machine, unit, name).parse::<u64>().unwrap();
    for (before, after) in [("pg-dump-to-sos", "filestore-tarball"), ("filestore-tarball", "retention-pruner")] {
        assert!(at(before, "ExecMainExitTimestampMonotonic") <= at(after, "ExecMainStartTimestampMonotonic"), "{before}, {after}");
    }
    machine.must("ls /srv/backups/pg/acme.planapulse.app/*/manifest.json /srv/backups/filestore/acme.planapulse.app/*/manifest.json");
    machine.must("ls /srv/seeds/basic-template-18.planapulse.app/*/*manifest.json");

    // By hand, as the README says.
    let readme = std::fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    let by_hand = |name: &str| readme.lines().find(|line| line.starts_with(&format!("{name}() {{"))).unwrap().to_owned();
    let functions = format!("sudo() {{ \"$@\"; }}; {}; {}", by_hand("plana_as"), by_hand("root_as"));
    machine.must(&format!("{functions}; plana_as backup pg-dump-to-sos --only acme.planapulse.app --no-globals"));
    machine.must(&format!("{functions}; plana_as backup -p AmbientCapabilities=CAP_DAC_READ_SEARCH filestore-tarball check"));
    let listed = machine.must(&format!("{functions}; plana_as restore restore-from-sos list acme.planapulse.app --area pg"));
    assert!(listed.contains("2 sets of 1 name"), "{listed}");
    machine.must(&format!(
        "{functions}; root_as restore restore-from-sos restore-filestore acme.planapulse.app --to /srv/check --uid 101 --gid 101"
    ));
    assert_eq!(machine.must("stat -c %u /srv/check/a9/*; stat -c %U /var/lib/plana-jobs"), "101\nplana-jobs");

    // 1: tried again, and then told.
    machine.must("systemctl reset-failed; echo 'host=127.0.0.1 port=1 user=nobody' >/etc/plana-jobs/credentials/backup/postgres.dsn");
    machine.must("systemctl start pg-dump-to-sos.service || true");
    told(&machine, "pg-dump-to-sos.service failed");
    let (_, code, restarts) = ended(&machine, "pg-dump-to-sos");
    assert_eq!((code.as_str(), restarts.as_str()), ("1", "5"));

    // 10: told at once.
    machine.must("systemctl reset-failed; printf '[dump]\\njbos = 1\\n' >/etc/plana-jobs/conf.d/typo.toml");
    machine.must("systemctl start filestore-tarball.service || true");
    assert_eq!(ended(&machine, "filestore-tarball"), ("exit-code".to_owned(), "10".to_owned(), "0".to_owned()));
    told(&machine, "filestore-tarball.service failed");

    // An upgrade leaves configuration, credentials and timers as they are.
    machine.must("rm /etc/plana-jobs/conf.d/typo.toml; echo '# ours' >>/etc/plana-jobs/config.toml; dpkg -i /shared/plana-jobs_0.1.0-2_*.deb </dev/null");
    machine.must("grep -qx '# ours' /etc/plana-jobs/config.toml; [ -s /etc/plana-jobs/credentials/backup/postgres.dsn ]");
    machine.must(&format!("systemctl is-enabled {timers}; systemctl is-active {timers}"));

    machine.must("dpkg --purge plana-jobs");
    machine.must("[ ! -e /etc/plana-jobs ] && [ ! -e /var/lib/plana-jobs ] && [ ! -e /etc/default/plana-jobs ] && [ -d /srv/backups/pg ]");
    assert_eq!(machine.must(&format!("systemctl list-units --no-legend --state=active {timers} | wc -l")), "0");
}
