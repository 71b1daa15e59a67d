//! Entries of a tar stream: a header, and the headers that say what does not fit into it.

use tar::Header;

use super::{
    ExtractError,
    stream::{BLOCK, Blocks},
};

/// Longer paths are no paths: Linux takes 4,096 bytes with the final zero.
const MOST_PATH_BYTES: usize = 4095;
/// Room for a path, a link's target and some numbers.
const MOST_EXTENDED_BYTES: u64 = 16 << 10;
/// The bytes of a header's own checksum, which count as spaces.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// What an entry is. What follows a file's is its content, so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File { bytes: u64 },
    Symlink,
}

/// An entry, its path as it is written.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
}

/// What stands before a header and is about it.
#[derive(Default)]
struct Extended {
    pax_path: Option<Vec<u8>>,
    gnu_path: Option<Vec<u8>>,
    bytes: Option<u64>,
    has_pax: bool,
}

/// The next entry; none at the archive's end, behind which nothing is left.
pub(super) fn next_entry(blocks: &mut Blocks<'_>) -> Result<Option<Entry>, ExtractError> {
    let mut extended = Extended::default();
    loop {
        let at = blocks.at();
        let wrong = |what| ExtractError::Header { at, what };
        let block = blocks.block()?;
        if block == [0; BLOCK] {
            if extended.has_pax || extended.gnu_path.is_some() {
                return Err(wrong("is missing behind one that describes it"));
            }
            if blocks.block()? != [0; BLOCK] {
                return Err(wrong("is empty, and the archive goes on"));
            }
            blocks.only_zeros_follow()?;
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        if !sums_up(&block, header) {
            return Err(wrong("has a wrong checksum"));
        }
        if header.as_ustar().is_none() && header.as_gnu().is_none() {
            return Err(wrong("is of no format that this suite writes"));
        }
        let bytes = header.entry_size().map_err(|_| wrong("has a size that is no number"))?;
        match header.entry_type().as_byte() {
            b'x' => {
                if extended.has_pax {
                    return Err(wrong("describes an entry a second time"));
                }
                extended.has_pax = true;
                let records = small(blocks, at, bytes)?;
                read_records(&records, &mut extended).ok_or_else(|| wrong("has records that make no sense"))?;
            }
            b'L' => {
                if extended.gnu_path.is_some() {
                    return Err(wrong("names an entry a second time"));
                }
                let mut path = small(blocks, at, bytes)?;
                path.pop_if(|last| *last == 0);
                extended.gnu_path = Some(path);
            }
            kind => return entry(header, kind, bytes, extended, at).map(Some),
        }
    }
}

fn entry(header: &Header, kind: u8, bytes: u64, extended: Extended, at: u64) -> Result<Entry, ExtractError> {
    if let (Some(pax), Some(gnu)) = (&extended.pax_path, &extended.gnu_path)
        && pax != gnu
    {
        return Err(ExtractError::Header { at, what: "has two names" });
    }
    let path = extended.pax_path.or(extended.gnu_path).unwrap_or_else(|| header.path_bytes().into_owned());
    let bytes = extended.bytes.unwrap_or(bytes);
    let refused = |what| Err(ExtractError::entry(&path, what));
    if path.len() > MOST_PATH_BYTES {
        return refused("its name is longer than any path");
    }
    let kind = match kind {
        b'0' | 0 => Kind::File { bytes },
        b'5' if bytes > 0 => return refused("it is a directory with content"),
        b'5' => Kind::Directory,
        b'2' if bytes > 0 => return refused("it is a link with content"),
        b'2' => Kind::Symlink,
        b'1' => return refused("it is a hard link"),
        b'3' | b'4' => return refused("it is a device"),
        b'6' => return refused("it is a pipe"),
        _ => return refused("it is of a kind that no file store holds"),
    };
    Ok(Entry { path, kind })
}

/// The content of a header that describes another one.
fn small(blocks: &mut Blocks<'_>, at: u64, bytes: u64) -> Result<Vec<u8>, ExtractError> {
    let small = usize::try_from(bytes).ok().filter(|_| bytes <= MOST_EXTENDED_BYTES);
    blocks.bytes(small.ok_or(ExtractError::Header { at, what: "describes an entry with more bytes than that takes" })?)
}

/// Records of PAX: `length keyword=value\n`, the length counted with itself. Only what decides about name and content matters.
fn read_records(mut records: &[u8], extended: &mut Extended) -> Option<()> {
    while !records.is_empty() {
        let space = records.iter().take(8).position(|byte| *byte == b' ')?;
        let length: usize = str::from_utf8(&records[..space]).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
        let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let (keyword, value) = (&record[..equals], &record[equals + 1..]);
        match keyword {
            b"path" if extended.pax_path.is_none() => extended.pax_path = Some(value.to_vec()),
            b"size" if extended.bytes.is_none() => extended.bytes = Some(str::from_utf8(value).ok()?.parse().ok()?),
            b"path" | b"size" => return None,
            // They change what the content means.
            _ if keyword.starts_with(b"GNU.sparse") || keyword == b"hdrcharset" => return None,
            _ => {}
        }
        records = &records[length..];
    }
    Some(())
}

fn sums_up(block: &[u8; BLOCK], header: &Header) -> bool {
    let sum: u32 = block.iter().enumerate().map(|(at, byte)| if CHECKSUM.contains(&at) { u32::from(b' ') } else { u32::from(*byte) }).sum();
    header.cksum().is_ok_and(|said| said == sum)
}
