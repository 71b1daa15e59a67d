//! Compression, hashing and encryption as composable streams.
//!
//! Everything here is a `std::io::Write` or a `std::io::Read` around another one, run on a blocking
//! thread: zstd and gzip have their own worker threads, and no byte is copied through an async runtime on its
//! way. Nothing is completed by `Drop`: whoever does not call `finish` leaves a stream that no decoder
//! takes for whole, or has read one that nobody has called whole.

pub mod background;
pub mod compression;
pub mod decode;
pub mod decrypt;
pub mod digest;
pub mod encrypt;
pub mod fingerprint;
pub mod gzip;
pub mod payload;
pub mod zstandard;

pub use background::BackgroundWriter;
pub use compression::{Compression, CompressionFormat, UnknownCompression};
pub use decode::{DecodeError, DecodedDigests, PayloadDecoder, open_sealed};
pub use decrypt::{Identities, IdentitiesError};
pub use encrypt::{Recipients, RecipientsError};
pub use fingerprint::{DIGEST_BYTES, SALT_BYTES, fingerprint};
pub use gzip::{Gzip, GzipEncoder};
pub use payload::{PayloadDigests, PayloadEncoder};
pub use zstandard::Zstandard;
