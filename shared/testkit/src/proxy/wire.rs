//! HTTP/1.1 as bytes: heads, and bodies by length, in chunks, or up to the end.

use std::io::{BufRead, Error, ErrorKind, Read as _, Result, Write};

use super::rule::{Answer, Request};

/// Longer heads are refused.
const HEAD_LIMIT: usize = 256 * 1024;

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) raw: Vec<u8>,
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) framing: Framing,
    /// Without a body, whatever its headers say.
    bodiless: bool,
}

fn invalid(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_string())
}

/// The bytes of a head with its empty line; none where the connection ends before it begins.
pub(super) fn read_head(reader: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        if reader.by_ref().take(HEAD_LIMIT as u64).read_until(b'\n', &mut head)? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        if matches!(&head[before..], b"\r\n" | b"\n") {
            return Ok(Some(head));
        }
        if head.len() > HEAD_LIMIT {
            return Err(invalid("the head is too long"));
        }
    }
}

fn headers_of(parsed: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    parsed.iter().map(|one| (one.name.to_ascii_lowercase(), String::from_utf8_lossy(one.value).into_owned())).collect()
}

fn framing_of(headers: &[(String, String)], otherwise: Framing) -> Result<Framing> {
    let find = |name: &str| headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.trim());
    if find("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked")) {
        return Ok(Framing::Chunked);
    }
    find("content-length").map_or(Ok(otherwise), |value| value.parse().map(Framing::Length).map_err(invalid))
}

pub(super) fn parse_request(head: &[u8]) -> Result<(Request, Framing)> {
    let mut slots = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut slots);
    parsed.parse(head).map_err(invalid)?;
    let headers = headers_of(parsed.headers);
    let framing = framing_of(&headers, Framing::Length(0))?;
    let (path, query) = parsed.path.unwrap_or("/").split_once('?').unwrap_or((parsed.path.unwrap_or("/"), ""));
    let request = Request { method: parsed.method.unwrap_or("").to_owned(), path: path.to_owned(), query: query.to_owned(), headers };
    Ok((request, framing))
}

/// The next answer that is not an interim one (1xx).
pub(super) fn read_answer_head(reader: &mut impl BufRead, method: &str) -> Result<AnswerHead> {
    loop {
        let raw = read_head(reader)?.ok_or(ErrorKind::UnexpectedEof)?;
        let mut slots = [httparse::EMPTY_HEADER; 128];
        let mut parsed = httparse::Response::new(&mut slots);
        parsed.parse(&raw).map_err(invalid)?;
        let status = parsed.code.unwrap_or(0);
        if (100..200).contains(&status) {
            continue;
        }
        let headers = headers_of(parsed.headers);
        let bodiless = method == "HEAD" || matches!(status, 204 | 304);
        let framing = if bodiless { Framing::Length(0) } else { framing_of(&headers, Framing::UntilClose)? };
        return Ok(AnswerHead { raw, status, headers, framing, bodiless });
    }
}

/// The head without the lines of that header.
pub(super) fn without_header(head: &[u8], name: &str) -> Vec<u8> {
    let is_named = |line: &[u8]| line.split(|byte| *byte == b':').next().is_some_and(|one| one.eq_ignore_ascii_case(name.as_bytes()));
    head.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_named(line)).flatten().copied().collect()
}

/// Reads a body to its end and gives each piece as it stands on the wire, and whether it is content (not framing).
pub(super) fn each_piece(reader: &mut impl BufRead, framing: Framing, mut give: impl FnMut(&mut [u8], bool) -> Result<()>) -> Result<()> {
    match framing {
        Framing::Length(length) => each_content(reader, length, &mut give),
        Framing::UntilClose => each_content(reader, u64::MAX, &mut give),
        Framing::Chunked => loop {
            let mut line = read_line(reader)?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let digits = text.trim().split(';').next().unwrap_or("").to_owned();
            let size = u64::from_str_radix(&digits, 16).map_err(invalid)?;
            give(&mut line, false)?;
            if size > 0 {
                each_content(reader, size, &mut give)?;
                give(&mut read_line(reader)?, false)?;
                continue;
            }
            // Trailers, up to the empty line.
            loop {
                let mut line = read_line(reader)?;
                give(&mut line, false)?;
                if line.iter().all(u8::is_ascii_whitespace) {
                    return Ok(());
                }
            }
        },
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.by_ref().take(HEAD_LIMIT as u64).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') { Ok(line) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn each_content(reader: &mut impl BufRead, length: u64, give: &mut impl FnMut(&mut [u8], bool) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut left = length;
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match reader.read(&mut buffer[..want]) {
            Ok(0) if length == u64::MAX => return Ok(()),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                left -= count as u64;
                give(&mut buffer[..count], true)?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads the body of an answer whole.
pub(super) fn read_answer(reader: &mut impl BufRead, head: &AnswerHead) -> Result<Answer> {
    let mut body = Vec::new();
    each_piece(reader, head.framing, |piece, content| {
        if content {
            body.extend_from_slice(piece);
        }
        Ok(())
    })?;
    // The length is written anew, except where it is all that there is of a body.
    let left_out: &[&str] = if head.bodiless { &[] } else { &["content-length", "transfer-encoding", "connection", "keep-alive"] };
    let headers = head.headers.iter().filter(|(name, _)| !left_out.contains(&name.as_str())).cloned().collect();
    Ok(Answer { status: head.status, headers, body })
}

/// Writes an answer in full; without its body where the request was a HEAD.
pub(super) fn write_answer(writer: &mut impl Write, answer: &Answer, method: &str) -> Result<()> {
    let mut text = format!("HTTP/1.1 {} Testkit\r\n", answer.status);
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !answer.headers.iter().any(|(name, _)| name == "content-length") && answer.status != 204 {
        text.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    if method != "HEAD" {
        bytes.extend_from_slice(&answer.body);
    }
    writer.write_all(&bytes)
}
