//! Tar streams back into trees. An archive that comes out of a store is input from outside, and hostile until it has ended.
//!
//! Only what [`crate::archive()`] writes is read: directories and files below `./`, each directory before what is in it, in
//! the walk's order. From the order follows, without any memory, that no name comes twice and that no entry can reach what
//! another one has made. Links, devices, pipes, sparse files, names that are absolute or lead upwards, headers beyond their
//! size, a second header that says otherwise, an end that is missing or followed by anything: all of that ends the reading.
//! What is in the archive is compared with its manifest while it passes: more files or bytes than it names are an error at
//! once, fewer at the end, and in an Odoo store every file with the SHA-1 that names it.

mod error;
mod header;
mod order;
mod proof;
mod staging;
mod stream;
mod sweep;
#[cfg(test)]
mod tests;

pub use error::ExtractError;
pub use proof::{TreeProof, TreeSink, Unproven, read_tree};
pub use staging::{Owner, Placed, Staging};
pub use sweep::sweep_staging;
