//! What content is called in a registry.

use std::{fmt, str::FromStr};

const ALGORITHM: &str = "sha256";

/// The SHA-256 of some content: `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a hash that was computed.
    pub const fn new(hash: [u8; 32]) -> Self {
        Digest(hash)
    }

    /// Of its hex digits, as they stand in keys.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        let is_lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_lower && hex::decode_to_slice(text, &mut hash).is_ok()).then_some(Digest(hash))
    }

    /// Its hex digits.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: write sha256: and 64 lower-case hex digits")]
pub struct DigestError(pub String);

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(':'));
        hex.and_then(Digest::from_hex).ok_or_else(|| DigestError(text.to_owned()))
    }
}

/// Whether a text is a digest of any algorithm: `algorithm:hex`, as the OCI's grammar has it.
pub fn is_any_digest(text: &str) -> bool {
    let Some((algorithm, encoded)) = text.split_once(':') else { return false };
    let is_word = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte)) && text.len() <= 256
    };
    is_word(algorithm, b"+._-") && is_word(encoded, b"=_-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_its_algorithm_and_lower_case_hex() {
        let hex = "0123456789abcdef".repeat(4);
        let text = format!("sha256:{hex}");
        assert_eq!(text.parse::<Digest>().map(|digest| digest.to_string()), Ok(text.clone()));
        for wrong in [hex.clone(), format!("sha256:{}", hex.to_uppercase()), format!("sha512:{hex}"), format!("{text}0"), "sha256:".into()]
        {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
        assert!(is_any_digest("sha512:ab") && is_any_digest(&text));
        assert!(!is_any_digest("sha512:") && !is_any_digest("latest") && !is_any_digest("a:b/c"));
    }
}
