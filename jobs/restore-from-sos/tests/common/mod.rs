//! What the tests of this job share: a server with a tenant, a store with its backup, and the built binaries.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub mod files;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use plana_testkit::{
    bin::{Bin, Done},
    ceph::{Bucket, User},
    pg::{PgCluster, PgMajor, quote_identifier},
};
use serde_json::Value;
use tempfile::TempDir;

/// The tenant's database.
pub const TENANT: &str = "acme.planapulse.app";

/// A tenant like Odoo's, owned by the role `plana`: a thousand partners, their invoices, attachments, a large object, a view,
/// a partitioned table, an extension that comes with every server, settings and grants.
const TENANT_SQL: &str = "
    CREATE TABLE res_partner (id serial PRIMARY KEY, name text NOT NULL, email text, data bytea);
    INSERT INTO res_partner (name, email, data)
        SELECT 'Partner '||i, CASE WHEN i % 3 = 0 THEN NULL ELSE E'a\\tb\\n'||i END, sha256(i::text::bytea) FROM generate_series(1, 1000) i;
    CREATE TABLE account_move (id bigint PRIMARY KEY, partner_id int REFERENCES res_partner, amount numeric(16,2), state text);
    INSERT INTO account_move SELECT i, 1 + i % 1000, i / 3.0, 'posted' FROM generate_series(1, 5000) i;
    CREATE TABLE ir_attachment (id serial PRIMARY KEY, store_fname text, name text);
    CREATE TABLE events (at timestamptz NOT NULL, what text) PARTITION BY RANGE (at);
    CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO events SELECT timestamptz '2026-01-01' + i * interval '1 hour', 'e'||i FROM generate_series(1, 500) i;
    CREATE VIEW partners AS SELECT id, name FROM res_partner;
    CREATE FUNCTION upper_name(res_partner) RETURNS text LANGUAGE sql AS 'SELECT upper($1.name)';
    SELECT lo_from_bytea(0, 'a large object'::bytea);";

/// A server with a tenant, a role that restores, and a directory store with its backup.
pub struct Site {
    pub cluster: PgCluster,
    pub home: TempDir,
}

impl Site {
    /// With the tenant, backed up once.
    pub fn new(major: PgMajor) -> Self {
        let site = Site::empty(major);
        site.add_tenant(TENANT);
        site.back_up(&[]);
        site
    }

    /// Without tenants and backups.
    pub fn empty(major: PgMajor) -> Self {
        let cluster = PgCluster::start(major).unwrap();
        add_roles(&cluster);
        Site { cluster, home: tempfile::Builder::new().prefix("plana-restore-").tempdir().unwrap() }
    }

    pub fn add_tenant(&self, name: &str) {
        add_tenant(&self.cluster, name);
    }

    pub fn store(&self) -> PathBuf {
        self.home.path().join("store")
    }

    fn call(&self, job: &str) -> Bin {
        Bin::new(job)
            .unwrap()
            .args(["--output", "json", "--log-format", "text"])
            .envs(self.cluster.env())
            .env("PATH", self.cluster.bin_dir())
            .env("PLANA_JOBS__POSTGRES__BIN_DIRS", self.cluster.bin_dir())
            .env("PLANA_JOBS__STATE_DIR", self.home.path().join("state"))
            .env("PLANA_JOBS__STORE__BACKUPS__URL", format!("file://{}", self.store().display()))
            .limit(Duration::from_secs(120))
    }

    /// Backs up everything, with further arguments.
    pub fn back_up(&self, arguments: &[&str]) {
        self.call("pg-dump-to-sos").args(arguments).run().unwrap().expect_code(0);
    }

    /// Backs up every file store below a root.
    pub fn back_up_files(&self, root: &Path) -> Done {
        self.call("filestore-tarball").arg("--root").arg(root).run().unwrap()
    }

    /// Backs up everything into a bucket.
    pub fn back_up_into(&self, bucket: &Bucket, arguments: &[&str]) {
        self.with_bucket(self.call("pg-dump-to-sos"), bucket, User::Backup).args(arguments).run().unwrap().expect_code(0);
    }

    /// The job, as the role that restores.
    pub fn job(&self, arguments: &[&str]) -> Bin {
        self.call("restore-from-sos").env("PGUSER", "plana_restore").args(arguments)
    }

    /// The job, reading a bucket.
    pub fn job_from(&self, bucket: &Bucket, user: User, arguments: &[&str]) -> Bin {
        self.with_bucket(self.job(arguments), bucket, user)
    }

    fn with_bucket(&self, bin: Bin, bucket: &Bucket, user: User) -> Bin {
        bin.envs(bucket.env(user)).env("PLANA_JOBS__STORE__BACKUPS__URL", format!("s3://{}", bucket.name()))
    }

    /// The only set of that name in the directory store.
    pub fn set(&self, area: &str, name: &str) -> String {
        let group = self.store().join(area).join(name);
        let mut sets: Vec<_> = fs::read_dir(&group).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        sets.sort();
        format!("{area}/{name}/{}", sets.pop().expect("a set"))
    }

    /// The payload file of a set.
    pub fn payload(&self, set: &str) -> PathBuf {
        let mut files = fs::read_dir(self.store().join(set)).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_none_or(|extension| extension != "json")).expect("a payload")
    }

    /// Every database of the server.
    pub fn databases(&self) -> Vec<String> {
        let list = self.cluster.psql("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1").unwrap();
        list.lines().map(str::to_owned).collect()
    }

    /// No database of an unfinished restore is left.
    #[track_caller]
    pub fn expect_no_scratch(&self) {
        let left: Vec<String> = self.databases().into_iter().filter(|name| name.starts_with("plana_scratch_")).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// The role that owns tenants, and the one that restores: LOGIN, CREATEDB, a member of the owner, and nothing else.
pub fn add_roles(cluster: &PgCluster) {
    let roles = "CREATE ROLE plana LOGIN; CREATE ROLE app_reader; CREATE ROLE plana_restore LOGIN CREATEDB IN ROLE plana;";
    cluster.psql("postgres", roles).unwrap();
}

/// A tenant's database.
pub fn add_tenant(cluster: &PgCluster, name: &str) {
    let quoted = quote_identifier(name);
    cluster.psql("postgres", &format!("CREATE DATABASE {quoted} OWNER plana")).unwrap();
    cluster.psql(name, &format!("SET ROLE plana; {TENANT_SQL}")).unwrap();
    let settings = format!(
        "ALTER DATABASE {quoted} SET work_mem = '32MB'; ALTER ROLE plana IN DATABASE {quoted} SET search_path = public, pg_catalog;
         GRANT CONNECT ON DATABASE {quoted} TO app_reader"
    );
    cluster.psql("postgres", &settings).unwrap();
}

/// An extension in the server's own directory: it brings two settings, and takes more. `trusted` ones may be made by whoever
/// owns the database.
pub fn install_extension(cluster: &PgCluster, name: &str, trusted: bool) -> PathBuf {
    let share = Command::new(cluster.bin_dir().join("pg_config")).arg("--sharedir").output().unwrap();
    // A build that was moved does not know where it is.
    let told = PathBuf::from(String::from_utf8(share.stdout).unwrap().trim());
    let beside = cluster.bin_dir().join("../share/postgresql");
    let directory = [told, beside].into_iter().find(|share| share.join("extension").exists()).expect("a directory").join("extension");
    let control = format!("default_version = '1.0'\nrelocatable = false\nsuperuser = true\ntrusted = {trusted}\n");
    let script = "
        CREATE TABLE plana_settings (name text PRIMARY KEY, value text, standard bool);
        CREATE SEQUENCE plana_numbers;
        INSERT INTO plana_settings VALUES ('a', '1', true), ('b', '2', true);
        SELECT pg_catalog.pg_extension_config_dump('plana_settings', 'WHERE NOT standard');
        SELECT pg_catalog.pg_extension_config_dump('plana_numbers', '');
        GRANT ALL ON plana_settings, plana_numbers TO @extowner@;";
    for (file, text) in [(format!("{name}.control"), control.as_str()), (format!("{name}--1.0.sql"), script)] {
        let path = directory.join(file);
        let part = path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&part, text).unwrap();
        fs::set_permissions(&part, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(part, path).unwrap();
    }
    directory
}

/// A fingerprint of all that a tenant's database holds, as the server sees it.
pub fn contents(cluster: &PgCluster, database: &str) -> String {
    let tables = "SELECT 'p', md5(string_agg(p::text, ';' ORDER BY id)) FROM res_partner p
        UNION ALL SELECT 'm', md5(string_agg(m::text, ';' ORDER BY id)) FROM account_move m
        UNION ALL SELECT 'e', md5(string_agg(e::text, ';' ORDER BY at)) FROM events e
        UNION ALL SELECT 'l', string_agg(encode(lo_get(oid), 'escape'), ';') FROM pg_largeobject_metadata
        UNION ALL SELECT 'o', string_agg(relname||'='||pg_get_userbyid(relowner), ';' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    cluster.psql(database, tables).unwrap()
}

/// The result as JSON.
pub fn json(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{}\n{}", done.stdout, done.stderr))
}

/// The message of the only failed item, or of the run.
pub fn error(done: &Done) -> String {
    let report = json(done);
    let of_item = report["items"].as_array().and_then(|items| items.iter().find_map(|item| item["error"].as_str()));
    of_item.or(report["error"].as_str()).unwrap_or_default().to_owned()
}

/// Changes a file's bytes.
pub fn tamper(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
