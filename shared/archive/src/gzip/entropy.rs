//! Whether bytes are worth compressing.

/// How much is judged at once. Files of a few KiB are common in a file store, and 8 KiB of random bytes still measure
/// 7.977 ± 0.003 bits.
pub(super) const PIECE_BYTES: usize = 8 << 10;

/// Bits of entropy of each byte above which deflate would not shrink a piece by more than its own overhead.
const INCOMPRESSIBLE_BITS: f64 = 7.95;

/// Whether a piece is as good as random. A short one never is: there is too little of it to tell.
pub(super) fn is_incompressible(piece: &[u8]) -> bool {
    entropy_bits(piece) > INCOMPRESSIBLE_BITS
}

/// The entropy of each byte by how often the 256 values occur, in bits.
fn entropy_bits(piece: &[u8]) -> f64 {
    // Two tables: equal bytes in a row would wait for one another.
    let mut counts = [[0u32; 256]; 2];
    let mut pairs = piece.chunks_exact(2);
    for pair in &mut pairs {
        counts[0][usize::from(pair[0])] += 1;
        counts[1][usize::from(pair[1])] += 1;
    }
    for byte in pairs.remainder() {
        counts[0][usize::from(*byte)] += 1;
    }
    let all = piece.len() as f64;
    let counts = counts[0].iter().zip(&counts[1]).map(|(a, b)| a + b).filter(|count| *count > 0);
    counts.map(|count| f64::from(count) / all).map(|share| -share * share.log2()).sum()
}
