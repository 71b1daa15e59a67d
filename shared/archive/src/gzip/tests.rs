use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;

use super::{
    encoder::BLOCK_BYTES,
    entropy::{PIECE_BYTES, is_incompressible},
    *,
};

fn encode(content: &[u8], gzip: Gzip, pieces: usize) -> Vec<u8> {
    let mut encoder = gzip.compress(Vec::new()).expect("begins");
    for piece in content.chunks(pieces) {
        encoder.write_all(piece).expect("takes all");
    }
    encoder.finish().expect("ends")
}

fn decode(stored: &[u8]) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    MultiGzDecoder::new(stored).read_to_end(&mut content).map(|_| content)
}

/// What a program makes of a stream on its input; `None` where it fails.
fn through(program: &[&str], stored: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{} is needed: {error}", program[0]));
    let (mut input, stored) = (child.stdin.take().expect("an input"), stored.to_vec());
    let feeding = std::thread::spawn(move || drop(input.write_all(&stored)));
    let output = child.wait_with_output().expect("ends");
    feeding.join().expect("fed");
    output.status.success().then_some(output.stdout)
}

const GZIP: [&str; 2] = ["gzip", "-dc"];
const PYTHON: [&str; 3] = ["python3", "-c", "import gzip,sys; sys.stdout.buffer.write(gzip.open(sys.stdin.buffer).read())"];

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

fn text(bytes: usize) -> Vec<u8> {
    (0..).flat_map(|row: u32| format!("{row}\tpartner {}\tacme\n", row.wrapping_mul(2_654_435_761)).into_bytes()).take(bytes).collect()
}

/// Pieces of any size, of text and of bytes that do not shrink, in turns.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let part = (any::<bool>(), 0usize..400_000, any::<u64>());
    let part = part.prop_map(|(random, bytes, seed)| if random { noise(bytes, seed) } else { text(bytes) });
    let mixed = proptest::collection::vec(part, 0..5).prop_map(|parts| parts.concat());
    prop_oneof![1 => proptest::collection::vec(any::<u8>(), 0..3000), 3 => mixed]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_bytes_in_any_pieces_come_back(content in content(), pieces in 1usize..600_000, level in 1i32..13, workers in 0u32..4) {
        let stored = encode(&content, Gzip { level, workers }, pieces);
        prop_assert!(decode(&stored).expect("decodes") == content, "the content differs");
        // Nothing grows by more than a header now and then.
        prop_assert!(stored.len() <= content.len() + content.len() / 1000 + 64, "{} of {}", stored.len(), content.len());
    }

    #[test]
    fn gzip_and_python_read_it(content in content(), pieces in 1usize..600_000, workers in 0u32..3) {
        let stored = encode(&content, Gzip { level: 6, workers }, pieces);
        prop_assert!(through(&GZIP, &stored).as_ref() == Some(&content), "gzip -dc");
        prop_assert!(through(&PYTHON, &stored).as_ref() == Some(&content), "Python's gzip");
    }

    #[test]
    fn the_same_content_gives_the_same_bytes(content in content(), pieces in 1usize..600_000, workers in 0u32..4) {
        let alone = encode(&content, Gzip { level: 4, workers: 0 }, usize::MAX);
        prop_assert!(encode(&content, Gzip { level: 4, workers }, pieces) == alone, "the bytes differ");
    }

    #[test]
    fn what_is_dropped_is_refused_by_every_decoder(content in content(), pieces in 1usize..600_000, workers in 0u32..3, flushed: bool) {
        let mut stored = Vec::new();
        let mut encoder = Gzip { level: 1, workers }.compress(&mut stored).expect("begins");
        for piece in content.chunks(pieces) {
            encoder.write_all(piece).expect("takes all");
        }
        if flushed {
            encoder.flush().expect("flushes");
        }
        drop(encoder);
        prop_assert!(!flushed || content.is_empty() || stored.len() > 18);
        prop_assert!(decode(&stored).is_err());
        prop_assert!(through(&GZIP, &stored).is_none(), "gzip -dc");
        // Python takes nothing at all for an empty file.
        prop_assert!(stored.is_empty() || through(&PYTHON, &stored).is_none(), "Python's gzip");
    }
}

#[test]
fn nothing_is_one_empty_member() {
    for workers in [0, 2] {
        let stored = encode(b"", Gzip { level: 6, workers }, 1);
        assert_eq!(stored.len(), 23);
        assert_eq!(decode(&stored).expect("decodes"), b"");
        assert_eq!(through(&GZIP, &stored).expect("reads"), b"");
    }
}

#[test]
fn the_bytes_decide_what_is_stored() {
    let (random, rows) = (noise(1 << 20, 7), text(1 << 20));
    let gzip = Gzip { level: 6, workers: 2 };
    // Four blocks, each a header, a trailer, and a piece's overhead for every 64 KiB begun.
    assert_eq!(encode(&random, gzip, usize::MAX).len(), (1 << 20) + 4 * (18 + 5 * 5));
    let compressed = encode(&rows, gzip, usize::MAX).len();
    assert!(compressed < rows.len() / 3, "{compressed}");
    // Small files of both kinds, as tar puts them one behind the other: the text shrinks all the same.
    let files: Vec<u8> = (0..64).flat_map(|file| [noise(20_000, file + 1), text(20_000)].concat()).collect();
    let mixed = encode(&files, gzip, usize::MAX).len();
    let shrunk = 64 * 40_000 - mixed;
    assert!(shrunk > 64 * 20_000 / 2, "{mixed}");
    // Half of the bits used is not random, although no byte repeats near another.
    let hex: Vec<u8> = random[..200_000].iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
    assert!(encode(&hex, gzip, usize::MAX).len() < hex.len() * 6 / 10);
}

#[test]
fn what_is_as_good_as_random_is_told_from_what_is_not() {
    for seed in 1..500 {
        assert!(is_incompressible(&noise(PIECE_BYTES, seed)), "{seed}");
    }
    let base64: Vec<u8> = noise(PIECE_BYTES, 5).iter().map(|byte| b'A' + (byte & 63)).collect();
    for piece in [&text(PIECE_BYTES)[..], &base64, &[7; PIECE_BYTES], &noise(1000, 5), b"x", b""] {
        assert!(!is_incompressible(piece), "{} bytes", piece.len());
    }
}

#[test]
fn members_are_as_the_format_says() {
    let random = noise(70_000, 3);
    let stored = encode(&random, Gzip { level: 6, workers: 0 }, usize::MAX);
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    assert_eq!(stored[..10], header);
    // A stored piece of 65,535 bytes that is not the last, then the last with 4,465.
    assert_eq!(stored[10..15], [0, 0xff, 0xff, 0, 0]);
    assert_eq!(stored[15..65_550], random[..65_535]);
    assert_eq!(stored[65_550..65_555], [1, 0x71, 0x11, 0x8e, 0xee]);
    assert_eq!(stored[65_555..70_020], random[65_535..]);
    let mut crc = flate2::Crc::new();
    crc.update(&random);
    assert_eq!(stored[70_020..], [crc.sum().to_le_bytes(), 70_000u32.to_le_bytes()].concat());
    for level in [-1, 0, 13] {
        let error = Gzip { level, workers: 0 }.compress(Vec::new()).expect_err("no level");
        assert!(error.to_string().contains("use 1 to 12"), "{error}");
    }
}

/// Takes so many bytes, then fails.
struct Full {
    room: usize,
    taken: Arc<AtomicUsize>,
}

impl Write for Full {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = piece.len().min(self.room);
        self.room -= taken;
        self.taken.fetch_add(taken, Ordering::Relaxed);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_error_of_the_output_reaches_the_writer_and_stays() {
    let random = noise(3 << 20, 9);
    let whole = encode(&random, Gzip { level: 1, workers: 0 }, usize::MAX).len();
    for workers in [0, 1, 3] {
        for room in [0, 1, 500_000, whole - 9, whole - 8, whole - 1] {
            let taken = Arc::new(AtomicUsize::new(0));
            let mut encoder = Gzip { level: 1, workers }.compress(Full { room, taken: Arc::clone(&taken) }).expect("begins");
            let written = random.chunks(100_000).try_for_each(|piece| encoder.write_all(piece));
            let failed = written.is_err();
            let first = match written {
                Err(error) => {
                    assert!(encoder.write_all(b"more").is_err() && encoder.flush().is_err());
                    assert!(encoder.finish().is_err(), "it has failed before");
                    error
                }
                Ok(()) => encoder.finish().map(|_| ()).expect_err("no room"),
            };
            assert_eq!(first.kind(), io::ErrorKind::StorageFull, "{room}");
            assert!(failed || room > 500_000, "whoever writes on and on must hear of it: {room}");
            assert_eq!(taken.load(Ordering::Relaxed), room);
        }
    }
}

#[test]
fn a_slow_output_holds_the_writer_back() {
    // Blocks whose members have not been asked for yet, and one that is being filled: no more is ever taken.
    let (begin, arrived) = std::sync::mpsc::sync_channel::<usize>(0);
    struct Slow(std::sync::mpsc::SyncSender<usize>);
    impl Write for Slow {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            self.0.send(piece.len()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(piece.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let writing = std::thread::spawn(move || {
        let mut encoder = Gzip { level: 1, workers: 2 }.compress(Slow(begin)).expect("begins");
        let piece = vec![7; 64 << 10];
        for _ in 0..200 {
            encoder.write_all(&piece)?;
            count.fetch_add(piece.len(), Ordering::Relaxed);
        }
        encoder.finish().map(|_| ())
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    let held = taken.load(Ordering::Relaxed);
    assert!(held <= 7 * BLOCK_BYTES, "{held} bytes were taken by an encoder whose output takes nothing");
    drop(arrived);
    assert!(writing.join().expect("joins").is_err(), "its output is gone");
}
