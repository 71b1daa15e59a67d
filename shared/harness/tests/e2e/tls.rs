//! One TLS stack for Redis and HTTP: it works, and it does not trust everybody.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Place, Server, end};

/// A certificate for 127.0.0.1 that signs itself, and its key.
fn certificate(dir: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-addext", "extendedKeyUsage=serverAuth", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

#[test]
fn redis_and_pings_go_over_tls_to_whom_they_trust() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(dir.path());
    let (redis, https) = (Server::redis_tls(&certificate, &key), Server::https(&certificate, &key));
    let place = Place::new(&format!(
        "[events]\nurl = \"rediss://127.0.0.1:{}\"\n[ping.pg_dump_to_sos]\nsuccess = \"https://127.0.0.1:{}/t0ken\"\n",
        redis.port, https.port
    ));
    let mut trusting = place.command(&["--item", "a=done"]);
    trusting.env("SSL_CERT_FILE", &certificate);
    let trusting = end(trusting);
    assert_eq!((trusting.code, trusting.logged("WARN")), (Some(0), 0), "{}", trusting.stderr);
    let mut redis_cli = Command::new("redis-cli");
    redis_cli.args(["--tls", "--cacert"]).arg(&certificate);
    assert_eq!(redis.events_by(redis_cli, "PLANA:events").len(), 3);

    let distrusting = place.run(&["--item", "a=done"]);
    assert_eq!((distrusting.code, distrusting.logged("WARN")), (Some(0), 2), "{}", distrusting.stderr);
    assert!(!distrusting.stderr.contains("t0ken"), "{}", distrusting.stderr);
}
