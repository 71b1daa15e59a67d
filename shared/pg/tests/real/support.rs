//! What the tests share.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use chrono::Utc;
use plana_pg::{
    archive::{ArchiveError, ArchiveReader, ArchiveSummary},
    client::{self, Installed, Program},
    dsn::{ConnectionSettings, Environment},
    dump::{DumpChild, DumpOptions, start_dump},
    restore::{ArchiveSource, Finished, RestoreChild, RestoreError, RestoreOptions, start_restore},
    scratch::{Admin, NewDatabase},
    server::{DatabaseInfo, Server},
};
use plana_testkit::pg::PgCluster;

pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Names that break whatever takes a name for something else.
pub const NASTY_NAMES: [&str; 16] = [
    "quote\"s 'single' `back`",
    "with space",
    "slash/es",
    "..",
    "new\nline",
    "emoji 🦀",
    "-leading",
    "--dash=x",
    "a=b",
    "postgres://x",
    "postgresql://u@h/d",
    "host=elsewhere dbname=postgres",
    "per%20cent",
    "$HOME \\back; DROP",
    "comma,colon:",
    // 63 bytes, the most that there are.
    "012345678901234567890123456789012345678901234567890123456789éx",
];

pub fn settings(dsn: &str) -> ConnectionSettings {
    ConnectionSettings::resolve(Some(dsn), &Environment::new()).expect("settings")
}

/// Over TCP with the superuser's password.
pub fn superuser(cluster: &PgCluster, database: &str) -> ConnectionSettings {
    settings(&cluster.dsn(database))
}

pub async fn server(cluster: &PgCluster) -> Server {
    Server::connect(&superuser(cluster, "postgres"), TIMEOUT).await.expect("a server")
}

pub async fn database(server: &Server, name: &str) -> DatabaseInfo {
    let databases = server.databases().await.expect("the databases");
    databases.into_iter().find(|database| database.name == name).expect("the database")
}

pub async fn client_in(directory: &Path, program: Program) -> Installed {
    let found = client::find(program, &[directory.display().to_string()], None).await;
    found.into_iter().next().expect("the program")
}

pub async fn pg_dump(cluster: &PgCluster) -> Installed {
    client_in(cluster.bin_dir(), Program::PgDump).await
}

pub async fn start(cluster: &PgCluster, settings: &ConnectionSettings) -> DumpChild {
    let client = pg_dump(cluster).await;
    start_dump(&client, client.version, settings, &DumpOptions::default()).await.expect("a dump")
}

/// Reads a dump to its end, as a job does: in a thread.
pub async fn read(dump: &mut DumpChild) -> Result<ArchiveSummary, ArchiveError> {
    let mut stdout = dump.take_stdout().expect("its output");
    let reader = move || {
        let mut reader = ArchiveReader::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match stdout.read(&mut buffer).expect("a piece") {
                0 => return reader.finish(),
                count => reader.feed(&buffer[..count])?,
            }
        }
    };
    tokio::task::spawn_blocking(reader).await.expect("the reader")
}

/// An archive of a database in a file.
pub async fn archive(cluster: &PgCluster, database: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let mut dump = start(cluster, &superuser(cluster, database)).await;
    let mut stdout = dump.take_stdout().expect("its output");
    let file = tokio::task::spawn_blocking(move || std::io::copy(&mut stdout, &mut file).map(|_| file));
    let file = file.await.expect("a reader").expect("a copy");
    dump.wait().await.expect("status 0");
    file
}

pub async fn pg_restore(cluster: &PgCluster) -> Installed {
    client_in(cluster.bin_dir(), Program::PgRestore).await
}

pub async fn start_with(
    cluster: &PgCluster,
    settings: &ConnectionSettings,
    source: ArchiveSource<'_>,
    options: &RestoreOptions,
) -> RestoreChild {
    let client = pg_restore(cluster).await;
    start_restore(&client, client.version, settings, source, options).await.expect("a restore")
}

/// Writes an archive into a restore and closes its input, as a job does: in a thread.
pub async fn feed(restore: &mut RestoreChild, mut archive: impl Read + Send + 'static) -> std::io::Result<u64> {
    let mut stdin = restore.take_stdin().expect("its input");
    tokio::task::spawn_blocking(move || std::io::copy(&mut archive, &mut stdin)).await.expect("a writer")
}

/// Restores a file, as a stream or with several jobs.
pub async fn restore(
    cluster: &PgCluster,
    settings: &ConnectionSettings,
    archive: &Path,
    options: &RestoreOptions,
) -> Result<Finished, RestoreError> {
    if options.jobs > 1 {
        return start_with(cluster, settings, ArchiveSource::File(archive), options).await.wait().await;
    }
    let mut restore = start_with(cluster, settings, ArchiveSource::Stream, options).await;
    // A restore that fails reads no further: its status says why.
    feed(&mut restore, std::fs::File::open(archive).expect("the archive")).await.ok();
    restore.wait().await
}

pub async fn admin(cluster: &PgCluster) -> Admin {
    Admin::new(server(cluster).await)
}

/// A database as the servers of the tests have them.
pub fn utf8(owner: Option<&str>) -> NewDatabase {
    let made_at = Utc::now();
    let locale = "C.UTF-8".to_owned();
    NewDatabase {
        encoding: "UTF8".to_owned(),
        collate: locale.clone(),
        ctype: locale,
        locale: None,
        owner: owner.map(str::to_owned),
        made_at,
    }
}

pub const WEAK_PASSWORD: &str = "x";

/// A role of its own that may log in and make databases, and no more.
pub fn weak_role(cluster: &PgCluster, prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let role = format!("{prefix}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let make = format!("CREATE ROLE {} LOGIN CREATEDB PASSWORD '{WEAK_PASSWORD}'", plana_testkit::pg::quote_identifier(&role));
    cluster.psql("postgres", &make).expect("a role");
    role
}

/// An [`Admin`] as that role.
pub async fn weak_admin(cluster: &PgCluster, role: &str) -> Admin {
    let settings = settings(&cluster.dsn_as(role, WEAK_PASSWORD, "postgres"));
    Admin::new(Server::connect(&settings, TIMEOUT).await.expect("a server"))
}

static GUESTS: AtomicU64 = AtomicU64::new(0);

/// Somebody who is connected to a database until dropped, and does not come back.
pub struct Guest(std::process::Child);

impl Guest {
    pub async fn enter(cluster: &PgCluster, database: &str) -> Self {
        let mut psql = cluster.command("psql");
        psql.args(["-X", "-q", "-c", "SELECT pg_sleep(60)"]).env("PGDATABASE", database);
        // Its backend leaves with it.
        psql.env("PGOPTIONS", "-c client_connection_check_interval=50");
        psql.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        // Known by a name of its own: sessions of earlier calls may still be leaving.
        let name = format!("guest {}", GUESTS.fetch_add(1, Ordering::Relaxed));
        let guest = Guest(psql.env("PGAPPNAME", &name).spawn().expect("psql"));
        let query = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' AND state = 'active'");
        until("somebody is connected", || cluster.psql("postgres", &query).expect("a count") == "1").await;
        guest
    }

    pub fn is_there(&mut self) -> bool {
        self.0.try_wait().expect("its state").is_none()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A directory with a `pg_dump` that runs `script`, where `$real` is the real one; it must be readable by others.
pub fn wrapper(real: &Path, script: &str) -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("pg_dump");
    let text =
        format!("#!/bin/sh\nreal='{}'\n[ \"$1\" = --version ] && exec \"$real\" --version\n{script}\n", real.join("pg_dump").display());
    std::fs::write(&path, text).expect("a wrapper");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let path = directory.path().to_owned();
    (directory, path)
}

/// Waits until `happened`, or fails.
pub async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    for _ in 0..400 {
        if happened() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it did not happen: {what}");
}

/// Sessions of the database other than the one that asks.
pub fn sessions(cluster: &PgCluster, database: &str) -> String {
    let name = plana_testkit::pg::quote_literal(database);
    let query = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = {name} AND backend_type = 'client backend'");
    cluster.psql("postgres", &query).expect("a count")
}
