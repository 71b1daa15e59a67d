//! Ping URLs.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use crate::support::Place;

/// Answers each request with the next status, and tells what was asked.
fn listen(statuses: &'static [u16]) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, asked) = channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let first = lines.next().unwrap();
            lines.take_while(|line| !line.is_empty()).count();
            stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
            tell.send(first).unwrap();
        }
    });
    (port, asked)
}

fn place(port: u16) -> Place {
    let url = |what: &str| format!("{what} = \"http://127.0.0.1:{port}/t0ken/{what}\"\n");
    Place::new(&format!("[ping.pg_dump_to_sos]\n{}{}{}", url("start"), url("success"), url("failure")))
}

/// What was asked so far; the job has ended by now.
fn paths(asked: &Receiver<String>) -> Vec<String> {
    let so_far = std::iter::from_fn(|| asked.recv_timeout(Duration::from_millis(300)).ok());
    so_far.map(|line| line.split(' ').nth(1).unwrap().trim_start_matches("/t0ken/").to_owned()).collect()
}

#[test]
fn the_start_and_the_end_are_told() {
    for (args, last) in [(["--item", "a=done"], "success"), (["--item", "a=failed"], "failure")] {
        let (port, asked) = listen(&[200, 200]);
        let ended = place(port).run(&args);
        assert_eq!(paths(&asked), ["start", last], "{}", ended.stderr);
        assert_eq!(ended.logged("WARN"), 0, "{}", ended.stderr);
    }
}

#[test]
fn a_ping_is_tried_again() {
    let (port, asked) = listen(&[200, 503, 500, 200]);
    let ended = place(port).run(&["--item", "a=done"]);
    assert_eq!(paths(&asked), ["start", "success", "success", "success"]);
    assert_eq!((ended.code, ended.logged("ping")), (Some(0), 0), "{}", ended.stderr);
}

#[test]
fn a_ping_that_fails_is_a_warning_without_the_url() {
    let (port, asked) = listen(&[200, 404, 404, 404]);
    let ended = place(port).run(&["--item", "a=done", "--log-level", "trace"]);
    assert_eq!(paths(&asked).len(), 4);
    assert_eq!((ended.code, ended.logged("the ping URL for success")), (Some(0), 1), "{}", ended.stderr);
    assert!(!ended.stderr.contains("t0ken"), "{}", ended.stderr);

    // Nobody listens there now.
    let ended = place(port).run(&["--item", "a=done", "--log-level", "trace"]);
    assert_eq!((ended.code, ended.logged("the ping URL for")), (Some(0), 2), "{}", ended.stderr);
    assert!(!ended.stderr.contains("t0ken") && ended.took < Duration::from_secs(8), "{:?} {}", ended.took, ended.stderr);
}

#[test]
fn a_dry_run_pings_nobody() {
    let (port, asked) = listen(&[]);
    assert_eq!(place(port).run(&["--item", "a=done", "--dry-run"]).code, Some(0));
    assert!(paths(&asked).is_empty());
}
