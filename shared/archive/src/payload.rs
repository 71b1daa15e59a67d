//! The whole way of a payload: content → hash → zstd or gzip → age, where asked for → output.

use std::io::{self, Write};

use age::stream::StreamWriter;
use zstd::stream::write::Encoder;

use crate::{
    Compression, GzipEncoder, Recipients,
    digest::{CountingWriter, StreamDigest, StreamHasher},
};

/// What went in and what came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadDigests {
    /// The content, before compression and encryption.
    pub content: StreamDigest,
    /// How many bytes came out. Whoever sends them hashes them, as late as can be.
    pub stored_bytes: u64,
}

enum Sealed<W: Write> {
    Plain(CountingWriter<W>),
    Encrypted(Box<StreamWriter<CountingWriter<W>>>),
}

impl<W: Write> Write for Sealed<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self {
            Sealed::Plain(writer) => writer.write(piece),
            Sealed::Encrypted(writer) => writer.write(piece),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sealed::Plain(writer) => writer.flush(),
            Sealed::Encrypted(writer) => writer.flush(),
        }
    }
}

enum Compressor<W: Write> {
    Zstd(Encoder<'static, Sealed<W>>),
    Gzip(GzipEncoder<Sealed<W>>),
}

/// Compresses, encrypts where there are recipients, hashes what goes in and counts what comes out.
///
/// Dropped without [`PayloadEncoder::finish`], it leaves a stream without an end that no decoder accepts.
pub struct PayloadEncoder<W: Write> {
    content: StreamHasher,
    compressor: Compressor<W>,
}

impl<W: Write> PayloadEncoder<W> {
    /// Begins a payload.
    ///
    /// # Errors
    /// When the compression's parameters are refused or the output fails (age writes its header at once).
    pub fn new(output: W, compression: Compression, recipients: &Recipients) -> io::Result<Self> {
        let output = CountingWriter::new(output);
        let sealed = if recipients.is_empty() { Sealed::Plain(output) } else { Sealed::Encrypted(Box::new(recipients.encrypt(output)?)) };
        let compressor = match compression {
            Compression::Zstd(zstandard) => Compressor::Zstd(zstandard.compress(sealed)?),
            Compression::Gzip(gzip) => Compressor::Gzip(gzip.compress(sealed)?),
        };
        Ok(PayloadEncoder { content: StreamHasher::default(), compressor })
    }

    /// Bytes of content taken so far.
    pub const fn content_bytes(&self) -> u64 {
        self.content.bytes()
    }

    /// Completes the stream.
    ///
    /// # Errors
    /// When the output fails.
    pub fn finish(self) -> io::Result<(W, PayloadDigests)> {
        let sealed = match self.compressor {
            Compressor::Zstd(encoder) => encoder.finish()?,
            Compressor::Gzip(encoder) => encoder.finish()?,
        };
        let output = match sealed {
            Sealed::Plain(output) => output,
            Sealed::Encrypted(encrypted) => encrypted.finish()?,
        };
        let (mut output, stored_bytes) = output.finish();
        output.flush()?;
        Ok((output, PayloadDigests { content: self.content.finish(), stored_bytes }))
    }
}

impl<W: Write> Write for PayloadEncoder<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let taken = match &mut self.compressor {
            Compressor::Zstd(encoder) => encoder.write(piece)?,
            Compressor::Gzip(encoder) => encoder.write(piece)?,
        };
        self.content.update(&piece[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.compressor {
            Compressor::Zstd(encoder) => encoder.flush(),
            Compressor::Gzip(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, iter};

    use proptest::prelude::*;

    use super::*;
    use crate::{Gzip, Zstandard};

    const fn zstd(workers: u32) -> Compression {
        Compression::Zstd(Zstandard { level: 3, workers })
    }

    const fn gzip(workers: u32) -> Compression {
        Compression::Gzip(Gzip { level: 6, workers })
    }

    fn decompress(stored: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        match compression {
            Compression::Zstd(_) => zstd::stream::copy_decode(stored, &mut content)?,
            Compression::Gzip(_) => drop(flate2::read::MultiGzDecoder::new(stored).read_to_end(&mut content)?),
        }
        Ok(content)
    }

    fn encode(content: &[u8], compression: Compression, recipients: &Recipients) -> (Vec<u8>, PayloadDigests) {
        let mut encoder = PayloadEncoder::new(Vec::new(), compression, recipients).expect("begins");
        for piece in content.chunks(70_000) {
            encoder.write_all(piece).expect("takes all");
        }
        encoder.finish().expect("ends")
    }

    fn sha256(bytes: &[u8]) -> StreamDigest {
        let mut hasher = StreamHasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    fn decrypt(stored: &[u8], identity: &age::x25519::Identity) -> Vec<u8> {
        let mut plain = Vec::new();
        let decryptor = age::Decryptor::new(stored).expect("an age header");
        decryptor.decrypt(iter::once(identity as &dyn age::Identity)).expect("the right key").read_to_end(&mut plain).expect("reads");
        plain
    }

    #[test]
    fn an_encrypted_payload_opens_with_the_private_key_alone() {
        let (identity, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let recipients = Recipients::parse([identity.to_public().to_string()]).expect("a key");
        let content = b"rows and rows ".repeat(50_000);
        for compression in [zstd(2), gzip(2)] {
            let (stored, digests) = encode(&content, compression, &recipients);
            assert_eq!(digests.stored_bytes, stored.len() as u64);
            assert_eq!(decompress(&decrypt(&stored, &identity), compression).expect("decompresses"), content);
            let wrong = age::Decryptor::new(&stored[..]).expect("an age header").decrypt(iter::once(&other as &dyn age::Identity));
            assert!(wrong.is_err());
        }
    }

    #[test]
    fn a_payload_that_was_not_finished_is_not_readable() {
        let identity = age::x25519::Identity::generate();
        let keys = Recipients::parse([identity.to_public().to_string()]).expect("a key");
        let cases = [zstd(0), gzip(0), gzip(2)].map(|compression| [(compression, Recipients::default()), (compression, keys.clone())]);
        for (compression, recipients) in cases.into_iter().flatten() {
            let mut stored = Vec::new();
            let mut encoder = PayloadEncoder::new(&mut stored, compression, &recipients).expect("begins");
            encoder.write_all(&b"x".repeat(300_000)).expect("takes all");
            encoder.flush().expect("flushes");
            drop(encoder);
            if recipients.is_empty() {
                assert!(decompress(&stored, compression).is_err());
            } else {
                let decryptor = age::Decryptor::new(&stored[..]).expect("an age header");
                let mut reader = decryptor.decrypt(iter::once(&identity as &dyn age::Identity)).expect("the right key");
                assert!(reader.read_to_end(&mut Vec::new()).is_err());
            }
        }
    }

    #[test]
    fn a_private_key_pasted_by_mistake_is_not_repeated() {
        use age::secrecy::ExposeSecret;
        let secret = age::x25519::Identity::generate().to_string();
        let error = Recipients::parse([secret.expose_secret()]).err().expect("refused").to_string();
        assert!(!error.contains(&secret.expose_secret()[20..]), "{error}");
        assert!(error.contains("age-keygen"), "{error}");
    }

    #[test]
    fn recipients_files_have_comments() {
        let key = age::x25519::Identity::generate().to_public().to_string();
        let recipients = Recipients::parse_file(&format!("# offline, in the safe\n\n {key}\n")).expect("reads");
        assert_eq!(recipients.to_strings(), [key]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn content_comes_back_and_the_digests_are_true(content in proptest::collection::vec(any::<u8>(), 0..200_000), workers in 0u32..3) {
            for compression in [zstd(workers), gzip(workers)] {
                let (stored, digests) = encode(&content, compression, &Recipients::default());
                prop_assert_eq!(digests.stored_bytes, stored.len() as u64);
                prop_assert_eq!(&digests.content, &sha256(&content));
                prop_assert_eq!(&decompress(&stored, compression).expect("decompresses"), &content);
            }
        }
    }
}
