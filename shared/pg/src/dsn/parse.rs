//! Connection strings in their two forms.

use percent_encoding::percent_decode_str;

use super::{
    DsnError,
    keywords::{known, nearest},
};

/// Keywords and values in the order in which they stand.
pub(super) type Pairs = Vec<(&'static str, String)>;

/// Reads a connection string in URL or keyword form.
pub(super) fn parse(text: &str) -> Result<Pairs, DsnError> {
    let text = text.trim();
    match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        Some(rest) => parse_url(rest),
        None => parse_keywords(text),
    }
}

fn malformed<T>(reason: &str) -> Result<T, DsnError> {
    Err(DsnError::Malformed(reason.to_owned()))
}

fn parse_url(rest: &str) -> Result<Pairs, DsnError> {
    let mut pairs = Pairs::new();
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    let hosts = match authority.split_once('@') {
        Some((user, hosts)) => {
            let (user, password) = user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)));
            push(&mut pairs, "user", decode(user)?);
            push(&mut pairs, "password", decode(password.unwrap_or_default())?);
            hosts
        }
        None => authority,
    };
    if hosts.contains('@') {
        return malformed("there are two `@` before the host: write the one in the user or password as %40");
    }
    parse_hosts(&mut pairs, hosts)?;
    let (path, query) = tail.split_once('?').map_or((tail, None), |(path, query)| (path, Some(query)));
    push(&mut pairs, "dbname", decode(path.strip_prefix('/').unwrap_or_default())?);
    for parameter in query.into_iter().flat_map(|query| query.split('&')).filter(|p| !p.is_empty()) {
        let Some((name, value)) = parameter.split_once('=') else { return malformed("a parameter after `?` has no value") };
        let (name, value) = (decode(name)?, decode(value)?);
        // libpq takes JDBC's spelling too.
        if name == "ssl" && value == "true" {
            pairs.push(("sslmode", "require".to_owned()));
            continue;
        }
        let keyword = known(&name).ok_or_else(|| unknown("the connection string", &name, false))?;
        pairs.push((keyword, value));
    }
    Ok(pairs)
}

/// `host:port,host:port`, with IPv6 addresses in brackets.
fn parse_hosts(pairs: &mut Pairs, text: &str) -> Result<(), DsnError> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for part in text.split(',') {
        let (host, port) = match part.strip_prefix('[') {
            Some(rest) => {
                let Some((host, rest)) = rest.split_once(']') else { return malformed("an IPv6 address has no closing `]`") };
                let port = if rest.is_empty() { Some("") } else { rest.strip_prefix(':') };
                let Some(port) = port else { return malformed("something other than a port follows an IPv6 address") };
                (host, port)
            }
            None => part.split_once(':').unwrap_or((part, "")),
        };
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return malformed("a port is not a number: write `/`, `?`, `#`, `:` and `@` in a password as %2F, %3F, %23, %3A and %40");
        }
        hosts.push(decode(host)?);
        ports.push(port);
    }
    push(pairs, "host", if hosts.iter().all(String::is_empty) { String::new() } else { hosts.join(",") });
    push(pairs, "port", if ports.iter().all(|p| p.is_empty()) { String::new() } else { ports.join(",") });
    Ok(())
}

fn push(pairs: &mut Pairs, keyword: &'static str, value: String) {
    if !value.is_empty() {
        pairs.push((keyword, value));
    }
}

fn decode(text: &str) -> Result<String, DsnError> {
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('%') {
        match bytes.get(at + 1..at + 3) {
            Some(b"00") => return malformed("%00 stands for no character"),
            Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => {}
            _ => return malformed("a `%` is not followed by two hex digits: write a percent sign as %25"),
        }
    }
    percent_decode_str(text).decode_utf8().map(|text| text.into_owned()).or_else(|_| malformed("a percent-encoded part is not UTF-8"))
}

/// `keyword = value` pairs: values in single quotes or without spaces, a backslash before a quote or a backslash.
fn parse_keywords(text: &str) -> Result<Pairs, DsnError> {
    let mut pairs = Pairs::new();
    let mut characters = text.chars().peekable();
    let mut password_seen = false;
    loop {
        while characters.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if characters.peek().is_none() {
            return Ok(pairs);
        }
        let mut name = String::new();
        while let Some(c) = characters.next_if(|c| *c != '=' && !c.is_ascii_whitespace()) {
            name.push(c);
        }
        while characters.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if characters.next() != Some('=') {
            return malformed("a keyword has no `=`: write postgres://user@host/database, or host=… user=… dbname=…");
        }
        while characters.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let quoted = characters.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match characters.next() {
                None if quoted => return malformed("a quoted value has no closing quote"),
                None => break,
                Some('\'') if quoted => break,
                Some(c) if !quoted && c.is_ascii_whitespace() => break,
                Some('\\') => value.extend(characters.next()),
                Some(c) => value.push(c),
            }
        }
        let keyword = known(&name).ok_or_else(|| unknown("the connection string", &name, password_seen))?;
        password_seen |= keyword == "password";
        pairs.push((keyword, value));
    }
}

/// The error for an unknown keyword. After a password it may be the password's own end, and is not shown.
pub(super) fn unknown(place: &str, keyword: &str, after_password: bool) -> DsnError {
    let harmless = !after_password && keyword.len() <= 40 && keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    DsnError::UnknownKeyword { place: place.to_owned(), keyword: harmless.then(|| keyword.to_owned()), nearest: nearest(keyword) }
}
