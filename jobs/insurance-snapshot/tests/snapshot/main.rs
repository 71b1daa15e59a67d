//! The built job on a real server and real directories: what it takes, what it guards, and what goes wrong.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
mod gate;
mod keys;
mod taken;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use plana_plan::receipt::Receipt;
use plana_testkit::{
    bin::{Bin, Done},
    job::{Job, Outcome},
    pg::{PgCluster, PgMajor, quote_identifier, quote_literal},
};
use sha1::{Digest, Sha1};

/// A tenant with a database on a shared server, and a file store whose files its rows name.
struct Tenant {
    cluster: &'static PgCluster,
    name: String,
    job: Job,
    files: Vec<String>,
}

impl Tenant {
    fn new() -> Self {
        Self::named(PgMajor::V16, None)
    }

    fn named(major: PgMajor, name: Option<&str>) -> Self {
        let cluster = PgCluster::shared(major);
        let fresh = cluster.fresh_database("tenant").unwrap();
        if let Some(name) = name {
            cluster.psql("postgres", &format!("ALTER DATABASE {} RENAME TO {}", quote_identifier(&fresh), quote_identifier(name))).unwrap();
        }
        let name = name.map_or(fresh, str::to_owned);
        let job = Job::of(env!("CARGO_BIN_EXE_insurance-snapshot")).on(cluster).limit(Duration::from_secs(90));
        let mut tenant = Tenant { cluster, name, files: Vec::new(), job };
        tenant.sql(
            "CREATE TABLE partner (id int PRIMARY KEY, name text); INSERT INTO partner SELECT i, 'P'||i FROM generate_series(1, 500) i",
        );
        tenant.sql("CREATE TABLE ir_attachment (id serial PRIMARY KEY, name text, store_fname text, db_datas bytea)");
        tenant
            .sql("INSERT INTO ir_attachment (name, db_datas) SELECT 'icon', decode(repeat('09', 20000), 'hex') FROM generate_series(1, 3)");
        for number in 0..8 {
            let file = tenant.attach(&format!("attachment {number} of {}", tenant.name));
            tenant.files.push(file);
        }
        tenant
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.psql(&self.name, sql).unwrap()
    }

    fn root(&self) -> PathBuf {
        self.job.home().join("root")
    }

    fn files_path(&self) -> PathBuf {
        self.root().join(&self.name)
    }

    /// A file and the row that names it.
    fn attach(&self, content: &str) -> String {
        let name = Sha1::digest(content.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let file = format!("{}/{name}", &name[..2]);
        let path = self.files_path().join(&file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let then = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options().append(true).open(&path).unwrap().set_modified(then).unwrap();
        self.sql(&format!("INSERT INTO ir_attachment (name, store_fname) VALUES ('scan', '{file}')"));
        file
    }

    /// A call for the whole tenant.
    fn call(&self) -> Job {
        self.call_for("--tenant")
    }

    /// A call for a part of it.
    fn call_for(&self, part: &str) -> Job {
        self.job
            .clone()
            .arg(format!("{part}={}", self.name))
            .arg("--operation=upgrade-17-to-18")
            .arg(format!("--root={}", self.root().display()))
    }

    /// Where the receipt goes.
    fn receipt_path(&self) -> PathBuf {
        self.job.home().join("receipt.json")
    }

    fn receipt(&self) -> Receipt {
        serde_json::from_slice(&fs::read(self.receipt_path()).unwrap()).unwrap()
    }

    /// The committed sets.
    fn sets(&self) -> Vec<String> {
        self.job.store().committed().iter().map(|set| set.key.to_string()).collect()
    }

    /// A command that leaves this file, so that it is seen whether it ran.
    fn witness(&self) -> PathBuf {
        self.job.home().join("the command ran")
    }

    fn touch(&self) -> [String; 3] {
        ["--".to_owned(), "/usr/bin/touch".to_owned(), self.witness().display().to_string()]
    }

    /// The command never ran, and 125 says so.
    #[track_caller]
    fn expect_never_started(&self, outcome: &Outcome) {
        assert_eq!(outcome.done.code(), Some(125), "{}\n{}", outcome.done.stdout, outcome.done.stderr);
        assert!(!self.witness().exists(), "the command ran without insurance:\n{}", outcome.done.stderr);
        assert!(outcome.done.stderr.contains("the command was not started"), "{}", outcome.done.stderr);
        assert!(!self.receipt_path().exists(), "a receipt for nothing");
    }

    /// Runs what a receipt says, as the role that restores, and gives what it said.
    fn restore(&self, command: &str) -> String {
        let role = "DO $$ BEGIN CREATE ROLE plana_restore LOGIN CREATEDB; EXCEPTION WHEN duplicate_object THEN END $$";
        self.cluster.psql("postgres", role).unwrap();
        self.paste(&format!("{command} --as-superuser")).expect_code(0).stdout
    }

    /// Pastes a line into a shell of somebody who has none of the job's secrets.
    fn paste(&self, command: &str) -> Done {
        let program = Path::new(env!("CARGO_BIN_EXE_insurance-snapshot")).with_file_name("restore-from-sos");
        assert!(program.exists(), "run cargo build -p restore-from-sos");
        let line = command.replacen("restore-from-sos", &program.display().to_string(), 1);
        let shell = Bin::program("/bin/sh")
            .envs(self.cluster.env())
            .env("PATH", format!("{}:/usr/bin:/bin", self.cluster.bin_dir().display()))
            .env("PLANA_JOBS__STORE__BACKUPS__URL", format!("file://{}", self.job.store().root().display()))
            .env("PLANA_JOBS__STATE_DIR", self.job.home().join("state"))
            .current_dir(self.job.home())
            .args(["-c", &line]);
        shell.run().unwrap()
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        let kept = format!("SELECT datname FROM pg_database WHERE datname = {0} OR datname LIKE {0}||'_kept_%'", quote_literal(&self.name));
        for name in self.cluster.psql("postgres", &kept).unwrap_or_default().lines() {
            self.cluster.psql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", quote_identifier(name))).ok();
        }
    }
}
