//! Why a payload could not be decoded.

use std::io;

use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;

/// Why a payload could not be decoded; each completes the sentence "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is encrypted, and there is no key to open it with.
    #[error("decrypt the payload: it is encrypted, and no private key was given; give the age identity of one of its recipients")]
    NoIdentity,
    /// It is encrypted to others.
    #[error(
        "decrypt the payload: it was not encrypted to {keys}, or its header is damaged; give the age identity of one of the recipients \
         that its manifest names",
        keys = keys(*.given)
    )]
    WrongIdentity {
        /// How many keys were tried.
        given: usize,
    },
    /// What should be encrypted does not begin as an age file does.
    #[error(
        "decrypt the payload: it is not an age file ({reason}), although its manifest says that it is encrypted; do not trust this object"
    )]
    NotAge {
        /// What is wrong with its header.
        reason: &'static str,
    },
    /// What should be compressed does not begin as that compression does.
    #[error("decompress the payload: {reason}; do not trust this object")]
    NotCompressed {
        /// What it is instead.
        reason: &'static str,
    },
    /// A checksum in it is wrong, or what is in it makes no sense.
    #[error("decode the payload: it is damaged after {content_bytes} bytes of content ({reason}); do not trust this object")]
    Damaged {
        /// The content that came out before.
        content_bytes: u64,
        /// The decoder's own words.
        reason: String,
    },
    /// It ends before its end.
    #[error("decode the payload: it breaks off after {content_bytes} bytes of content; do not trust this object")]
    Truncated {
        /// The content that came out before.
        content_bytes: u64,
    },
    /// Bytes that are no frame or member follow the last one.
    #[error(
        "decode the payload: bytes that do not belong to it follow its end after {content_bytes} bytes of content; do not trust this object"
    )]
    Trailing {
        /// The content that came out before.
        content_bytes: u64,
    },
    /// It holds more content than it should.
    #[error("decode the payload: it holds more than the {most} bytes of content that its manifest names; do not trust this object")]
    TooLarge {
        /// The content that it should hold.
        most: u64,
    },
    /// It asks for more memory than any payload of ours needs.
    #[error(
        "decompress the payload: it needs a window of more than {mib} MiB, which no payload of this suite does; do not trust this object"
    )]
    WindowTooLarge {
        /// The largest window allowed.
        mib: u64,
    },
    /// Whoever reads it has stopped too early.
    #[error("decode the payload: more content follows the {content_bytes} bytes that were read, so that it cannot be said to be whole")]
    Unfinished {
        /// The content that was read.
        content_bytes: u64,
    },
    /// It has failed before.
    #[error("decode the payload: it has failed before, and cannot go on")]
    Failed,
    /// The stored bytes could not be read; the reason is the source's own error.
    #[error("read the stored payload: {0}")]
    Input(#[source] io::Error),
}

/// flate2's words for what does not begin as a member of gzip does. The first member was looked at before.
const NO_MEMBER: &str = "invalid gzip header";

fn keys(given: usize) -> String {
    if given == 1 { "the private key that was given".to_owned() } else { format!("any of the {given} private keys that were given") }
}

impl DecodeError {
    /// What a decoder below says, in our cases.
    pub(super) fn name(error: &io::Error, content_bytes: u64, window_log: u32) -> Self {
        let of_zstd = error.get_ref().and_then(|inner| inner.downcast_ref::<zstd::Error>());
        let is = |kind| of_zstd.is_some_and(|error| error.is(kind));
        if is(ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge) {
            DecodeError::WindowTooLarge { mib: (1 << window_log) >> 20 }
        } else if is(ZSTD_ErrorCode::ZSTD_error_prefix_unknown) || (content_bytes > 0 && error.to_string() == NO_MEMBER) {
            DecodeError::Trailing { content_bytes }
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            DecodeError::Truncated { content_bytes }
        } else {
            DecodeError::Damaged { content_bytes, reason: error.to_string() }
        }
    }
}

/// For [`io::Read`]: an error of the input comes out as it came in, every other one can be had back by
/// [`DecodeError::from`].
impl From<DecodeError> for io::Error {
    fn from(error: DecodeError) -> Self {
        let kind = match error {
            DecodeError::Input(error) => return error,
            DecodeError::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// What a reader of the decoder got: our own error, or one of the input.
impl From<io::Error> for DecodeError {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(DecodeError::Input)
    }
}
