//! Work on a stream beside the thread that makes it.

use std::{
    io::{self, Write},
    mem,
    panic::resume_unwind,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

/// How much the other thread is given at once.
pub(crate) const BATCH_BYTES: usize = 256 << 10;
/// Batches that may wait for it.
const WAITING_BATCHES: usize = 4;

/// A writer on a thread of its own. What is written waits there in a queue of at most 1.5 MiB.
///
/// All of it is written only when [`BackgroundWriter::finish`] says so. Dropped unfinished, its thread ends by itself.
#[derive(Debug)]
pub struct BackgroundWriter<W> {
    batch: Vec<u8>,
    full: Option<SyncSender<Vec<u8>>>,
    emptied: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<W>>>,
}

impl<W: Write + Send + 'static> BackgroundWriter<W> {
    /// Starts the thread, under this name.
    ///
    /// # Errors
    /// When the system has no room for another one.
    pub fn start(name: &str, mut output: W) -> io::Result<Self> {
        let (full, batches) = sync_channel::<Vec<u8>>(WAITING_BATCHES);
        let (empty, emptied) = sync_channel(WAITING_BATCHES);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            for mut batch in batches {
                output.write_all(&batch)?;
                batch.clear();
                // Nobody waits for it: without room or a reader it is freed.
                drop(empty.try_send(batch));
            }
            output.flush()?;
            Ok(output)
        })?;
        Ok(BackgroundWriter { batch: Vec::with_capacity(BATCH_BYTES), full: Some(full), emptied, thread: Some(thread) })
    }

    /// Waits until all is written and flushed, and gives the writer back.
    ///
    /// # Errors
    /// The writer's own.
    pub fn finish(mut self) -> io::Result<W> {
        self.hand_over(Vec::new())?;
        self.ended()
    }

    fn hand_over(&mut self, next: Vec<u8>) -> io::Result<()> {
        let batch = mem::replace(&mut self.batch, next);
        match self.full.as_ref().map(|full| full.send(batch)) {
            Some(Ok(())) => Ok(()),
            // The thread ends early for an error only.
            _ => self.ended().map(drop),
        }
    }

    /// What became of the thread.
    fn ended(&mut self) -> io::Result<W> {
        self.full = None;
        let failed_before = || io::Error::other("an earlier write failed");
        let thread = self.thread.take().ok_or_else(failed_before)?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl<W: Write + Send + 'static> Write for BackgroundWriter<W> {
    /// Takes the next piece, and waits while too much is still to be written. An error may be that of an earlier piece.
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let taken = piece.len().min(BATCH_BYTES - self.batch.len());
        self.batch.extend_from_slice(&piece[..taken]);
        if self.batch.len() == BATCH_BYTES {
            let next = self.emptied.try_recv().unwrap_or_else(|_none| Vec::with_capacity(BATCH_BYTES));
            self.hand_over(next)?;
        }
        Ok(taken)
    }

    /// Does nothing: only [`BackgroundWriter::finish`] waits for the thread.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, and fails then.
    struct Small(usize);

    impl Write for Small {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(piece.len()).ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_arrives_in_order() {
        let content: Vec<u8> = (0..5 * BATCH_BYTES as u32 + 17).map(|at| (at * 31 % 251) as u8).collect();
        let mut writer = BackgroundWriter::start("test", Vec::new()).unwrap();
        for piece in content.chunks(1_000) {
            writer.write_all(piece).unwrap();
        }
        assert!(writer.finish().unwrap() == content, "what was written is not what arrived");
    }

    #[test]
    fn a_write_that_fails_is_told_with_its_own_error() {
        let full = io::ErrorKind::StorageFull;
        // At the end, when what fails is the last batch.
        let mut writer = BackgroundWriter::start("test", Small(10)).unwrap();
        writer.write_all(&[0; 11]).unwrap();
        assert_eq!(writer.finish().err().unwrap().kind(), full);
        // And at a later write, when more comes.
        let mut writer = BackgroundWriter::start("test", Small(10)).unwrap();
        let told = (0..100).find_map(|_| writer.write_all(&[0; BATCH_BYTES]).err());
        assert_eq!(told.unwrap().kind(), full);
        assert!(writer.write_all(&[0; BATCH_BYTES]).is_err() || writer.finish().is_err(), "it goes on after an error");
    }
}
