//! A ledger of pulls: JSON lines. How much of the time they cover is told by [`super::coverage`].
//!
//! A line is a pull, `{"time":"2026-11-23T03:15:00Z","path":"library/nginx:1.27"}` (or `name@sha256:…`, or the request's own path,
//! or `"digest":"sha256:…"` instead, for any repository), or says what a log covers, `{"from":"…","to":"…"}`, where nobody has
//! pulled for a while. Other fields are nobody's business. Only the latest pull of each thing is kept.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::{
    digest::{Digest, is_any_digest},
    key::{is_name, is_tag},
};

/// Lines that are longer are no lines of a ledger.
pub const LONGEST_LINE: usize = 16 << 10;

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pulled {
    /// What a tag meant at that time.
    Tag(String, String),
    /// A manifest or a blob of a repository; `None` stands for any repository.
    Digest(Option<String>, Digest),
    /// Something under a digest of another kind, which nobody deletes.
    Other,
}

/// A line of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A pull.
    Pull(DateTime<Utc>, Pulled),
    /// All pulls between these times are in the ledger.
    Covers(DateTime<Utc>, DateTime<Utc>),
}

/// The same as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<DateTime<Utc>>,
}

impl Pulled {
    /// Of `name:tag`, `name@digest`, or the path of a request, `/v2/name/manifests/reference` or `/v2/name/blobs/digest`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("/v2/") {
            let path = path.split('?').next().unwrap_or_default();
            let path = percent_decode_str(path).decode_utf8().ok()?.into_owned();
            // A name may have any of these words in it, a reference has no slash.
            let (before, reference) = path.rsplit_once('/')?;
            let (name, kind) = before.rsplit_once('/')?;
            return if matches!(kind, "manifests" | "blobs") { Self::of(name, reference) } else { None };
        }
        match text.split_once('@') {
            // The tag beside a digest says nothing more.
            Some((name, digest)) => Self::of(name.rsplit_once(':').map_or(name, |(name, _)| name), digest),
            None => text.rsplit_once(':').and_then(|(name, tag)| Self::of(name, tag)),
        }
    }

    fn of(name: &str, reference: &str) -> Option<Self> {
        if !is_name(name) {
            return None;
        }
        match reference.parse() {
            Ok(digest) => Some(Pulled::Digest(Some(name.to_owned()), digest)),
            Err(_) if is_tag(reference) => Some(Pulled::Tag(name.to_owned(), reference.to_owned())),
            Err(_) => (is_any_digest(reference) && !reference.starts_with("sha256:")).then_some(Pulled::Other),
        }
    }
}

impl Line {
    /// Reads a line; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let Written { time, digest, path, from, to } = serde_json::from_str(text).ok()?;
        match (time, digest, path, from, to) {
            (Some(time), Some(digest), None, None, None) => match digest.parse() {
                Ok(digest) => Some(Line::Pull(time, Pulled::Digest(None, digest))),
                Err(_) => (is_any_digest(&digest) && !digest.starts_with("sha256:")).then_some(Line::Pull(time, Pulled::Other)),
            },
            // Both: the path says where.
            (Some(time), _, Some(path), None, None) => Some(Line::Pull(time, Pulled::parse(&path)?)),
            (None, None, None, Some(from), Some(to)) if from <= to => Some(Line::Covers(from, to)),
            _ => None,
        }
    }

    /// The line as it stands in a ledger, without its end.
    pub fn write(&self) -> String {
        let mut written = Written::default();
        match self {
            Line::Pull(time, pulled) => {
                written.time = Some(*time);
                match pulled {
                    Pulled::Tag(name, tag) => written.path = Some(format!("{name}:{tag}")),
                    Pulled::Digest(Some(name), digest) => written.path = Some(format!("{name}@{digest}")),
                    Pulled::Digest(None, digest) => written.digest = Some(digest.to_string()),
                    Pulled::Other => {}
                }
            }
            Line::Covers(from, to) => (written.from, written.to) = (Some(*from), Some(*to)),
        }
        serde_json::to_string(&written).unwrap_or_default()
    }
}

/// The latest pull of each thing of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OfRepository {
    /// By tag.
    pub tags: BTreeMap<String, DateTime<Utc>>,
    /// By digest.
    pub digests: BTreeMap<Digest, DateTime<Utc>>,
}

/// A ledger, folded: of each thing the latest pull.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulls {
    /// By repository.
    pub repositories: BTreeMap<String, OfRepository>,
    /// By digest, wherever it was pulled from.
    pub digests: BTreeMap<Digest, DateTime<Utc>>,
    /// By digest, where no repository is told.
    anywhere: BTreeMap<Digest, DateTime<Utc>>,
}

fn note<K: Ord>(all: &mut BTreeMap<K, DateTime<Utc>>, key: K, time: DateTime<Utc>) {
    let latest = all.entry(key).or_insert(time);
    *latest = time.max(*latest);
}

impl Pulls {
    /// Takes a line.
    pub fn add(&mut self, line: Line) {
        match line {
            Line::Pull(time, Pulled::Tag(name, tag)) => note(&mut self.repositories.entry(name).or_default().tags, tag, time),
            Line::Pull(time, Pulled::Digest(name, digest)) => {
                note(&mut self.digests, digest, time);
                match name {
                    Some(name) => note(&mut self.repositories.entry(name).or_default().digests, digest, time),
                    None => note(&mut self.anywhere, digest, time),
                }
            }
            Line::Pull(_, Pulled::Other) | Line::Covers(..) => {}
        }
    }

    /// When a digest was last pulled from a repository, as far as the ledger tells.
    pub fn of_digest(&self, repository: &str, digest: &Digest) -> Option<DateTime<Utc>> {
        let here = self.repositories.get(repository).and_then(|pulls| pulls.digests.get(digest));
        here.copied().max(self.anywhere.get(digest).copied())
    }

    /// When a tag was last pulled.
    pub fn of_tag(&self, repository: &str, tag: &str) -> Option<DateTime<Utc>> {
        self.repositories.get(repository)?.tags.get(tag).copied()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn digest() -> Digest {
        Digest::new([0xab; 32])
    }

    #[test]
    fn lines_are_read_and_written() {
        let at = time("2026-11-23T03:15:00Z");
        let by_digest = |name: Option<&str>| Pulled::Digest(name.map(str::to_owned), digest());
        for (text, pulled) in [
            ("\"path\":\"library/nginx:1.27\"".to_owned(), Pulled::Tag("library/nginx".into(), "1.27".into())),
            (format!("\"path\":\"a@{}\"", digest()), by_digest(Some("a"))),
            (format!("\"path\":\"a:1@{}\",\"by\":\"10.0.0.1\"", digest()), by_digest(Some("a"))),
            (format!("\"path\":\"/v2/a/b/manifests/{}\"", digest()), by_digest(Some("a/b"))),
            (format!("\"path\":\"/v2/a/manifests/blobs/{}\"", digest()), by_digest(Some("a/manifests"))),
            (format!("\"path\":\"/v2/a/blobs/{}?ns=docker.io\"", digest().to_string().replace(':', "%3A")), by_digest(Some("a"))),
            (format!("\"digest\":\"{}\"", digest()), by_digest(None)),
            ("\"path\":\"a@sha512:00\"".to_owned(), Pulled::Other),
        ] {
            let line = format!("{{\"time\":\"2026-11-23T03:15:00Z\",{text}}}");
            assert_eq!(Line::parse(&line), Some(Line::Pull(at, pulled.clone())), "{line}");
            if pulled != Pulled::Other {
                assert_eq!(Line::parse(&Line::Pull(at, pulled.clone()).write()), Some(Line::Pull(at, pulled)));
            }
        }
        let covers = Line::Covers(at, at + TimeDelta::days(1));
        assert_eq!(Line::parse(&covers.write()), Some(covers));
        for wrong in [
            "",
            "{}",
            "[]",
            "{\"time\":\"2026-11-23T03:15:00Z\"}",
            "{\"path\":\"a:1\"}",
            "{\"time\":\"yesterday\",\"path\":\"a:1\"}",
            "{\"time\":\"2026-11-23T03:15:00Z\",\"path\":\"a\"}",
            "{\"time\":\"2026-11-23T03:15:00Z\",\"path\":\"../a:1\"}",
            "{\"time\":\"2026-11-23T03:15:00Z\",\"digest\":\"sha256:0\"}",
            "{\"time\":\"2026-11-23T03:15:00Z\",\"path\":\"a:1\",\"from\":\"2026-11-23T03:15:00Z\"}",
            "{\"from\":\"2026-11-23T03:15:00Z\",\"to\":\"2026-11-22T03:15:00Z\"}",
            "{\"from\":\"2026-11-23T03:15:00Z\"}",
        ] {
            assert_eq!(Line::parse(wrong), None, "{wrong}");
        }
    }
}
