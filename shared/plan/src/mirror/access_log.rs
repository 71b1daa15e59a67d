//! A registry's access log, read as pulls: the combined format, and the lines of the Docker distribution as JSON or as text.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::pulls::Pulled;

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logged {
    /// It shows that the log was written at that time, and a pull where it was one.
    At(DateTime<Utc>, Option<Pulled>),
    /// Nothing that is known here.
    Unreadable,
}

struct Request<'a> {
    method: &'a str,
    uri: &'a str,
    status: u16,
}

/// Reads a line.
pub fn read(line: &str) -> Logged {
    let line = line.trim();
    let found = if line.starts_with('{') { of_json(line) } else { of_combined(line).or_else(|| of_text(line)) };
    found.map_or(Logged::Unreadable, |(time, pulled)| Logged::At(time, pulled))
}

/// A pull is a read that was answered with the thing, also one that need not be sent again or is sent by the store itself.
fn pulled(request: &Request<'_>) -> Option<Pulled> {
    let was_read = matches!(request.method, "GET" | "HEAD") && (200..400).contains(&request.status);
    // In front of it may be the host, as a proxy is asked, or a path under which the registry is served.
    let path = request.uri.get(request.uri.find("/v2/")?..)?;
    was_read.then(|| Pulled::parse(path)).flatten()
}

/// Whether a text looks as if it told of a request for content, wherever it stands in it.
fn may_tell_of_a_pull(text: &str) -> bool {
    text.split_once("/v2/").is_some_and(|(_, rest)| rest.contains("/manifests/") || rest.contains("/blobs/"))
}

/// `host - user [23/Nov/2026:03:15:00 +0000] "GET /v2/… HTTP/1.1" 200 …`: the user may be anything.
fn of_combined(line: &str) -> Option<(DateTime<Utc>, Option<Pulled>)> {
    let (time, rest) = line.match_indices('[').find_map(|(at, _)| {
        let (time, rest) = line.get(at + 1..)?.split_once("] \"")?;
        Some((DateTime::parse_from_str(time, "%d/%b/%Y:%H:%M:%S %z").ok()?.with_timezone(&Utc), rest))
    })?;
    let request = rest.split_once("\" ").and_then(|(request, after)| {
        let mut words = request.split(' ');
        let (method, uri) = (words.next()?, words.next()?);
        Some(Request { method, uri, status: after.split(' ').next()?.parse().ok()? })
    });
    Some((time, request.and_then(|request| pulled(&request))))
}

/// What the distribution's own names of a request begin with.
const OWN: &str = "http.";
/// The distribution's own names, and those that people give them.
const METHOD: [&str; 3] = ["http.request.method", "request_method", "method"];
const URI: [&str; 3] = ["http.request.uri", "request_uri", "uri"];
const STATUS: [&str; 2] = ["http.response.status", "status"];
const TIME: [&str; 2] = ["time", "time_iso8601"];

fn of_json(line: &str) -> Option<(DateTime<Utc>, Option<Pulled>)> {
    let fields: Map<String, Value> = serde_json::from_str(line).ok()?;
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| fields.get(*name))?;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    };
    of_fields(text, fields.iter().map(|(name, value)| (name.as_str(), value.to_string())))
}

/// `time="…" level=info http.request.method=GET …`.
fn of_text(line: &str) -> Option<(DateTime<Utc>, Option<Pulled>)> {
    let fields: Vec<(&str, String)> = fields(line);
    let text = |names: &[&str]| fields.iter().find(|(name, _)| names.contains(name)).map(|(_, value)| value.clone());
    of_fields(text, fields.iter().cloned())
}

/// `text` gives the first of these fields that is there, `all` all that there are.
fn of_fields<'a>(
    text: impl Fn(&[&str]) -> Option<String>,
    mut all: impl Iterator<Item = (&'a str, String)>,
) -> Option<(DateTime<Utc>, Option<Pulled>)> {
    let time = DateTime::parse_from_rfc3339(&text(&TIME)?).ok()?.with_timezone(&Utc);
    let (Some(method), Some(uri), Some(status)) = (text(&METHOD), text(&URI), text(&STATUS)) else {
        // Other lines of the log show that it was being written, such as those of the distribution before it answers. One that tells
        // of pulls by names that are not known here must not look like a log without any.
        let is_foreign = all.any(|(name, value)| !name.starts_with(OWN) && may_tell_of_a_pull(&value));
        return (!is_foreign).then_some((time, None));
    };
    let request = status.parse().ok().map(|status| Request { method: &method, uri: &uri, status });
    Some((time, request.and_then(|request| pulled(&request))))
}

fn fields(line: &str) -> Vec<(&str, String)> {
    let (mut fields, mut rest) = (Vec::new(), line);
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quote(quoted),
            None => after.split_once(' ').map_or((after.to_owned(), ""), |(value, next)| (value.to_owned(), next)),
        };
        fields.push((name, value));
        rest = next;
    }
    fields
}

/// What stands up to the closing quote, and what follows it.
fn quote(text: &str) -> (String, &str) {
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => {
                value.push(c);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str, tag: &str) -> Option<Pulled> {
        Some(Pulled::Tag(name.into(), tag.into()))
    }

    #[test]
    fn lines_of_three_kinds_are_read() {
        let at: DateTime<Utc> = "2026-11-23T02:15:00Z".parse().unwrap();
        let combined = |request: &str, status: &str| {
            format!("10.0.0.7 - \"bob [x]\" [23/Nov/2026:03:15:00 +0100] \"{request}\" {status} 1234 \"\" \"containerd/1.7 \\\"x\\\"\"")
        };
        for (request, status, pulled) in [
            ("GET /v2/library/nginx/manifests/1.27 HTTP/1.1", "200", tag("library/nginx", "1.27")),
            ("HEAD /v2/a/manifests/latest?ns=docker.io HTTP/2.0", "200", tag("a", "latest")),
            ("GET /v2/a/manifests/1 HTTP/1.1", "307", tag("a", "1")),
            ("GET /v2/a/manifests/1 HTTP/1.1", "404", None),
            ("PUT /v2/a/manifests/1 HTTP/1.1", "201", None),
            ("GET /v2/ HTTP/1.1", "200", None),
            ("GET /v2/a/tags/list HTTP/1.1", "200", None),
            ("GET /v2/../manifests/1 HTTP/1.1", "200", None),
            ("-", "400", None),
        ] {
            assert_eq!(read(&combined(request, status)), Logged::At(at, pulled), "{request}");
        }
        let json = r#"{"http.request.method":"GET","http.request.uri":"/v2/a/manifests/1","http.response.status":200,"level":"info","msg":"response completed","time":"2026-11-23T03:15:00+01:00"}"#;
        assert_eq!(read(json), Logged::At(at, tag("a", "1")));
        assert_eq!(read(&json.replace("200", "\"200\"")), Logged::At(at, tag("a", "1")));
        assert_eq!(read(&json.replace("\"GET\"", "\"DELETE\"")), Logged::At(at, None));
        assert_eq!(read(r#"{"level":"debug","msg":"x","time":"2026-11-23T02:15:00Z"}"#), Logged::At(at, None));
        let text = r#"time="2026-11-23T02:15:00Z" level=info msg="response \"completed\"" http.request.method=GET http.request.uri="/v2/a/manifests/1" http.response.status=200"#;
        assert_eq!(read(text), Logged::At(at, tag("a", "1")));
        // Behind a proxy, or below a path.
        for uri in ["http://mirror.example/v2/a/manifests/1", "/registry/v2/a/manifests/1", "/v2/a/manifests/1"] {
            assert_eq!(read(&combined(&format!("GET {uri} HTTP/1.1"), "200")), Logged::At(at, tag("a", "1")), "{uri}");
        }
        let before = r#"{"http.request.method":"GET","http.request.uri":"/v2/a/manifests/1","msg":"authorizing request","time":"2026-11-23T02:15:00Z"}"#;
        assert_eq!(read(before), Logged::At(at, None));
        // Somebody else's names: such a log would cover the time and show no pull.
        for foreign in [
            r#"{"RequestMethod":"GET","RequestPath":"/v2/a/manifests/1","DownstreamStatus":200,"time":"2026-11-23T02:15:00Z"}"#,
            r#"{"request":"GET /v2/a/blobs/sha256:00 HTTP/1.1","status":200,"time":"2026-11-23T02:15:00Z"}"#,
            r#"{"request":{"method":"GET","uri":"/v2/a/manifests/1"},"status":200,"time":"2026-11-23T02:15:00Z"}"#,
            r#"{"method":"GET","uri":"/v2/a/manifests/1","code":200,"time":"2026-11-23T02:15:00Z"}"#,
            r#"time="2026-11-23T02:15:00Z" request="GET /v2/a/manifests/1 HTTP/1.1" status=200"#,
        ] {
            assert_eq!(read(foreign), Logged::Unreadable, "{foreign}");
        }
        for unreadable in ["", "{", "{}", "x", "time=x", "a - - [23/Nov/2026] \"GET / HTTP/1.1\" 200", r#"{"time":"x"}"#] {
            assert_eq!(read(unreadable), Logged::Unreadable, "{unreadable}");
        }
    }
}
