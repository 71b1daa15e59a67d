//! Blocks of content as members of gzip.

use libdeflater::{CompressionLvl, Compressor, crc32};

use super::entropy::{PIECE_BYTES, is_incompressible};

/// No name, no time, an unknown system: the same content gives the same bytes everywhere.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Checksum and length at a member's end.
pub(super) const TRAILER_BYTES: usize = 8;
/// The most that deflate stores in one piece, and what that costs.
const MOST_STORED: usize = u16::MAX as usize;
const STORED_OVERHEAD: usize = 5;

/// Turns blocks into members.
pub(super) struct MemberWriter(Compressor);

impl MemberWriter {
    pub(super) fn new(level: CompressionLvl) -> Self {
        MemberWriter(Compressor::new(level))
    }

    /// Appends a block's members: one for each run of pieces that are alike. An empty block is one empty member.
    pub(super) fn append(&mut self, block: &[u8], members: &mut Vec<u8>) {
        let mut begin = 0;
        let mut end = PIECE_BYTES.min(block.len());
        let mut stored = is_incompressible(&block[..end]);
        while end < block.len() {
            let next = (end + PIECE_BYTES).min(block.len());
            let next_stored = is_incompressible(&block[end..next]);
            if next_stored != stored {
                self.append_run(&block[begin..end], stored, members);
                (begin, stored) = (end, next_stored);
            }
            end = next;
        }
        self.append_run(&block[begin..end], stored, members);
    }

    fn append_run(&mut self, run: &[u8], stored: bool, members: &mut Vec<u8>) {
        if stored || !self.append_compressed(run, members) {
            append_stored(run, members);
        }
    }

    /// Whether it was worth it; else nothing is appended.
    fn append_compressed(&mut self, run: &[u8], members: &mut Vec<u8>) -> bool {
        let begin = members.len();
        members.resize(begin + self.0.gzip_compress_bound(run.len()), 0);
        let shrunk = self.0.gzip_compress(run, &mut members[begin..]).ok().filter(|bytes| *bytes < stored_bytes(run.len()));
        members.truncate(begin + shrunk.unwrap_or(0));
        shrunk.is_some()
    }
}

/// The size of a member that stores so many bytes as they are.
fn stored_bytes(bytes: usize) -> usize {
    HEADER.len() + bytes + bytes.div_ceil(MOST_STORED).max(1) * STORED_OVERHEAD + TRAILER_BYTES
}

fn append_stored(run: &[u8], members: &mut Vec<u8>) {
    members.reserve(stored_bytes(run.len()));
    members.extend_from_slice(&HEADER);
    let mut rest = run;
    loop {
        let (piece, behind) = rest.split_at(rest.len().min(MOST_STORED));
        // The bit of the last piece, the type «stored», and padding to the byte; then the length and its complement.
        members.push(u8::from(behind.is_empty()));
        let length = piece.len() as u16;
        members.extend_from_slice(&length.to_le_bytes());
        members.extend_from_slice(&(!length).to_le_bytes());
        members.extend_from_slice(piece);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    members.extend_from_slice(&crc32(run).to_le_bytes());
    members.extend_from_slice(&(run.len() as u32).to_le_bytes());
}
