//! Ways for a run to end, and what the units make of each.

use std::time::Duration;

use plana_testkit::machine::Machine;

use crate::host::{Ended, run, told};

/// How often a unit is tried again before it has failed for good.
const RERUNS: u8 = 5;

/// On a platform of which everything has just been backed up.
pub fn each_is_what_the_unit_makes_of_it(machine: &Machine) {
    left_to_another_run_is_a_success(machine);
    a_partial_run_is_tried_again_and_never_a_success(machine);
    an_unreadable_file_is_no_success_either(machine);
    a_failure_is_tried_again_and_told(machine);
    a_refusal_is_told_at_once(machine);
    bad_configuration_is_told_at_once(machine);
}

/// SQL on the server, as its superuser.
fn sql(machine: &Machine, statements: &str) -> String {
    machine.must(&format!("cd /; runuser -u postgres -- psql -qAtX -v ON_ERROR_STOP=1 <<'SQL'\n{statements}\nSQL"))
}

/// 11.
fn left_to_another_run_is_a_success(machine: &Machine) {
    // A dump that waits for somebody's lock, and holds the item's own meanwhile.
    machine.must(
        "systemd-run --unit=holder --uid=postgres --working-directory=/ \
         psql -X -d acme.planapulse.app -c 'BEGIN; LOCK TABLE events; SELECT pg_sleep(120)'",
    );
    machine.wait_for("the lock", &locks("granted AND relation = 'events'::regclass"), Duration::from_secs(30));
    machine.must(
        "systemd-run --unit=other --uid=plana-jobs -p StateDirectory=plana-jobs \
         -p LoadCredential=plana-jobs:/etc/plana-jobs/credentials/backup pg-dump-to-sos --only acme.planapulse.app --no-globals",
    );
    machine.wait_for("the dump that waits", &locks("NOT granted AND relation = 'events'::regclass"), Duration::from_secs(30));
    run(machine, "pg-dump-to-sos", &Ended::well(11));
    // The server does not notice that a client has gone while it sleeps.
    sql(machine, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK TABLE%';");
    machine.wait_for("the other's end", "! systemctl is-active --quiet other.service", Duration::from_secs(60));
    machine.must("! systemctl is-failed --quiet other.service");
}

/// A script that succeeds while acme's database has such a lock.
fn locks(which: &str) -> String {
    format!("cd /; runuser -u postgres -- psql -qAtX -d acme.planapulse.app -c \"SELECT 1 FROM pg_locks WHERE {which}\" | grep -q 1")
}

/// 3, of databases.
fn a_partial_run_is_tried_again_and_never_a_success(machine: &Machine) {
    // A database that no dump can be made of.
    sql(
        machine,
        "CREATE DATABASE broken;\n\\c broken\nCREATE SCHEMA lost; CREATE TABLE lost.t (); DELETE FROM pg_namespace WHERE nspname = 'lost';",
    );
    run(machine, "pg-dump-to-sos", &Ended::failed(3, RERUNS));
    // And not of the run that was left to another.
    told(machine, "pg-dump-to-sos", 1);
    sql(machine, "DROP DATABASE broken;");
    run(machine, "pg-dump-to-sos", &Ended::well(0));
}

/// 3, of files.
fn an_unreadable_file_is_no_success_either(machine: &Machine) {
    // The group reads instead of the capability, as the unit's head says; and it may not read everything.
    machine.must(
        "printf '[Service]\\nSupplementaryGroups=101\\nAmbientCapabilities=\\nCapabilityBoundingSet=\\n' \
         >/etc/systemd/system/filestore-tarball.service.d/group.conf; systemctl daemon-reload; \
         chmod -R g=rX /srv/filestore/acme.planapulse.app; echo secret >/srv/filestore/acme.planapulse.app/a9/mine; \
         chmod 600 /srv/filestore/acme.planapulse.app/a9/mine; rm -r /srv/backups/filestore/acme.planapulse.app",
    );
    run(machine, "filestore-tarball", &Ended::failed(3, RERUNS));
    told(machine, "filestore-tarball", 1);
    machine.must("rm /srv/filestore/acme.planapulse.app/a9/mine");
    run(machine, "filestore-tarball", &Ended::well(0));
}

/// 1.
fn a_failure_is_tried_again_and_told(machine: &Machine) {
    let dsn = "/etc/plana-jobs/credentials/backup/postgres.dsn";
    machine.must(&format!("cp {dsn} /root/dsn; echo 'host=127.0.0.1 port=1 user=nobody' >{dsn}"));
    run(machine, "pg-dump-to-sos", &Ended::failed(1, RERUNS));
    told(machine, "pg-dump-to-sos", 2);
    machine.must(&format!("cp /root/dsn {dsn}"));
}

/// 20.
fn a_refusal_is_told_at_once(machine: &Machine) {
    // It knows what is there now.
    run(machine, "retention-pruner", &Ended::well(0));
    // What the last run left is gone, and nobody knows why.
    machine.must("mv /srv/backups/pg /srv/backups-pg");
    run(machine, "retention-pruner", &Ended::failed(20, 0));
    told(machine, "retention-pruner", 1);
    let why = machine.must("journalctl --no-pager -u retention-pruner -n 20");
    assert!(why.contains("take the listing for whole"), "{why}");
    machine.must("mv /srv/backups-pg /srv/backups/pg");
    run(machine, "retention-pruner", &Ended::well(0));
}

/// 10.
fn bad_configuration_is_told_at_once(machine: &Machine) {
    machine.must("printf '[dump]\\njbos = 1\\n' >/etc/plana-jobs/conf.d/typo.toml");
    run(machine, "filestore-tarball", &Ended::failed(10, 0));
    told(machine, "filestore-tarball", 2);
    // A check is as loud as the job.
    run(machine, "filestore-tarball-check", &Ended::failed(10, 0));
    told(machine, "filestore-tarball-check", 1);
    machine.must("rm /etc/plana-jobs/conf.d/typo.toml");
    run(machine, "filestore-tarball-check", &Ended::well(0));
}
