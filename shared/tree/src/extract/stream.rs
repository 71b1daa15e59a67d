//! The blocks of a tar stream, counted.

use std::io::{self, Read};

use super::ExtractError;

pub(super) const BLOCK: usize = 512;
const PIECE_BYTES: usize = 256 << 10;

pub(super) type Block = [u8; BLOCK];

/// The stream, and where it is.
pub(super) struct Blocks<'a> {
    content: &'a mut dyn Read,
    at: u64,
    buffer: Vec<u8>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(content: &'a mut dyn Read) -> Self {
        Blocks { content, at: 0, buffer: vec![0; PIECE_BYTES] }
    }

    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// The next block. There must be one: only the mark ends an archive.
    pub(super) fn block(&mut self) -> Result<Block, ExtractError> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        Ok(block)
    }

    /// So many bytes at once, and what fills their last block.
    pub(super) fn bytes(&mut self, size: usize) -> Result<Vec<u8>, ExtractError> {
        let mut bytes = vec![0; size];
        self.fill(&mut bytes)?;
        self.skip_padding(size as u64)?;
        Ok(bytes)
    }

    /// So many bytes in pieces, and what fills their last block.
    pub(super) fn pass(&mut self, size: u64, mut take: impl FnMut(&[u8]) -> Result<(), ExtractError>) -> Result<(), ExtractError> {
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let read = self.read(wanted)?;
            if read == 0 {
                return Err(ExtractError::Truncated { bytes: self.at });
            }
            take(&self.buffer[..read])?;
            left -= read as u64;
        }
        self.skip_padding(size)
    }

    /// Reads to the end of the stream, where only zeros may stand: archives are often filled up to a record.
    pub(super) fn only_zeros_follow(&mut self) -> Result<(), ExtractError> {
        loop {
            match self.read(PIECE_BYTES)? {
                0 => return Ok(()),
                read if self.buffer[..read].iter().any(|byte| *byte != 0) => return Err(ExtractError::Trailing),
                _ => {}
            }
        }
    }

    fn skip_padding(&mut self, size: u64) -> Result<(), ExtractError> {
        let padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
        self.fill(&mut [0; BLOCK][..padding])
    }

    fn fill(&mut self, mut bytes: &mut [u8]) -> Result<(), ExtractError> {
        while !bytes.is_empty() {
            let read = retried(|| self.content.read(bytes))?;
            if read == 0 {
                return Err(ExtractError::Truncated { bytes: self.at });
            }
            self.at += read as u64;
            bytes = &mut bytes[read..];
        }
        Ok(())
    }

    fn read(&mut self, most: usize) -> Result<usize, ExtractError> {
        let read = retried(|| self.content.read(&mut self.buffer[..most]))?;
        self.at += read as u64;
        Ok(read)
    }
}

fn retried(mut read: impl FnMut() -> io::Result<usize>) -> Result<usize, ExtractError> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read.map_err(ExtractError::Input),
        }
    }
}
