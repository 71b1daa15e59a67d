//! Everything in the suite that decides, and the words it decides with.
//!
//! Pure: no clock, no server, no file. Whatever depends on the time takes `now` as an argument, so
//! that every decision can be replayed in a test. The other rooms carry out what is decided here.

pub mod area;
pub mod attachment;
pub mod classify;
pub mod compare;
pub mod drill;
pub mod dumps;
pub mod escrow;
pub mod expiry;
pub mod filestore;
pub mod globals;
pub mod insurance;
pub mod inventory;
pub mod label;
pub mod leftover;
pub mod manifest;
pub mod mirror;
pub mod moment;
pub mod name;
pub mod partition;
pub mod parts;
pub mod pgclient;
pub mod receipt;
pub mod retention;
pub mod seed;
pub mod select;
pub mod set;
pub mod sql;
pub mod stamp;
pub mod tenant;
pub mod tiers;
pub mod window;

pub use area::Area;
pub use label::{Label, SetLabel};
pub use set::{ObjectRole, SetKey, SetNonce};
pub use stamp::Stamp;
