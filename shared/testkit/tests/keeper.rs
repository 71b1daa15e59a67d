//! Whatever becomes of a test process, its servers and their directories go with it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use plana_testkit::ceph::Gateway;
use plana_testkit::pg::{PgCluster, PgMajor};
use plana_testkit::process::{Signal, accepts, send};
use plana_testkit::redis::RedisServer;

/// Run as a child by the test below: starts one of each, says where, and waits to be killed.
#[test]
#[ignore = "the inner half of the test below"]
fn starts_servers_and_waits() {
    let cluster = PgCluster::start(PgMajor::V15).unwrap();
    let mut busy = cluster.command("psql");
    let mut busy = busy.args(["-c", "SELECT pg_sleep(100)"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let shared = RedisServer::start().unwrap();
    shared.pause().unwrap();
    let gateway = Gateway::shared();
    let text = format!("UP {} {} {} {}\n", cluster.data_dir().display(), cluster.port(), gateway.port(), busy.id());
    std::io::stdout().write_all(text.as_bytes()).unwrap();
    busy.wait().unwrap();
}

#[test]
fn a_killed_test_process_leaves_nothing_behind() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "starts_servers_and_waits", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.find_map(|line| line.unwrap().split_once("UP ").map(|(_, rest)| rest.to_owned())).unwrap();
    let mut fields = line.split(' ');
    let data = fields.next().unwrap().to_owned();
    let ports: Vec<u16> = fields.by_ref().take(2).map(|port| port.parse().unwrap()).collect();
    assert!(Path::new(&data).exists() && ports.iter().all(|port| accepts(*port)));

    child.kill().unwrap();
    child.wait().unwrap();
    let begun = Instant::now();
    while Path::new(&data).exists() || ports.iter().any(|port| accepts(*port)) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{data} or the ports {ports:?} are still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The psql of the child is not the keeper's; its server is gone, so it ends by itself, or here.
    send(fields.next().unwrap().parse().unwrap(), Signal::KILL).ok();
}
