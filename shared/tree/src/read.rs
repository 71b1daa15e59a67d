//! One file, read as it is at one moment, or what is the matter with it.

use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use plana_plan::attachment::AttachmentName;
use rustix::{fs::FileType, io::Errno};
use sha1::{Digest, Sha1};

use crate::{
    place::{Directory, Pinned, Place, is_stale, pin},
    queue::{SLAB_BYTES, Slab, Stopped},
    walk::{Found, unreadable},
};

/// A file to read.
pub(crate) struct FileJob {
    pub parent: Arc<Directory>,
    pub path: Vec<u8>,
    /// What its content must be, where its name says so.
    pub expected: Option<AttachmentName>,
}

/// How a file is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Files may grow while they are read.
    pub growing: bool,
    /// The largest that is held in memory.
    pub largest: u64,
}

/// What is known of a file's content after it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It did not change while it was read.
    Still,
    /// Its content is what its name says.
    Proven,
    /// Its content is not what its name says, and did not change while it was read.
    Damaged { found: String },
    /// It grew, and nothing else.
    Grew,
    /// It shrank, could not be read to its end, or its content changed meanwhile.
    Torn { how: String },
}

/// What became of a file.
pub(crate) enum Fetched {
    /// Read whole.
    Whole { pinned: Pinned, content: Vec<Slab>, state: State },
    /// Too large to be held: to be read while it is written.
    Large,
    /// Not to be had.
    Lost(Found),
}

/// Memory for one file, asked for once.
pub(crate) struct Hold<M> {
    ask: Option<M>,
    slabs: Option<Vec<Slab>>,
}

impl<M: FnOnce(usize) -> Result<Vec<Slab>, Stopped>> Hold<M> {
    pub(crate) const fn new(ask: M) -> Self {
        Hold { ask: Some(ask), slabs: None }
    }

    /// Memory for so many bytes; none when less was asked for before.
    fn room(&mut self, bytes: u64) -> Result<Option<&mut [Slab]>, Stopped> {
        let wanted = usize::try_from(bytes.div_ceil(SLAB_BYTES as u64)).unwrap_or(usize::MAX);
        if let Some(ask) = self.ask.take() {
            self.slabs = Some(if wanted == 0 { Vec::new() } else { ask(wanted)? });
        }
        Ok(self.slabs.as_deref_mut().filter(|slabs| slabs.len() >= wanted))
    }

    /// What it holds.
    pub(crate) fn take(&mut self) -> Vec<Slab> {
        self.slabs.take().unwrap_or_default()
    }
}

/// How often a file that cannot be read, or changes while it is read, is read.
const ATTEMPTS: u32 = 4;

/// Odoo writes files in place: one that was changed so short a time ago may not be complete yet.
const SETTLING: Duration = Duration::from_secs(2);

/// Reads a file into memory, unless it is too large.
///
/// What `hold` still has afterwards is the caller's to give back.
pub(crate) fn fetch<M>(place: &Place, job: &FileJob, reading: Reading, hold: &mut Hold<M>) -> Result<Fetched, Stopped>
where
    M: FnOnce(usize) -> Result<Vec<Slab>, Stopped>,
{
    let mut attempt = 1;
    loop {
        let failed = match open(place, job) {
            Ok((_, pinned)) if pinned.size > reading.largest => return Ok(Fetched::Large),
            Ok((file, pinned)) => {
                let Some(slabs) = hold.room(pinned.size)? else { return Ok(Fetched::Large) };
                match read_whole(&file, job, &pinned, slabs) {
                    Ok(state) if attempt < ATTEMPTS && is_worth_another_look(&state, &pinned, reading) => None,
                    Ok(state) => return Ok(Fetched::Whole { pinned, content: hold.take(), state }),
                    Err(error) => Some(error),
                }
            }
            Err(error) => Some(error),
        };
        if let Some(error) = failed
            && (attempt == ATTEMPTS || is_final(&error))
        {
            return Ok(Fetched::Lost(unreadable(job.path.clone(), &error)));
        }
        // A stale handle is opened again at once; anything else gets some time.
        if attempt > 1 {
            thread::sleep(SETTLING / 8 * attempt);
        }
        attempt += 1;
    }
}

/// Opens a file and pins what it is at this moment.
pub(crate) fn open(place: &Place, job: &FileJob) -> io::Result<(File, Pinned)> {
    let file = place.file(&job.parent, &job.path)?;
    let pinned = pin(&file)?;
    if pinned.kind == FileType::RegularFile { Ok((file, pinned)) } else { Err(Errno::LOOP.into()) }
}

/// What is not there, not ours to read, or not a file any more, stays so.
pub(crate) fn is_final(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::NXIO))
}

fn is_worth_another_look(state: &State, pinned: &Pinned, reading: Reading) -> bool {
    match state {
        State::Still | State::Proven => false,
        State::Damaged { .. } => !pinned.is_older_than(SETTLING),
        State::Grew => !reading.growing,
        State::Torn { .. } => true,
    }
}

impl Pinned {
    /// Whether it was last changed longer ago than that. A time in the future says nothing.
    pub(crate) fn is_older_than(&self, age: Duration) -> bool {
        let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.meta.mtime.max(0).unsigned_abs()));
        changed.is_none_or(|changed| SystemTime::now().duration_since(changed).is_ok_and(|since| since > age))
    }
}

/// The pieces of a content of that size in slabs.
pub(crate) fn pieces(content: &[Slab], size: u64) -> impl Iterator<Item = &[u8]> {
    let mut left = size;
    content.iter().map_while(move |slab| {
        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(slab.len());
        left -= piece as u64;
        (piece > 0).then(|| &slab[..piece])
    })
}

fn read_whole(file: &File, job: &FileJob, pinned: &Pinned, slabs: &mut [Slab]) -> io::Result<State> {
    let mut left = pinned.size;
    for at in 0..slabs.len() {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(slabs[at].len());
        let read = read_full(file, &mut slabs[at][..wanted])?;
        if read < wanted {
            // What another file left in this memory is not this one's.
            slabs[at][read..].fill(0);
            slabs[at + 1..].iter_mut().for_each(|slab| slab.fill(0));
            let to = pinned.size - left + read as u64;
            return Ok(State::Torn { how: format!("{}; zeros fill the rest", shrank(pinned.size, to)) });
        }
        left -= wanted as u64;
    }
    let found = job.expected.map(|_| {
        let mut sha1 = Sha1::new();
        pieces(slabs, pinned.size).for_each(|piece| sha1.update(piece));
        sha1.finalize().into()
    });
    judge(file, job, pinned, found)
}

/// What is known of a content that was read to its pinned size.
pub(crate) fn judge(file: &File, job: &FileJob, pinned: &Pinned, found: Option<[u8; 20]>) -> io::Result<State> {
    if let (Some(expected), Some(found)) = (&job.expected, &found)
        && expected.sha1() == found
    {
        return Ok(State::Proven);
    }
    let now = pin(file)?;
    Ok(if now.look == pinned.look {
        match found {
            Some(found) => State::Damaged { found: found.iter().map(|byte| format!("{byte:02x}")).collect() },
            None => State::Still,
        }
    } else if now.size > pinned.size {
        State::Grew
    } else if now.size < pinned.size {
        State::Torn { how: shrank(pinned.size, now.size) }
    } else {
        State::Torn { how: "it was changed while it was read".to_owned() }
    })
}

pub(crate) fn shrank(from: u64, to: u64) -> String {
    format!("it shrank from {from} to {to} bytes while it was read")
}

/// Reads until the buffer is full or the file ends.
pub(crate) fn read_full(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Waits until a file that is just being written is likely to be complete.
pub(crate) fn let_settle(place: &Place, job: &FileJob) -> io::Result<(File, Pinned)> {
    let mut opened = open_again(place, job)?;
    for _ in 0..ATTEMPTS {
        if job.expected.is_none() || opened.1.is_older_than(SETTLING) {
            break;
        }
        thread::sleep(SETTLING / 2);
        opened = open_again(place, job)?;
    }
    Ok(opened)
}

/// Opens a file, a second time where its handle has gone stale.
fn open_again(place: &Place, job: &FileJob) -> io::Result<(File, Pinned)> {
    open(place, job).or_else(|error| if is_stale(&error) { open(place, job) } else { Err(error) })
}
