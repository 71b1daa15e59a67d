//! The gateway behind TLS: rustls with ring, the system's certificates, bodies that are not signed once more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use common::{
    noise,
    spoiled::{KEY, PART, Spoiled, upload},
};
use plana_plan::manifest::Verified;
use plana_storage::{S3Options, S3Store, Store as _, StoreError};
use plana_testkit::ceph::{Gateway, User};

/// Ends TLS and forwards to the port that it is given; says its own on standard output.
const FRONT: &str = r#"
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def pipe(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
def serve(raw):
    try:
        client = context.wrap_socket(raw, server_side=True)
    except (OSError, ssl.SSLError):
        return
    server = socket.create_connection(("127.0.0.1", int(sys.argv[3])))
    threading.Thread(target=pipe, args=(server, client), daemon=True).start()
    pipe(client, server)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

struct Front {
    child: Child,
    port: u16,
}

impl Front {
    fn start(directory: &Path, upstream: u16) -> Self {
        let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut child = Command::new("python3")
            .args(["-c", FRONT])
            .args([certificate.as_os_str(), key.as_os_str()])
            .arg(upstream.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its port");
        Front { child, port: line.trim().parse().expect("a port") }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

const ENDPOINT: &str = "PLANA_TEST_TLS_ENDPOINT";
const BUCKET: &str = "PLANA_TEST_TLS_BUCKET";
const BYTES: u64 = PART + 77;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_behind_tls_is_believed_by_its_certificate() {
    if let Ok(endpoint) = std::env::var(ENDPOINT) {
        return upload_to(&endpoint).await;
    }
    let spoiled = Spoiled::of(BYTES);
    let directory = tempfile::tempdir().expect("a directory");
    let front = Front::start(directory.path(), Gateway::shared().port());
    let endpoint = format!("https://localhost:{}", front.port);
    let stranger = S3Store::new(S3Options { endpoint: Some(endpoint.clone()), ..common::options(&spoiled.bucket, User::Backup) });
    let error = stranger.expect("a store").list("", None).await.expect_err("nobody vouches for it");
    assert!(matches!(error, StoreError::Connection(_)), "{error:?}");
    assert!(error.to_string().contains("ertificate"), "{error}");

    // The system's certificates are read once in a process, so one that trusts this one is another.
    let own = std::env::current_exe().expect("this program");
    let trusting = Command::new(own)
        .args(["--exact", "a_store_behind_tls_is_believed_by_its_certificate", "--nocapture"])
        .env("SSL_CERT_FILE", directory.path().join("certificate.pem"))
        .env(ENDPOINT, endpoint)
        .env(BUCKET, spoiled.bucket.name())
        .status();
    assert!(trusting.expect("this program").success());
    assert!(spoiled.bucket.get(KEY).expect("the object") == spoiled.content, "the bytes differ");
}

async fn upload_to(endpoint: &str) {
    let bucket = std::env::var(BUCKET).expect("the bucket");
    let store = S3Store::new(common::access(&bucket, endpoint, User::Backup)).expect("a store");
    let finished = upload(&store, &noise(BYTES, 7)).await.unwrap_or_else(|error| panic!("failed to {error}"));
    assert_eq!((finished.volumes[0].parts, finished.volumes[0].verified), (2, Verified::EtagMd5));
}
