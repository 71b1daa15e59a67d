//! age encryption to recipients, whose private keys are elsewhere.

use std::io::{self, Write};

use age::{Encryptor, Recipient, stream::StreamWriter, x25519};
use sha2::{Digest, Sha256};

/// The public keys that a payload is encrypted to.
#[derive(Clone, Default)]
pub struct Recipients {
    keys: Vec<x25519::Recipient>,
}

/// A text is not an age public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an age public key: {reason}; make one with `age-keygen` and use the line that begins with age1")]
pub struct RecipientsError {
    /// The text, shortened: people paste private keys by mistake.
    pub text: String,
    /// What is wrong.
    pub reason: String,
}

impl Recipients {
    /// Reads public keys, one a text.
    ///
    /// # Errors
    /// When one is no age X25519 public key. A private key pasted by mistake is not repeated.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, RecipientsError> {
        let parse = |text: T| {
            let text = text.as_ref().trim();
            text.parse().map_err(|reason: &str| RecipientsError { text: shortened(text), reason: reason.to_owned() })
        };
        Ok(Recipients { keys: texts.into_iter().map(parse).collect::<Result<_, _>>()? })
    }

    /// Reads a file's text: a public key a line, empty lines and `#` comments aside.
    ///
    /// # Errors
    /// As [`Recipients::parse`].
    pub fn parse_file(text: &str) -> Result<Self, RecipientsError> {
        Self::parse(text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')))
    }

    /// Both lists together.
    pub fn and(mut self, others: Recipients) -> Self {
        self.keys.extend(others.keys);
        self
    }

    /// Whether there is nobody to encrypt to, so that payloads stay plain.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The public keys as text, for manifests.
    pub fn to_strings(&self) -> Vec<String> {
        self.keys.iter().map(ToString::to_string).collect()
    }

    /// A number that the same public keys give, in whatever order.
    pub fn condensed(&self) -> u32 {
        let mut keys = self.to_strings();
        keys.sort_unstable();
        keys.dedup();
        let digest: [u8; 32] = Sha256::digest(keys.join("\n")).into();
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }

    /// A small content, encrypted as a whole; `age -d` reads it.
    ///
    /// # Errors
    /// Without any recipient.
    pub fn seal(&self, content: &[u8]) -> io::Result<Vec<u8>> {
        let mut writer = self.encrypt(Vec::new())?;
        writer.write_all(content)?;
        writer.finish()
    }

    /// Begins an encrypted stream: age's header is written at once.
    ///
    /// # Errors
    /// When the writer fails, or without any recipient.
    pub fn encrypt<W: Write>(&self, output: W) -> io::Result<StreamWriter<W>> {
        let encryptor = Encryptor::with_recipients(self.keys.iter().map(|key| key as &dyn Recipient)).map_err(io::Error::other)?;
        encryptor.wrap_output(output)
    }
}

fn shortened(text: &str) -> String {
    let secret = text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY");
    if secret { "AGE-SECRET-KEY…".to_owned() } else { text.chars().take(16).collect::<String>() + "…" }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;

    use super::*;
    use crate::{DecodeError, Identities, open_sealed};

    fn pair() -> (Identities, String) {
        let key = x25519::Identity::generate();
        (Identities::parse_file(key.to_string().expose_secret()).unwrap(), key.to_public().to_string())
    }

    #[test]
    fn each_recipient_opens_what_is_sealed_and_nobody_else() {
        let ((one, first), (two, second), (other, _)) = (pair(), pair(), pair());
        let recipients = Recipients::parse([&first, &second]).unwrap();
        let sealed = recipients.seal(b"hunter2").unwrap();
        for keys in [one.clone(), two] {
            assert_eq!(open_sealed(&sealed, &keys, 64).unwrap(), b"hunter2");
        }
        assert!(matches!(open_sealed(&sealed, &other, 64), Err(DecodeError::WrongIdentity { .. })));
        assert!(matches!(open_sealed(&sealed, &one, 6), Err(DecodeError::TooLarge { most: 6 })));
        for cut in [0, 10, sealed.len() - 20, sealed.len() - 1] {
            assert!(open_sealed(&sealed[..cut], &one, 64).is_err(), "{cut}");
        }
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(open_sealed(&changed, &one, 64).is_err());
        assert!(open_sealed(b"hunter2", &one, 64).is_err());
        assert!(Recipients::default().seal(b"hunter2").is_err());
    }

    #[test]
    fn the_same_recipients_give_the_same_number() {
        let ((_, first), (_, second)) = (pair(), pair());
        let number = |keys: &[&String]| Recipients::parse(keys).unwrap().condensed();
        assert_eq!(number(&[&first, &second]), number(&[&second, &first, &first]));
        assert_ne!(number(&[&first, &second]), number(&[&first]));
    }
}
