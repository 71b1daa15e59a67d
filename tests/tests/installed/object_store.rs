//! An object store with a key for each purpose, which the jobs have from systemd's credentials alone, and a server without any
//! password.

use plana_testkit::{
    ceph::{Bucket, Gateway, REGION, User},
    machine::Machine,
};

use crate::host::{Ended, installed, metric, run, told};

/// A server that lets the jobs in because of who they are, as the comment in the shipped configuration says.
const SERVER: &str = r#"
config=/etc/plana-jobs/config.toml server=/etc/postgresql/15/main
sed -n 's/^# *pg_ident.conf  *//p' $config >>$server/pg_ident.conf
hba=$(sed -n 's/^# *pg_hba.conf  *//p' $config)
[ "$(printf '%s\n' "$hba" | wc -l)" = 1 ]
sed -i "0,/^local/s/^local/$hba\n&/" $server/pg_hba.conf
cd /
runuser -u postgres -- psql -qX -v ON_ERROR_STOP=1 <<'SQL'
CREATE ROLE plana_backup LOGIN SUPERUSER;
CREATE DATABASE "acme.planapulse.app";
SELECT pg_reload_conf();
\c acme.planapulse.app
CREATE TABLE t AS SELECT generate_series(1, 1000) AS n;
SQL
sed -n 's/^# *dsn = "\(.*\)"/\1/p' $config >/etc/plana-jobs/credentials/backup/postgres.dsn
"#;

/// The files of a key, as the README's table has them.
fn give_key(machine: &Machine, purpose: &str, user: User) {
    let (key, place) = (user.key(), format!("/etc/plana-jobs/credentials/{purpose}/store.backups"));
    machine.must(&format!("umask 077; echo '{}' >{place}.access_key_id; echo '{}' >{place}.secret_access_key", key.access, key.secret));
}

fn needless_rights(machine: &Machine, job: &str) -> Option<f64> {
    metric(machine, job, &format!("plana_jobs_key_needless_rights{{plana_job=\"{job}\"}}"))
}

fn manifests(bucket: &Bucket) -> usize {
    bucket
        .keys()
        .unwrap()
        .iter()
        .filter(|key| key.starts_with("nightly/pg/acme.planapulse.app/") && key.ends_with("/manifest.json"))
        .count()
}

#[test]
fn each_job_reaches_the_store_with_its_own_key_and_a_check_tells_when_that_may_too_much() {
    let (machine, bucket) = (installed(), Gateway::shared().bucket("installed").unwrap());
    let way = machine.reach(Gateway::shared().port()).unwrap();
    machine.must(SERVER);
    let site = format!(
        "[store.backups]\nurl = \"s3://{}/nightly\"\nendpoint = \"{}\"\nregion = \"{REGION}\"\n\
         [retention]\nenabled = true\nstores = [\"s3://{0}/nightly\"]\ntiers = false\n\
         [metrics]\ntextfile_dir = \"/var/lib/prometheus/node-exporter\"\n",
        bucket.name(),
        way.endpoint(),
    );
    machine.must(&format!("cat >/etc/plana-jobs/conf.d/site.toml <<'TOML'\n{site}TOML"));

    // Without its key a job has nothing else by which it would get in.
    run(&machine, "pg-dump-to-sos-check", &Ended::failed(10, 0));
    told(&machine, "pg-dump-to-sos-check", 1);
    for (purpose, user) in [("backup", User::Backup), ("prune", User::Pruner), ("restore", User::Restore)] {
        give_key(&machine, purpose, user);
    }
    run(&machine, "pg-dump-to-sos", &Ended::well(0));
    assert_eq!(manifests(&bucket), 1, "{:?}", bucket.keys());
    run(&machine, "restore-from-sos-drill", &Ended::well(0));
    run(&machine, "retention-pruner", &Ended::well(0));

    // Keys that are as they should be.
    for job in ["pg-dump-to-sos", "retention-pruner"] {
        run(&machine, &format!("{job}-check"), &Ended::well(0));
        assert_eq!(needless_rights(&machine, job), Some(0.0), "{job}");
    }
    // It asks for nothing that would change anything, so here it cannot tell of every right that it is missing; of none that it is there.
    run(&machine, "restore-from-sos-check", &Ended::well(0));
    assert_eq!(needless_rights(&machine, "restore-from-sos"), None);
    // A key that may too much, by which the alert fires, since its rule is that this is above 0.
    bucket.set_rights(&[(User::Backup, &["s3:PutObject", "s3:ListBucket", "s3:GetObject", "s3:DeleteObject"])]).unwrap();
    run(&machine, "pg-dump-to-sos-check", &Ended::well(0));
    assert_eq!(needless_rights(&machine, "pg-dump-to-sos"), Some(2.0));
    assert!(
        std::fs::read_to_string(format!("{}/monitoring/plana-jobs.rules.yml", crate::host::ROOT))
            .unwrap()
            .contains("expr: max by (plana_job) (plana_jobs_key_needless_rights) > 0\n")
    );
    // One that may too little is a problem, and told.
    bucket.set_rights(&[(User::Backup, &["s3:ListBucket"])]).unwrap();
    run(&machine, "pg-dump-to-sos-check", &Ended::failed(1, 0));
    told(&machine, "pg-dump-to-sos-check", 2);
}
