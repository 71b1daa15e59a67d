//! One client's connection: reads requests, does what the rules say, forwards the rest.

use std::io::{BufReader, Error, ErrorKind, Result, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use super::State;
use super::http::Shared;
use super::rule::{Action, Answer, Etag, Request};
use super::wire::{self, Framing};

pub(super) fn connection(client: TcpStream, upstream: u16, state: &State, shared: &Shared) {
    let mut line = Line { client: BufReader::new(client), server: None, upstream, state, shared };
    // An error is the end of one connection, which the client sees as such.
    while matches!(line.exchange(), Ok(true)) {}
    line.client.get_ref().shutdown(Shutdown::Both).ok();
    line.close_server();
}

struct Line<'a> {
    client: BufReader<TcpStream>,
    server: Option<BufReader<TcpStream>>,
    upstream: u16,
    state: &'a State,
    shared: &'a Shared,
}

/// Something in a body: from which byte on, and what.
#[derive(Clone, Copy)]
enum BodyFault {
    Cut(u64),
    Stall(u64),
    Corrupt(u64),
    Slow(u64),
}

/// What becomes of the server's answer.
enum AnswerFault {
    None,
    Replace(Answer),
    Drop,
    Cut(u64),
    Change(Box<dyn Fn(&mut Answer)>),
}

impl Line<'_> {
    /// One request and its answer; false when the connection is to be closed.
    fn exchange(&mut self) -> Result<bool> {
        let Some(head) = wire::read_head(&mut self.client)? else { return Ok(false) };
        let (request, framing) = wire::parse_request(&head)?;
        let number = self.shared.note(request.clone());
        // The client waits for this line before it sends the body; the server need not know.
        if request.header("expect").is_some() {
            self.client.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let (body, answer) = match self.shared.decide(&request) {
            None => (None, AnswerFault::None),
            Some(Action::Answer(answer)) => {
                self.drain(framing, number)?;
                return self.reply(number, &answer, &request).map(|()| true);
            }
            Some(Action::Drop) => return self.drain(framing, number).map(|()| false),
            Some(Action::Stall) => {
                self.drain(framing, number)?;
                return self.hold();
            }
            Some(Action::Delay(time)) => {
                std::thread::sleep(time);
                (None, AnswerFault::None)
            }
            Some(Action::CutBody(after)) => (Some(BodyFault::Cut(after)), AnswerFault::None),
            Some(Action::StallBody(after)) => (Some(BodyFault::Stall(after)), AnswerFault::None),
            Some(Action::CorruptBody(at)) => (Some(BodyFault::Corrupt(at)), AnswerFault::None),
            Some(Action::SlowBody(rate)) => (Some(BodyFault::Slow(rate)), AnswerFault::None),
            Some(Action::ForwardThenAnswer(answer)) => (None, AnswerFault::Replace(answer)),
            Some(Action::ForwardThenDrop) => (None, AnswerFault::Drop),
            Some(Action::CutAnswer(after)) => (None, AnswerFault::Cut(after)),
            Some(Action::Etag(etag)) => (None, AnswerFault::Change(Box::new(move |answer| spoil_etags(answer, &etag)))),
            Some(Action::ShiftDate(seconds)) => (None, AnswerFault::Change(Box::new(move |answer| shift_date(answer, seconds)))),
            Some(Action::Rewrite(change)) => (None, AnswerFault::Change(Box::new(move |answer| change(answer)))),
        };
        self.shared.amend(number, |seen| seen.forwarded = true);
        self.send(&wire::without_header(&head, "expect"), framing, body, number)?;
        self.receive(&request, number, answer)
    }

    fn server(&mut self) -> Result<&mut BufReader<TcpStream>> {
        if self.server.is_none() {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.upstream))?;
            stream.set_nodelay(true)?;
            self.state.watch(&stream);
            self.server = Some(BufReader::new(stream));
        }
        self.server.as_mut().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn close_server(&mut self) {
        if let Some(server) = self.server.take() {
            server.get_ref().shutdown(Shutdown::Both).ok();
        }
    }

    fn drain(&mut self, framing: Framing, number: usize) -> Result<()> {
        let shared = self.shared;
        wire::each_piece(&mut self.client, framing, |piece, content| {
            if content {
                shared.amend(number, |seen| seen.body_bytes += piece.len() as u64);
            }
            Ok(())
        })
    }

    fn send(&mut self, head: &[u8], framing: Framing, fault: Option<BodyFault>, number: usize) -> Result<()> {
        // A kept connection may have been closed by the server meanwhile: one that has said so is not used again.
        if self.server.as_ref().is_some_and(|server| is_closed(server.get_ref())) {
            self.close_server();
        }
        self.server()?.get_mut().write_all(head)?;
        let Self { client, server: Some(server), state, shared, .. } = self else { return Err(ErrorKind::NotConnected.into()) };
        let (mut passed, mut refused) = (0_u64, false);
        wire::each_piece(client, framing, |piece, content| {
            let start = passed;
            if content {
                passed += piece.len() as u64;
                shared.amend(number, |seen| seen.body_bytes = passed);
            }
            let within = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
            match fault {
                Some(BodyFault::Cut(after)) if passed > after => {
                    server.get_mut().write_all(&piece[..within(after)])?;
                    return Err(ErrorKind::ConnectionAborted.into());
                }
                Some(BodyFault::Stall(after)) if passed > after => {
                    server.get_mut().write_all(&piece[..within(after)])?;
                    wait_for_end(state);
                    return Err(ErrorKind::ConnectionAborted.into());
                }
                Some(BodyFault::Corrupt(at)) if content && (start..passed).contains(&at) => piece[within(at)] ^= 0xFF,
                Some(BodyFault::Slow(rate)) => std::thread::sleep(Duration::from_secs_f64(piece.len() as f64 / rate.max(1) as f64)),
                _ => {}
            }
            // A server that refuses may answer and close before it has read all: its answer still counts.
            if !refused && server.get_mut().write_all(piece).is_err() {
                refused = true;
            }
            Ok(())
        })?;
        match fault {
            // A body shorter than the limit is cut at its end.
            Some(BodyFault::Cut(_)) => Err(ErrorKind::ConnectionAborted.into()),
            Some(BodyFault::Stall(_)) => self.hold().map(drop),
            _ => Ok(()),
        }
    }

    fn receive(&mut self, request: &Request, number: usize, fault: AnswerFault) -> Result<bool> {
        let Self { client, server: Some(server), .. } = self else { return Err(ErrorKind::NotConnected.into()) };
        let head = wire::read_answer_head(server, &request.method)?;
        let closes = head.framing == Framing::UntilClose
            || head.headers.iter().any(|(name, value)| name == "connection" && value.eq_ignore_ascii_case("close"));
        match fault {
            AnswerFault::None => {
                self.shared.amend(number, |seen| seen.status = Some(head.status));
                client.get_mut().write_all(&head.raw)?;
                wire::each_piece(server, head.framing, |piece, _| client.get_mut().write_all(piece))?;
            }
            AnswerFault::Cut(after) => {
                self.shared.amend(number, |seen| seen.status = Some(head.status));
                client.get_mut().write_all(&head.raw)?;
                let mut left = after;
                wire::each_piece(server, head.framing, |piece, content| {
                    let send = if content { piece.len().min(usize::try_from(left).unwrap_or(usize::MAX)) } else { piece.len() };
                    client.get_mut().write_all(&piece[..send])?;
                    left -= if content { send as u64 } else { 0 };
                    if content && send < piece.len() { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
                })?;
                return Ok(false);
            }
            AnswerFault::Drop => {
                wire::read_answer(server, &head)?;
                return Ok(false);
            }
            AnswerFault::Replace(answer) => {
                wire::read_answer(server, &head)?;
                self.reply(number, &answer, request)?;
            }
            AnswerFault::Change(change) => {
                let mut answer = wire::read_answer(server, &head)?;
                change(&mut answer);
                self.reply(number, &answer, request)?;
            }
        }
        Ok(!closes)
    }

    fn reply(&mut self, number: usize, answer: &Answer, request: &Request) -> Result<()> {
        self.shared.amend(number, |seen| seen.status = Some(answer.status));
        wire::write_answer(self.client.get_mut(), answer, &request.method)
    }

    /// Holds the connection open and silent until the proxy is gone.
    fn hold(&mut self) -> Result<bool> {
        wait_for_end(self.state);
        Err(Error::from(ErrorKind::ConnectionAborted))
    }
}

fn wait_for_end(state: &State) {
    while !state.is_stopped() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether the other side has closed a connection on which nothing is due.
fn is_closed(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let state = stream.peek(&mut [0]);
    stream.set_nonblocking(false).is_err() || !matches!(state, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn shift_date(answer: &mut Answer, seconds: i64) {
    answer.headers.retain(|(name, _)| name != "date");
    let shifted = chrono::Utc::now() + chrono::TimeDelta::seconds(seconds);
    answer.headers.push(("date".into(), shifted.format("%a, %d %b %Y %H:%M:%S GMT").to_string()));
}

fn spoil_etags(answer: &mut Answer, etag: &Etag) {
    let value = match etag {
        Etag::Empty => Some(String::new()),
        Etag::Replaced(value) => Some(format!("\"{value}\"")),
        Etag::Missing => None,
    };
    for (_, old) in answer.headers.iter_mut().filter(|(name, _)| name == "etag") {
        *old = value.clone().unwrap_or_default();
    }
    if value.is_none() {
        answer.headers.retain(|(name, _)| name != "etag");
    }
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let mut rest = text.as_str();
    let mut body = String::new();
    while let Some((before, after)) = rest.split_once("<ETag>").and_then(|(before, tail)| Some((before, tail.split_once("</ETag>")?.1))) {
        body.push_str(before);
        if let Some(value) = &value {
            body.push_str(&format!("<ETag>{}</ETag>", value.replace('"', "&quot;")));
        }
        rest = after;
    }
    if !body.is_empty() {
        body.push_str(rest);
        answer.body = body.into_bytes();
    }
}
