//! The opening of what age has sealed.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use age::{DecryptError, Decryptor, stream::StreamReader};

use super::{DecodeError, stored::Stored};
use crate::Identities;

/// What age reads at once, a sealed piece and its tag.
const PIECE_BYTES: usize = (64 << 10) + 16;
/// Headers of several hundred recipients. age's parser begins anew with each line, so that one without an end, or of
/// tens of thousands of lines, would keep it busy for minutes.
const HEADER_BYTES: u64 = 64 << 10;
const HEADER_LINES: usize = 1000;

/// What was sealed, as it is opened: the header, read in advance, and what follows it.
pub(super) type Unsealed<R> = StreamReader<Chain<Cursor<Vec<u8>>, BufReader<Stored<R>>>>;

/// Reads the header and looks for the key that opens it.
pub(super) fn unseal<R: Read>(stored: &Stored<R>, identities: &Identities) -> Result<Unsealed<R>, DecodeError> {
    if identities.is_empty() {
        return Err(DecodeError::NoIdentity);
    }
    let mut input = BufReader::with_capacity(PIECE_BYTES, stored.clone());
    let header = header(&mut input).map_err(DecodeError::Input)?.ok_or(DecodeError::NotAge { reason: "its header has no end" })?;
    let opened = Decryptor::new_buffered(Cursor::new(header).chain(input)).and_then(|sealed| sealed.decrypt(identities.iter()));
    opened.map_err(|error| match error {
        DecryptError::Io(error) if stored.has_failed() => DecodeError::Input(error),
        DecryptError::NoMatchingKeys => DecodeError::WrongIdentity { given: identities.len() },
        DecryptError::Io(_) => DecodeError::Truncated { content_bytes: 0 },
        DecryptError::InvalidHeader => DecodeError::NotAge { reason: "its header is none" },
        DecryptError::UnknownFormat => DecodeError::NotAge { reason: "its header is of another version of age" },
        _ => DecodeError::NotAge { reason: "its header was changed" },
    })
}

/// The header's lines, up to the one that seals it; none where that does not come.
fn header(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut header = Vec::new();
    for _ in 0..HEADER_LINES {
        let begin = header.len();
        input.take(HEADER_BYTES - begin as u64).read_until(b'\n', &mut header)?;
        let line = &header[begin..];
        if !line.ends_with(b"\n") {
            break;
        }
        if line.starts_with(b"---") {
            return Ok(Some(header));
        }
    }
    Ok(None)
}
