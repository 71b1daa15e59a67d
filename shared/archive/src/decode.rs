//! The way back of a payload: stored bytes → hash → age, where it is encrypted → zstd or gzip → hash → content.
//!
//! What comes out of a store is input from outside. Nothing in it makes the decoder take more memory than a window of
//! 128 MiB, give more content than the manifest names, or stop early and call it success.

mod error;
mod sealed;
mod stored;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{self, BufReader, Cursor, Read, Write as _},
};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder;

pub use self::error::DecodeError;
use self::{sealed::Unsealed, stored::Stored};
use crate::{
    CompressionFormat, Identities,
    background::BackgroundWriter,
    digest::{StreamDigest, StreamHasher},
};

/// The largest window, as its logarithm: what zstd itself accepts unless told otherwise, and needs for its level 22.
const WINDOW_LOG: u32 = 27;

/// What was stored and what came out of it, to be compared with the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedDigests {
    /// The stored bytes, as they came out of the store.
    pub stored: StreamDigest,
    /// The content.
    pub content: StreamDigest,
}

enum Opened<R: Read> {
    Plain(Stored<R>),
    Encrypted(Box<Unsealed<R>>),
}

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Opened::Plain(reader) => reader.read(buffer),
            Opened::Encrypted(reader) => reader.read(buffer),
        }
    }
}

/// Opened bytes, whose first ones were looked at.
type Begun<R> = io::Chain<Cursor<Vec<u8>>, Opened<R>>;

enum Decompressor<R: Read> {
    Zstd(Decoder<'static, BufReader<Begun<R>>>),
    Gzip(Box<MultiGzDecoder<BufReader<Begun<R>>>>),
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decompressor::Zstd(reader) => reader.read(buffer),
            Decompressor::Gzip(reader) => reader.read(buffer),
        }
    }
}

/// Hashes what is stored, decrypts and decompresses it, and hashes the content that is read from it.
///
/// The content is whole only when [`PayloadDecoder::finish`] says so, and right only when the digests are those of the
/// manifest.
pub struct PayloadDecoder<R: Read> {
    stored: Stored<R>,
    decompressor: Decompressor<R>,
    // On a thread of its own: hashing takes longer than decompressing does.
    content: BackgroundWriter<StreamHasher>,
    content_bytes: u64,
    max_content: u64,
    failed: bool,
}

/// Opens a small content that was encrypted as a whole, and is not compressed.
///
/// # Errors
/// When no key opens it, it is no age file or was changed, or it holds more than `most` bytes.
pub fn open_sealed(sealed: &[u8], identities: &Identities, most: u64) -> Result<Vec<u8>, DecodeError> {
    let stored = Stored::new(sealed);
    let opened = sealed::unseal(&stored, identities)?;
    let mut content = Vec::new();
    let read = opened.take(most.saturating_add(1)).read_to_end(&mut content);
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(DecodeError::Truncated { content_bytes: content.len() as u64 }),
        Err(error) => Err(DecodeError::Damaged { content_bytes: content.len() as u64, reason: error.to_string() }),
        Ok(_) if content.len() as u64 > most => Err(DecodeError::TooLarge { most }),
        Ok(_) => Ok(content),
    }
}

impl<R: Read> PayloadDecoder<R> {
    /// Reads the payload's headers. `encryption` holds the keys for a payload that is encrypted and is none for one
    /// that is not; `max_content` is the size of the content as the manifest names it, and more is an error at once.
    ///
    /// # Errors
    /// When there is no key or not the right one, when the payload does not begin as it should, or when the input fails.
    pub fn new(input: R, compression: CompressionFormat, encryption: Option<&Identities>, max_content: u64) -> Result<Self, DecodeError> {
        let stored = Stored::new(input);
        let opened = match encryption {
            None => Opened::Plain(stored.clone()),
            Some(identities) => Opened::Encrypted(Box::new(sealed::unseal(&stored, identities)?)),
        };
        let decompressor = match compression {
            CompressionFormat::Zstd => zstd_decoder(opened),
            CompressionFormat::Gzip => gzip_decoder(opened),
        };
        let decompressor = decompressor.map_err(|error| named(error, &stored, 0))?;
        let content = BackgroundWriter::start("hash", StreamHasher::default()).map_err(DecodeError::Input)?;
        Ok(PayloadDecoder { stored, decompressor, content, content_bytes: 0, max_content, failed: false })
    }

    /// Bytes of content given so far.
    pub const fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Tells that the payload came to its proper end, and the digests of all of it.
    ///
    /// # Errors
    /// When content is left unread, when the stored bytes go on behind the last frame or member or end before it, or when the input
    /// fails.
    pub fn finish(mut self) -> Result<DecodedDigests, DecodeError> {
        // Whoever knows the size may not have read on to the end, and the last frame's checksum comes behind its content.
        if read_some(&mut self)? > 0 {
            return Err(DecodeError::Unfinished { content_bytes: self.content_bytes - 1 });
        }
        let content_bytes = self.content_bytes;
        if read_some(&mut self.stored)? > 0 {
            return Err(DecodeError::Trailing { content_bytes });
        }
        let content = self.content.finish().map_err(DecodeError::Input)?;
        Ok(DecodedDigests { stored: self.stored.take_digest(), content: content.finish() })
    }
}

impl<R: Read> Read for PayloadDecoder<R> {
    /// Gives content. An error of the input is given as it came; every other one is a [`DecodeError`] within.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(DecodeError::Failed.into());
        }
        let left = self.max_content - self.content_bytes;
        // One byte more than may come shows that more would.
        let room = usize::try_from(left.saturating_add(1)).unwrap_or(usize::MAX).min(buffer.len());
        match self.decompressor.read(&mut buffer[..room]) {
            Ok(read) if read as u64 > left => {
                self.failed = true;
                Err(DecodeError::TooLarge { most: self.max_content }.into())
            }
            Ok(read) => {
                self.content_bytes += read as u64;
                self.content.write_all(&buffer[..read])?;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.failed = true;
                Err(named(error, &self.stored, self.content_bytes).into())
            }
        }
    }
}

impl<R: Read> fmt::Debug for PayloadDecoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadDecoder")
            .field("content_bytes", &self.content_bytes)
            .field("max_content", &self.max_content)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

const ZSTD_FRAME: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// The last three bytes of a frame that is to be skipped; the first is 0x50 to 0x5F.
const SKIPPED_FRAME: [u8; 3] = [0x2A, 0x4D, 0x18];

/// What a member of gzip begins with: two bytes for the format, and deflate, the only method there is.
const GZIP_MEMBER: [u8; 3] = [0x1f, 0x8b, 8];
/// How much gzip reads at once.
const GZIP_READ_BYTES: usize = 64 << 10;

fn zstd_decoder<R: Read>(mut opened: Opened<R>) -> io::Result<Decompressor<R>> {
    let head = head(&mut opened, ZSTD_FRAME.len())?;
    let skipped = matches!(&*head, [0x50..=0x5F, rest @ ..] if SKIPPED_FRAME.starts_with(rest));
    if !skipped && !ZSTD_FRAME.starts_with(&head) {
        return Err(not_named(&head, "it is not zstd, although its manifest says so"));
    }
    let mut decoder = Decoder::new(Cursor::new(head).chain(opened))?;
    decoder.window_log_max(WINDOW_LOG)?;
    Ok(Decompressor::Zstd(decoder))
}

fn gzip_decoder<R: Read>(mut opened: Opened<R>) -> io::Result<Decompressor<R>> {
    let head = head(&mut opened, GZIP_MEMBER.len())?;
    if !GZIP_MEMBER.starts_with(&head) {
        return Err(not_named(&head, "it is not gzip, although its manifest says so"));
    }
    let input = BufReader::with_capacity(GZIP_READ_BYTES, Cursor::new(head).chain(opened));
    Ok(Decompressor::Gzip(Box::new(MultiGzDecoder::new(input))))
}

/// The first bytes, fewer only where there are no more.
fn head(opened: &mut impl Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(bytes);
    opened.take(bytes as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn not_named(head: &[u8], reason: &'static str) -> io::Error {
    let reason = if head.starts_with(b"age") { "it is encrypted, and its manifest does not say so" } else { reason };
    DecodeError::NotCompressed { reason }.into()
}

/// The error of a decoder below, unless it is the input's own or was named before.
fn named<R>(error: io::Error, stored: &Stored<R>, content_bytes: u64) -> DecodeError {
    if stored.has_failed() {
        return DecodeError::Input(error);
    }
    match error.downcast::<DecodeError>() {
        Ok(error) => error,
        Err(error) => DecodeError::name(&error, content_bytes, WINDOW_LOG),
    }
}

/// Whether anything is left.
fn read_some(reader: &mut impl Read) -> io::Result<usize> {
    loop {
        match reader.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
