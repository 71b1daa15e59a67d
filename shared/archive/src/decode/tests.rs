use std::io::{BufRead as _, Write as _};

use age::{secrecy::ExposeSecret, x25519};
use proptest::prelude::*;

use super::*;
use crate::{Compression, Gzip, PayloadEncoder, Recipients, Zstandard, digest::StreamHasher};

const ZSTD: Compression = Compression::Zstd(Zstandard { level: 3, workers: 0 });
const GZIP: Compression = Compression::Gzip(Gzip { level: 6, workers: 0 });
const BOTH: [Compression; 2] = [ZSTD, GZIP];

/// Gives at most so many bytes at once, and now and then is interrupted.
struct Pieces<'a> {
    rest: &'a [u8],
    most: usize,
    reads: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        if self.reads % 7 == 3 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = self.most.min(buffer.len());
        self.rest.read(&mut buffer[..most])
    }
}

fn key_pair() -> (Identities, Recipients) {
    let key = x25519::Identity::generate();
    let identities = Identities::parse_file(key.to_string().expose_secret()).expect("a key");
    (identities, Recipients::parse([key.to_public().to_string()]).expect("a key"))
}

fn encode(content: &[u8], compression: Compression, recipients: &Recipients) -> Vec<u8> {
    let mut encoder = PayloadEncoder::new(Vec::new(), compression, recipients).expect("begins");
    for piece in content.chunks(70_001) {
        encoder.write_all(piece).expect("takes all");
    }
    encoder.finish().expect("ends").0
}

/// Each compression, as it is and encrypted.
fn ways<'a>(recipients: &Recipients, identities: &'a Identities) -> Vec<(Compression, Recipients, Option<&'a Identities>)> {
    let ways = BOTH.map(|compression| [(compression, Recipients::default(), None), (compression, recipients.clone(), Some(identities))]);
    ways.into_iter().flatten().collect()
}

fn sha256(bytes: &[u8]) -> StreamDigest {
    let mut hasher = StreamHasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// Reads everything as a caller does, and gives what it may believe.
fn decode_from(
    input: impl Read,
    compression: Compression,
    keys: Option<&Identities>,
    most: u64,
) -> Result<(Vec<u8>, DecodedDigests), DecodeError> {
    let mut decoder = PayloadDecoder::new(input, compression.format(), keys, most)?;
    let mut content = Vec::new();
    decoder.read_to_end(&mut content)?;
    assert_eq!(decoder.content_bytes(), content.len() as u64);
    Ok((content, decoder.finish()?))
}

fn decode(stored: &[u8], compression: Compression, keys: Option<&Identities>, most: u64) -> Result<(Vec<u8>, DecodedDigests), DecodeError> {
    decode_from(stored, compression, keys, most)
}

/// Text that compresses, and bytes that do not.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let noise = proptest::collection::vec(any::<u8>(), 0..150_000);
    let rows = (0usize..30_000, any::<u64>()).prop_map(|(rows, seed)| {
        (0..rows).flat_map(|row| format!("{row}\t{}\tacme\n", seed.wrapping_mul(row as u64)).into_bytes()).collect()
    });
    prop_oneof![noise, rows]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn content_comes_back_whatever_the_pieces(content in content(), most in 1usize..200_000, reads in 1usize..200_000, encrypted: bool, compression in prop::sample::select(&BOTH)) {
        let (identities, recipients) = key_pair();
        let stored = encode(&content, compression, &if encrypted { recipients } else { Recipients::default() });
        let input = Pieces { rest: &stored, most, reads: 0 };
        let keys = encrypted.then_some(&identities);
        let mut decoder = PayloadDecoder::new(input, compression.format(), keys, content.len() as u64).expect("begins");
        let (mut back, mut buffer) = (Vec::new(), vec![0; reads]);
        loop {
            match decoder.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => back.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("failed to {error}"),
            }
        }
        let digests = decoder.finish().expect("whole");
        prop_assert!(back == content, "the content differs");
        prop_assert_eq!(digests, DecodedDigests { stored: sha256(&stored), content: sha256(&content) });
    }

    #[test]
    fn what_is_cut_or_changed_is_never_taken_for_whole(
        content in content(), at in any::<prop::sample::Index>(), bit in 0u8..8, encrypted: bool, cut: bool, frames in 1usize..3,
        compression in prop::sample::select(&BOTH),
    ) {
        let (identities, recipients) = key_pair();
        let recipients = if encrypted { recipients } else { Recipients::default() };
        // Frames follow one another in what is not encrypted: a cut between two of them leaves a stream that decodes.
        let frames = if encrypted { 1 } else { frames };
        let good = encode(&content, compression, &recipients).repeat(frames);
        let mut bad = good.clone();
        if cut {
            bad.truncate(at.index(good.len()));
        } else {
            bad[at.index(good.len())] ^= 1 << bit;
        }
        let most = (content.len() * frames) as u64;
        let keys = encrypted.then_some(&identities);
        let expected = DecodedDigests { stored: sha256(&good), content: sha256(&content.repeat(frames)) };
        match decode(&bad, compression, keys, most) {
            Ok((_, digests)) => prop_assert_ne!(&digests, &expected),
            Err(DecodeError::Input(error)) => panic!("the input has not failed: {error}"),
            Err(_) => {}
        }
        prop_assert_eq!(decode(&good, compression, keys, most).expect("whole").1, expected);
    }

    #[test]
    fn junk_is_an_error(junk in proptest::collection::vec(any::<u8>(), 0..5_000), like in 0usize..5, compression in prop::sample::select(&BOTH)) {
        let (identities, _) = key_pair();
        let begin: &[u8] = [&b""[..], &ZSTD_FRAME, &GZIP_MEMBER, b"age-encryption.org/v1\n", b"age-encryption.org/v1\n-> X25519 "][like];
        let stored = [begin, &junk].concat();
        prop_assert!(decode(&stored, compression, None, 1 << 20).map_or(true, |(_, digests)| digests.content.bytes <= 1 << 20));
        prop_assert!(decode(&stored, compression, Some(&identities), 1 << 20).is_err());
    }
}

#[test]
fn every_truncation_of_a_small_payload_is_an_error() {
    let (identities, recipients) = key_pair();
    for (compression, recipients, keys) in ways(&recipients, &identities) {
        let stored = encode(&b"rows and rows ".repeat(300), compression, &recipients);
        for length in 0..stored.len() {
            let error = decode(&stored[..length], compression, keys, 1 << 20).expect_err("cut");
            let of_a_cut = match error {
                DecodeError::Truncated { .. } => true,
                // age seals pieces: a part of one is damaged for all that it knows.
                DecodeError::Damaged { .. } | DecodeError::NotAge { .. } => keys.is_some(),
                _ => false,
            };
            assert!(of_a_cut, "{length} of {} bytes: {error}", stored.len());
        }
    }
}

#[test]
fn every_flipped_bit_of_a_small_payload_is_found_out() {
    let (identities, recipients) = key_pair();
    let content = b"rows and rows ".repeat(20);
    for (compression, recipients, keys) in ways(&recipients, &identities) {
        let stored = encode(&content, compression, &recipients);
        for bit in 0..stored.len() * 8 {
            let mut bad = stored.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok((_, digests)) = decode(&bad, compression, keys, 1 << 20) {
                assert_ne!(digests.stored, sha256(&stored), "bit {bit}");
                assert!(keys.is_none(), "age would have noticed bit {bit}");
            }
        }
    }
}

#[test]
fn the_keys_must_be_right() {
    let ((identities, recipients), (others, _), (third, _)) = (key_pair(), key_pair(), key_pair());
    let compression = ZSTD;
    let stored = encode(b"rows", compression, &recipients);
    let error = decode(&stored, compression, Some(&Identities::default()), 4).expect_err("no key");
    assert!(matches!(error, DecodeError::NoIdentity), "{error}");
    let error = decode(&stored, compression, Some(&others), 4).expect_err("the wrong key");
    assert!(matches!(error, DecodeError::WrongIdentity { given: 1 }) && error.to_string().contains("the private key"), "{error}");
    let error = decode(&stored, compression, Some(&others.clone().and(third)), 4).expect_err("the wrong keys");
    assert!(matches!(error, DecodeError::WrongIdentity { given: 2 }) && error.to_string().contains("the 2 private keys"), "{error}");
    assert_eq!(decode(&stored, compression, Some(&others.and(identities)), 4).expect("one of them").0, b"rows");
}

#[test]
fn what_is_not_what_the_manifest_says_is_named() {
    let (identities, recipients) = key_pair();
    for (compression, other, name) in [(ZSTD, GZIP, "not zstd"), (GZIP, ZSTD, "not gzip")] {
        let plain = encode(b"rows", compression, &Recipients::default());
        let error = decode(&plain, compression, Some(&identities), 4).expect_err("not encrypted");
        assert!(matches!(error, DecodeError::NotAge { .. }), "{error}");
        let error = decode(&encode(b"rows", compression, &recipients), compression, None, 4).expect_err("encrypted");
        assert!(matches!(error, DecodeError::NotCompressed { reason } if reason.contains("is encrypted")), "{error}");
        let other = encode(b"rows", other, &Recipients::default());
        for other in [&b"PGDMP\x01\x0e"[..], b"\x1f\x8c\x08", b"x", &other] {
            let error = decode(other, compression, None, 4).expect_err("something else");
            assert!(matches!(error, DecodeError::NotCompressed { reason } if reason.contains(name)), "{error}");
        }
        let sealed = recipients.encrypt(Vec::new()).and_then(|mut writer| {
            writer.write_all(b"PGDMP")?;
            writer.finish()
        });
        let error = decode(&sealed.expect("sealed"), compression, Some(&identities), 4).expect_err("something else");
        assert!(matches!(error, DecodeError::NotCompressed { .. }), "{error}");
        assert_eq!(compression.format().as_str().parse(), Ok(compression.format()));
    }
    let unknown = "lzma\u{1b}[2J".parse::<CompressionFormat>().expect_err("unknown").to_string();
    assert!(unknown.contains("`lzma\\u{1b}[2J`") && unknown.contains("newer plana-jobs"), "{unknown}");
}

#[test]
fn frames_may_follow_one_another_and_nothing_else_may() {
    let frame = encode(b"rows", ZSTD, &Recipients::default());
    let skipped = [&[0x5A, 0x2A, 0x4D, 0x18, 3, 0, 0, 0][..], b"any"].concat();
    let whole = [&skipped, &frame, &skipped, &frame[..], &frame].concat();
    let (content, digests) = decode(&whole, ZSTD, None, 12).expect("frames");
    assert_eq!((content, digests.stored), (b"rows".repeat(3), sha256(&whole)));
    nothing_may_follow(&frame, ZSTD);
    let (identities, recipients) = key_pair();
    // Also behind pieces of age that are all full.
    for (compression, bytes) in BOTH.into_iter().flat_map(|compression| [4, 65_536 - 25, 200_000].map(|bytes| (compression, bytes))) {
        let sealed = encode(&noise(bytes), compression, &recipients);
        let error = decode(&[&sealed[..], b"junk"].concat(), compression, Some(&identities), 1 << 20).expect_err("junk");
        assert!(matches!(error, DecodeError::Damaged { .. }), "{error}");
    }
}

fn nothing_may_follow(good: &[u8], compression: Compression) {
    for junk in [&b"j"[..], b"\0", b"\x1f\x8b", b"junkjunkjunkjunk", &[0; 512], &[7; 200_000]] {
        let error = decode(&[good, junk].concat(), compression, None, 4).expect_err("junk");
        assert!(matches!(error, DecodeError::Trailing { content_bytes: 4 } | DecodeError::Truncated { content_bytes: 4 }), "{error}");
    }
}

/// What gzip(1) and Python write, with names and comments in their headers, and members that follow one another.
#[test]
fn members_of_any_make_follow_one_another_and_nothing_else_may() {
    let other = |level| {
        let mut encoder = flate2::GzBuilder::new().filename("rows.txt").comment("by hand").extra(vec![7; 60_000]).mtime(1);
        let mut encoder = std::mem::take(&mut encoder).write(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(b"rows").and_then(|()| encoder.finish()).expect("encodes")
    };
    let ours = encode(b"rows", GZIP, &Recipients::default());
    let whole = [other(0), ours.clone(), encode(b"", GZIP, &Recipients::default()), other(9)].concat();
    let (content, digests) = decode(&whole, GZIP, None, 12).expect("members");
    assert_eq!((content, digests.stored), (b"rows".repeat(3), sha256(&whole)));
    nothing_may_follow(&ours, GZIP);
    nothing_may_follow(&other(6), GZIP);
}

/// Members follow one another without a mark: only the sizes and hashes of the manifest tell that some are missing.
#[test]
fn what_is_cut_between_two_members_has_other_digests() {
    let parts = [noise(100_000), vec![7; 100_000], noise(300_000)];
    let stored: Vec<Vec<u8>> = parts.iter().map(|part| encode(part, GZIP, &Recipients::default())).collect();
    let whole = decode(&stored.concat(), GZIP, None, 1 << 20).expect("whole").1;
    for members in 1..parts.len() {
        let (content, digests) = decode(&stored[..members].concat(), GZIP, None, 1 << 20).expect("whole members");
        assert_eq!(content, parts[..members].concat());
        assert!(digests.stored != whole.stored && digests.content != whole.content);
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(bytes)
    .collect()
}

#[test]
fn a_bomb_ends_at_the_size_that_the_manifest_names() {
    for compression in BOTH {
        bomb_ends(compression);
    }
}

fn bomb_ends(compression: Compression) {
    let bomb = encode(&vec![0; 64 << 20], compression, &Recipients::default());
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    let mut decoder = PayloadDecoder::new(&bomb[..], compression.format(), None, 1000).expect("begins");
    let mut content = Vec::new();
    let error = decoder.read_to_end(&mut content).expect_err("too large");
    assert!(content.len() <= 1000, "{}", content.len());
    assert!(matches!(DecodeError::from(error), DecodeError::TooLarge { most: 1000 }));
    assert!(matches!(DecodeError::from(decoder.read(&mut [0; 10]).expect_err("failed")), DecodeError::Failed));
    assert!(matches!(decoder.finish(), Err(DecodeError::Failed)));
    for (bytes, most) in [(0, 0), (1, 1), (1000, 1000), (1000, u64::MAX)] {
        assert!(
            decode(&encode(&vec![7; bytes], compression, &Recipients::default()), compression, None, most).is_ok(),
            "{bytes} of {most}"
        );
    }
    assert!(matches!(
        decode(&encode(b"x", compression, &Recipients::default()), compression, None, 0),
        Err(DecodeError::TooLarge { most: 0 })
    ));
}

#[test]
fn a_window_that_takes_too_much_memory_is_refused() {
    // A frame's header: no sizes, no checksum, a window of 2^27 or 2^28 bytes; then one empty last block.
    for (window_log, allowed) in [(27, true), (28, false), (31, false)] {
        let frame = [&ZSTD_FRAME[..], &[0, (window_log - 10) << 3], &[1, 0, 0]].concat();
        match decode(&frame, ZSTD, None, 10) {
            Ok((content, _)) => assert!(allowed && content.is_empty()),
            Err(error) => assert!(!allowed && matches!(error, DecodeError::WindowTooLarge { mib: 128 }), "{error}"),
        }
    }
}

#[test]
fn whoever_stops_early_has_no_success() {
    let (identities, recipients) = key_pair();
    let content = noise(300_000);
    for (compression, recipients, keys) in ways(&recipients, &identities) {
        let stored = encode(&content, compression, &recipients);
        for read in [0, 1, 299_999] {
            let mut decoder = PayloadDecoder::new(&stored[..], compression.format(), keys, 300_000).expect("begins");
            decoder.read_exact(&mut vec![0; read]).expect("reads");
            let error = decoder.finish().expect_err("more follows");
            assert!(matches!(error, DecodeError::Unfinished { content_bytes } if content_bytes == read as u64), "{error}");
        }
        // Who knows the size need not look for the end.
        let mut decoder = PayloadDecoder::new(&stored[..], compression.format(), keys, 300_000).expect("begins");
        decoder.read_exact(&mut vec![0; 300_000]).expect("reads");
        assert_eq!(decoder.finish().expect("whole").content, sha256(&content));
        // But the last checksum counts all the same.
        let mut cut = PayloadDecoder::new(&stored[..stored.len() - 1], compression.format(), keys, 300_000).expect("begins");
        let read = cut.read_exact(&mut vec![0; 300_000]);
        assert!(read.is_err() || cut.finish().is_err());
    }
}

#[derive(Debug, thiserror::Error)]
#[error("read s3://b/k: no connection")]
struct SourceError;

/// Fails behind so many bytes.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::Error::other(SourceError)) } else { self.0.read(buffer) }
    }
}

#[test]
fn an_error_of_the_input_comes_out_as_it_went_in() {
    let (identities, recipients) = key_pair();
    for (compression, recipients, keys) in ways(&recipients, &identities) {
        let stored = encode(&noise(200_000), compression, &recipients);
        for bytes in (0..stored.len()).step_by(997).chain([stored.len() - 1, stored.len()]) {
            let error = decode_from(Failing(&stored[..bytes]), compression, keys, 1 << 20).expect_err("failed");
            assert_eq!(error.to_string(), "read the stored payload: read s3://b/k: no connection");
            let DecodeError::Input(inner) = error else { panic!("{error}") };
            assert_eq!(inner.kind(), io::ErrorKind::Other);
            assert!(inner.get_ref().is_some_and(|inner| inner.is::<SourceError>()));
        }
    }
}

#[test]
fn a_header_without_end_takes_no_memory() {
    let (identities, _) = key_pair();
    for line in ["-> X25519 ", "-> a\n\n", "-> a b c d e f g h\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"] {
        let begin = io::Cursor::new(b"age-encryption.org/v1\n".to_vec());
        let endless = Endless { line: line.as_bytes(), read: 0 };
        let mut input = io::BufReader::new(begin.chain(endless));
        let error = decode_from(&mut input, ZSTD, Some(&identities), 10).expect_err("no header");
        assert!(matches!(error, DecodeError::NotAge { .. }), "{error}");
        let read = input.get_ref().get_ref().1.read - input.fill_buf().expect("more").len();
        assert!(read <= 80 << 10, "{read} bytes were read");
    }
}

#[test]
fn a_header_of_many_lines_takes_no_time() {
    let (identities, recipients) = key_pair();
    let many = (0..400).fold(Recipients::default(), |all, _| all.and(key_pair().1)).and(recipients);
    let begun = std::time::Instant::now();
    assert_eq!(decode(&encode(b"rows", GZIP, &many), GZIP, Some(&identities), 4).expect("the last of many").0, b"rows");
    let lines = "-> a\n\n".repeat(490);
    let sealed = format!("age-encryption.org/v1\n{lines}--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nnonce and content");
    let error = decode(sealed.as_bytes(), ZSTD, Some(&identities), 4).expect_err("not for us");
    assert!(matches!(error, DecodeError::WrongIdentity { .. }), "{error}");
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}

struct Endless<'a> {
    line: &'a [u8],
    read: usize,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = self.line[self.read % self.line.len()];
            self.read += 1;
        }
        Ok(buffer.len())
    }
}

#[test]
fn a_decoder_may_go_to_another_thread_and_shows_no_secret() {
    fn sent<T: Send>(_: &T) {}
    let (identities, recipients) = key_pair();
    let stored = encode(b"rows", GZIP, &recipients);
    let decoder = PayloadDecoder::new(&stored[..], GZIP.format(), Some(&identities), 4).expect("begins");
    sent(&decoder);
    assert_eq!(format!("{decoder:?}"), "PayloadDecoder { content_bytes: 0, max_content: 4, failed: false, .. }");
}
