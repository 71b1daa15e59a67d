//! age encryption to recipients, whose private keys are elsewhere.

use std::io::{self, Write};

use age::{Encryptor, Recipient, stream::StreamWriter, x25519};

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
