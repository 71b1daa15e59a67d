//! Each fault of the byte proxy, in front of a server that sends back what it gets.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use plana_testkit::proxy::{Direction, TcpProxy, Toxic};

fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

fn connect(proxy: &TcpProxy) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    stream
}

/// Sends bytes and reads until there are as many, the end, or nothing more for a while.
fn there_and_back(stream: &mut TcpStream, bytes: usize) -> (usize, bool) {
    stream.write_all(&vec![b'x'; bytes]).unwrap();
    let (mut buffer, mut got) = (vec![0; 4096], 0);
    while got < bytes {
        match stream.read(&mut buffer) {
            Ok(0) => return (got, true),
            Ok(count) => got += count,
            Err(error) => return (got, error.kind() == std::io::ErrorKind::ConnectionReset),
        }
    }
    (got, false)
}

#[test]
fn forwards_everything_without_faults() {
    let proxy = TcpProxy::start(echo()).unwrap();
    assert_eq!(there_and_back(&mut connect(&proxy), 100_000), (100_000, false));
}

#[test]
fn cuts_once_or_always_after_so_many_bytes() {
    for direction in [Direction::Up, Direction::Down] {
        let proxy = TcpProxy::start(echo()).unwrap();
        proxy.add(Toxic::Cut(direction, 1000));
        let (got, ended) = there_and_back(&mut connect(&proxy), 3000);
        assert!(got <= 1000 && ended, "{direction:?}: {got} {ended}");
        assert_eq!(there_and_back(&mut connect(&proxy), 3000), (3000, false));
        proxy.add(Toxic::CutAlways(direction, 0));
        for _ in 0..2 {
            assert_eq!(there_and_back(&mut connect(&proxy), 10), (0, true));
        }
        proxy.clear();
        assert_eq!(there_and_back(&mut connect(&proxy), 10), (10, false));
    }
}

#[test]
fn stalls_until_it_is_cleared() {
    let proxy = TcpProxy::start(echo()).unwrap();
    proxy.add(Toxic::Stall(Direction::Up, 1000));
    let mut stream = connect(&proxy);
    assert_eq!(there_and_back(&mut stream, 3000), (1000, false));
    proxy.clear();
    let mut rest = vec![0; 2000];
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.read_exact(&mut rest).unwrap();
}

#[test]
fn swallows_what_the_sender_believes_sent() {
    let proxy = TcpProxy::start(echo()).unwrap();
    proxy.add(Toxic::Swallow(Direction::Up, 1000));
    let mut stream = connect(&proxy);
    assert_eq!(there_and_back(&mut stream, 20_000_000), (1000, false));
}

#[test]
fn delays_and_limits_the_rate() {
    let proxy = TcpProxy::start(echo()).unwrap();
    proxy.add(Toxic::Latency(Direction::Down, Duration::from_millis(200)));
    let begun = Instant::now();
    assert_eq!(there_and_back(&mut connect(&proxy), 10), (10, false));
    assert!(begun.elapsed() >= Duration::from_millis(200));
    proxy.clear();
    proxy.add(Toxic::Rate(Direction::Up, 100_000));
    let begun = Instant::now();
    assert_eq!(there_and_back(&mut connect(&proxy), 50_000), (50_000, false));
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[test]
fn refuses_connections_and_takes_them_again() {
    let proxy = TcpProxy::start(echo()).unwrap();
    let mut before = connect(&proxy);
    assert_eq!(there_and_back(&mut before, 10), (10, false));
    proxy.add(Toxic::Refuse);
    assert!(before.read(&mut [0]).is_ok_and(|count| count == 0));
    let refused = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    proxy.clear();
    assert_eq!(there_and_back(&mut connect(&proxy), 10), (10, false));
}
