//! The stream: blocks filled, given to the pool, and written in order.

use std::{
    fmt,
    io::{self, Write},
};

use super::{
    member::{MemberWriter, TRAILER_BYTES},
    pool::{Buffers, Pool},
};

/// Content of a block: a worker's second and third level cache hold it and what it becomes.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

enum Engine {
    /// On the writing thread.
    Here(MemberWriter, Box<Buffers>),
    Pool(Pool),
}

/// Compresses what is written to it.
///
/// Members of gzip simply follow one another, and no mark says that a member is the last. So the last trailer that was made is
/// held back until another member follows it or [`GzipEncoder::finish`] is called: dropped before, it leaves a stream whose last
/// member is cut, which gzip, and our decoder, refuse. A store or a disk can still cut a stream between two members, and then
/// no decoder of gzip can tell: what makes a payload whole are the sizes and hashes of its manifest, and within a tarball the
/// trailer of tar.
pub struct GzipEncoder<W: Write> {
    output: HeldBack<W>,
    /// The block that is being filled.
    content: Vec<u8>,
    engine: Engine,
    /// The output has failed: what was to be written is lost.
    failed: bool,
}

impl<W: Write> GzipEncoder<W> {
    pub(super) fn new(output: W, writer: impl Fn() -> MemberWriter, workers: u32) -> io::Result<Self> {
        let engine = if workers == 0 { Engine::Here(writer(), Box::default()) } else { Engine::Pool(Pool::new(writer, workers)?) };
        Ok(GzipEncoder { output: HeldBack::new(output), content: Vec::with_capacity(BLOCK_BYTES), engine, failed: false })
    }

    /// Completes the stream; without any content it is one empty member.
    ///
    /// # Errors
    /// When the output fails, or has failed before.
    pub fn finish(mut self) -> io::Result<W> {
        self.drain()?;
        if !self.output.has_begun() {
            self.engine_takes_block()?;
            self.write_done(true)?;
        }
        self.output.finish()
    }

    /// Writes everything that was given so far.
    fn drain(&mut self) -> io::Result<()> {
        if self.failed {
            return Err(failed_before());
        }
        if !self.content.is_empty() {
            self.engine_takes_block()?;
        }
        self.write_done(true)
    }

    fn engine_takes_block(&mut self) -> io::Result<()> {
        match &mut self.engine {
            Engine::Here(writer, buffers) => {
                buffers.members.clear();
                writer.append(&self.content, &mut buffers.members);
                self.content.clear();
                let written = self.output.put(&buffers.members);
                self.failed |= written.is_err();
                written
            }
            Engine::Pool(pool) => {
                let full = pool.is_full();
                if full {
                    self.write_oldest(true)?;
                }
                let Engine::Pool(pool) = &mut self.engine else { return Ok(()) };
                let given = pool.give(&mut self.content);
                self.content.reserve(BLOCK_BYTES);
                self.failed |= given.is_err();
                given?;
                self.write_done(false)
            }
        }
    }

    /// Writes the blocks that are done, in order; with `wait`, all of them.
    fn write_done(&mut self, wait: bool) -> io::Result<()> {
        while self.write_oldest(wait)? {}
        Ok(())
    }

    /// Whether a block was written.
    fn write_oldest(&mut self, wait: bool) -> io::Result<bool> {
        let Engine::Pool(pool) = &mut self.engine else { return Ok(false) };
        let written = pool.take(wait).and_then(|done| {
            let Some(buffers) = done else { return Ok(false) };
            self.output.put(&buffers.members)?;
            pool.put_back(buffers);
            Ok(true)
        });
        self.failed |= written.is_err();
        written
    }
}

impl<W: Write> Write for GzipEncoder<W> {
    /// Takes content. An error is the output's own, and may be that of an earlier block.
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(failed_before());
        }
        if self.content.len() >= BLOCK_BYTES {
            self.engine_takes_block()?;
        }
        let taken = piece.len().min(BLOCK_BYTES - self.content.len());
        self.content.extend_from_slice(&piece[..taken]);
        Ok(taken)
    }

    /// Writes everything but the last trailer. It ends a block, so that often flushed content is less well compressed.
    fn flush(&mut self) -> io::Result<()> {
        self.drain()?;
        self.output.inner.flush()
    }
}

impl<W: Write> fmt::Debug for GzipEncoder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GzipEncoder").field("failed", &self.failed).finish_non_exhaustive()
    }
}

fn failed_before() -> io::Error {
    io::Error::other("its output has failed before")
}

/// An output that has not got the last trailer yet.
struct HeldBack<W> {
    inner: W,
    trailer: Option<[u8; TRAILER_BYTES]>,
}

impl<W: Write> HeldBack<W> {
    fn new(inner: W) -> Self {
        HeldBack { inner, trailer: None }
    }

    fn has_begun(&self) -> bool {
        self.trailer.is_some()
    }

    /// Writes whole members, up to the last one's trailer.
    fn put(&mut self, members: &[u8]) -> io::Result<()> {
        let Some((body, trailer)) = members.split_last_chunk() else { return Err(io::Error::other("a member has no trailer")) };
        if let Some(trailer) = self.trailer.replace(*trailer) {
            self.inner.write_all(&trailer)?;
        }
        self.inner.write_all(body)
    }

    fn finish(mut self) -> io::Result<W> {
        if let Some(trailer) = self.trailer {
            self.inner.write_all(&trailer)?;
        }
        self.inner.flush()?;
        Ok(self.inner)
    }
}
