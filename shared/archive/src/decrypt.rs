//! The private keys that open what was encrypted with age.

use std::fmt;

use age::{Identity, x25519};

/// age X25519 private keys. They are never printed: `Debug` tells how many there are, and no error repeats one.
#[derive(Clone, Default)]
pub struct Identities {
    keys: Vec<x25519::Identity>,
}

/// A line is not an age private key. The line itself is not repeated: it may be one all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not an age private key: {reason}")]
pub struct IdentitiesError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub reason: &'static str,
}

impl Identities {
    /// Reads a file as `age-keygen` writes it: a private key a line, empty lines and `#` comments aside.
    ///
    /// # Errors
    /// When a line is no age X25519 private key.
    pub fn parse_file(text: &str) -> Result<Self, IdentitiesError> {
        let mut keys = Vec::new();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            if !line.is_empty() && !line.starts_with('#') {
                keys.push(line.parse().map_err(|_: &str| IdentitiesError { line: at + 1, reason: objection(line) })?);
            }
        }
        Ok(Identities { keys })
    }

    /// Both lists together.
    #[must_use]
    pub fn and(mut self, others: Identities) -> Self {
        self.keys.extend(others.keys);
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The public keys that belong to them, as text: to be compared with a manifest's recipients before anything is read.
    pub fn to_recipients(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.to_public().to_string()).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Identity> {
        self.keys.iter().map(|key| key as &dyn Identity)
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({})", self.keys.len())
    }
}

/// Why a line is no key of ours, as far as its first characters tell.
fn objection(line: &str) -> &'static str {
    let begins = |prefix: &str| line.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
    if begins("AGE-SECRET-KEY-PQ-") || begins("AGE-PLUGIN-") {
        "keys of plugins and of post-quantum age are not supported; use the X25519 key (AGE-SECRET-KEY-1…) of another recipient"
    } else if begins("AGE-SECRET-KEY-") {
        "it was cut or changed; copy the whole line again"
    } else if begins("age1") {
        "it is a public key; use the line that begins with AGE-SECRET-KEY-1"
    } else if begins("age-encryption.org/") || begins("-----BEGIN AGE ENCRYPTED") {
        "the file of keys is encrypted itself; decrypt it first with `age -d`"
    } else if begins("-----BEGIN") || begins("ssh-") {
        "SSH keys are not supported; use a key that `age-keygen` made"
    } else {
        "keys begin with AGE-SECRET-KEY-1; use the file that `age-keygen` wrote"
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret;

    use super::*;

    fn secret(key: &x25519::Identity) -> String {
        key.to_string().expose_secret().to_owned()
    }

    #[test]
    fn files_of_keys_have_comments() {
        let (first, second) = (x25519::Identity::generate(), x25519::Identity::generate());
        let public = first.to_public();
        let text = format!("# created: 2026-01-01\r\n# public key: {public}\r\n{}\r\n\n  {}  \n", secret(&first), secret(&second));
        let keys = Identities::parse_file(&text).expect("reads");
        assert_eq!(keys.len(), 2);
        assert_eq!(keys.to_recipients(), [public.to_string(), second.to_public().to_string()]);
        let none = Identities::parse_file("# nothing\n\n").expect("reads");
        assert!(none.is_empty() && !keys.is_empty());
        assert_eq!(none.and(keys).len(), 2);
    }

    #[test]
    fn no_private_key_is_ever_shown() {
        let key = x25519::Identity::generate();
        let secret = secret(&key);
        let keys = Identities::parse_file(&secret).expect("reads");
        assert_eq!(format!("{keys:?}"), "Identities(1)");
        for wrong in [
            secret[..60].to_owned(),
            secret.replace("KEY-1", "KEY-2"),
            format!("{secret}Q"),
            format!("key = {secret}"),
            format!("ö{secret}"),
            secret.replace("AGE-", "age1"),
        ] {
            let error = Identities::parse_file(&format!("# keys\n{wrong}")).expect_err("refused");
            assert_eq!(error.line, 2);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(&secret[20..30]) && !shown.contains(&secret[45..55]), "{shown}");
        }
    }

    #[test]
    fn whoever_gives_another_file_is_told_which() {
        let public = x25519::Identity::generate().to_public().to_string();
        for (text, words) in [
            (public.as_str(), "public key"),
            ("-----BEGIN AGE ENCRYPTED FILE-----", "age -d"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "SSH keys"),
            ("AGE-PLUGIN-YUBIKEY-1Q", "plugins"),
            ("AGE-SECRET-KEY-PQ-1Q", "post-quantum"),
            ("hunter2", "age-keygen"),
        ] {
            let error = Identities::parse_file(text).expect_err("refused").to_string();
            assert!(error.starts_with("line 1 is not an age private key: ") && error.contains(words), "{error}");
            assert!(!error.contains("hunter2"));
        }
    }
}
