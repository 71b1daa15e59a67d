//! Which requests an [`HttpProxy`](super::HttpProxy) spoils, and how.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a request asks of an S3 store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// PUT of a whole object.
    PutObject,
    /// POST `?uploads`.
    CreateUpload,
    /// PUT `?partNumber&uploadId`.
    UploadPart,
    /// POST `?uploadId`.
    CompleteUpload,
    /// DELETE `?uploadId`.
    AbortUpload,
    /// GET `?uploadId`.
    ListParts,
    /// GET of a bucket.
    List,
    /// GET `?uploads` of a bucket.
    ListUploads,
    /// GET `?versions` of a bucket.
    ListVersions,
    /// GET of an object.
    Get,
    /// HEAD of an object.
    Head,
    /// HEAD of a bucket.
    HeadBucket,
    /// DELETE of an object.
    Delete,
    /// POST `?delete` of a bucket.
    DeleteMany,
    /// Anything else.
    Other,
}

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// GET, PUT…
    pub method: String,
    /// `/bucket/key`, as it was sent (percent-encoded).
    pub path: String,
    /// What follows the question mark, as it was sent; empty without one.
    pub query: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// What it asks for.
    #[must_use]
    pub fn op(&self) -> Op {
        let of_object = self.path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
        let has = |name: &str| self.query.split('&').any(|pair| pair.split('=').next() == Some(name));
        match (self.method.as_str(), of_object) {
            ("PUT", true) if has("partNumber") => Op::UploadPart,
            ("PUT", true) if self.query.is_empty() || has("x-id") => Op::PutObject,
            ("POST", true) if has("uploads") => Op::CreateUpload,
            ("POST", true) if has("uploadId") => Op::CompleteUpload,
            ("DELETE", true) if has("uploadId") => Op::AbortUpload,
            ("DELETE", true) => Op::Delete,
            ("GET", true) if has("uploadId") => Op::ListParts,
            ("GET", true) => Op::Get,
            ("HEAD", true) => Op::Head,
            ("HEAD", false) => Op::HeadBucket,
            ("GET", false) if has("uploads") => Op::ListUploads,
            ("GET", false) if has("versions") => Op::ListVersions,
            ("GET", false) if has("list-type") || has("prefix") || self.query.is_empty() => Op::List,
            ("POST", false) if has("delete") => Op::DeleteMany,
            _ => Op::Other,
        }
    }

    /// The value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

/// An answer in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names and values, without those for the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An S3 error: its XML with that code, under that status (200 too, as CompleteMultipartUpload may have it).
    #[must_use]
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{code}, says the test's proxy</Message>\
             <RequestId>tx-testkit</RequestId><HostId>testkit</HostId></Error>"
        );
        Self { status, headers: vec![("Content-Type".into(), "application/xml".into())], body: body.into_bytes() }
    }

    /// With a further header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What becomes of the ETags in an answer: its header, and the elements of its XML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Etag {
    /// They are empty.
    Empty,
    /// They are this.
    Replaced(String),
    /// They are missing.
    Missing,
}

type Change = Arc<dyn Fn(&mut Answer) + Send + Sync>;

/// What happens to a request that a rule matches.
#[derive(Clone)]
pub enum Action {
    /// Takes the request in whole and answers by itself; the server never sees it.
    Answer(Answer),
    /// Lets the server do it, then answers something else.
    ForwardThenAnswer(Answer),
    /// Takes the request in whole and closes the connection; the server never sees it.
    Drop,
    /// Lets the server do it, then closes the connection instead of answering.
    ForwardThenDrop,
    /// Forwards so many bytes of the body, then closes both connections.
    CutBody(u64),
    /// Takes the request in whole and never answers.
    Stall,
    /// Forwards so many bytes of the body, then holds still.
    StallBody(u64),
    /// Waits, then goes on as usual.
    Delay(Duration),
    /// Forwards the body at so many bytes per second.
    SlowBody(u64),
    /// Turns over the byte of the body that stands after so many.
    CorruptBody(u64),
    /// Sends so many bytes of the answer's body, then closes the connection.
    CutAnswer(u64),
    /// Spoils the ETags in the answer.
    Etag(Etag),
    /// Shifts the answer's Date by so many seconds.
    ShiftDate(i64),
    /// Changes the answer by a function.
    Rewrite(Change),
}

impl Action {
    /// Answers an S3 error, such as `(503, "SlowDown")`.
    #[must_use]
    pub fn error(status: u16, code: &str) -> Self {
        Self::Answer(Answer::error(status, code))
    }

    /// Changes the answer by a function.
    pub fn rewrite(change: impl Fn(&mut Answer) + Send + Sync + 'static) -> Self {
        Self::Rewrite(Arc::new(change))
    }

    /// Replaces a text everywhere in the answer's body.
    #[must_use]
    pub fn replace(from: &'static str, to: &'static str) -> Self {
        Self::rewrite(move |answer| answer.body = String::from_utf8_lossy(&answer.body).replace(from, to).into_bytes())
    }

    /// Leaves every object out of a listing.
    #[must_use]
    pub fn list_nothing() -> Self {
        Self::rewrite(|answer| {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            if let (Some(start), Some(end)) = (text.find("<Contents>"), text.rfind("</Contents>")) {
                answer.body = format!("{}{}", &text[..start], &text[end + "</Contents>".len()..]).into_bytes();
            }
        })
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => f.debug_tuple("Answer").field(&answer.status).finish(),
            Self::ForwardThenAnswer(answer) => f.debug_tuple("ForwardThenAnswer").field(&answer.status).finish(),
            Self::Drop => f.write_str("Drop"),
            Self::ForwardThenDrop => f.write_str("ForwardThenDrop"),
            Self::CutBody(bytes) => f.debug_tuple("CutBody").field(bytes).finish(),
            Self::Stall => f.write_str("Stall"),
            Self::StallBody(bytes) => f.debug_tuple("StallBody").field(bytes).finish(),
            Self::Delay(time) => f.debug_tuple("Delay").field(time).finish(),
            Self::SlowBody(rate) => f.debug_tuple("SlowBody").field(rate).finish(),
            Self::CorruptBody(at) => f.debug_tuple("CorruptBody").field(at).finish(),
            Self::CutAnswer(bytes) => f.debug_tuple("CutAnswer").field(bytes).finish(),
            Self::Etag(etag) => f.debug_tuple("Etag").field(etag).finish(),
            Self::ShiftDate(seconds) => f.debug_tuple("ShiftDate").field(seconds).finish(),
            Self::Rewrite(_) => f.write_str("Rewrite"),
        }
    }
}

type Predicate = Arc<dyn Fn(&Request) -> bool + Send + Sync>;

/// Which requests meet which action: all of them, from the first on, unless narrowed.
#[derive(Clone)]
pub struct Rule {
    predicates: Vec<Predicate>,
    first: u64,
    times: u64,
    pub(super) action: Action,
    pub(super) matched: Arc<AtomicU64>,
}

impl Rule {
    /// Every request.
    #[must_use]
    pub fn any(action: Action) -> Self {
        Self { predicates: Vec::new(), first: 1, times: u64::MAX, action, matched: Arc::default() }
    }

    /// Requests of that kind.
    #[must_use]
    pub fn on(op: Op, action: Action) -> Self {
        Self::any(action).when(move |request| request.op() == op)
    }

    /// Only with that method.
    #[must_use]
    pub fn method(self, method: &'static str) -> Self {
        self.when(move |request| request.method == method)
    }

    /// Only where the path contains this (percent-encoded, as on the wire).
    #[must_use]
    pub fn path(self, part: impl Into<String>) -> Self {
        let part = part.into();
        self.when(move |request| request.path.contains(&part))
    }

    /// Only where the query contains this, such as `partNumber=3&`.
    #[must_use]
    pub fn query(self, part: impl Into<String>) -> Self {
        let part = part.into();
        self.when(move |request| request.query.contains(&part))
    }

    /// Only where this holds.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.predicates.push(Arc::new(predicate));
        self
    }

    /// Only the k-th match, counted from 1.
    #[must_use]
    pub fn nth(mut self, k: u64) -> Self {
        (self.first, self.times) = (k, 1);
        self
    }

    /// From the k-th match on.
    #[must_use]
    pub fn from(mut self, k: u64) -> Self {
        self.first = k;
        self
    }

    /// For so many matches, from the first that counts.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Counts the request where it matches, and says whether the rule acts on it.
    pub(super) fn acts_on(&self, request: &Request) -> bool {
        if !self.predicates.iter().all(|holds| holds(request)) {
            return false;
        }
        let match_number = self.matched.fetch_add(1, Ordering::SeqCst) + 1;
        match_number >= self.first && match_number - self.first < self.times
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("action", &self.action).field("first", &self.first).field("times", &self.times).finish_non_exhaustive()
    }
}

/// A rule that was added to a proxy.
#[derive(Debug, Clone)]
pub struct RuleHandle(pub(super) Arc<AtomicU64>);

impl RuleHandle {
    /// How many requests have matched it, whether it acted on them or not.
    #[must_use]
    pub fn matched(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
