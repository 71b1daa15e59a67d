//! From a blocking thread to an upload: bytes are copied once, into the part that is sent.

use std::io;

use bytes::Bytes;
use tokio::{runtime::Handle, sync::mpsc};

use crate::budget::{PartBuffer, PartSource};

/// The writing end, for a blocking thread: fills parts, and blocks while the upload has all the parts that it may hold.
///
/// Only [`PartSink::finish`] ends the stream; a sink that is dropped before fails the upload. Once the upload has
/// failed, writing gives [`io::ErrorKind::BrokenPipe`]; the reason is the upload's to tell.
#[derive(Debug)]
pub struct PartSink {
    source: PartSource,
    part: Option<PartBuffer>,
    parts: mpsc::Sender<StreamPart>,
    runtime: Handle,
}

/// The reading end, for [`crate::ObjectWriter::write_all_from`].
#[derive(Debug)]
pub struct PartStream(pub(crate) mpsc::Receiver<StreamPart>);

#[derive(Debug)]
pub(crate) enum StreamPart {
    /// A full part that more bytes follow.
    Full(Bytes),
    /// The last part, perhaps short, perhaps empty.
    Last(Bytes),
}

/// Both ends of a stream of parts out of `source`. Call it within a tokio runtime.
pub fn part_channel(source: PartSource) -> (PartSink, PartStream) {
    let (sender, receiver) = mpsc::channel(1);
    (PartSink { source, part: None, parts: sender, runtime: Handle::current() }, PartStream(receiver))
}

impl PartSink {
    /// Sends the last part and ends the stream.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] when the upload has failed.
    pub fn finish(mut self) -> io::Result<()> {
        let last = self.part.take().map_or_else(Bytes::new, PartBuffer::freeze);
        self.parts.blocking_send(StreamPart::Last(last)).map_err(|_| gone())
    }

    /// The part to fill, and room in it. A full one is sent only when more bytes are at hand, so that the receiver
    /// knows the last one, and holds none while it waits for memory.
    fn room(&mut self) -> io::Result<&mut PartBuffer> {
        if self.part.as_ref().is_some_and(PartBuffer::is_full)
            && let Some(full) = self.part.take()
        {
            self.parts.blocking_send(StreamPart::Full(full.freeze())).map_err(|_| gone())?;
        }
        if self.part.is_none() {
            let (source, parts) = (&self.source, &self.parts);
            let fresh = self.runtime.block_on(async {
                tokio::select! {
                    part = source.part() => Some(part),
                    () = parts.closed() => None,
                }
            });
            self.part = Some(fresh.ok_or_else(gone)?);
        }
        self.part.as_mut().ok_or_else(gone)
    }
}

impl io::Write for PartSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        Ok(self.room()?.fill(bytes))
    }

    /// Does nothing: parts are sent when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the upload has failed")
}
