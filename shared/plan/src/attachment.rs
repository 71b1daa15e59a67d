//! Odoo's attachments: files that are named by the SHA-1 of their content, and rows that name files.

use std::fmt;

/// The path of an attachment in Odoo's file store, `ab/ab12…` (older stores: `ab1/ab12…`): the SHA-1 of its content, and
/// how much of it names the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachmentName {
    sha1: [u8; 20],
    directory_digits: u8,
}

impl AttachmentName {
    /// The attachment at a path; `None` for every path that Odoo does not write, such as `checklist/ab/ab12…`.
    pub fn parse(path: &[u8]) -> Option<Self> {
        let slash = path.iter().position(|byte| *byte == b'/')?;
        let (directory, name) = (&path[..slash], &path[slash + 1..]);
        let lower_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if !(2..=3).contains(&slash) || name.len() != 40 || !name.starts_with(directory) || !name.iter().all(lower_hex) {
            return None;
        }
        let mut sha1 = [0; 20];
        hex::decode_to_slice(name, &mut sha1).ok()?;
        Some(AttachmentName { sha1, directory_digits: slash as u8 })
    }

    /// What the SHA-1 of its content must be.
    pub const fn sha1(&self) -> &[u8; 20] {
        &self.sha1
    }
}

impl fmt::Display for AttachmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = hex::encode(self.sha1);
        write!(f, "{}/{name}", &name[..usize::from(self.directory_digits)])
    }
}

/// More rows name more files than are compared: 42 MB of names.
pub const MOST_NAMES: usize = 2_000_000;

/// There are more names than are kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it names more than {MOST_NAMES} files")]
pub struct TooManyNames;

/// The files that a database names, as they are read: the same file may be named by many rows.
#[derive(Debug, Default)]
pub struct NameCollector {
    names: Vec<AttachmentName>,
    sorted: usize,
    others: u64,
}

impl NameCollector {
    /// Takes the value of a row.
    ///
    /// # Errors
    /// When there are more names than are kept.
    pub fn take(&mut self, store_fname: &str) -> Result<(), TooManyNames> {
        match AttachmentName::parse(store_fname.as_bytes()) {
            Some(name) => self.names.push(name),
            None => self.others += 1,
        }
        // Twice what was sorted before: repeated names cost memory only for a while, and sorting stays cheap.
        if self.names.len() >= (2 * self.sorted).max(100_000) {
            self.compact();
            if self.names.len() > MOST_NAMES {
                return Err(TooManyNames);
            }
        }
        Ok(())
    }

    fn compact(&mut self) {
        self.names.sort_unstable();
        self.names.dedup();
        self.sorted = self.names.len();
    }

    /// All names, of which none was seen yet.
    pub fn finish(mut self) -> NamedFiles {
        self.compact();
        self.names.shrink_to_fit();
        NamedFiles { seen: vec![0; self.names.len().div_ceil(64)], names: self.names, others: self.others }
    }
}

/// The files that a database names, and which of them were seen in its store.
#[derive(Debug, Clone, Default)]
pub struct NamedFiles {
    names: Vec<AttachmentName>,
    seen: Vec<u64>,
    others: u64,
}

impl NamedFiles {
    /// How many files the database names.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// How many rows name something that is no path of an attachment.
    pub const fn others(&self) -> u64 {
        self.others
    }

    /// A file was seen in the store.
    pub fn see(&mut self, name: &AttachmentName) {
        if let Ok(at) = self.names.binary_search(name) {
            self.seen[at / 64] |= 1 << (at % 64);
        }
    }

    /// The files that were named and not seen, in order.
    pub fn lacking(&self) -> impl Iterator<Item = &AttachmentName> {
        self.names.iter().enumerate().filter(|(at, _)| self.seen[at / 64] & (1 << (at % 64)) == 0).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA1: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

    #[test]
    fn only_paths_that_odoo_writes_are_attachments() {
        for directory in ["da", "da3"] {
            let path = format!("{directory}/{SHA1}");
            let name = AttachmentName::parse(path.as_bytes()).expect("an attachment");
            assert_eq!(name.to_string(), path);
            assert_eq!(hex::encode(name.sha1()), SHA1);
        }
        for path in [
            SHA1.to_owned(),
            format!("checklist/da/{SHA1}"),
            format!("db/{SHA1}"),
            format!("d/{SHA1}"),
            format!("da39/{SHA1}"),
            format!("da/{SHA1}0"),
            format!("da/{}", SHA1.to_uppercase()),
            format!("da/da/{}", &SHA1[3..]),
            "da/".to_owned(),
            String::new(),
        ] {
            assert_eq!(AttachmentName::parse(path.as_bytes()), None, "{path}");
        }
    }

    fn path(number: u32) -> String {
        let name = format!("{number:08x}{}", "0".repeat(32));
        format!("{}/{name}", &name[..2])
    }

    #[test]
    fn repeated_names_count_once_and_take_no_more_room() {
        let mut collector = NameCollector::default();
        for _ in 0..3 {
            (0..150_000).for_each(|number| collector.take(&path(number)).expect("room"));
        }
        collector.take("../../etc/passwd").expect("room");
        assert!(collector.names.capacity() < 1_000_000);
        let named = collector.finish();
        assert_eq!((named.len(), named.others()), (150_000, 1));
    }

    #[test]
    fn more_names_than_are_kept_are_an_error_and_no_memory() {
        let mut collector = NameCollector::default();
        let refused = (0..5_000_000u32).find(|number| collector.take(&path(*number)).is_err()).expect("an end");
        assert!(refused as usize >= MOST_NAMES, "{refused}");
        assert!(collector.names.len() <= 2 * MOST_NAMES, "{}", collector.names.len());
    }

    proptest! {
        #[test]
        fn what_is_named_and_not_seen_is_lacking(named in proptest::collection::btree_set(0u32..300, 0..200), seen in proptest::collection::btree_set(0u32..300, 0..200)) {
            let mut collector = NameCollector::default();
            for number in named.iter().chain(&named) {
                collector.take(&path(*number)).expect("room");
            }
            let mut files = collector.finish();
            for number in &seen {
                files.see(&AttachmentName::parse(path(*number).as_bytes()).expect("an attachment"));
            }
            let lacking: Vec<String> = files.lacking().map(ToString::to_string).collect();
            let expected: Vec<String> = named.difference(&seen).map(|number| path(*number)).collect();
            prop_assert_eq!(lacking, expected);
        }
    }
}
