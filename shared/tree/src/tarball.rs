//! A POSIX tar stream: ustar headers, and PAX records for what they cannot hold.
//!
//! Entries are written by hand around the `tar` crate's header, since its builder writes a wrong archive when a file
//! changes its size, and ends one by `Drop`. Here an entry has the size that its header says or the stream has no end.

use std::io::{self, Write};

use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// What ends an archive.
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What a header says besides the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits.
    pub mode: u32,
    /// The owner, by number.
    pub uid: u32,
    /// The group, by number.
    pub gid: u32,
    /// When the content was last changed, in seconds since 1970.
    pub mtime: i64,
}

/// Writes an archive. Only [`Tarball::finish`] ends it.
pub struct Tarball<W: Write> {
    out: W,
}

impl<W: Write> Tarball<W> {
    /// Begins an archive.
    pub const fn new(out: W) -> Self {
        Tarball { out }
    }

    /// Adds a directory. `path` is what the entry is called, without a final slash.
    ///
    /// # Errors
    /// When the output fails.
    pub fn directory(&mut self, path: &[u8], meta: &Meta) -> io::Result<()> {
        self.header(&[path, b"/"].concat(), None, EntryType::Directory, 0, meta)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// When the output fails.
    pub fn link(&mut self, path: &[u8], target: &[u8], meta: &Meta) -> io::Result<()> {
        self.header(path, Some(target), EntryType::Symlink, 0, meta)
    }

    /// Begins a file of exactly `size` bytes.
    ///
    /// # Errors
    /// When the output fails.
    pub fn file(&mut self, path: &[u8], size: u64, meta: &Meta) -> io::Result<FileEntry<'_, W>> {
        self.header(path, None, EntryType::Regular, size, meta)?;
        Ok(FileEntry { out: &mut self.out, size, left: size })
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// When the output fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&END)?;
        Ok(self.out)
    }

    fn header(&mut self, path: &[u8], target: Option<&[u8]>, kind: EntryType, size: u64, meta: &Meta) -> io::Result<()> {
        let mut header = Header::new_ustar();
        let mut records = Vec::new();
        let fits = put_path(&mut header, path);
        // PAX knows UTF-8 alone: readers refuse a record of anything else.
        if !fits && str::from_utf8(path).is_ok() {
            records.extend(record("path", path));
        }
        if let Some(target) = target
            && !put(&mut header.as_old_mut().linkname, target)
        {
            records.extend(record("linkpath", target));
        }
        let numbers = [("size", size, OCTAL_SIZE), ("uid", meta.uid.into(), OCTAL_OWNER), ("gid", meta.gid.into(), OCTAL_OWNER)];
        for (keyword, value, most) in numbers {
            if value > most {
                records.extend(record(keyword, value.to_string().as_bytes()));
            }
        }
        if meta.mtime < 0 {
            records.extend(record("mtime", meta.mtime.to_string().as_bytes()));
        }
        header.set_entry_type(kind);
        header.set_mode(meta.mode & 0o7777);
        // Beyond what octal digits hold, the header has the number in base 256, for readers without PAX.
        header.set_size(size);
        header.set_uid(meta.uid.into());
        header.set_gid(meta.gid.into());
        header.set_mtime(u64::try_from(meta.mtime).unwrap_or(0));
        header.set_cksum();
        if !records.is_empty() {
            self.extended(EntryType::XHeader, b"PaxHeader", &records)?;
        }
        if !fits {
            // The GNU form besides: busybox knows no other, and it holds any bytes.
            self.extended(EntryType::GNULongName, b"././@LongLink", &[path, b"\0"].concat())?;
        }
        self.out.write_all(header.as_bytes())
    }

    /// An entry that describes the next one.
    fn extended(&mut self, kind: EntryType, name: &[u8], content: &[u8]) -> io::Result<()> {
        let mut header = Header::new_ustar();
        put(&mut header.as_old_mut().name, name);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(content)?;
        self.out.write_all(&ZEROS[..padding(content.len() as u64)])
    }
}

/// A file whose content is being written.
pub struct FileEntry<'a, W: Write> {
    out: &'a mut W,
    size: u64,
    left: u64,
}

impl<W: Write> FileEntry<'_, W> {
    /// Writes the next piece of the content.
    ///
    /// # Errors
    /// When the output fails, or the content is larger than the header says.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(|| unfit("more"))?;
        self.out.write_all(piece)
    }

    /// Fills what is missing with zeros.
    ///
    /// # Errors
    /// When the output fails.
    pub fn fill(&mut self) -> io::Result<()> {
        while self.left > 0 {
            let piece = usize::try_from(self.left).unwrap_or(usize::MAX).min(ZEROS.len());
            self.write(&ZEROS[..piece])?;
        }
        Ok(())
    }

    /// Ends the entry.
    ///
    /// # Errors
    /// When the output fails, or the content is smaller than the header says.
    pub fn finish(self) -> io::Result<()> {
        if self.left > 0 {
            return Err(unfit("less"));
        }
        self.out.write_all(&ZEROS[..padding(self.size)])
    }
}

fn unfit(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what} content than the entry's header says"))
}

/// The bytes that fill the last block.
fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

const NAME: usize = 100;
const PREFIX: usize = 155;
/// Eleven octal digits.
const OCTAL_SIZE: u64 = 0o77_777_777_777;
/// Seven.
const OCTAL_OWNER: u64 = 0o7_777_777;

/// Puts as much as fits, and says whether that is all.
fn put(field: &mut [u8], text: &[u8]) -> bool {
    let fits = text.len().min(field.len());
    field[..fits].copy_from_slice(&text[..fits]);
    fits == text.len()
}

/// Puts a path into name and prefix, cut where it does not fit, and says whether it does.
fn put_path(header: &mut Header, path: &[u8]) -> bool {
    let old = &mut header.as_old_mut().name;
    if path.len() <= NAME {
        return put(old, path);
    }
    // The prefix ends before a slash that is not the last byte: a directory's name keeps its own.
    let from = path.len() - NAME - 1;
    let split = path[from..path.len() - 1].iter().position(|byte| *byte == b'/').map(|at| from + at);
    match split.filter(|at| (1..=PREFIX).contains(at)) {
        Some(at) => {
            put(old, &path[at + 1..]);
            header.as_ustar_mut().is_some_and(|ustar| put(&mut ustar.prefix, &path[..at]))
        }
        None => {
            put(old, path);
            false
        }
    }
}

/// A PAX record: its own length, a space, keyword, value, newline.
fn record(keyword: &str, value: &[u8]) -> Vec<u8> {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", keyword.as_bytes(), b"=", value, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    const META: Meta = Meta { mode: 0o640, uid: 101, gid: 100, mtime: 1_700_000_000 };

    #[test]
    fn an_entry_has_the_size_that_its_header_says_or_the_stream_has_no_end() {
        let mut tarball = Tarball::new(Vec::new());
        let mut entry = tarball.file(b"./a", 3, &META).expect("begins");
        entry.write(b"ab").expect("fits");
        assert!(entry.write(b"cd").is_err());
        let mut tarball = Tarball::new(Vec::new());
        let mut entry = tarball.file(b"./a", 3, &META).expect("begins");
        entry.write(b"ab").expect("fits");
        assert!(entry.finish().is_err());
    }

    #[test]
    fn a_record_counts_its_own_length() {
        assert_eq!(record("path", b"x"), b"9 path=x\n");
        assert_eq!([90, 91].map(|length| record("path", &vec![b'x'; length]).len()), [99, 101]);
        for length in 1..1200 {
            let record = record("path", &vec![b'x'; length]);
            let said = record.split(|byte| *byte == b' ').next().expect("a length");
            assert_eq!(String::from_utf8_lossy(said), record.len().to_string());
        }
    }

    /// A stream that has no end yet: the headers of a file.
    fn headers(path: &[u8], size: u64, meta: &Meta) -> Vec<u8> {
        let mut tarball = Tarball::new(Vec::new());
        tarball.file(path, size, meta).expect("begins");
        tarball.out
    }

    fn holds(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    // Each reader knows one of the two, and those that know both never show whether one is missing.
    #[test]
    fn a_name_that_fits_no_header_is_said_for_posix_and_for_gnu() {
        let path = [b"./", &[b'n'; 255][..]].concat();
        let said = headers(&path, 1, &META);
        assert!(holds(&said, &record("path", &path)) && holds(&said, &[&path, &b"\0"[..]].concat()));
        // PAX has no words for this one.
        let path = [b"./", &[b'\xff'; 255][..]].concat();
        let said = headers(&path, 1, &META);
        assert!(!holds(&said, b"path=") && holds(&said, &[&path, &b"\0"[..]].concat()));
    }

    #[test]
    fn numbers_that_octal_digits_cannot_hold_are_said_by_pax_and_in_base_256() {
        let (size, uid, gid) = (1 << 33, 1 << 21, 1 << 22);
        let said = headers(b"./large", size, &Meta { uid, gid, ..META });
        for part in ["19 size=8589934592\n", "15 uid=2097152\n", "15 gid=4194304\n"] {
            assert!(holds(&said, part.as_bytes()), "{part}");
        }
        let header = Header::from_byte_slice(&said[said.len() - BLOCK..]);
        let found = (header.size().expect("a size"), header.uid().expect("an owner"), header.gid().expect("a group"));
        assert_eq!(found, (size, uid.into(), gid.into()));
    }

    fn read(bytes: &[u8]) -> Vec<(Vec<u8>, Meta, Vec<u8>, EntryType)> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().expect("an archive");
        entries
            .map(|entry| {
                let mut entry = entry.expect("an entry");
                let header = entry.header();
                let number = |value: io::Result<u64>| u32::try_from(value.expect("a number")).expect("fits");
                let meta = Meta {
                    mode: header.mode().expect("a mode"),
                    uid: number(header.uid()),
                    gid: number(header.gid()),
                    mtime: header.mtime().expect("a time") as i64,
                };
                let kind = header.entry_type();
                let path = entry.path_bytes().into_owned();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).expect("content");
                (path, meta, content, kind)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            paths in proptest::collection::vec("\\./[^/\0]{1,130}(/[^/\0]{1,130}){0,4}", 1..6),
            content in proptest::collection::vec(any::<u8>(), 0..2000),
            uid: u32,
            gid: u32,
            mtime in 0i64..1 << 34,
        ) {
            let meta = Meta { mode: 0o600, uid, gid, mtime };
            let mut tarball = Tarball::new(Vec::new());
            for path in &paths {
                tarball.directory(path.as_bytes(), &meta).expect("writes");
                let mut entry = tarball.file(path.as_bytes(), content.len() as u64 + 3, &meta).expect("begins");
                entry.write(&content).expect("fits");
                entry.fill().expect("fills");
                entry.finish().expect("ends");
            }
            let bytes = tarball.finish().expect("ends");
            prop_assert_eq!(bytes.len() % BLOCK, 0);
            let whole = [&content[..], &[0; 3]].concat();
            for (at, (path, found, read, kind)) in read(&bytes).into_iter().enumerate() {
                let expected = paths[at / 2].as_bytes();
                if at % 2 == 0 {
                    prop_assert_eq!((path, kind), ([expected, b"/"].concat(), EntryType::Directory));
                } else {
                    prop_assert_eq!((path.as_slice(), kind, &read), (expected, EntryType::Regular, &whole));
                }
                prop_assert_eq!(found, meta);
            }
        }
    }
}
