//! What the tests share.

use std::{
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use plana_pg::{
    archive::{ArchiveError, ArchiveReader, ArchiveSummary},
    client::{self, Installed, Program},
    dsn::{ConnectionSettings, Environment},
    dump::{DumpChild, DumpOptions, start_dump},
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
