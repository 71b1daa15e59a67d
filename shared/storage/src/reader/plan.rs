//! Which bytes of which volume are asked for, one after the other.

use std::{ops::Range, sync::Arc, vec};

use super::{
    ReadVolume,
    fetch::{Chunk, Open},
};

/// The chunks of all volumes in order. It is walked, not kept: a manifest may name any size.
#[derive(Debug)]
pub(super) struct Plan {
    volumes: vec::IntoIter<ReadVolume>,
    /// Bytes before the first that is wanted.
    skip: u64,
    rest: Option<(Arc<Open>, Range<u64>)>,
    chunk_bytes: u64,
}

impl Plan {
    /// From byte `from` of all volumes on, in chunks of so many bytes at most.
    pub(super) fn new(volumes: Vec<ReadVolume>, from: u64, chunk_bytes: u64) -> Self {
        Plan { volumes: volumes.into_iter(), skip: from, rest: None, chunk_bytes }
    }
}

impl Iterator for Plan {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        loop {
            if let Some((open, rest)) = self.rest.take() {
                let end = rest.end.min(rest.start.saturating_add(self.chunk_bytes));
                if end < rest.end {
                    self.rest = Some((Arc::clone(&open), end..rest.end));
                }
                return Some(Chunk { open, range: rest.start..end });
            }
            let volume = self.volumes.next()?;
            let range = self.skip.min(volume.bytes)..volume.bytes;
            self.skip -= range.start;
            // An empty volume is looked at, unless it lies before what is wanted.
            if !range.is_empty() || (volume.bytes == 0 && self.skip == 0) {
                self.rest = Some((Open::new(volume), range));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_covers_every_byte_once() {
        let sizes = [0, 10, 3, 0, 0, 8, 1, 0];
        let volumes = || sizes.map(|bytes| ReadVolume { key: String::new(), version: None, bytes, etag: None }).to_vec();
        for chunk_bytes in [1, 3, 8, 100] {
            for from in 0..=22 {
                let chunks: Vec<Chunk> = Plan::new(volumes(), from, chunk_bytes).collect();
                assert_eq!(chunks.iter().map(|chunk| chunk.bytes() as u64).sum::<u64>(), 22 - from);
                assert!(chunks.iter().all(|chunk| chunk.bytes() as u64 <= chunk_bytes && chunk.range.end <= chunk.open.volume.bytes));
                assert!(chunks.iter().all(|chunk| chunk.range.is_empty() == (chunk.open.volume.bytes == 0)));
                let empty = chunks.iter().filter(|chunk| chunk.range.is_empty()).count();
                let looked_at = match from {
                    0 => 4,
                    1..=13 => 3,
                    _ => 1,
                };
                assert_eq!(empty, looked_at, "from {from}");
            }
        }
    }
}
