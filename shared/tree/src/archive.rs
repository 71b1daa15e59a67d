//! A whole tree into one tar stream.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use plana_plan::{
    attachment::AttachmentName,
    filestore::SpecialFiles,
    manifest::{FileStoreFacts, FileStoreLayout},
    select::NamePattern,
};
use sha1::{Digest, Sha1};

use crate::{
    place::{Pinned, Place, is_stale},
    queue::{Queue, SLAB_BYTES, Slab, Stopped},
    read::{Fetched, FileJob, Hold, Reading, State, fetch, is_final, judge, let_settle, open, pieces, shrank},
    tarball::{FileEntry, Tarball},
    walk::{Filter, Found, unreadable, walk},
};

/// How a tree is taken.
#[derive(Debug, Clone)]
pub struct TreeOptions {
    /// How its files are named.
    pub layout: FileStoreLayout,
    /// Whether files may grow while they are read.
    pub growing: bool,
    /// What is done with what is no ordinary file.
    pub special: SpecialFiles,
    /// What is left out: patterns of paths, or of single names.
    pub exclude: Vec<NamePattern>,
    /// How many threads read ahead.
    pub workers: usize,
    /// How much they may hold, in bytes.
    pub memory_bytes: u64,
}

/// Why there is no archive of a tree. Completes the sentence "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The tree's own directory cannot be read.
    #[error("read the directory {path}: {source}")]
    Top {
        /// Where it is.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The directory was removed, or another took its place, while it was read.
    #[error("read the directory {path} to its end: it was removed, or another was put in its place")]
    Gone {
        /// Where it was.
        path: String,
    },
    /// Somebody wanted it to stop.
    #[error("go on: it was stopped")]
    Stopped,
    /// The output failed.
    #[error("write the archive: {0}")]
    Output(#[source] io::Error),
    /// There are no threads to read with.
    #[error("start the threads that read ahead: {0}")]
    Threads(#[source] io::Error),
}

impl TreeError {
    /// The tree's own directory cannot be read; where it is not there any more, it is gone.
    pub fn of_top(path: &Path, source: io::Error) -> Self {
        let path = path.display().to_string();
        if source.kind() == io::ErrorKind::NotFound { TreeError::Gone { path } } else { TreeError::Top { path, source } }
    }
}

impl From<Stopped> for TreeError {
    fn from(_: Stopped) -> Self {
        TreeError::Stopped
    }
}

type Ahead = Queue<FileJob, Item>;

/// Ends an [`archive`] from another thread, also one that waits for a file system that does not answer.
#[derive(Clone, Default)]
pub struct Stop(Arc<StopState>);

#[derive(Default)]
struct StopState {
    stopped: AtomicBool,
    queue: Mutex<Option<Arc<Ahead>>>,
}

impl Stop {
    /// Ends it.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        if let Some(queue) = &*self.0.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            queue.stop();
        }
    }

    fn watch(&self, queue: &Arc<Ahead>) {
        *self.0.queue.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(queue));
        if self.is_stopped() {
            queue.stop();
        }
    }

    fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }
}

/// What is taken from the queue, in the walk's order.
enum Item {
    Found(Found),
    File {
        job: FileJob,
        fetched: Fetched,
    },
    /// The walk could not even begin.
    Top(io::Error),
}

/// Whoever leaves, in whatever way, leaves no thread waiting.
struct StopAtEnd<'a>(&'a Ahead);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A file larger than this is read while it is written.
const LARGE: u64 = 1 << 20;
/// How many files at most are read ahead; with small files, memory does not bound their number.
const MOST_AHEAD: usize = 512;

/// Writes the whole tree into `output`, and puts into `facts` what it holds; `seen` is told of each attachment in it.
///
/// What is wrong with single files is told by the facts. The threads that read ahead may outlive the call where the
/// file system does not answer.
///
/// # Errors
/// When there is no archive: nothing ended the stream then.
pub fn archive<W: Write>(
    place: &Arc<Place>,
    options: &TreeOptions,
    stop: &Stop,
    output: W,
    facts: &mut FileStoreFacts,
    seen: &mut dyn FnMut(&AttachmentName),
) -> Result<W, TreeError> {
    let slabs = usize::try_from(options.memory_bytes / SLAB_BYTES as u64).unwrap_or(usize::MAX).max(2);
    let reading = Reading { growing: options.growing, largest: LARGE.min(slabs as u64 / 2 * SLAB_BYTES as u64) };
    let queue: Arc<Ahead> = Arc::new(Queue::new(MOST_AHEAD, slabs));
    let _end = StopAtEnd(&queue);
    stop.watch(&queue);
    start_walk(place, options, &queue).map_err(TreeError::Threads)?;
    start_readers(place, options.workers, reading, &queue).map_err(TreeError::Threads)?;

    let mut writer = Writer { place, options, stop, tarball: Tarball::new(output), facts, seen, buffer: Vec::new() };
    loop {
        match queue.take() {
            Ok(Some(item)) => {
                let used = writer.item(item)?;
                queue.give_back(used);
            }
            Ok(None) => break,
            Err(Stopped) => return Err(TreeError::Stopped),
        }
    }
    match place.is_gone() {
        Ok(false) => writer.tarball.finish().map_err(TreeError::Output),
        Ok(true) => Err(TreeError::Gone { path: place.path().display().to_string() }),
        Err(source) => Err(TreeError::of_top(place.path(), source)),
    }
}

fn start_walk(place: &Arc<Place>, options: &TreeOptions, queue: &Arc<Ahead>) -> io::Result<()> {
    let (place, queue) = (Arc::clone(place), Arc::clone(queue));
    let filter = Filter { exclude: options.exclude.clone(), special: options.special };
    let layout = options.layout;
    let walking = move || {
        let walked = walk(&place, &filter, |found| match found {
            Found::File { parent, path } => {
                let expected = if layout == FileStoreLayout::Odoo { AttachmentName::parse(&path) } else { None };
                queue.put(FileJob { parent, path, expected })
            }
            found => queue.put_done(Item::Found(found)),
        });
        match walked {
            Ok(Ok(())) => queue.end(),
            Ok(Err(Stopped)) => {}
            Err(error) => {
                if queue.put_done(Item::Top(error)).is_ok() {
                    queue.end();
                }
            }
        }
    };
    thread::Builder::new().name("walk".to_owned()).spawn(walking).map(drop)
}

fn start_readers(place: &Arc<Place>, workers: usize, reading: Reading, queue: &Arc<Ahead>) -> io::Result<()> {
    for worker in 0..workers.max(1) {
        let (place, queue) = (Arc::clone(place), Arc::clone(queue));
        let read = move || {
            while let Some((number, job)) = queue.job() {
                let mut hold = Hold::new(|slabs| queue.memory(number, slabs));
                let Ok(fetched) = fetch(&place, &job, reading, &mut hold) else { return };
                queue.give_back(hold.take());
                queue.done(number, Item::File { job, fetched });
            }
        };
        let started = thread::Builder::new().name("read-ahead".to_owned()).stack_size(256 << 10).spawn(read);
        // Fewer readers are slower, and nothing else.
        if let Err(error) = started
            && worker == 0
        {
            return Err(error);
        }
    }
    Ok(())
}

struct Writer<'a, W: Write> {
    place: &'a Place,
    options: &'a TreeOptions,
    stop: &'a Stop,
    tarball: Tarball<W>,
    facts: &'a mut FileStoreFacts,
    seen: &'a mut dyn FnMut(&AttachmentName),
    /// For large files; not there until the first.
    buffer: Vec<u8>,
}

/// How much of a large file is read at once.
const PIECE: usize = 256 << 10;

impl<W: Write> Writer<'_, W> {
    /// Writes what was found, and gives the memory that it held.
    fn item(&mut self, item: Item) -> Result<Vec<Slab>, TreeError> {
        match item {
            Item::Top(source) => return Err(TreeError::of_top(self.place.path(), source)),
            Item::Found(found) => self.found(found).map_err(TreeError::Output)?,
            Item::File { fetched: Fetched::Lost(found), .. } => self.found(found).map_err(TreeError::Output)?,
            Item::File { job, fetched: Fetched::Large } => self.large(&job)?,
            Item::File { job, fetched: Fetched::Whole { pinned, content, state } } => {
                self.small(&job, &pinned, &content).map_err(TreeError::Output)?;
                self.count(&job, &pinned, state);
                return Ok(content);
            }
        }
        Ok(Vec::new())
    }

    fn found(&mut self, found: Found) -> io::Result<()> {
        match found {
            Found::Directory { path, meta } => {
                self.facts.directories += 1;
                let path = if path.is_empty() { b".".to_vec() } else { entry_path(&path) };
                self.tarball.directory(&path, &meta)?;
            }
            Found::Link { path, target, meta } => {
                self.facts.links += 1;
                self.tarball.link(&entry_path(&path), &target, &meta)?;
            }
            Found::Excluded => self.facts.excluded += 1,
            Found::Ignored => {}
            Found::Skipped { path, what } => self.facts.skipped.add(&path, Some(format!("{what}; left out"))),
            Found::Vanished { path } => self.facts.vanished.add(&path, None),
            Found::Unreadable { path, reason } => self.facts.not_whole.add(&path, Some(format!("not in the archive: {reason}"))),
            Found::File { .. } => {}
        }
        Ok(())
    }

    fn small(&mut self, job: &FileJob, pinned: &Pinned, content: &[Slab]) -> io::Result<()> {
        let mut entry = self.tarball.file(&entry_path(&job.path), pinned.size, &pinned.meta)?;
        pieces(content, pinned.size).try_for_each(|piece| entry.write(piece))?;
        entry.finish()
    }

    /// Reads a file while it is written: its size cannot change any more once its header is out.
    fn large(&mut self, job: &FileJob) -> Result<(), TreeError> {
        let opened = let_settle(self.place, job);
        let (file, pinned) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.found(unreadable(job.path.clone(), &error)).map_err(TreeError::Output),
        };
        self.buffer.resize(PIECE, 0);
        let mut entry = self.tarball.file(&entry_path(&job.path), pinned.size, &pinned.meta).map_err(TreeError::Output)?;
        let mut copy = Copy { place: self.place, job, file, pinned, at: 0, reopened: 0 };
        let state = copy.run(&mut entry, &mut self.buffer, self.stop)?;
        entry.fill().and_then(|()| entry.finish()).map_err(TreeError::Output)?;
        self.count(job, &pinned, state);
        Ok(())
    }

    fn count(&mut self, job: &FileJob, pinned: &Pinned, state: State) {
        let facts = &mut *self.facts;
        facts.files += 1;
        facts.bytes += pinned.size;
        if let Some(name) = &job.expected {
            (self.seen)(name);
        }
        if pinned.names > 1 && self.options.special == SpecialFiles::Report {
            facts.skipped.add(&job.path, Some(format!("it has {} names; taken as a file of its own", pinned.names)));
        }
        match state {
            State::Still => {}
            State::Proven => facts.proven += 1,
            State::Damaged { found } => facts.damaged.add(&job.path, Some(format!("its SHA-1 is {found}"))),
            State::Grew if self.options.growing => facts.growing.add(&job.path, None),
            State::Grew => facts.not_whole.add(&job.path, Some(format!("it grew beyond its {} bytes while it was read", pinned.size))),
            State::Torn { how } => facts.not_whole.add(&job.path, Some(how)),
        }
    }
}

fn entry_path(path: &[u8]) -> Vec<u8> {
    [b"./", path].concat()
}

/// A large file on its way.
struct Copy<'a> {
    place: &'a Place,
    job: &'a FileJob,
    file: File,
    pinned: Pinned,
    at: u64,
    reopened: u32,
}

impl Copy<'_> {
    fn run<W: Write>(&mut self, entry: &mut FileEntry<'_, W>, buffer: &mut [u8], stop: &Stop) -> Result<State, TreeError> {
        let mut sha1 = self.job.expected.map(|_| Sha1::new());
        while self.at < self.pinned.size {
            if stop.is_stopped() {
                return Err(TreeError::Stopped);
            }
            let wanted = usize::try_from(self.pinned.size - self.at).unwrap_or(usize::MAX).min(buffer.len());
            match self.read(&mut buffer[..wanted]) {
                Ok(0) => return Ok(State::Torn { how: format!("{}; zeros fill the rest", shrank(self.pinned.size, self.at)) }),
                Ok(read) => {
                    entry.write(&buffer[..read]).map_err(TreeError::Output)?;
                    if let Some(sha1) = &mut sha1 {
                        sha1.update(&buffer[..read]);
                    }
                    self.at += read as u64;
                }
                Err(error) => {
                    let how = format!("its bytes from {} on could not be read ({error}); zeros fill the rest", self.at);
                    return Ok(State::Torn { how });
                }
            }
        }
        let found = sha1.map(|sha1| sha1.finalize().into());
        Ok(judge(&self.file, self.job, &self.pinned, found)
            .unwrap_or_else(|error| State::Torn { how: format!("whether it changed while it was read could not be told ({error})") }))
    }

    /// Reads from where it is, and opens the file once more by its path where that fails.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read_at(buffer, self.at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.reopened < 2 && (is_stale(&error) || !is_final(&error)) => {
                    self.reopened += 1;
                    let (file, pinned) = open(self.place, self.job)?;
                    // Another file of that name: what was written of the first one would not go on with it.
                    if (pinned.size, pinned.look.1) != (self.pinned.size, self.pinned.look.1) {
                        return Err(error);
                    }
                    self.file = file;
                }
                read => return read,
            }
        }
    }
}
