//! The stand-in for Valkey: with and without a password, stopped, frozen, and back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use plana_testkit::process::accepts;
use plana_testkit::redis::RedisServer;

#[test]
fn keeps_a_stream_until_it_stops() {
    let redis = RedisServer::start().unwrap();
    redis.cli(&["XADD", "PLANA:events", "*", "event", "{}"]).unwrap();
    assert_eq!(redis.cli(&["XLEN", "PLANA:events"]).unwrap(), "1");
    redis.stop();
    assert!(!accepts(redis.port()));
    redis.restart().unwrap();
    assert_eq!(redis.cli(&["XLEN", "PLANA:events"]).unwrap(), "0");
}

#[test]
fn demands_its_password() {
    let redis = RedisServer::with_password("p\"a s\\s@:/").unwrap();
    assert_eq!(redis.cli(&["PING"]).unwrap(), "PONG");
    assert_eq!(redis.url(), format!("redis://:p%22a%20s%5Cs%40%3A%2F@127.0.0.1:{}/", redis.port()));
    let with = std::process::Command::new("redis-cli").args(["-u", &redis.url().replace("//:", "//default:"), "PING"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&with.stdout).trim(), "PONG");
    let without = std::process::Command::new("redis-cli").args(["-u", &redis.url_without_password(), "PING"]).output().unwrap();
    assert!(String::from_utf8_lossy(&without.stdout).contains("NOAUTH"));
}

#[test]
fn a_frozen_server_accepts_and_does_not_answer() {
    use std::io::{Read as _, Write as _};
    let redis = RedisServer::start().unwrap();
    redis.pause().unwrap();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    assert_eq!(stream.read(&mut answer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    redis.resume().unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}
