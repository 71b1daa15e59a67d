//! The archive's first bytes: what wrote it, of what, and how.

use std::fmt;

use chrono::{NaiveDate, NaiveDateTime};

use super::{
    ArchiveError,
    wire::{Cursor, INT_BYTES, Stop},
};

/// A version of the archive format, such as 1.15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchiveVersion {
    /// The major version: always 1 so far.
    pub major: u8,
    /// The minor version.
    pub minor: u8,
}

impl ArchiveVersion {
    /// PostgreSQL 12 to 15.
    pub const V1_14: Self = ArchiveVersion { major: 1, minor: 14 };
    /// PostgreSQL 16: the compression is one byte.
    pub const V1_15: Self = ArchiveVersion { major: 1, minor: 15 };
    /// PostgreSQL 17 and 18: each entry has its relation's kind.
    pub const V1_16: Self = ArchiveVersion { major: 1, minor: 16 };

    fn is_known(self) -> bool {
        matches!(self, Self::V1_14 | Self::V1_15 | Self::V1_16)
    }
}

impl fmt::Display for ArchiveVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What the archive says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveHeader {
    /// The format's version.
    pub archive_version: ArchiveVersion,
    /// When the dump began, in the zone of the host that made it.
    pub created_at: Option<NaiveDateTime>,
    /// The database's name.
    pub database: Option<String>,
    /// The server's version as it calls itself, such as `16.4 (Debian 16.4-1)`.
    pub server_version: String,
    /// pg_dump's version, likewise.
    pub pg_dump_version: String,
    pub(super) offset_bytes: usize,
}

const MAGIC: &[u8] = b"PGDMP";
const FORMAT_CUSTOM: u8 = 1;

impl ArchiveHeader {
    /// Bytes in which an entry says where its data is: a state, and an offset.
    pub(super) fn place_bytes(&self) -> usize {
        1 + self.offset_bytes
    }

    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        // Refuse other input at once, not only when as many bytes have come as a header has.
        for expected in MAGIC {
            if cursor.byte()? != *expected {
                return Err(ArchiveError::NotAnArchive.into());
            }
        }
        let archive_version = ArchiveVersion { major: cursor.byte()?, minor: cursor.byte()? };
        let _revision = cursor.byte()?;
        if !archive_version.is_known() {
            return Err(ArchiveError::UnknownVersion(archive_version).into());
        }
        let (int_bytes, offset_bytes) = (cursor.byte()?, cursor.byte()?);
        if usize::from(int_bytes) != INT_BYTES || !matches!(offset_bytes, 4 | 8) {
            return Err(ArchiveError::OddSizes { int_bytes, offset_bytes }.into());
        }
        match cursor.byte()? {
            FORMAT_CUSTOM => {}
            3 => return Err(ArchiveError::OtherFormat("tar").into()),
            5 => return Err(ArchiveError::OtherFormat("directory").into()),
            other => return Err(cursor.damaged(format!("{other} is not a format"))),
        }
        refuse_compression(cursor, archive_version)?;
        let created_at = read_time(cursor)?;
        let database = cursor.string()?;
        let version = |text: Option<String>, cursor: &Cursor<'_>| text.ok_or_else(|| cursor.damaged("a version is missing"));
        let server_version = cursor.string()?;
        let server_version = version(server_version, cursor)?;
        let pg_dump_version = cursor.string()?;
        let pg_dump_version = version(pg_dump_version, cursor)?;
        Ok(ArchiveHeader {
            archive_version,
            created_at,
            database,
            server_version,
            pg_dump_version,
            offset_bytes: usize::from(offset_bytes),
        })
    }
}

fn refuse_compression(cursor: &mut Cursor<'_>, version: ArchiveVersion) -> Result<(), Stop> {
    // Until 1.14 zlib's level as a number (-1: its default), from 1.15 on a byte that names the method.
    let method = if version >= ArchiveVersion::V1_15 { i64::from(cursor.byte()?) } else { cursor.int()? };
    let name = match (version >= ArchiveVersion::V1_15, method) {
        (_, 0) => return Ok(()),
        (true, 1) | (false, -1..=9) => "gzip",
        (true, 2) => "lz4",
        (true, 3) => "zstd",
        _ => return Err(cursor.damaged(format!("{method} is not a compression"))),
    };
    Err(ArchiveError::Compressed(name.to_owned()).into())
}

/// C's `struct tm`, number by number.
fn read_time(cursor: &mut Cursor<'_>) -> Result<Option<NaiveDateTime>, Stop> {
    let mut fields = [0i64; 7];
    for field in &mut fields {
        *field = cursor.int()?;
    }
    let [second, minute, hour, day, month, year, _is_dst] = fields;
    let narrow = |value: i64| u32::try_from(value).ok();
    let time = || {
        let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?.checked_add(1900)?, narrow(month + 1)?, narrow(day)?)?;
        date.and_hms_opt(narrow(hour)?, narrow(minute)?, narrow(second)?.min(59))
    };
    Ok(time())
}
