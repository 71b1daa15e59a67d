//! TLS, for our own sessions and for pg_dump's.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use plana_pg::{
    dump::{DumpFailure, DumpOptions, start_dump},
    server::{Server, ServerError},
};
use plana_testkit::pg::{PASSWORD, PgCluster, PgMajor, SUPERUSER};

use crate::support::{TIMEOUT, pg_dump, read, settings};

/// What `openssl req` puts into certificates.
const EXTENSIONS: &str = "[req]\ndistinguished_name = dn\n[dn]\n[authority]\nbasicConstraints = critical, CA:TRUE\n\
                          [server]\nbasicConstraints = CA:FALSE\nsubjectAltName = DNS:localhost\n";

/// A key and a certificate, signed by another pair or by itself: (key, certificate).
fn certificate(directory: &Path, name: &str, kind: &str, signer: Option<&(PathBuf, PathBuf)>) -> (PathBuf, PathBuf) {
    let (key, certificate) = (directory.join(format!("{name}.key")), directory.join(format!("{name}.crt")));
    let config = directory.join("openssl.cnf");
    std::fs::write(&config, EXTENSIONS).expect("a configuration");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-extensions", kind, "-config"]).arg(&config);
    openssl.arg("-subj").arg(format!("/CN={name}")).arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    if let Some((key, certificate)) = signer {
        openssl.arg("-CA").arg(certificate).arg("-CAkey").arg(key);
    }
    let done = openssl.output().expect("openssl");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    (key, certificate)
}

/// A server that takes TLS only, with a certificate for `localhost`.
fn server_with(key: &Path, certificate: &Path) -> PgCluster {
    let cluster = PgCluster::builder(PgMajor::V15)
        .hba("hostnossl all all 127.0.0.1/32 reject\nhostnossl all all ::1/128 reject")
        .start()
        .expect("a server");
    let data = cluster.data_dir();
    for (from, to) in [(key, "server.key"), (certificate, "server.crt")] {
        let content = std::fs::read(from).expect("a file");
        // Written into an existing file of the server's account: it must own its key.
        let target = data.join(to);
        std::fs::copy(data.join("PG_VERSION"), &target).expect("a copy");
        std::fs::write(&target, content).expect("a file");
        let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(data.join("PG_VERSION")).expect("its owner"));
        std::os::unix::fs::chown(&target, Some(owner), None).expect("an owner");
        std::fs::set_permissions(&target, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    }
    cluster.psql("postgres", "ALTER SYSTEM SET ssl = on").expect("a setting");
    cluster.restart().expect("a server");
    cluster
}

#[tokio::test]
async fn modes_mean_the_same_for_us_and_for_pg_dump() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = certificate(directory.path(), "authority", "authority", None);
    let (_, other) = certificate(directory.path(), "other", "authority", None);
    let (key, served) = certificate(directory.path(), "served", "server", Some(&authority));
    let cluster = server_with(&key, &served);
    let client = pg_dump(&cluster).await;
    let (ours, other) = (authority.1.display(), other.display());
    let cases = [
        ("localhost", "sslmode=require".to_owned(), true),
        ("localhost", "sslmode=prefer".to_owned(), true),
        ("localhost", "sslmode=allow".to_owned(), true),
        ("localhost", "sslmode=disable".to_owned(), false),
        ("localhost", format!("sslmode=verify-full sslrootcert={ours}"), true),
        ("127.0.0.1", format!("sslmode=verify-full sslrootcert={ours}"), false),
        ("127.0.0.1", format!("sslmode=verify-ca sslrootcert={ours}"), true),
        ("localhost", format!("sslmode=verify-ca sslrootcert={other}"), false),
        ("localhost", format!("sslmode=verify-full sslrootcert={other}"), false),
        // With authorities at hand `require` checks too.
        ("localhost", format!("sslmode=require sslrootcert={other}"), false),
    ];
    let password = PASSWORD.replace('\\', r"\\").replace('\'', r"\'");
    for (host, mode, works) in cases {
        let dsn =
            format!("host={host} hostaddr=127.0.0.1 port={} user={SUPERUSER} password='{password}' dbname=postgres {mode}", cluster.port());
        let settings = settings(&dsn);
        let session = Server::connect(&settings, TIMEOUT).await;
        let mut dump = start_dump(&client, client.version, &settings, &DumpOptions::default()).await.expect("a dump");
        let archive = read(&mut dump).await;
        let status = dump.wait().await;
        assert_eq!((session.is_ok(), archive.is_ok(), status.is_ok()), (works, works, works), "{host} {mode}: {session:?} {status:?}");
        if let (Err(session), Err(status)) = (session, status) {
            let plain = mode == "sslmode=disable";
            assert_eq!(matches!(session, ServerError::Tls { .. }), !plain, "{mode}: {session:?}");
            assert_eq!(matches!(session, ServerError::Authentication { .. }), plain, "{mode}: {session:?}");
            let expected = if plain { DumpFailure::Authentication } else { DumpFailure::Unreachable };
            assert_eq!(status.failure, expected, "{mode}: {status}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_explained() {
    let directory = tempfile::tempdir().expect("a directory");
    let (key, served) = certificate(directory.path(), "served", "authority", None);
    let cluster = server_with(&key, &served);
    let dsn = format!("{}?sslmode=verify-ca&sslrootcert={}", cluster.dsn("postgres"), served.display());
    let error = Server::connect(&settings(&dsn), TIMEOUT).await.expect_err("not accepted").to_string();
    assert!(error.contains("is its own authority") && error.contains("sslrootcert"), "{error}");
}
