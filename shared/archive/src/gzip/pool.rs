//! Threads that turn blocks into members, in the order in which they were given.

use std::{
    collections::VecDeque,
    io, mem,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender, SyncSender, TryRecvError},
    },
    thread::{self, JoinHandle},
};

use super::member::MemberWriter;

/// A block's content and what it became. Used again for a later block.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) content: Vec<u8>,
    pub(super) members: Vec<u8>,
}

struct Job {
    buffers: Buffers,
    done: SyncSender<Buffers>,
}

/// Threads, and the blocks that they have. Dropped, they end with the blocks under way.
pub(super) struct Pool {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// The blocks under way, oldest first.
    under_way: VecDeque<Receiver<Buffers>>,
    spare: Vec<Buffers>,
}

impl Pool {
    pub(super) fn new(writer: impl Fn() -> MemberWriter, workers: u32) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        let start = |_| {
            let (waiting, writer) = (Arc::clone(&waiting), writer());
            thread::Builder::new().name("gzip".to_owned()).spawn(move || work(&waiting, writer))
        };
        let threads = (0..workers).map(start).collect::<io::Result<_>>()?;
        Ok(Pool { jobs: Some(jobs), threads, under_way: VecDeque::new(), spare: Vec::new() })
    }

    /// Whether so many blocks are under way that the oldest must be taken before another is given: one in work and one ready
    /// for each thread, and one that waits for those before it.
    pub(super) fn is_full(&self) -> bool {
        self.under_way.len() > self.threads.len() * 2
    }

    /// Gives a block, and takes an empty one for it.
    pub(super) fn give(&mut self, content: &mut Vec<u8>) -> io::Result<()> {
        let mut buffers = self.spare.pop().unwrap_or_default();
        mem::swap(&mut buffers.content, content);
        let (done, receiver) = mpsc::sync_channel(1);
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(Job { buffers, done }).is_ok());
        self.under_way.push_back(receiver);
        if sent { Ok(()) } else { Err(died()) }
    }

    /// The oldest block under way; where it is not done, none, unless it is waited for. None too where no block is under way.
    pub(super) fn take(&mut self, wait: bool) -> io::Result<Option<Buffers>> {
        let Some(oldest) = self.under_way.front() else { return Ok(None) };
        let buffers = if wait {
            oldest.recv().map_err(|_| died())?
        } else {
            match oldest.try_recv() {
                Ok(buffers) => buffers,
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => return Err(died()),
            }
        };
        self.under_way.pop_front();
        Ok(Some(buffers))
    }

    /// Gives buffers back.
    pub(super) fn put_back(&mut self, mut buffers: Buffers) {
        buffers.content.clear();
        buffers.members.clear();
        self.spare.push(buffers);
    }
}

impl Drop for Pool {
    /// Waits for the threads, a block each at most: whoever has dropped an encoder has its memory back.
    fn drop(&mut self) {
        self.jobs = None;
        self.under_way.clear();
        for thread in self.threads.drain(..) {
            // One that panicked has been noticed by whoever waited for its block.
            let _ended = thread.join();
        }
    }
}

fn work(waiting: &Mutex<Receiver<Job>>, mut writer: MemberWriter) {
    loop {
        // Held while waiting: whoever waits behind would wait all the same.
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { mut buffers, done }) = job else { return };
        writer.append(&buffers.content, &mut buffers.members);
        if done.send(buffers).is_err() {
            // The encoder was dropped: what is left in the queue is wanted by nobody.
            return;
        }
    }
}

fn died() -> io::Error {
    io::Error::other("a thread that compresses has died")
}
