//! Object stores behind one contract: S3-compatible ones, directories, memory for tests, and a decorator that fails
//! on demand.
//!
//! - [`contract`]: the traits [`Store`] and [`Upload`], and what they take and give.
//! - [`writer`]: cuts a stream of unknown length into parts, objects and volumes within a [`MemoryBudget`].
//! - [`reader`]: reads such volumes back in order, several chunks at once, within the same budget.
//! - [`verify`]: proves with put and list rights alone that what is stored is what was sent.
//! - [`listing`]: whole listings, page by page.
//! - [`open`](open()): a store from its URL.
//!
//! Nothing here knows what a backup is: keys are opaque, and no object counts before its writer has verified it.

pub mod budget;
pub mod contract;
pub mod directory;
pub mod error;
pub mod faulty;
mod flight;
mod key;
pub mod listing;
pub mod memory;
pub mod open;
pub mod pace;
pub mod reader;
pub mod s3;
pub mod sink;
pub mod source;
pub mod verify;
pub mod watchdog;
pub mod writer;

pub use budget::{MemoryBudget, PartSource};
pub use contract::{
    BucketSafety, Canary, DeleteOutcome, DynStore, ETag, GetBody, ListCursor, ListPage, NamePage, ObjectVersion, PartReceipt, PutMode,
    Right, Rights, Shape, Store, Stored, Switch, Upload, UploadMeta, UploadPage, VersionMeta, VersionPage,
};
pub use directory::DirectoryStore;
pub use error::{Failure, Operation, StoreError};
pub use faulty::FaultyStore;
pub use memory::MemoryStore;
pub use open::{OpenOptions, open};
pub use pace::Pace;
pub use reader::{Delivery, ReadVolume, ReaderOptions, VolumeReader};
pub use s3::{S3Options, S3Store};
pub use sink::{PartSink, PartStream};
pub use source::{ChunkFeed, VolumeSource};
pub use writer::{Finished, ObjectWriter, WriterOptions};
