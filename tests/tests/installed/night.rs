//! A whole night from its timers, by hand, and how the package goes.

use std::time::Duration;

use plana_testkit::machine::Machine;

use crate::{
    dashboard, endings,
    host::{Ended, ROOT, TEXTFILES, expect, installed, metric, property, run},
};

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

/// What is checked daily, in the metrics and in the unit `…-check` by this name.
const CHECKED: [&str; 7] = [
    "pg-dump-to-sos",
    "filestore-tarball",
    "pg-dump-templates",
    "retention-pruner-mirror",
    "partition-roller",
    "retention-pruner",
    "restore-from-sos",
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
[metrics]
textfile_dir = "/var/lib/prometheus/node-exporter"
TOML
for purpose in backup partitions templates; do
  echo 'host=127.0.0.1 user=plana_backup password=hunter2 dbname=postgres' >/etc/plana-jobs/credentials/$purpose/postgres.dsn
done
for unit in $(dpkg -L plana-jobs | sed -n 's|^/lib/systemd/system/\(.*\)\.timer$|\1|p'); do
  mkdir -p /etc/systemd/system/$unit.service.d /etc/systemd/system/$unit.timer.d
  printf '[Service]\nReadWritePaths=/srv/backups /srv/seeds /srv/mirror\n' >/etc/systemd/system/$unit.service.d/store.conf
  printf '[Timer]\nOnCalendar=\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=1ms\n' >/etc/systemd/system/$unit.timer.d/now.conf
done
# The dumps' timer elapses first, as it does in a night.
sed -i s/1s/100ms/ /etc/systemd/system/pg-dump-to-sos.timer.d/now.conf
for unit in pg-dump-to-sos filestore-tarball; do printf '[Service]\nRestartSec=100ms\n' >/etc/systemd/system/$unit.service.d/soon.conf; done
systemctl daemon-reload
"#;

/// The list of timers that are called so.
fn timers(units: &[&str]) -> String {
    units.iter().map(|unit| format!("{unit}.timer ")).collect()
}

/// Turns timers on, and sees the service of each begin and succeed.
fn run_from_timers(machine: &Machine, units: &[&str]) {
    machine.must(&format!("systemctl enable --now {}", timers(units)));
    for unit in units {
        begins_and_succeeds(machine, unit, 0);
        assert_eq!(property(machine, unit, "TriggeredBy"), format!("{unit}.timer"));
    }
}

/// Microseconds since the machine's start.
fn at(machine: &Machine, unit: &str, name: &str) -> u64 {
    property(machine, unit, name).parse().unwrap()
}

/// Waits for a service that begins later than `before`, in microseconds since the machine's start, and for its success.
fn begins_and_succeeds(machine: &Machine, unit: &str, before: u64) {
    machine.wait_for(
        &format!("{unit} begun"),
        &format!("[ $(systemctl show -P ExecMainStartTimestampMonotonic {unit}.service) -gt {before} ]"),
        Duration::from_secs(120),
    );
    expect(machine, unit, &Ended::well(0));
}

#[test]
fn the_package_works_fails_loudly_and_goes() {
    let machine = installed();
    machine.must("systemd-analyze verify --man=no /lib/systemd/system/*plana* $(dpkg -L plana-jobs | grep -E 'system/.*(timer|service)$' | grep -v @)");
    machine.must("for unit in $(dpkg -L plana-jobs | grep -E 'system/.*service$'); do systemd-analyze security --offline=yes --threshold=20 $unit; done");
    assert_eq!(machine.must("systemctl list-unit-files --state=enabled --no-legend '*-to-sos.timer' '*-from-sos*.timer' | wc -l"), "0");
    machine.must(PLATFORM);

    // The whole night at once: After= puts what is queued together in its order.
    run_from_timers(&machine, &UNITS);
    for (before, after) in [("pg-dump-to-sos", "filestore-tarball"), ("filestore-tarball", "retention-pruner")] {
        assert!(
            at(&machine, before, "ExecMainExitTimestampMonotonic") <= at(&machine, after, "ExecMainStartTimestampMonotonic"),
            "{before}, {after}"
        );
    }
    machine.must("ls /srv/backups/pg/acme.planapulse.app/*/manifest.json /srv/backups/filestore/acme.planapulse.app/*/manifest.json");
    machine.must("ls /srv/seeds/basic-template-18.planapulse.app/*/*manifest.json");

    // And what is looked at each day, of which alerts hear.
    let checks = CHECKED.map(|job| format!("{job}-check"));
    let checks: Vec<&str> = checks.iter().map(String::as_str).collect();
    run_from_timers(&machine, &checks);
    for job in CHECKED {
        let begun = property(&machine, &format!("{job}-check"), "ExecMainStartTimestamp");
        let begun: f64 = machine.must(&format!("date -d '{begun}' +%s")).parse().unwrap();
        let checked = metric(&machine, job, &format!("plana_jobs_last_check_timestamp_seconds{{plana_job=\"{job}\"}}"));
        assert!(checked.is_some_and(|at| at >= begun), "{job}: {checked:?}, and the check began at {begun}");
        let problems = metric(&machine, job, &format!("plana_jobs_last_check_lines{{plana_job=\"{job}\",verdict=\"problem\"}}"));
        assert_eq!(problems, Some(0.0), "{job}");
    }
    // Whatever has a timer was seen.
    let shipped = machine.must("dpkg -L plana-jobs | grep -c '\\.timer$'");
    assert_eq!(shipped, (UNITS.len() + checks.len()).to_string());

    dashboard::shows_what_the_night_left(&machine.must(&format!("cat {TEXTFILES}/*.prom")));

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
    // Root has written metrics of that job, and is in nobody's way.
    assert_eq!(machine.must(&format!("stat -c %U {TEXTFILES}/plana_jobs_restore_from_sos.prom")), "root");
    run(&machine, "restore-from-sos-check", &Ended::well(0));
    assert_eq!(machine.must(&format!("stat -c %U {TEXTFILES}/plana_jobs_restore_from_sos.prom")), "plana-jobs");

    endings::each_is_what_the_unit_makes_of_it(&machine);

    // An upgrade leaves configuration, credentials and timers as they are.
    let timers = timers(&UNITS) + &timers(&checks);
    let begun: Vec<_> = UNITS.iter().chain(&checks).map(|unit| (unit, at(&machine, unit, "ExecMainStartTimestampMonotonic"))).collect();
    machine.must("echo '# ours' >>/etc/plana-jobs/config.toml; dpkg -i /shared/plana-jobs_0.1.0-2_*.deb </dev/null");
    machine.must("grep -qx '# ours' /etc/plana-jobs/config.toml; [ -s /etc/plana-jobs/credentials/backup/postgres.dsn ]");
    machine.must(&format!("systemctl is-enabled {timers}; systemctl is-active {timers}"));
    // And the newer version does the whole night.
    machine.must(&format!("systemctl restart {timers}"));
    for (unit, before) in begun {
        begins_and_succeeds(&machine, unit, before);
    }

    machine.must("dpkg --purge plana-jobs");
    machine.must("[ ! -e /etc/plana-jobs ] && [ ! -e /var/lib/plana-jobs ] && [ ! -e /etc/default/plana-jobs ] && [ -d /srv/backups/pg ]");
    assert_eq!(machine.must(&format!("systemctl list-units --no-legend --state=active {timers} | wc -l")), "0");
}
