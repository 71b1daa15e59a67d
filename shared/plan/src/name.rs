//! Names of databases, tenants and clusters as key segments, reversibly.
//!
//! A database may be called `../../etc`, `-rf`, or a newline. `[A-Za-z0-9._-]` stand for themselves,
//! a leading `.` or `-` and every other byte become `%XX` in upper-case hex. Exactly one spelling is
//! canonical, so a key that anybody else spelled differently is never taken for ours.

/// Why a key segment is not a name that this suite wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No name is empty.
    #[error("an empty name")]
    Empty,
    /// The segment decodes, but this suite would have spelled it otherwise.
    #[error("`{0}` is not the canonical spelling of a name")]
    NotCanonical(String),
    /// The name holds bytes that are not UTF-8.
    #[error("`{0}` is not UTF-8 once decoded")]
    NotUtf8(String),
}

fn stands_for_itself(byte: u8, first: bool) -> bool {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' => true,
        b'.' | b'-' => !first,
        _ => false,
    }
}

/// The key segment of a name. Names are bytes: a directory's need not be UTF-8.
pub fn encode(name: impl AsRef<[u8]>) -> String {
    let name = name.as_ref();
    let mut segment = String::with_capacity(name.len());
    for (at, &byte) in name.iter().enumerate() {
        if stands_for_itself(byte, at == 0) {
            segment.push(char::from(byte));
        } else {
            segment.push('%');
            segment.push_str(&hex::encode_upper([byte]));
        }
    }
    segment
}

/// The name's bytes behind a key segment.
///
/// # Errors
/// When the segment is empty or not the one canonical spelling.
pub fn decode_bytes(segment: &str) -> Result<Vec<u8>, NameError> {
    if segment.is_empty() {
        return Err(NameError::Empty);
    }
    let name: Vec<u8> = percent_encoding::percent_decode_str(segment).collect();
    if encode(&name) == segment { Ok(name) } else { Err(NameError::NotCanonical(segment.to_owned())) }
}

/// Whether a key segment is a name that this suite wrote. Most stand for themselves, and a listing has a million of them.
pub fn is_segment(segment: &str) -> bool {
    let plain = !segment.is_empty() && segment.bytes().enumerate().all(|(at, byte)| stands_for_itself(byte, at == 0));
    plain || decode_bytes(segment).is_ok()
}

/// The name behind a key segment.
///
/// # Errors
/// As [`decode_bytes`], and when the bytes are not UTF-8.
pub fn decode(segment: &str) -> Result<String, NameError> {
    String::from_utf8(decode_bytes(segment)?).map_err(|_| NameError::NotUtf8(segment.to_owned()))
}

/// A name as it may stand in a log line, a table or a metric: control characters escaped, nothing else changed.
pub fn printable(name: &str) -> String {
    name.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A path's bytes as readable text, reversibly: what is UTF-8 and no control character stays, `%` and every other byte
/// become `%XX` in upper-case hex.
pub fn path_text(path: impl AsRef<[u8]>) -> String {
    let mut text = String::with_capacity(path.as_ref().len());
    for chunk in path.as_ref().utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' || c.is_control() {
                let mut buffer = [0; 4];
                c.encode_utf8(&mut buffer).bytes().for_each(|byte| push_escaped(&mut text, byte));
            } else {
                text.push(c);
            }
        }
        chunk.invalid().iter().for_each(|byte| push_escaped(&mut text, *byte));
    }
    text
}

fn push_escaped(text: &mut String, byte: u8) {
    text.push('%');
    text.push_str(&hex::encode_upper([byte]));
}

/// The bytes of a path that [`path_text`] wrote.
///
/// # Errors
/// When the text is not the one spelling that it writes.
pub fn path_bytes(text: &str) -> Result<Vec<u8>, NameError> {
    let path: Vec<u8> = percent_encoding::percent_decode_str(text).collect();
    if path_text(&path) == text { Ok(path) } else { Err(NameError::NotCanonical(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_become_one_harmless_segment() {
        for (name, segment) in [
            ("acme.planapulse.app", "acme.planapulse.app"),
            ("..", "%2E."),
            ("-rf", "%2Drf"),
            ("a/b", "a%2Fb"),
            ("a\nb", "a%0Ab"),
            ("é", "%C3%A9"),
            ("100%", "100%25"),
            ("\"q\" 'q'", "%22q%22%20%27q%27"),
        ] {
            assert_eq!(encode(name), segment);
            assert_eq!(decode(segment).as_deref(), Ok(name));
        }
    }

    #[test]
    fn other_spellings_are_not_ours() {
        for segment in ["", "%41", "a%2fb", ".hidden", "-x", "a b", "%", "%2", "%zz", "é"] {
            assert!(decode(segment).is_err(), "{segment}");
        }
        assert_eq!(decode("%FF"), Err(NameError::NotUtf8("%FF".to_owned())));
    }

    #[test]
    fn control_characters_are_shown_escaped() {
        assert_eq!(printable("a\n\u{1b}[31mé"), "a\\n\\u{1b}[31mé");
    }

    #[test]
    fn paths_stay_readable() {
        for (path, text) in
            [(&b"ab/ab12"[..], "ab/ab12"), ("été/100 %.pdf".as_bytes(), "été/100 %25.pdf"), (b"a\nb\xff/\x1b[31m", "a%0Ab%FF/%1B[31m")]
        {
            assert_eq!(path_text(path), text);
            assert_eq!(path_bytes(text).as_deref(), Ok(path));
        }
        for text in ["%41", "a%0a", "%", "a\nb"] {
            assert!(path_bytes(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_path_comes_back(path in proptest::collection::vec(any::<u8>(), 0..80)) {
            let text = path_text(&path);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(path_bytes(&text), Ok(path));
        }

        #[test]
        fn every_name_survives_the_round_trip(name in proptest::collection::vec(any::<u8>(), 1..80)) {
            let segment = encode(&name);
            prop_assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-%".contains(&b)));
            prop_assert!(!segment.starts_with(['.', '-']));
            prop_assert_eq!(decode_bytes(&segment), Ok(name));
        }

        #[test]
        fn a_segment_that_decodes_is_the_only_spelling(segment in "[A-Za-z0-9%._/ -]{1,20}") {
            let decoded = decode_bytes(&segment);
            prop_assert_eq!(is_segment(&segment), decoded.is_ok());
            if let Ok(name) = decoded {
                prop_assert_eq!(encode(name), segment);
            }
        }
    }
}
