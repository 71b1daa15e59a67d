//! Directory trees as tar streams: walked without ever leaving them, read ahead by many threads, written in order; and back.
//!
//! ```text
//! walk (1 thread) ─jobs→ readers (many threads) ─in order→ the caller's thread ─→ tar ─→ output
//!                        open, pin, read, SHA-1             large files are read here
//! ```
//!
//! Memory is bounded whatever the tree looks like: the names of the directories that the walk stands in, the files that
//! were read ahead, and a piece of a large one. Nothing ends an archive by `Drop`.

mod archive;
pub mod extract;
mod place;
mod queue;
mod read;
mod tarball;
mod walk;

pub use archive::{Stop, TreeError, TreeOptions, archive};
pub use place::Place;
pub use tarball::{FileEntry, Meta, Tarball};
