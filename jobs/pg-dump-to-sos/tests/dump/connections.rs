//! Every way in which the job may be told where the server is.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use plana_testkit::{
    bin::Bin,
    pg::{Mode, PgCluster, PgMajor},
    process::{Signal, send},
};

use crate::common::{Job, expect_words, store::FileStore};

fn cluster_with(name: &str) -> (&'static PgCluster, String) {
    let cluster = PgCluster::shared(PgMajor::V15);
    let name = cluster.fresh_database(name).unwrap();
    cluster.psql(&name, "CREATE TABLE t AS SELECT generate_series(1, 7) AS i").unwrap();
    (cluster, name)
}

#[track_caller]
fn expect_seven_rows(store: &FileStore, name: &str) {
    assert_eq!(store.set(name).manifest.database.unwrap().rows, 7);
}

#[test]
fn both_forms_of_a_connection_string_by_each_way() {
    let (cluster, name) = cluster_with("dsn");
    for dsn in [cluster.dsn("postgres"), cluster.keyword_dsn("postgres")] {
        let by_setting = crate::common::job().at(&dsn, cluster.bin_dir());
        let file = by_setting.home().join("dsn");
        std::fs::write(&file, format!("{dsn}\n")).unwrap();
        let by_file = crate::common::job().programs(cluster.bin_dir()).env("PLANA_JOBS__POSTGRES__DSN_FILE", &file);
        // As Exo has it: the variable's name stands in the configuration.
        let by_variable = crate::common::job()
            .programs(cluster.bin_dir())
            .config("[postgres]\ndsn_env = \"EXO_DATABASE_DSN\"\n")
            .env("EXO_DATABASE_DSN", &dsn);
        for job in [by_setting.clone(), by_file, by_variable] {
            let outcome = job.only(&[&name]).run().expect(0);
            assert_eq!(outcome.outcome(&name), "done");
            let said = format!("{}{}", outcome.done.stdout, outcome.done.stderr);
            assert!(!said.contains("pa:ss") && !said.contains("pa%3Ass"), "the password must not be shown: {said}");
        }
        expect_seven_rows(&by_setting.store(), &name);
    }
}

#[test]
fn no_password_on_any_command_line_or_in_any_environment() {
    let (cluster, name) = cluster_with("secret");
    let job = crate::common::job().at(&cluster.dsn("postgres"), cluster.bin_dir()).only(&[&name]);
    let held = crate::common::faults::HeldLock::on(cluster, &name, "t");
    let mut running = job.spawn();
    let pid = job.wait_for_pg_dump(&mut running, &name);
    for file in ["cmdline", "environ"] {
        let text = String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap()).into_owned();
        let shown: Vec<_> =
            text.split('\0').filter(|part| part.contains("pa:ss") && !part.starts_with("PLANA_JOBS__POSTGRES__DSN=")).collect();
        assert!(shown.is_empty(), "{shown:?}");
    }
    drop(held);
    crate::common::Outcome::wait(running).expect(0);
}

#[test]
fn no_configuration_at_all() {
    let (cluster, name) = cluster_with("zero");
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("backups");
    let bin = Bin::program(env!("CARGO_BIN_EXE_pg-dump-to-sos"));
    let done = bin
        .env("PGHOST", cluster.socket_dir())
        .env("PGPORT", cluster.port().to_string())
        .env("PGUSER", "postgres")
        .env("STATE_DIRECTORY", home.path())
        .args(["--store", &format!("file://{}", store.display()), "--only", &name])
        .run()
        .unwrap()
        .expect_code(0);
    expect_words(&done.stdout, &["NAME", "ROWS", "OUTCOME", &name, "done", "1 done"]);
    expect_seven_rows(&FileStore::new(store), &name);
}

#[test]
fn a_service_and_a_passfile_as_psql_reads_them() {
    let (cluster, name) = cluster_with("service");
    let job = crate::common::job().programs(cluster.bin_dir()).only(&[&name]);
    let (service, passfile) = (job.home().join("services"), job.home().join("passfile"));
    std::fs::write(&service, format!("[pg01]\nhost=127.0.0.1\nport={}\nuser=postgres\ndbname=postgres\n", cluster.port())).unwrap();
    let password = plana_testkit::pg::PASSWORD.replace('\\', r"\\").replace(':', r"\:");
    std::fs::write(&passfile, format!("# comment\n127.0.0.1:*:*:postgres:{password}\n")).unwrap();
    std::fs::set_permissions(&passfile, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let job = job.env("PGSERVICEFILE", service).env("PGPASSFILE", passfile).env("PGSERVICE", "pg01");
    job.run().expect(0);
    expect_seven_rows(&job.store(), &name);
}

/// A server that replays somebody else's log: it can only be read.
pub struct Standby {
    cluster: PgCluster,
    child: Child,
}

impl Standby {
    /// With a database `held` of a thousand rows.
    pub fn start() -> Self {
        let settings = ["wal_level = replica", "max_wal_senders = 2", "hot_standby = on"];
        let builder = settings.iter().fold(PgCluster::builder(PgMajor::V16), |builder, line| builder.setting(*line));
        let cluster = builder.start().unwrap();
        cluster.psql("postgres", "CREATE DATABASE held").unwrap();
        cluster.psql("held", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS i").unwrap();
        cluster.stop(Mode::Fast).unwrap();
        let data = cluster.data_dir();
        std::fs::write(data.join("standby.signal"), "").unwrap();
        let child = server(&cluster.bin_dir().join("postgres")).arg("-D").arg(&data).stderr(Stdio::null()).spawn().unwrap();
        let standby = Standby { cluster, child };
        let begun = Instant::now();
        while standby.cluster.psql("postgres", "SELECT 1").is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the standby does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(standby.cluster.psql("postgres", "SELECT pg_is_in_recovery()").unwrap(), "t");
        standby
    }

    /// A job on it.
    pub fn job(&self) -> Job {
        crate::common::job().on(&self.cluster)
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        send(self.child.id(), Signal::INT).ok();
        self.child.wait().ok();
    }
}

/// PostgreSQL refuses to run as root.
fn server(program: &Path) -> Command {
    let owner = std::fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).unwrap_or(0);
    if owner != 0 {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}
